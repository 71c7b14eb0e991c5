//! A way to the decoders and to the files of rows, for the fuzz targets of `tests/fuzz/`.
//!
//! It stands behind the feature `fuzz`, which only the tests ask for. What must hold of the results is said in
//! `tests/src/fuzz/`.

use inventory_core::model::access::Author;
use inventory_core::model::command::Command;
use inventory_core::model::site::SiteChange;
use inventory_core::model::unit::{UnitChange, UnitSelector};
use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use prost::Message;
use tonic::Status;

pub use crate::commands::fuzz::{File, read_file, write_file};
use crate::decode;

/// What a decoder made of a message.
#[derive(Debug)]
pub enum Decoded {
    /// A change of stock.
    Command(Box<Command>),
    /// Changes of units' settings.
    Units(Vec<(UnitSelector, UnitChange)>),
    /// A change of a site's settings.
    Site(SiteChange),
    /// A read: its debug text.
    Read(String),
}

fn changed(command: Command) -> Decoded {
    Decoded::Command(Box::new(command))
}

/// Bytes that were read as a request.
#[derive(Debug)]
pub struct Request {
    /// The name of the message's type, without its package.
    pub message: &'static str,
    /// The message, encoded.
    pub encoded: Vec<u8>,
    /// That again, decoded and encoded.
    pub encoded_again: Option<Vec<u8>>,
    /// What the decoder said.
    pub decoded: Result<Decoded, Status>,
}

/// Reads the bytes as every request. Leaves out those that they are not.
pub fn requests(bytes: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    macro_rules! as_request {
        ($($message:ident: $decode:expr;)+) => { $(
            if let Ok(message) = v1::$message::decode(bytes) {
                let encoded = message.encode_to_vec();
                let again = v1::$message::decode(encoded.as_slice());
                let encoded_again = again.ok().map(|message| message.encode_to_vec());
                let decoded = $decode(message);
                requests.push(Request { message: stringify!($message), encoded, encoded_again, decoded });
            }
        )+ };
    }
    let author = Author::default;
    as_request! {
        DecrementAvailabilityRequest: |message| decode::decrement(message, author()).map(changed);
        IncrementAvailabilityRequest: |message| decode::increment(message, author()).map(changed);
        SetStockRequest: |message| decode::set_stock(message, author()).map(changed);
        AdjustStockRequest: |message| decode::adjust_stock(message, author()).map(changed);
        MoveStockRequest: |message| decode::move_stock(message, author()).map(changed);
        ChangeAvailabilityRequest: |message: v1::ChangeAvailabilityRequest| {
            decode::change(message.change, message.timeout, author()).map(|change| changed(change.command))
        };
        UpdateUnitRequest: |message| {
            decode::update_unit(message).map(|(_, unit, change)| Decoded::Units(vec![(unit, change)]))
        };
        BatchUpdateUnitsRequest: |message| {
            decode::batch_update_units(message).map(|(_, changes)| Decoded::Units(changes))
        };
        UpdateSiteRequest: |message| decode::update_site(message).map(|(_, change)| Decoded::Site(change));
        GetUnitRequest: |message| read(decode::get_unit(message));
        ListUnitsRequest: |message| read(decode::list_units(message));
        GetStockRequest: |message| read(decode::get_stock(message));
        BatchGetStockRequest: |message| read(decode::batch_get_stock(message));
        ListStockRequest: |message| read(decode::list_stock(message));
        ListEntriesRequest: |message| read(decode::list_entries(message));
        GetOrderRequest: |message| read(decode::get_order(message));
        ExplainLevelRequest: |message| read(decode::explain_level(message));
        WatchEntriesRequest: |message| read(decode::watch_entries(message));
        VerifySiteRequest: |message| read(decode::verify_site(message));
        GetSiteRequest: |message| read(decode::get_site(message));
        ListSitesRequest: |message| read(decode::list_sites(message));
        ListSettingChangesRequest: |message| read(decode::list_setting_changes(message));
    }
    requests
}

/// Decodes the call of a stream's message.
pub fn change(change: Change) -> Result<Command, Status> {
    decode::change(Some(change), None, Author::default()).map(|change| change.command)
}

fn read(decoded: Result<impl std::fmt::Debug, Status>) -> Result<Decoded, Status> {
    decoded.map(|read| Decoded::Read(format!("{read:?}")))
}
