//! The requests of gRPC. The input is a message, and is read as each of them.
//!
//! - A message that was encoded again is the same.
//! - It is decoded within all bounds, or refused as INVALID_ARGUMENT by 1 to 20 fields that the message has, in details
//!   that any client can read.

use std::sync::OnceLock;

use inventory_core::model::action::Action;
use inventory_core::model::command::Command;
use inventory_core::model::limits;
use inventory_core::model::site::SiteChange;
use inventory_core::model::unit::{UnitChange, UnitSelector};
use inventory_grpc::fuzz::{Decoded, Request};
use inventory_proto::{DESCRIPTORS, DETAIL_BYTES_DEFAULT};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Bad fields that a refusal lists, at most.
const FIELDS_MAX: usize = 20;

/// The property.
pub fn requests(bytes: &[u8]) {
    for Request { message, encoded, encoded_again, decoded } in inventory_grpc::fuzz::requests(bytes) {
        assert_eq!(encoded_again.as_ref(), Some(&encoded), "{message} is another one after it was encoded");
        match decoded {
            Ok(Decoded::Command(command)) => within_bounds(&command),
            Ok(Decoded::Units(changes)) => units_within_bounds(&changes),
            Ok(Decoded::Site(change)) => site_within_bounds(&change),
            Ok(Decoded::Read(_)) => {}
            Err(status) => names_fields(message, &status),
        }
    }
}

/// Fails unless the refusal names fields of the message.
pub(super) fn names_fields(message: &str, status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument, "{message}: {status:?}");
    let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    assert!((1..=FIELDS_MAX).contains(&fields.len()), "{message}: {status:?}");
    assert!(status.message().starts_with(&fields[0].field), "{message}: {status:?}");
    for violation in &fields {
        assert!(has_field(message, &violation.field), "{message} has no field {:?}", violation.field);
        assert!(!violation.description.is_empty());
    }
    assert!(status.details().len() <= DETAIL_BYTES_DEFAULT, "{message}: {} bytes", status.details().len());
}

/// Whether a path such as `items[3].catalog_reference.app_id` leads to a field of the message. A call on a stream names
/// its fields as the call of one message does.
fn has_field(message: &str, path: &str) -> bool {
    let leads = |path: &str| leads(&format!(".inventory.v1.{message}"), path);
    leads(path) || leads(&format!("decrement.{path}")) || leads(&format!("increment.{path}"))
}

fn leads(message: &str, path: &str) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (name, index) = first.split_once('[').map_or((first, None), |(name, index)| (name, Some(index)));
    let Some(own) = descriptor(message) else { return false };
    let Some(field) = own.field.iter().find(|field| field.name() == name) else {
        return rest.is_none() && own.oneof_decl.iter().any(|oneof| oneof.name() == path);
    };
    let is_index = |index: &str| index.strip_suffix(']').is_some_and(|index| index.parse::<usize>().is_ok());
    index.is_none_or(|index| field.label() == Label::Repeated && is_index(index))
        && rest.is_none_or(|rest| field.r#type() == Type::Message && leads(field.type_name(), rest))
}

fn descriptor(name: &str) -> Option<&'static DescriptorProto> {
    static FILES: OnceLock<FileDescriptorSet> = OnceLock::new();
    let files = FILES.get_or_init(|| FileDescriptorSet::decode(DESCRIPTORS).expect("the contract has descriptors"));
    let name = name.strip_prefix(".inventory.v1.")?;
    files.file.iter().flat_map(|file| &file.message_type).find(|message| message.name() == name)
}

fn is_text(text: &str, chars: std::ops::RangeInclusive<usize>) -> bool {
    chars.contains(&text.chars().count()) && !text.contains('\0')
}

fn unit_within_bounds(unit: &UnitSelector) {
    match unit {
        UnitSelector::Reference(reference) => {
            assert!(is_text(reference.app_id(), 1..=limits::APP_ID_CHARS_MAX));
            assert!(is_text(reference.item_id(), 1..=limits::ITEM_ID_CHARS_MAX));
        }
        UnitSelector::Sku(sku) => assert!(is_text(sku.as_str(), 1..=limits::SKU_CHARS_MAX)),
    }
}

/// Fails unless the command is within its bounds.
pub(super) fn within_bounds(command: &Command) {
    let (header, action) = (command.header(), command.action());
    assert!(is_text(&header.request_id, 1..=limits::REQUEST_ID_CHARS_MAX));
    assert!(is_text(&header.note, 0..=limits::NOTE_CHARS_MAX));
    let (items, quantities) = match action {
        Action::Decrement { lines, .. } | Action::Increment { lines } => {
            (limits::AVAILABILITY_ITEMS_MAX, lines.iter().map(|line| line.quantity.get()).collect())
        }
        Action::Move { moves, .. } => (limits::STOCK_ITEMS_MAX, moves.iter().map(|item| item.quantity.get()).collect()),
        Action::Set { .. } | Action::Adjust { .. } => (limits::STOCK_ITEMS_MAX, Vec::new()),
        Action::Repair(_) => panic!("nobody can ask for it"),
    };
    assert!((1..=items).contains(&action.item_count()));
    assert!(quantities.iter().all(|quantity| (1..=limits::QUANTITY_MAX).contains(quantity)));
    action.named_levels().for_each(|(unit, _)| unit_within_bounds(unit));
}

fn units_within_bounds(changes: &[(UnitSelector, UnitChange)]) {
    assert!((1..=limits::STOCK_ITEMS_MAX).contains(&changes.len()));
    for (unit, change) in changes {
        unit_within_bounds(unit);
        let UnitChange { sku, name, tracking: _, backorder_limit, counts_subscriptions: _, sell_from, sell_until } =
            change;
        assert!(sku.iter().flatten().all(|sku| is_text(sku.as_str(), 1..=limits::SKU_CHARS_MAX)));
        assert!(name.iter().all(|name| is_text(name, 0..=limits::UNIT_NAME_CHARS_MAX)));
        assert!(backorder_limit.iter().flatten().all(|limit| (0..=limits::BACKORDER_LIMIT_MAX).contains(limit)));
        let mut edges = sell_from.iter().chain(sell_until).flatten();
        assert!(edges.all(|edge| (0..=limits::TIME_MICROS_MAX).contains(edge)));
    }
}

fn site_within_bounds(change: &SiteChange) {
    assert!(change.catalogs.len() <= limits::CATALOGS_MAX);
    for (app_id, settings) in &change.catalogs {
        assert!(is_text(app_id, 1..=limits::APP_ID_CHARS_MAX));
        let keys = settings.option_keys.as_deref().unwrap_or_default();
        assert!(keys.len() <= limits::OPTION_KEYS_MAX);
        assert!(keys.iter().all(|key| (1..=limits::OPTION_KEY_CHARS_MAX).contains(&key.chars().count())));
        let limit = settings.counting.backorder_limit;
        assert!(limit.is_none_or(|limit| (0..=limits::BACKORDER_LIMIT_MAX).contains(&limit)));
    }
}
