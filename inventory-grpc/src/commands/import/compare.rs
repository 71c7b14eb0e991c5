//! `import --dry-run`: counts what an import would change. Changes nothing.

use std::error::Error;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use inventory_program::Out;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{UnitRef, v1};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{LEVELS_PER_CALL, RefusedRow, refused};
use crate::commands::rows::{Row, Rows};
use crate::commands::{Caller, Connection, progress, signed};

/// Units that are asked for at a time.
const CALLS_AT_A_TIME: usize = 8;
const NOTHING_CHANGED: &str = "nothing was changed";

/// How many of the file's levels or units are new, differ, or are the same.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    new: usize,
    changed: usize,
    same: usize,
}

/// Compares a file with the site, and prints what an import would change.
pub(super) async fn compare(
    connection: &Connection,
    site_id: &str,
    rows: &Rows,
    out: &mut Out,
) -> Result<(), Box<dyn Error>> {
    let (levels, pieces) = compare_levels(connection, site_id, &rows.levels).await?;
    let units = compare_units(connection, site_id, &rows.units).await?;
    let Counts { new, changed, same } = levels;
    let count = rows.count;
    out.line(format_args!("{count} rows: {new} levels would be new, {changed} would change, {same} are so already"))?;
    if !rows.units.is_empty() {
        let Counts { new, changed, same } = units;
        out.line(format_args!("settings of units: {new} would be new, {changed} would change, {same} are so already"))?;
    }
    let again = "Levels that this file has set before are not set again";
    Ok(out.line(format_args!("{pieces:+} pieces in all. Nothing was changed. {again}"))?)
}

