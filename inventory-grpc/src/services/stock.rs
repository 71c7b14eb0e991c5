//! `StockService`.

use inventory_core::catalog::{CatalogReference, Unit};
use inventory_core::engine::Engine;
use inventory_core::ids::{LocationId, SiteId, parse_guid};
use inventory_core::store::{Stock as StockRow, StockCursor, Store};
use inventory_proto::v1;
use inventory_proto::v1::stock_service_server::StockService;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::services::{Applied, carry_out};
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
        let levels = levels.into_iter().map(encode::level).collect();
        Ok(Response::new(v1::SetStockResponse { sequence, levels, repeated_request: repeated }))
    }

    async fn get_stock(&self, request: Request<v1::GetStockRequest>) -> Result<Response<v1::GetStockResponse>, Status> {
        let v1::GetStockRequest { site_id, catalog_reference, location_id } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let place = decode::place(catalog_reference, &location_id, String::new)?;
        let stock = self.read(site, vec![place], |_| "catalog_reference.options".into()).await?;
        Ok(Response::new(v1::GetStockResponse { stock: stock.into_iter().next().map(encode::stock) }))
    }

    async fn batch_get_stock(
        &self,
        request: Request<v1::BatchGetStockRequest>,
    ) -> Result<Response<v1::BatchGetStockResponse>, Status> {
        let v1::BatchGetStockRequest { site_id, items } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let options = |item| format!("items[{item}].catalog_reference.options");
        let stock = self.read(site, decode::places(items)?, options).await?;
        Ok(Response::new(v1::BatchGetStockResponse { stock: stock.into_iter().map(encode::stock).collect() }))
    }

    async fn list_stock(
        &self,
        request: Request<v1::ListStockRequest>,
    ) -> Result<Response<v1::ListStockResponse>, Status> {
        let v1::ListStockRequest { site_id, page_size, page_token } = request.into_inner();
        let site = decode::site_id_of(&site_id)?;
        let size = page::size(page_size)?;
        let query = format!("stock of {site}");
        let after = page::cursor::<Cursor>(&query, &page_token)?.map(cursor).transpose()?;
        let (mut rows, settings) = self.store.list_stock(site, after, size + 1).await.map_err(status::of_error)?;
        let last = page::cut(&mut rows, size);
        let next_page_token = last.map(|row| page::token(&query, &position(row))).unwrap_or_default();
        let shown = |row: StockRow| encode::stock(StockRow { location: settings.show_location(row.location), ..row });
        let stock = rows.into_iter().map(shown).collect();
        Ok(Response::new(v1::ListStockResponse { stock, next_page_token }))
    }
}

impl Stock {
    async fn read(
        &self,
        site: SiteId,
        places: Vec<(CatalogReference, Option<LocationId>)>,
        options_of: impl Fn(usize) -> String,
    ) -> Result<Vec<StockRow>, Status> {
        self.store.stock(site, places).await.map_err(|error| status::of_error_at(error, options_of))
    }
}

fn position(row: &StockRow) -> Cursor {
    let Unit { app_id, item_id, variant } = row.unit.clone();
    let location = row.location.map(|id| id.to_string()).unwrap_or_default();
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
