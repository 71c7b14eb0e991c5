//! How old a record is. A record grows old by time that surely passed, not by what the clock shows. Otherwise a server
//! that starts with a clock a month ahead would forget every outcome, and apply a replay as a new request.
//!
//! Every hour each server marks in `age_mark` what its clock shows, and how much time has passed up to then:
//!
//! - If the clock moved by at most `limits::CLOCK_STEP_MICROS_MAX` since the last mark, that time passed.
//! - If it moved further, nobody knows whether no server ran or the clock was set. Then no time passed.
//! - If it moved back, the marks behind it were made by a clock that was ahead. They are deleted.
//!
//! A mark with `retention` less than the newest one was made at least `retention` ago, whatever the clocks showed in
//! between, and so was every record with an earlier time: it was made before the mark, or by a clock that was behind.
//! A clock behind the marks deletes those that are ahead of it, as above, before anything is judged by them. So no
//! record is forgotten early by more than two servers' clocks differ, or by what a clock gains unseen, which is less
//! than an hour for each look. A record is kept longer by the time that no server ran.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use crate::engine::storage::Age;
use crate::model::error::StoreError;
use crate::model::limits;
use crate::store::connection::{AnyConnection, on};

#[derive(QueryableByName)]
struct Mark {
    #[diesel(sql_type = BigInt)]
    marked_at: i64,
    #[diesel(sql_type = BigInt)]
    passed: i64,
}

#[derive(QueryableByName)]
struct Old {
    #[diesel(sql_type = Nullable<BigInt>)]
    marked_at: Option<i64>,
}

// `$1` is a name to SQLite and a number to Postgres. Numbered by first use, they are the same.
const NEWEST: &str = "SELECT marked_at, passed FROM age_mark ORDER BY marked_at DESC LIMIT 1";
const UNDO: &str = "DELETE FROM age_mark WHERE marked_at > $1";
const ADD: &str = "INSERT INTO age_mark (marked_at, passed) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const OLD: &str = "SELECT max(marked_at) AS marked_at FROM age_mark WHERE passed <= $1";
const FORGET: &str = "DELETE FROM age_mark WHERE marked_at < $1";

/// Marks that the clock shows `now`, and says what is older than `retention`. Several servers may do so at the same
/// time: each of them counts from one mark.
pub(crate) fn age(connection: &mut AnyConnection<'_>, now: i64, retention: i64) -> Result<Age, StoreError> {
    let expected = newest(connection)?;
    execute(connection, UNDO, &[now])?;
    let last = newest(connection)?;
    let moved = last.as_ref().map(|last| now.saturating_sub(last.marked_at));
    let counted = moved.filter(|moved| *moved <= limits::CLOCK_STEP_MICROS_MAX).unwrap_or(0);
    let passed = last.map_or(0, |last| last.passed).saturating_add(counted);
    execute(connection, ADD, &[now, passed])?;
    let old: Old = on!(connection, |c| {
        diesel::sql_query(OLD).bind::<BigInt, _>(passed.saturating_sub(retention)).get_result(c)
    })?;
    if let Some(old) = old.marked_at {
        execute(connection, FORGET, &[old])?;
    }
    let jumped = expected.map(|expected| now.saturating_sub(expected.marked_at));
    let jumped = jumped.filter(|moved| !(0..=limits::CLOCK_STEP_MICROS_MAX).contains(moved));
    Ok(Age { before: old.marked_at, jumped })
}

fn newest(connection: &mut AnyConnection<'_>) -> Result<Option<Mark>, StoreError> {
    on!(connection, |c| diesel::sql_query(NEWEST).get_result(c).optional())
}

fn execute(connection: &mut AnyConnection<'_>, sql: &str, values: &[i64]) -> Result<(), StoreError> {
    on!(connection, |c| {
        let query =
            values.iter().fold(diesel::sql_query(sql).into_boxed(), |query, value| query.bind::<BigInt, _>(value));
        query.execute(c)
    })?;
    Ok(())
}