/// Also returns by how many pieces all levels together would grow.
async fn compare_levels(
    connection: &Connection,
    site_id: &str,
    levels: &[Row<v1::SetStockItem>],
) -> Result<(Counts, i128), RefusedRow> {
    let bar = progress(levels.len() as u64, "comparing levels");
    let mut client = connection.stock();
    let (mut counts, mut pieces) = (Counts::default(), 0_i128);
    for part in levels.chunks(LEVELS_PER_CALL) {
        let item = |row: &Row<v1::SetStockItem>| v1::BatchGetStockItem {
            unit: row.message.unit.clone().map(|unit| UnitRef::from(unit).into()),
            location_id: row.message.location_id.clone(),
        };
        let items = part.iter().map(item).collect();
        let request = v1::BatchGetStockRequest { site_id: site_id.to_owned(), items, at_least_sequence: 0 };
        let answer = client.batch_get_stock(signed(request)).await;
        let answer = answer.map_err(|status| refused(&status, part, NOTHING_CHANGED.to_owned()))?.into_inner();
        for (stock, row) in answer.stock.iter().zip(part) {
            let delta = i128::from(row.message.available) - i128::from(stock.available);
            pieces += delta;
            match (stock.revision, delta) {
                (_, 0) => counts.same += 1,
                (0, _) => counts.new += 1,
                (_, _) => counts.changed += 1,
            }
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    Ok((counts, pieces))
}

async fn compare_units(
    connection: &Connection,
    site_id: &str,
    units: &[Row<v1::UpdateUnitRequest>],
) -> Result<Counts, RefusedRow> {
    let bar = progress(units.len() as u64, "comparing units");
    let calls = units.iter().map(|row| {
        let (client, site_id) = (connection.stock(), site_id.to_owned());
        async move {
            let found = find(client, site_id, &row.message).await;
            found.map(|found| (row, found)).map_err(|status| RefusedRow {
                line: Some(row.line),
                message: status.message().to_owned(),
                done: NOTHING_CHANGED.to_owned(),
            })
        }
    });
    let count = |mut counts: Counts, (row, found): (&Row<v1::UpdateUnitRequest>, Option<v1::Unit>)| {
        bar.inc(1);
        match found {
            None => counts.new += 1,
            Some(unit) if differs(&unit, &row.message) => counts.changed += 1,
            Some(_) => counts.same += 1,
        }
        std::future::ready(Ok(counts))
    };
    let counts = stream::iter(calls).buffer_unordered(CALLS_AT_A_TIME).try_fold(Counts::default(), count).await?;
    bar.finish_and_clear();
    Ok(counts)
}

/// The unit as it is. `None` if nothing was ever written for it; an error if no unit has its SKU.
async fn find(
    mut client: StockServiceClient<Caller>,
    site_id: String,
    request: &v1::UpdateUnitRequest,
) -> Result<Option<v1::Unit>, Status> {
    let unit = request.unit.clone().map(|unit| UnitRef::from(unit).into());
    match client.get_unit(signed(v1::GetUnitRequest { site_id, unit })).await {
        Ok(answer) => Ok(answer.into_inner().unit),
        Err(status) if status.code() == Code::NotFound && status.get_details_bad_request().is_none() => Ok(None),
        Err(status) => Err(status),
    }
}

/// Whether the request would change a setting. An import gives the unit settings of its own, so a setting in force that
/// comes from elsewhere changes even if the value is the same.
fn differs(unit: &v1::Unit, request: &v1::UpdateUnitRequest) -> bool {
    let v1::UpdateUnitRequest {
        site_id: _,
        unit: _,
        new_sku,
        name,
        tracking,
        backorder_limit,
        counts_subscriptions,
        sell_from,
        sell_until,
        // A file takes no setting away.
        reset_mask: _,
    } = request;
    let is_own = |source: v1::SettingSource| source == v1::SettingSource::Unit;
    let own_tracking = is_own(unit.tracking_source()).then_some(unit.tracking);
    let own_limit = is_own(unit.backorder_limit_source()).then_some(unit.backorder_limit);
    let own_counts = is_own(unit.counts_subscriptions_source()).then_some(unit.counts_subscriptions);
    new_sku.as_ref().is_some_and(|sku| *sku != unit.sku)
        || name.as_ref().is_some_and(|name| *name != unit.name)
        || (*tracking != 0 && Some(*tracking) != own_tracking)
        || (backorder_limit.is_some() && *backorder_limit != own_limit)
        || (counts_subscriptions.is_some() && *counts_subscriptions != own_counts)
        || (sell_from.is_some() && *sell_from != unit.sell_from)
        || (sell_until.is_some() && *sell_until != unit.sell_until)
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn a_setting_that_is_not_the_units_own_would_change() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let mut unit = v1::Unit {
            sku: "S".into(),
            name: "Shirt".into(),
            backorder_limit: 5,
            counts_subscriptions: true,
            sell_from: at(1),
            sell_until: at(2),
            ..Default::default()
        };
        unit.set_tracking(v1::Tracking::Status);
        unit.set_tracking_source(v1::SettingSource::Unit);
        unit.set_backorder_limit_source(v1::SettingSource::Catalog);
        unit.set_counts_subscriptions_source(v1::SettingSource::BuiltIn);
        let none = v1::UpdateUnitRequest::default();
        let status = v1::Tracking::Status.into();
        let untracked = v1::Tracking::Untracked.into();
        let rows = [
            (none.clone(), false),
            (v1::UpdateUnitRequest { new_sku: Some("S".into()), name: Some("Shirt".into()), ..none.clone() }, false),
            (v1::UpdateUnitRequest { new_sku: Some("T".into()), ..none.clone() }, true),
            (v1::UpdateUnitRequest { name: Some("Mug".into()), ..none.clone() }, true),
            (v1::UpdateUnitRequest { tracking: status, ..none.clone() }, false),
            (v1::UpdateUnitRequest { tracking: untracked, ..none.clone() }, true),
            (v1::UpdateUnitRequest { backorder_limit: Some(5), ..none.clone() }, true),
            (v1::UpdateUnitRequest { counts_subscriptions: Some(true), ..none.clone() }, true),
            (v1::UpdateUnitRequest { sell_from: at(1), sell_until: at(2), ..none.clone() }, false),
            (v1::UpdateUnitRequest { sell_from: at(2), ..none.clone() }, true),
            (v1::UpdateUnitRequest { sell_until: at(1), ..none }, true),
        ];
        for (request, expected) in rows {
            assert_eq!(differs(&unit, &request), expected, "{request:?}");
        }
    }
}
