//! The bounds of the core. A bound that concerns one file alone stands at the top of that file. Names end in the unit
//! that they count.

use std::time::Duration;

/// Items of one availability request (Wix: 1..300, documented).
pub const AVAILABILITY_ITEMS_MAX: usize = 300;
/// Items of one stock request.
pub const STOCK_ITEMS_MAX: usize = 1_000;
/// Entries of one change: a move makes two of each item.
pub const CHANGE_ENTRIES_MAX: i64 = 2 * STOCK_ITEMS_MAX as i64;
/// Pieces of one item (Wix: 1..100,000, documented).
pub const QUANTITY_MAX: i64 = 100_000;
/// Characters of a catalog item id (Wix: 1..36, documented).
pub const ITEM_ID_CHARS_MAX: usize = 36;
/// Characters of a catalog app id. Wix states no upper bound; real ones are GUIDs.
pub const APP_ID_CHARS_MAX: usize = 100;
/// Bytes of the canonical JSON of the options that identify stock. Wix states no bound.
pub const VARIANT_BYTES_MAX: usize = 2_000;
/// Characters of an idempotency key.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// Characters of an actor's name, which is also a token's.
pub const ACTOR_CHARS_MAX: usize = 64;
/// Characters of a note.
pub const NOTE_CHARS_MAX: usize = 200;
/// Characters of a SKU.
pub const SKU_CHARS_MAX: usize = 100;
/// Characters of a unit's name.
pub const UNIT_NAME_CHARS_MAX: usize = 200;
/// A unit's backorder limit, in pieces.
pub const BACKORDER_LIMIT_MAX: i64 = 1_000_000_000_000;
/// Entries of an order's history that the rules look at; ten calls of the most items that Wix sends. Nothing is
/// suspected of a longer history.
pub const ORDER_ENTRIES_MAX: usize = 3_000;
/// Calls of an order that readers get.
pub const ORDER_CALLS_MAX: i64 = 300;

/// Catalog apps for which a site may have settings.
pub const CATALOGS_MAX: usize = 100;
/// Option keys of one catalog app.
pub const OPTION_KEYS_MAX: usize = 20;
/// Characters of one option key.
pub const OPTION_KEY_CHARS_MAX: usize = 100;

/// The last time that a sales window may name: the end of the year 9999, the last one of a protobuf Timestamp.
pub const TIME_MICROS_MAX: i64 = 253_402_300_799_999_999;

/// Tokens, those that expired or were revoked included.
pub const TOKENS_MAX: usize = 1_000;
/// Sites of one token.
pub const TOKEN_SITES_MAX: usize = 100;
/// How often a server reads the tokens. A revocation takes effect within this time.
pub const TOKENS_EVERY: Duration = Duration::from_secs(2);

/// Entries of a level from one waypoint to the next. Fixed by the migration that made the waypoints.
pub const WAYPOINT_EVERY: i64 = 64;

/// Commands that may wait for one writer. One more is refused.
pub const QUEUE_COMMANDS_MAX: usize = 4_096;
/// Commands of one batch.
pub const BATCH_COMMANDS_MAX: usize = 512;
/// Items of one batch. Bounds its time and memory when requests are large. With 6,000, orders of 300 items from 64
/// callers came to 0.93 of what they are with this.
pub const BATCH_ITEMS_MAX: usize = 20_000;
/// Times that a batch is run, at most, after conflicts and lost connections.
pub const BATCH_ATTEMPTS_MAX: u32 = 4;
/// Batches that look up replays first, after one met a replay.
pub const CHECK_REPLAYS_BATCHES: u32 = 64;
/// Batches that load the history of every order first, after one met an order that it took to be new.
pub const LOAD_ORDERS_BATCHES: u32 = 64;
/// Batches that lock their sites first, after another server wrote to one. Two servers that share a site would
/// otherwise decide most batches twice.
pub const LOCK_FIRST_BATCHES: u32 = 64;

