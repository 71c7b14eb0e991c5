//! Every bound of the core in one place. Names end in the unit that they count.

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
/// Characters of a caller's request id.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// Characters of an actor's name.
pub const ACTOR_CHARS_MAX: usize = 64;
/// Characters of a note.
pub const NOTE_CHARS_MAX: usize = 200;
/// Characters of a sku.
pub const SKU_CHARS_MAX: usize = 100;
/// Characters of a unit's name.
pub const UNIT_NAME_CHARS_MAX: usize = 200;
/// How far a restricted decrement may be allowed to go below zero.
pub const BACKORDER_LIMIT_MAX: i64 = 1_000_000_000_000;
/// Entries of an order that are looked at before its next call is decided; of an order with more, nothing
/// is suspected any more. Ten calls of the most items that Wix sends.
pub const ORDER_ENTRIES_MAX: usize = 3_000;
/// Calls of an order that are told.
pub const ORDER_CALLS_MAX: i64 = 300;

/// Catalog apps for which one site may name option keys.
pub const OPTION_KEY_APPS_MAX: usize = 100;
/// Option keys that one catalog app may name.
pub const OPTION_KEYS_MAX: usize = 20;
/// Characters of one option key.
pub const OPTION_KEY_CHARS_MAX: usize = 100;

/// Entries of a level from one waypoint to the next (fixed by the migration that made them).
pub const WAYPOINT_EVERY: i64 = 64;

/// Commands that may wait for one writer; one more is refused as overload.
pub const QUEUE_COMMANDS_MAX: usize = 4_096;
/// Commands of one transaction.
pub const BATCH_COMMANDS_MAX: usize = 512;
/// Items of one transaction: what bounds its time and memory when requests are large.
pub const BATCH_ITEMS_MAX: usize = 20_000;
/// Times that a batch is run again after a conflict or a lost connection.
pub const BATCH_ATTEMPTS_MAX: u32 = 4;
/// Batches for which repeats are looked up beforehand after one has been met.
pub const WATCHFUL_BATCHES: u32 = 64;
/// Batches for which the past of every order is looked up beforehand after one has been met that was not
/// new.
pub const ORDERLY_BATCHES: u32 = 64;
/// Batches that lock their sites first after somebody else has written to one: two servers that
/// share a site would otherwise decide most batches twice.
pub const GUARDED_BATCHES: u32 = 64;

/// Records of requests that one step of pruning looks at.
pub const PRUNED_ROWS: i64 = 500;
/// What orders have to themselves between two such steps.
pub const PRUNE_PAUSE: Duration = Duration::from_millis(100);

/// Levels that a writer keeps in mind, at some 100 bytes each.
pub const KNOWN_LEVELS_MAX: usize = 100_000;

/// Rows of one page, and what is taken when the caller names no size.
pub const PAGE_ROWS_MAX: i64 = 1_000;
/// Rows of a page when the caller names no size.
pub const PAGE_ROWS_DEFAULT: i64 = 100;

/// How long a caller who sets no deadline waits for an answer.
pub const ANSWER_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// How long SQLite waits for another process's write.
pub const BUSY_MS_MAX: u64 = 2_000;
/// How long the server waits for a reader's connection.
pub const READER_WAIT_MAX: Duration = Duration::from_secs(2);

const _: () = assert!(BATCH_COMMANDS_MAX <= QUEUE_COMMANDS_MAX);
const _: () = assert!(AVAILABILITY_ITEMS_MAX <= STOCK_ITEMS_MAX);
const _: () = assert!(STOCK_ITEMS_MAX <= BATCH_ITEMS_MAX);
// The sum of a request's items cannot overflow.
const _: () = assert!(QUANTITY_MAX.checked_mul(AVAILABILITY_ITEMS_MAX as i64).is_some());
