//! The tables, as `migrations/` makes them in both backends: each described once, with how a row gives its values.

use diesel::sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text};

use crate::engine::storage::{
    CallWrite, ChangeWrite, EntryWrite, LevelRow, NewLevel, RequestWrite, SiteWrite, UnitWrite,
};
use crate::model::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::model::kind::Tracking;
use crate::model::order::OrderKey;
use crate::model::unit::Sku;
use crate::store::describe::{columns, described, listed};
use crate::store::guid::Guid;
use crate::store::layout::{Described, Table};

// The row of a site is the lock of all its rows. It is created with its defaults and then updated, so it is not
// described by rows to be written.
listed! {
    /// Tenants, with their settings and the sequence number of their last entry.
    site (site_id) {
        site_id -> Guid,
        sequence -> BigInt,
        default_location_id -> Nullable<Guid>,
        catalogs -> Text,
        revision -> BigInt,
        suspected_repeats -> SmallInt,
        over_returns -> SmallInt,
        recorded_at -> BigInt,
    }
}

described! {
    /// What is counted, with its settings.
    unit (unit_id) as UnitColumns<'a>, UnitRow of UnitWrite {
        unit_id: Guid = UnitId, |row| row.id;
        site_id: Guid = SiteId, |row| row.site;
        app_id: Text = &'a str, |row| row.unit.app_id.as_str();
        item_id: Text = &'a str, |row| row.unit.item_id.as_str();
        variant: Text = &'a str, |row| row.unit.variant.as_str();
        sku: Nullable<Text> = Option<&'a str>, |row| row.settings.sku.as_ref().map(Sku::as_str);
        name: Text = &'a str, |row| row.settings.name.as_str();
        // NULL where the unit's catalog decides.
        tracking: Nullable<SmallInt> = Option<i16>, |row| row.settings.state.counting.tracking.map(Tracking::code);
        backorder_limit: Nullable<BigInt> = Option<i64>, |row| row.settings.state.counting.backorder_limit;
        counts_subscriptions: Nullable<Bool> = Option<bool>, |row| row.settings.state.counting.counts_subscriptions;
        sell_from: Nullable<BigInt> = Option<i64>, |row| row.settings.state.window.from;
        sell_until: Nullable<BigInt> = Option<i64>, |row| row.settings.state.window.until;
        stocked: Bool = bool, |row| row.settings.state.stocked;
    }
}

described! {
    /// Stock levels.
    level (level_id) as LevelColumns<'a>, NewLevelRow of NewLevel {
        level_id: Guid = LevelId, |row| row.row.id;
        site_id: Guid = SiteId, |row| row.site;
        unit_id: Guid = UnitId, |row| row.unit_id;
        location_id: Nullable<Guid> = Option<LocationId>, |row| row.location;
        available: BigInt = i64, |row| row.row.available;
        revision: BigInt = i64, |row| row.row.revision;
        last_sequence: BigInt = i64, |row| row.row.last_sequence;
    }
}

described! {
    /// The headers of the entries of applied requests.
    change (site_id, first_sequence) as ChangeColumns<'a>, ChangeRow of ChangeWrite {
        site_id: Guid = SiteId, |row| row.site;
        first_sequence: BigInt = i64, |row| row.first_sequence;
        last_sequence: BigInt = i64, |row| row.last_sequence;
        kind: SmallInt = i16, |row| row.kind.code();
        reason: SmallInt = i16, |row| row.reason.code();
        order_id: Nullable<Guid> = Option<OrderId>, |row| row.order;
        request_id: Text = &'a str, |row| row.request_id.as_str();
        actor: Text = &'a str, |row| row.author.actor.as_str();
        recorded_at: BigInt = i64, |row| row.recorded_at;
        note: Text = &'a str, |row| row.note.as_str();
        on_behalf_of: Text = &'a str, |row| row.author.on_behalf_of.as_str();
    }
}

described! {
    /// The ledger: one immutable row for each change of a level.
    ledger (site_id, sequence) as LedgerColumns<'a>, LedgerRow of EntryWrite {
        site_id: Guid = SiteId, |row| row.site;
        sequence: BigInt = i64, |row| row.sequence;
        change_sequence: BigInt = i64, |row| row.change_sequence;
        previous_sequence: BigInt = i64, |row| row.previous_sequence;
        unit_id: Guid = UnitId, |row| row.unit_id;
        location_id: Nullable<Guid> = Option<LocationId>, |row| row.location;
        delta: BigInt = i64, |row| row.delta;
        level_before: BigInt = i64, |row| row.level_before;
        level_after: BigInt = i64, |row| row.level_after;
        floor: Nullable<BigInt> = Option<i64>, |row| row.floor;
        subscription: Bool = bool, |row| row.subscription;
        // NULL where the change that was asked for is the one that was made.
        asked: Nullable<BigInt> = Option<i64>, |row| (row.asked != row.delta).then_some(row.asked), sparse;
        marks: Nullable<SmallInt> = Option<i16>, |row| Some(row.marks.code()).filter(|code| *code != 0), sparse;
    }
}

described! {
    /// Every 64th entry of a level: where its chain can be entered.
    waypoint (level_id, sequence) as WaypointColumns<'a>, WaypointRow of (LevelId, i64) {
        level_id: Guid = LevelId, |row| row.0;
        sequence: BigInt = i64, |row| row.1;
    }
}

