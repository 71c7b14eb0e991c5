//! `StockService`.

use inventory_core::catalog::Unit;
use inventory_core::engine::Engine;
use inventory_core::ids::{LocationId, parse_guid};
use inventory_core::store::{StockCursor, StockFilter, StockPage, Store};
use inventory_proto::v1;
use inventory_proto::v1::stock_service_server::StockService;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::services::{Applied, carry_out, reached};
use crate::{decode, encode, page, status};

/// Says and tells how much there is.
pub struct Stock {
    /// What carries commands out.
    pub engine: Engine,
    /// What is read.
    pub store: Store,
}

/// Where a page of stock ends: app id, item id, variant, location (empty for the default one).
type Cursor = (String, String, String, String);

#[tonic::async_trait]
impl StockService for Stock {
    async fn set_stock(&self, request: Request<v1::SetStockRequest>) -> Result<Response<v1::SetStockResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::info_span!("set_stock", site.id = %message.site_id);
        let command = decode::set_stock(message, decode::actor(&metadata)?)?;
        let Applied { sequence, levels, repeated } =
            carry_out(&self.engine, command, &metadata).instrument(span).await?;
        Ok(Response::new(v1::SetStockResponse { sequence, levels, repeated_request: repeated }))
    }

    async fn adjust_stock(
        &self,
        request: Request<v1::AdjustStockRequest>,
    ) -> Result<Response<v1::AdjustStockResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::info_span!("adjust_stock", site.id = %message.site_id);
        let command = decode::adjust_stock(message, decode::actor(&metadata)?)?;
        let Applied { sequence, levels, repeated } =
            carry_out(&self.engine, command, &metadata).instrument(span).await?;
        Ok(Response::new(v1::AdjustStockResponse { sequence, levels, repeated_request: repeated }))
    }

    async fn move_stock(
        &self,
        request: Request<v1::MoveStockRequest>,
    ) -> Result<Response<v1::MoveStockResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::info_span!("move_stock", site.id = %message.site_id);
        let command = decode::move_stock(message, decode::actor(&metadata)?)?;
        let Applied { sequence, levels, repeated } =
            carry_out(&self.engine, command, &metadata).instrument(span).await?;
        Ok(Response::new(v1::MoveStockResponse { sequence, levels, repeated_request: repeated }))
    }

    async fn update_unit(
        &self,
        request: Request<v1::UpdateUnitRequest>,
    ) -> Result<Response<v1::UpdateUnitResponse>, Status> {
        let (site, reference, change) = decode::unit_change(request.into_inner())?;
        let settled = self.engine.settle_unit(site, reference, change).await;
        let (unit, sequence) = settled.map_err(status::of_error_of_one)?;
        Ok(Response::new(v1::UpdateUnitResponse { unit: Some(encode::unit(unit)), sequence }))
    }

    async fn get_unit(&self, request: Request<v1::GetUnitRequest>) -> Result<Response<v1::GetUnitResponse>, Status> {
        let v1::GetUnitRequest { site_id, catalog_reference, sku } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let name = decode::unit_name(catalog_reference, sku, String::new)?;
        let Some(unit) = self.store.unit(site, name).await.map_err(status::of_error_of_one)? else {
            return Err(status::not_found(status::UNIT_NOT_FOUND, "nothing was ever written for this unit"));
        };
        Ok(Response::new(v1::GetUnitResponse { unit: Some(encode::unit(unit)) }))
    }

    async fn get_stock(&self, request: Request<v1::GetStockRequest>) -> Result<Response<v1::GetStockResponse>, Status> {
        let v1::GetStockRequest { site_id, catalog_reference, location_id, at_least_sequence, sku } =
            request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let place = decode::named_place(catalog_reference, sku, &location_id, String::new)?;
        reached(&self.store, site, at_least_sequence).await?;
        let stock = self.store.stock(site, vec![place]).await.map_err(status::of_error_of_one)?;
        Ok(Response::new(v1::GetStockResponse { stock: stock.into_iter().next().map(encode::stock) }))
    }

    async fn batch_get_stock(
        &self,
        request: Request<v1::BatchGetStockRequest>,
    ) -> Result<Response<v1::BatchGetStockResponse>, Status> {
        let v1::BatchGetStockRequest { site_id, items, at_least_sequence } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let places = decode::named_places(items)?;
        reached(&self.store, site, at_least_sequence).await?;
        let stock = self.store.stock(site, places).await.map_err(status::of_error)?;
        Ok(Response::new(v1::BatchGetStockResponse { stock: stock.into_iter().map(encode::stock).collect() }))
    }

    async fn list_stock(
        &self,
        request: Request<v1::ListStockRequest>,
    ) -> Result<Response<v1::ListStockResponse>, Status> {
        let v1::ListStockRequest {
            site_id,
            page_size,
            page_token,
            catalog_reference,
            app_id,
            location_id,
            below,
            changed_after_sequence,
            at_least_sequence,
            sku,
        } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let unit = decode::optional_unit_name(catalog_reference, sku)?;
        let app_id = decode::optional_app_id_of(&app_id)?;
        let location = decode::optional_location_id_of(&location_id)?;
        decode::not_negative(changed_after_sequence, "changed_after_sequence")?;
        let size = page::size(page_size)?;
        let filter = StockFilter { unit, app_id, location, below, changed_after_sequence };
        let query = format!("stock of {site} {filter:?}");
        let after = page::cursor::<Cursor>(&query, &page_token)?.map(cursor).transpose()?;
        reached(&self.store, site, at_least_sequence).await?;
        let found = self.store.list_stock(site, filter, after, size).await;
        let StockPage { stock, looked_to } = found.map_err(status::of_error_of_one)?;
        let next_page_token = looked_to.map(|last| page::token(&query, &position(last))).unwrap_or_default();
        let stock = stock.into_iter().map(encode::stock).collect();
        Ok(Response::new(v1::ListStockResponse { stock, next_page_token }))
    }
}

fn position(last: StockCursor) -> Cursor {
    let StockCursor { unit: Unit { app_id, item_id, variant }, location } = last;
    let location = location.map(|id| id.to_string()).unwrap_or_default();
    (app_id, item_id, variant.as_str().to_owned(), location)
}

fn cursor((app_id, item_id, variant, location): Cursor) -> Result<StockCursor, Status> {
    // No text that was stored holds a NUL (in a variant it is escaped), and Postgres takes none.
    if [&app_id, &item_id, &variant].iter().any(|text| text.contains('\0')) {
        return Err(page::not_ours());
    }
    let variant = inventory_core::catalog::Variant::from_text(variant);
    let location = parse_guid(&location).map(LocationId::from_uuid);
    Ok(StockCursor { unit: Unit { app_id, item_id, variant }, location })
}
