//! Whether a commit that has returned is on the synchronous standbys too.
//!
//! COMMIT waits for them. If somebody cancels the wait (`pg_cancel_backend`), it succeeds all the same, with a warning
//! that diesel does not pass on. So the writer asks Postgres how much of the log the standbys have. Only a role with
//! the rights of `pg_read_all_stats` may know that. Any other goes by the time: a short wait was hardly cancelled.

use std::sync::Once;
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::dsl::sql;
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{Bool, Nullable, Text};

use super::statements::prepared;
use crate::model::limits;

/// Whether the session's commits wait for standbys. It changes between two statements only.
pub(super) const WAITS: &str = "(current_setting('synchronous_standby_names') <> '' \
    AND current_setting('synchronous_commit') NOT IN ('off', 'local'))";

/// Whether the session may know what the standbys have.
pub(super) const SEES: &str =
    "to_regproc('pg_stat_get_wal_senders') IS NOT NULL AND pg_has_role('pg_read_all_stats', 'USAGE')";

/// Finds out whether a commit that has returned after so much time is on the standbys. If that is not certain, another
/// commit waits for them.
pub(super) fn have_commit(connection: &mut PgConnection, sees: bool, took: Duration) -> QueryResult<bool> {
    if sees {
        let (position, have) = Standbys { position: None }.get_result::<(String, bool)>(connection)?;
        if have {
            return Ok(true);
        }
        commit_again(connection)?;
        let again = Standbys { position: Some(position) }.get_result::<(String, bool)>(connection)?;
        return Ok(again.1);
    }
    tell_unseen();
    if took < limits::COMMIT_DOUBTED_AFTER {
        return Ok(true);
    }
    let started = Instant::now();
    let waits = commit_again(connection)?;
    Ok(!waits || started.elapsed() < limits::COMMIT_CONFIRMED_WITHIN)
}

/// Logs, once in the life of the process, that commits wait for standbys which the role may not see.
fn tell_unseen() {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let milliseconds = limits::COMMIT_DOUBTED_AFTER.as_millis();
        tracing::warn!(
            "the database's role may not see what the standbys have, so a commit counts as done although its wait \
             for them was cancelled within {milliseconds} ms: GRANT pg_read_all_stats TO the role, then start again"
        );
    });
}

/// A commit of its own, if commits wait for standbys. Returns whether they do.
fn commit_again(connection: &mut PgConnection) -> QueryResult<bool> {
    let emit = "pg_logical_emit_message(true, 'inventory', 'confirm') IS NOT NULL";
    diesel::select(sql::<Bool>(&format!("CASE WHEN {WAITS} THEN {emit} ELSE false END"))).get_result(connection)
}

/// Whether as many standbys as commits wait for have the log up to a position, which is where the primary's disk has it
/// now if none is given. Says that they have it if commits wait for none.
///
/// `synchronous_standby_names` says how many: `FIRST n (list)`, `ANY n (list)`, `n (list)`, or a list alone, which
/// means one. Postgres marks the standbys that count. The view `pg_stat_replication` would join them with all sessions,
/// which took 0.2 ms with 90 of them, where the function took 0.03 ms.
struct Standbys {
    position: Option<String>,
}

prepared!(Standbys -> (Text, Bool));

impl QueryFragment<Pg> for Standbys {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH log AS MATERIALIZED (SELECT coalesce(CAST(");
        out.push_bind_param::<Nullable<Text>, _>(&self.position)?;
        out.push_sql(" AS pg_lsn), pg_current_wal_flush_lsn()) AS position) SELECT CAST(position AS text), NOT ");
        out.push_sql(WAITS);
        out.push_sql(
            " OR (SELECT count(*) FROM pg_stat_get_wal_senders() AS standby \
                WHERE sync_state IN ('sync', 'quorum') AND position <= CASE current_setting('synchronous_commit') \
                    WHEN 'remote_write' THEN write_lsn WHEN 'remote_apply' THEN replay_lsn ELSE flush_lsn END \
            ) >= coalesce(CAST(substring(current_setting('synchronous_standby_names') \
                FROM '^\\s*[A-Za-z]*\\s*(\\d+)\\s*\\(') AS integer), 1) FROM log",
        );
        Ok(())
    }
}