described! {
    /// The outcomes of requests, for their replays.
    request (site_id, request_key) as RequestColumns<'a>, RequestRow of RequestWrite {
        site_id: Guid = SiteId, |row| row.site;
        request_key: Guid = RequestKey, |row| row.key;
        fingerprint: Guid = Fingerprint, |row| row.fingerprint;
        first_sequence: BigInt = i64, |row| row.first_sequence;
        last_sequence: BigInt = i64, |row| row.last_sequence;
        refusal: Nullable<Text> = Option<&'a str>, |row| row.refusal.as_deref();
        recorded_at: BigInt = i64, |row| row.recorded_at;
        // Details of an order's call that made no entry.
        order_id: Nullable<Guid> = Option<OrderId>, |row| Some(call(row)?.order), sparse;
        kind: Nullable<SmallInt> = Option<i16>, |row| Some(call(row)?.kind.code()), sparse;
        reason: Nullable<SmallInt> = Option<i16>, |row| Some(call(row)?.reason.code()), sparse;
        request_id: Nullable<Text> = Option<&'a str>, |row| Some(call(row)?.request_id.as_str()), sparse;
        actor: Nullable<Text> = Option<&'a str>, |row| Some(call(row)?.author.actor.as_str()), sparse;
        on_behalf_of: Nullable<Text> = Option<&'a str>, |row| Some(call(row)?.author.on_behalf_of.as_str()), sparse;
    }
}

fn call(row: &RequestWrite) -> Option<&CallWrite> {
    row.call.as_ref()
}

// Written one by one, or from other tables, and rarely.
listed! {
    /// Who may call. The text of a token is stored nowhere.
    token (name) {
        name -> Text,
        hash -> Binary,
        scopes -> Text,
        sites -> Text,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

listed! {
    /// Up to where the entries of a site are gone. `retention` writes it, and the next two.
    cut (site_id) {
        site_id -> Guid,
        sequence -> BigInt,
        recorded_at -> BigInt,
        revision -> BigInt,
        change_id -> BigInt,
    }
}

listed! {
    /// Levels as of the cut of their site.
    balance (site_id, level_id) {
        site_id -> Guid,
        level_id -> Guid,
        unit_id -> Guid,
        location_id -> Nullable<Guid>,
        available -> BigInt,
        revision -> BigInt,
        last_sequence -> BigInt,
    }
}

listed! {
    /// What orders took and gave back by entries that are gone.
    holding (site_id, order_id, level_id) {
        site_id -> Guid,
        order_id -> Guid,
        level_id -> Guid,
        taken -> BigInt,
        returned -> BigInt,
    }
}

listed! {
    /// Changes of settings: of sites, catalogs, units and tokens.
    journal (change_id) {
        change_id -> BigInt,
        site_id -> Nullable<Guid>,
        recorded_at -> BigInt,
        actor -> Text,
        on_behalf_of -> Text,
        subject -> Text,
        before -> Text,
        after -> Text,
    }
}

listed! {
    /// What the servers' clocks showed, and how much time had passed by then.
    age_mark (marked_at) {
        marked_at -> BigInt,
        passed -> BigInt,
    }
}

/// All tables, each after those that it refers to. A copy of a database has their rows. The deletion of a site removes
/// its rows from the last table to the first.
pub(crate) static TABLES: [Table; 13] = [
    of::<site::table>(BY_SITE),
    of::<unit::table>(BY_SITE),
    // By the index on units; there is none on the sites of levels.
    of::<level::table>(Some("unit_id IN (SELECT unit.unit_id FROM unit WHERE unit.site_id = $1)")),
    of::<change::table>(BY_SITE),
    of::<ledger::table>(BY_SITE),
    of::<waypoint::table>(Some(
        "level_id IN (SELECT level.level_id FROM level JOIN unit ON unit.unit_id = level.unit_id \
         WHERE unit.site_id = $1)",
    )),
    of::<request::table>(BY_SITE),
    of::<token::table>(None),
    // That the site was deleted stays.
    of::<journal::table>(Some("site_id = $1 AND subject <> 'deletion'")),
    of::<age_mark::table>(None),
    // How far the sequence numbers of the site went stays.
    of::<cut::table>(None),
    of::<balance::table>(BY_SITE),
    of::<holding::table>(BY_SITE),
];

const BY_SITE: Option<&str> = Some("site_id = $1");

const fn of<T: Described>(rows_of_site: Option<&'static str>) -> Table {
    Table { rows_of_site, ..T::TABLE }
}

columns! {
    // A site before and after a batch.
    SiteStates<'a> of SiteWrite {
        site_id: Guid = SiteId, |row| row.before.id;
        before: BigInt = i64, |row| row.before.sequence;
        revision: BigInt = i64, |row| row.before.settings.revision;
        after: BigInt = i64, |row| row.sequence;
        recorded_at: BigInt = i64, |row| row.recorded_at;
    }
}

columns! {
    // The state of a level after a batch.
    LevelStates<'a> of (SiteId, LevelRow) {
        level_id: Guid = LevelId, |row| row.1.id;
        available: BigInt = i64, |row| row.1.available;
        revision: BigInt = i64, |row| row.1.revision;
        last_sequence: BigInt = i64, |row| row.1.last_sequence;
    }
}

columns! {
    // Orders that a batch took to be new.
    NewOrders<'a> of OrderKey {
        site_id: Guid = SiteId, |row| row.0;
        order_id: Guid = OrderId, |row| row.1;
    }
}

diesel::allow_tables_to_appear_in_same_query!(site, unit, level, change, ledger, waypoint, request, balance, holding);
