//! `verify`: whether every level is what its entries come to.

use std::error::Error;

use inventory_proto::v1;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;

use crate::commands::{ANSWER_BYTES_MAX, Connection, progress, signed};
use crate::config::Verify;

/// Levels and ledger do not agree.
#[derive(Debug, thiserror::Error)]
#[error("{0} levels are not what their entries come to")]
struct Differ(i64);

/// Verifies, tells what differs, and fails where it still does.
pub async fn verify(settings: Verify) -> Result<(), Box<dyn Error>> {
    let Verify { upstream, repair } = settings;
    let connection = Connection::open(&upstream).await?;
    let mut client = LedgerServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let request = v1::VerifySiteRequest { site_id: upstream.site_id, repair };
    let told = |status: tonic::Status| status.message().to_owned();
    let mut messages = client.verify_site(signed(request)).await.map_err(told)?.into_inner();
    let bar = progress(0, "adding up");
    let mut result = None;
    while let Some(message) = messages.message().await.map_err(told)? {
        bar.set_length(u64::try_from(message.entries_expected).unwrap_or_default());
        bar.set_position(u64::try_from(message.entries).unwrap_or_default());
        result = message.done.then_some(message);
    }
    bar.finish_and_clear();
    drop(client);
    connection.close().await?;
    let result = result.ok_or("the server gave no result")?;
    let v1::VerifySiteResponse { entries, levels, differences, difference_count, .. } = result;
    println!("{entries} entries, {levels} levels: {difference_count} differ");
    let mended = differences.iter().filter(|difference| difference.repaired).count();
    for difference in differences {
        let v1::LevelDifference { catalog_reference, location_id, available, recomputed, repaired, .. } = difference;
        let reference = catalog_reference.unwrap_or_default();
        let (app_id, item_id) = (reference.app_id, reference.catalog_item_id);
        let mended = if repaired { "; repaired" } else { "" };
        println!("{app_id}/{item_id} {location_id}: is {available}, its entries come to {recomputed}{mended}");
    }
    match difference_count - i64::try_from(mended).unwrap_or(i64::MAX) {
        0 => Ok(()),
        left => Err(Differ(left).into()),
    }
}
