//! The tables, as `migrations/` makes them in both backends.

use diesel::table;

table! {
    use diesel::sql_types::{BigInt, Nullable, SmallInt, Text};
    use crate::store::Guid;

    site (site_id) {
        site_id -> Guid,
        sequence -> BigInt,
        default_location_id -> Nullable<Guid>,
        option_keys -> Text,
        revision -> BigInt,
        suspected_repeats -> SmallInt,
        over_returns -> SmallInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt, Text};
    use crate::store::Guid;

    unit (unit_id) {
        unit_id -> Guid,
        site_id -> Guid,
        app_id -> Text,
        item_id -> Text,
        variant -> Text,
        sku -> Nullable<Text>,
        name -> Text,
        tracking -> SmallInt,
        backorder_limit -> BigInt,
        counts_subscriptions -> Bool,
    }
}

table! {
    use diesel::sql_types::{BigInt, Nullable};
    use crate::store::Guid;

    level (level_id) {
        level_id -> Guid,
        site_id -> Guid,
        unit_id -> Guid,
        location_id -> Nullable<Guid>,
        available -> BigInt,
        revision -> BigInt,
        last_sequence -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Nullable, SmallInt, Text};
    use crate::store::Guid;

    change (site_id, first_sequence) {
        site_id -> Guid,
        first_sequence -> BigInt,
        last_sequence -> BigInt,
        kind -> SmallInt,
        reason -> SmallInt,
        order_id -> Nullable<Guid>,
        request_id -> Text,
        actor -> Text,
        recorded_at -> BigInt,
        note -> Text,
    }
}

table! {
    use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt};
    use crate::store::Guid;

    ledger (site_id, sequence) {
        site_id -> Guid,
        sequence -> BigInt,
        change_sequence -> BigInt,
        previous_sequence -> BigInt,
        unit_id -> Guid,
        location_id -> Nullable<Guid>,
        delta -> BigInt,
        level_before -> BigInt,
        level_after -> BigInt,
        floor -> Nullable<BigInt>,
        subscription -> Bool,
        asked -> Nullable<BigInt>,
        marks -> Nullable<SmallInt>,
    }
}

table! {
    use diesel::sql_types::BigInt;
    use crate::store::Guid;

    waypoint (level_id, sequence) {
        level_id -> Guid,
        sequence -> BigInt,
    }
}

table! {
    use diesel::sql_types::{BigInt, Nullable, SmallInt, Text};
    use crate::store::Guid;

    request (site_id, request_key) {
        site_id -> Guid,
        request_key -> Guid,
        fingerprint -> Guid,
        first_sequence -> BigInt,
        last_sequence -> BigInt,
        refusal -> Nullable<Text>,
        recorded_at -> BigInt,
        order_id -> Nullable<Guid>,
        kind -> Nullable<SmallInt>,
        reason -> Nullable<SmallInt>,
        request_id -> Nullable<Text>,
        actor -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(site, unit, level, change, ledger, waypoint, request);
