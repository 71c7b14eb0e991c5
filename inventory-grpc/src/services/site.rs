//! `SiteService`.

use inventory_core::engine::Engine;
use inventory_core::ids::{SiteId, parse_guid};
use inventory_core::store::{SitePage, Store};
use inventory_proto::v1;
use inventory_proto::v1::site_service_server::SiteService;
use tonic::{Request, Response, Status};

use crate::{decode, encode, page, status};

/// What page tokens of the list of sites are good for.
const SITES: &str = "sites";

/// Settles what a site's requests mean.
pub struct Site {
    /// What carries changes of settings out.
    pub engine: Engine,
    /// What is read.
    pub store: Store,
}

#[tonic::async_trait]
impl SiteService for Site {
    async fn get_site(&self, request: Request<v1::GetSiteRequest>) -> Result<Response<v1::GetSiteResponse>, Status> {
        let v1::GetSiteRequest { site_id } = request.into_inner();
        let id = decode::site_id_of(&site_id)?;
        let found = self.store.site(id).await.map_err(status::of_error)?;
        let Some((settings, sequence)) = found else {
            return Err(status::not_found("SITE_NOT_FOUND", "nothing was ever written for this site"));
        };
        Ok(Response::new(v1::GetSiteResponse { site: Some(encode::site(id, settings, sequence)) }))
    }

    async fn update_site(
        &self,
        request: Request<v1::UpdateSiteRequest>,
    ) -> Result<Response<v1::UpdateSiteResponse>, Status> {
        let (id, change) = decode::settings(request.into_inner())?;
        let (settings, sequence) = self.engine.configure(id, change).await.map_err(status::of_error)?;
        Ok(Response::new(v1::UpdateSiteResponse { site: Some(encode::site(id, settings, sequence)) }))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let v1::ListSitesRequest { page_size, page_token } = request.into_inner();
        let size = page::size(page_size)?;
        let after = match page::cursor::<String>(SITES, &page_token)? {
            Some(last) => Some(SiteId::from_uuid(parse_guid(&last).ok_or_else(page::not_ours)?)),
            None => None,
        };
        let found = self.store.list_sites(after, size).await;
        let SitePage { sites, looked_to } = found.map_err(status::of_error)?;
        let next_page_token = looked_to.map(|last| page::token(SITES, &last.to_string())).unwrap_or_default();
        let sites = sites.into_iter().map(|(id, settings, sequence)| encode::site(id, settings, sequence)).collect();
        Ok(Response::new(v1::ListSitesResponse { sites, next_page_token }))
    }
}