/// How long Postgres works at one statement of a writer.
pub const STATEMENT_MS_MAX: u64 = 20_000;
/// How long a writer works at one batch before its supervisor looks whether another server has taken over.
pub const WRITER_STUCK_AFTER: Duration = Duration::from_secs(2);
/// How long a writer works at one batch before another writer may take its place on the same server.
///
/// A server that lives ends each statement in `STATEMENT_MS_MAX`. An optimistic commit is one statement, and its
/// confirmation is another. Together they take 40 s at most; this is 60 s. Only the wait for a standby has no end, and
/// for that the supervisor looks. A batch of several slow statements may take longer. Its writer is replaced too, which
/// harms nobody: no caller waits for that long (`ANSWER_TIME_DEFAULT`).
pub const WRITER_HUNG_AFTER: Duration = Duration::from_secs(60);
/// Writers of one queue that may be left behind on servers that live. Each holds a thread and a connection.
pub const HUNG_WRITERS_MAX: usize = 4;
/// How often a supervisor looks at its writer.
pub const SUPERVISE_EVERY: Duration = Duration::from_millis(250);
/// How often a supervisor connects while its writer is stuck.
pub const SUPERVISOR_CONNECTS_EVERY: Duration = Duration::from_secs(1);
/// How long a supervisor waits for its connection. Three hosts that hang take libpq 9 s (`connect_timeout`).
pub const SUPERVISOR_CONNECT_MAX: Duration = Duration::from_secs(10);
/// Connections that a supervisor no longer waits for, and that have not ended. Each holds a thread.
pub const LATE_CONNECTS_MAX: usize = 8;
/// With so many late connections, a supervisor commits nothing on new ones. Commits that wait for a standby must leave
/// room for the connection that finds the server which has taken over.
pub const LATE_PROBES_MAX: usize = 2;
/// A commit that took this long may have waited for a standby until somebody cancelled the wait. Another follows it, if
/// the database role may not see what the standbys have.
pub const COMMIT_DOUBTED_AFTER: Duration = Duration::from_millis(50);
/// If that one took this long, its wait may have been cancelled as well. More than any standby needs that is there.
pub const COMMIT_CONFIRMED_WITHIN: Duration = Duration::from_secs(1);

/// How long a batch waits for a lock of another transaction on Postgres.
pub const LOCK_WAIT_MS_MAX: u64 = 250;
/// How long Postgres waits for the next statement of a writer's transaction. A writer that is well takes less than a
/// millisecond; one whose program hangs must not hold the locks of its sites for as long as callers wait.
pub const WRITER_IDLE_MS_MAX: u64 = 1_000;
/// How often a writer looks whether the sites are free whose commands it has set aside.
pub const LOCK_LOOK_EVERY: Duration = Duration::from_millis(20);
/// The pause of a writer that has nothing else to do meanwhile.
pub const LOCK_PAUSE: Duration = Duration::from_millis(2);
/// How long before its deadline a command is answered that still waits for a lock.
pub const LOCK_ANSWER_BEFORE: Duration = Duration::from_millis(200);
/// How often a writer tries commands that wait for another row than that of their site.
pub const LOCK_RETRY_EVERY: Duration = Duration::from_millis(250);
/// How long such a try waits for a lock. The other sites of the writer wait meanwhile.
pub const LOCK_RETRY_WAIT_MS_MAX: u64 = 20;
/// Locked sites that a writer remembers although none of their commands waits.
pub const LOCKED_SITES_MAX: usize = 1_000;

/// How often servers look at the clock, and prune: microseconds.
pub const PRUNE_EVERY_MICROS: i64 = 3_600_000_000;
/// What the clock moves between two looks is time that passed, if it is not more than this.
pub const CLOCK_STEP_MICROS_MAX: i64 = 2 * PRUNE_EVERY_MICROS;
/// Request records that one step of pruning looks at.
pub const PRUNED_ROWS: i64 = 500;
/// Pause between two such steps, for the orders.
pub const PRUNE_PAUSE: Duration = Duration::from_millis(100);
/// Entries that one step of archiving removes, and as many more as the last change has. The site is locked meanwhile.
pub const ARCHIVED_ENTRIES: i64 = 2_000;

/// Sites, levels and SKUs that a writer caches, at some 100 bytes each; a site takes a few hundred.
pub const CACHED_LEVELS_MAX: usize = 100_000;

/// Rows of one page.
pub const PAGE_ROWS_MAX: i64 = 1_000;
/// Rows of a page if the caller names no size.
pub const PAGE_ROWS_DEFAULT: i64 = 100;

/// Callers that may watch ledgers at a time.
pub const WATCHERS_MAX: usize = 10_000;

/// How long a caller without a deadline waits for an answer.
pub const ANSWER_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// How long SQLite waits for another process's write.
pub const BUSY_MS_MAX: u64 = 2_000;
/// Connections for reading.
pub const READERS_MAX: u32 = 4;
/// Connections that reads of pages use at a time. The others are for reads of a few rows.
pub const PAGE_READERS_MAX: usize = READERS_MAX as usize / 2;
/// How long a read waits for a connection.
pub const READER_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a read waits until the database has the entry that the caller named.
pub const SEQUENCE_WAIT_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(BATCH_COMMANDS_MAX <= QUEUE_COMMANDS_MAX);
const _: () = assert!(AVAILABILITY_ITEMS_MAX <= STOCK_ITEMS_MAX);
const _: () = assert!(STOCK_ITEMS_MAX <= BATCH_ITEMS_MAX);
const _: () = assert!(WRITER_HUNG_AFTER.as_millis() > 2 * STATEMENT_MS_MAX as u128);
const _: () = assert!(WRITER_HUNG_AFTER.as_millis() > ANSWER_TIME_DEFAULT.as_millis());
const _: () = assert!(LATE_PROBES_MAX < LATE_CONNECTS_MAX);
// The sum of a request's items cannot overflow.
const _: () = assert!(QUANTITY_MAX.checked_mul(AVAILABILITY_ITEMS_MAX as i64).is_some());
