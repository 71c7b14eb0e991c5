//! `SiteService`: the settings of sites.

use inventory_core::engine::Engine;
use inventory_core::store::{SiteRead, Store};
use inventory_proto::v1;
use inventory_proto::v1::site_service_server::SiteService;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::decode::{self, Caller, Read};
use crate::encode;
use crate::status::{self, Paths, of_error};

/// The service.
pub(crate) struct Sites {
    /// Commits changes of settings.
    pub(crate) engine: Engine,
    /// Reads.
    pub(crate) store: Store,
}

#[tonic::async_trait]
impl SiteService for Sites {
    async fn get_site(&self, request: Request<v1::GetSiteRequest>) -> Result<Response<v1::GetSiteResponse>, Status> {
        let Read { site, at_least_sequence, query: () } = decode::get_site(request.into_inner())?;
        let read = self.store.read(site, at_least_sequence, |_| Ok(())).await;
        let SiteRead { site, exists, value: () } = read.map_err(|error| of_error(error, Paths::REQUEST))?;
        match exists {
            true => Ok(Response::new(v1::GetSiteResponse { site: Some(encode::site(site)) })),
            false => Err(status::site_not_found()),
        }
    }

    async fn update_site(
        &self,
        request: Request<v1::UpdateSiteRequest>,
    ) -> Result<Response<v1::UpdateSiteResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::info_span!("update_site", site.id = %message.site_id);
        let call = async {
            let Caller { actor: _, deadline, detail_bytes: _ } = decode::caller(&metadata)?;
            let (site, change) = decode::update_site(message)?;
            let configured = self.engine.configure_site(site, change, deadline).await;
            configured.map_err(|error| of_error(error, Paths::REQUEST))
        };
        let site = call.instrument(span).await?;
        Ok(Response::new(v1::UpdateSiteResponse { site: Some(encode::site(site)) }))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let page = decode::list_sites(request.into_inner())?;
        let found = self.store.list_sites(page.after, page.rows).await;
        let found = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        let next_page_token = page.next_token(found.next);
        let sites = found.rows.into_iter().map(encode::site).collect();
        Ok(Response::new(v1::ListSitesResponse { sites, next_page_token }))
    }
}
