//! `SiteService`: the settings of sites.

use inventory_core::engine::Engine;
use inventory_core::store::{SiteRead, Store};
use inventory_proto::v1;
use inventory_proto::v1::site_service_server::SiteService;
use tonic::{Request, Response, Status};

use super::{call, read, read_large};
use crate::access::Access;
use crate::decode::{self, Caller, Read};
use crate::encode;
use crate::large::LargeAnswers;
use crate::page::fit;
use crate::status::{self, Paths, of_error};

/// The service.
pub(crate) struct Sites {
    /// Commits changes of settings.
    pub(crate) engine: Engine,
    /// Reads.
    pub(crate) store: Store,
    /// Bounds the large answers.
    pub(crate) answers: LargeAnswers,
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
        let place = self.answers.place(request.extensions()).await?;
        let message = request.into_inner();
        let page = decode::list_sites(message)?;
        let found = self.store.list_sites(access.sites(), page.after, page.rows).await;
        let found = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        let (sites, next) = fit(found, |site| site.id, encode::site);
        Ok(place.answer(v1::ListSitesResponse { sites, next_page_token: page.next_token(next) }))
    }
    async fn list_setting_changes(
        &self,
        request: Request<v1::ListSettingChangesRequest>,
    ) -> Result<Response<v1::ListSettingChangesResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::list_setting_changes).await?;
        let Read { site, terms, query } = asked;
        let (newest_first, page) = query;
        let (after, rows) = (page.after, page.rows);
        let list =
            self.store.read_page(site, terms, move |snapshot| snapshot.setting_changes(after, newest_first, rows));
        let SiteRead { value: found, .. } = list.await.map_err(|error| of_error(error, Paths::REQUEST))?;
        let (changes, next) = fit(found, |entry| entry.id, encode::setting_change);
        Ok(place.answer(v1::ListSettingChangesResponse { changes, next_page_token: page.next_token(next) }))
    }
}
