//! `StockService`: writes and reads stock levels, and the settings of units.

use inventory_core::engine::{ConfiguredUnits, Engine};
use inventory_core::model::level::Stock as Listed;
use inventory_core::store::{SiteRead, StockCursor, Store};
use inventory_proto::v1;
use inventory_proto::v1::stock_service_server::StockService;
use tonic::{Request, Response, Status};

use super::{Applied, call, read, read_large, write};
use crate::decode::{self, Caller, Read};
use crate::encode;
use crate::large::LargeAnswers;
use crate::page::fit;
use crate::status::{self, Paths, of_error};

/// The service.
pub(crate) struct Stock {
    /// Decides and commits.
    pub(crate) engine: Engine,
    /// Reads.
    pub(crate) store: Store,
    /// Bounds the large answers.
    pub(crate) answers: LargeAnswers,
}

#[tonic::async_trait]
impl StockService for Stock {
    async fn set_stock(&self, request: Request<v1::SetStockRequest>) -> Result<Response<v1::SetStockResponse>, Status> {
        let (call, message) = call(request)?;
        let applied = write(&self.engine, &call, message, decode::set_stock).await?;
        let Applied { sequence, levels, replayed: repeated_request } = applied;
        Ok(Response::new(v1::SetStockResponse { sequence, levels, repeated_request }))
    }

    async fn adjust_stock(
        &self,
        request: Request<v1::AdjustStockRequest>,
    ) -> Result<Response<v1::AdjustStockResponse>, Status> {
        let (call, message) = call(request)?;
        let applied = write(&self.engine, &call, message, decode::adjust_stock).await?;
        let Applied { sequence, levels, replayed: repeated_request } = applied;
        Ok(Response::new(v1::AdjustStockResponse { sequence, levels, repeated_request }))
    }

    async fn move_stock(
        &self,
        request: Request<v1::MoveStockRequest>,
    ) -> Result<Response<v1::MoveStockResponse>, Status> {
        let (call, message) = call(request)?;
        let applied = write(&self.engine, &call, message, decode::move_stock).await?;
        let Applied { sequence, levels, replayed: repeated_request } = applied;
        Ok(Response::new(v1::MoveStockResponse { sequence, levels, repeated_request }))
    }

    async fn update_unit(
        &self,
        request: Request<v1::UpdateUnitRequest>,
    ) -> Result<Response<v1::UpdateUnitResponse>, Status> {
        let (call, message) = call(request)?;
        let Caller { author, deadline, detail_bytes: _ } = decode::caller(&call.metadata, &call.access)?;
        let (site, unit, change) = decode::update_unit(message)?;
        let configured = self.engine.configure_units(site, vec![(unit, change)], author, deadline).await;
        let ConfiguredUnits { units, sequence } = configured.map_err(|error| of_error(error, Paths::REQUEST))?;
        let unit = units.into_iter().next().map(encode::unit);
        Ok(Response::new(v1::UpdateUnitResponse { unit, sequence }))
    }

    async fn batch_update_units(
        &self,
        request: Request<v1::BatchUpdateUnitsRequest>,
    ) -> Result<Response<v1::BatchUpdateUnitsResponse>, Status> {
        let (call, message) = call(request)?;
        let Caller { author, deadline, detail_bytes: _ } = decode::caller(&call.metadata, &call.access)?;
        let (site, changes) = decode::batch_update_units(message)?;
        let configured = self.engine.configure_units(site, changes, author, deadline).await;
        let ConfiguredUnits { units, sequence } = configured.map_err(|error| of_error(error, Paths::REQUESTS))?;
        let units = units.into_iter().map(encode::unit).collect();
        Ok(Response::new(v1::BatchUpdateUnitsResponse { units, sequence }))
    }

    async fn get_unit(&self, request: Request<v1::GetUnitRequest>) -> Result<Response<v1::GetUnitResponse>, Status> {
        let Read { site, terms, query: unit } = read(request, decode::get_unit)?;
        let found = self.store.read(site, terms, move |snapshot| snapshot.unit(&unit)).await;
        let SiteRead { value, .. } = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        match value {
            Some(unit) => Ok(Response::new(v1::GetUnitResponse { unit: Some(encode::unit(unit)) })),
            None => Err(status::not_found(status::UNIT_NOT_FOUND, "nothing was ever written for this unit")),
        }
    }

    async fn list_units(
        &self,
        request: Request<v1::ListUnitsRequest>,
    ) -> Result<Response<v1::ListUnitsResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::list_units).await?;
        let Read { site, terms, query: (scope, page) } = asked;
        let (after, rows) = (page.after.clone(), page.rows);
        let list = self.store.read_page(site, terms, move |snapshot| snapshot.list_units(&scope, after.as_ref(), rows));
        let SiteRead { value: found, .. } = list.await.map_err(|error| of_error(error, Paths::REQUEST))?;
        let (units, next) = fit(found, |configured| configured.unit.clone(), encode::unit);
        Ok(place.answer(v1::ListUnitsResponse { units, next_page_token: page.next_token(next) }))
    }

    async fn get_stock(&self, request: Request<v1::GetStockRequest>) -> Result<Response<v1::GetStockResponse>, Status> {
        let Read { site, terms, query: level } = read(request, decode::get_stock)?;
        let found = self.store.read(site, terms, move |snapshot| snapshot.stock(&[level])).await;
        let SiteRead { site, value, .. } = found.map_err(|error| of_error(error, Paths::REQUEST))?;
        let default = site.settings.default_location;
        let stock = value.into_iter().next().map(|stock| encode::stock(stock, default));
        Ok(Response::new(v1::GetStockResponse { stock }))
    }

    async fn batch_get_stock(
        &self,
        request: Request<v1::BatchGetStockRequest>,
    ) -> Result<Response<v1::BatchGetStockResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::batch_get_stock).await?;
        let Read { site, terms, query: levels } = asked;
        let found = self.store.read(site, terms, move |snapshot| snapshot.stock(&levels)).await;
        let SiteRead { site, value, .. } = found.map_err(|error| of_error(error, Paths::ITEMS))?;
        let default = site.settings.default_location;
        let stock = value.into_iter().map(|stock| encode::stock(stock, default)).collect();
        Ok(place.answer(v1::BatchGetStockResponse { stock }))
    }

    async fn list_stock(
        &self,
        request: Request<v1::ListStockRequest>,
    ) -> Result<Response<v1::ListStockResponse>, Status> {
        let (place, asked) = read_large(&self.answers, request, decode::list_stock).await?;
        let Read { site, terms, query: (filter, page) } = asked;
        let (after, rows) = (page.after.clone(), page.rows);
        let list =
            self.store.read_page(site, terms, move |snapshot| snapshot.list_stock(&filter, after.as_ref(), rows));
        let SiteRead { site, value: found, .. } = list.await.map_err(|error| of_error(error, Paths::REQUEST))?;
        let default = site.settings.default_location;
        let position = |stock: &Listed| StockCursor { unit: stock.unit.clone(), location: stock.location };
        let (stock, next) = fit(found, position, |stock| encode::stock(stock, default));
        Ok(place.answer(v1::ListStockResponse { stock, next_page_token: page.next_token(next) }))
    }
}
