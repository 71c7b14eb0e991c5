//! `SiteService`: the settings of sites.

use inventory_core::engine::Engine;
use inventory_core::store::{SiteRead, Store};
use inventory_proto::v1;
use inventory_proto::v1::site_service_server::SiteService;
use tonic::{Request, Response, Status};

use super::{call, read};
use crate::access::Access;
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
        let Read { site, terms, query: () } = read(request, decode::get_site)?;
        let found = self.store.read(site, terms, |_| Ok(())).await;
        let SiteRead { site, exists, value: () } = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        match exists {
            true => Ok(Response::new(v1::GetSiteResponse { site: Some(encode::site(site)) })),
            false => Err(status::site_not_found()),
        }
    }

    async fn update_site(
        &self,
        request: Request<v1::UpdateSiteRequest>,
    ) -> Result<Response<v1::UpdateSiteResponse>, Status> {
        let (call, message) = call(request)?;
        let Caller { author, deadline, detail_bytes: _ } = decode::caller(&call.metadata, &call.access)?;
        let (site, change) = decode::update_site(message)?;
        let configured = self.engine.configure_site(site, change, author, deadline).await;
        let site = configured.map_err(|error| of_error(error, Paths::REQUEST))?;
        Ok(Response::new(v1::UpdateSiteResponse { site: Some(encode::site(site)) }))
    }

    async fn list_sites(
        &self,
        request: Request<v1::ListSitesRequest>,
    ) -> Result<Response<v1::ListSitesResponse>, Status> {
        let access = Access::of(request.extensions())?;
        let message = request.into_inner();
        let page = decode::list_sites(message)?;
        let found = self.store.list_sites(access.sites(), page.after, page.rows).await;
        let found = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        let next_page_token = page.next_token(found.next);
        let sites = found.rows.into_iter().map(encode::site).collect();
        Ok(Response::new(v1::ListSitesResponse { sites, next_page_token }))
    }
    async fn list_setting_changes(
        &self,
        request: Request<v1::ListSettingChangesRequest>,
    ) -> Result<Response<v1::ListSettingChangesResponse>, Status> {
        let Read { site, terms, query } = read(request, decode::list_setting_changes)?;
        let (newest_first, page) = query;
        let (after, rows) = (page.after, page.rows);
        let list =
            self.store.read_page(site, terms, move |snapshot| snapshot.setting_changes(after, newest_first, rows));
        let SiteRead { value: found, .. } = list.await.map_err(|error| of_error(error, Paths::REQUEST))?;
        let next_page_token = page.next_token(found.next);
        let changes = found.rows.into_iter().map(encode::setting_change).collect();
        Ok(Response::new(v1::ListSettingChangesResponse { changes, next_page_token }))
    }
}
