//! The chain of a level: its row knows its last entry, each entry the one before, and every
//! `limits::WAYPOINT_EVERY`th is a waypoint, from which the chain can be entered. Macros, because each
//! statement must be compiled once for either backend.

use diesel::QueryableByName;
use diesel::sql_types::BigInt;

/// An entry of a chain.
#[derive(QueryableByName)]
pub(crate) struct Link {
    #[diesel(sql_type = BigInt)]
    pub(crate) sequence: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) level_after: i64,
}

/// The level's waypoint at the sequence `from` or after it, so many further on.
macro_rules! waypoint {
    ($connection:expr, $level:expr, $from:expr, $skip:expr) => {{
        use crate::store::schema::waypoint;
        waypoint::table
            .filter(waypoint::level_id.eq($level).and(waypoint::sequence.ge($from)))
            .order(waypoint::sequence)
            .offset($skip)
            .select(waypoint::sequence)
            .first::<i64>($connection)
            .optional()
    }};
}

/// The chain from the entry `start` back to the first entry that is not after `until`, at most `most`
/// of it. `$1` is a name to SQLite and a number to Postgres; numbered by first use, they are the same.
macro_rules! links {
    ($connection:expr, $site:expr, $start:expr, $until:expr, $most:expr) => {
        diesel::sql_query(
            "WITH RECURSIVE chain (sequence, previous, level_after) AS ( \
                SELECT sequence, previous_sequence, level_after FROM ledger WHERE site_id = $1 AND sequence = $2 UNION ALL \
                SELECT ledger.sequence, ledger.previous_sequence, ledger.level_after FROM chain \
                JOIN ledger ON ledger.site_id = $1 AND ledger.sequence = chain.previous WHERE chain.sequence > $3 \
            ) SELECT sequence, level_after FROM chain LIMIT $4",
        )
        .bind::<crate::store::Guid, _>($site)
        .bind::<diesel::sql_types::BigInt, _>($start)
        .bind::<diesel::sql_types::BigInt, _>($until)
        .bind::<diesel::sql_types::BigInt, _>($most)
        .load::<crate::store::chain::Link>($connection)
    };
}

pub(crate) use {links, waypoint};
