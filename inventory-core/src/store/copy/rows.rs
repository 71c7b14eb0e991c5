//! Rows of any table, by its layout: pages in the order of the key, their number, the last key, and what proves that
//! two tables have the same rows.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text};
use sha2::{Digest, Sha256};

use super::cell::{Cell, Cells, PgRow, RawRow, SqliteRow, binary, encode, key_of};
use crate::model::error::StoreError;
use crate::store::classify::classify;
use crate::store::connection::AnyConnection;
use crate::store::guid::Guid;
use crate::store::layout::{Kind, Table};

/// Rows of a page that is read. A page that is written to SQLite may have fewer.
const PAGE_ROWS: usize = 10_000;
/// Parameters of a statement of SQLite, at most.
const SQLITE_PARAMETERS: usize = 32_000;

/// Binds values as the parameters of a boxed query, in order.
macro_rules! bind {
    ($query:expr, $cells:expr) => {
        $cells.into_iter().fold($query, |query, cell: Cell| match cell {
            Cell::Null => query.bind::<Nullable<Text>, _>(None::<String>),
            Cell::Guid(value) => query.bind::<Guid, _>(value),
            Cell::Text(value) => query.bind::<Text, _>(value),
            Cell::Long(value) => query.bind::<BigInt, _>(value),
            Cell::Short(value) => query.bind::<SmallInt, _>(value),
            Cell::Flag(value) => query.bind::<Bool, _>(value),
            Cell::Bytes(value) => query.bind::<Binary, _>(value),
        })
    };
}

/// Rows that a query gives, with values of these kinds.
pub(crate) fn load(
    connection: &mut AnyConnection<'_>,
    sql: String,
    parameters: Cells,
    kinds: &[Kind],
) -> Result<Vec<Cells>, StoreError> {
    let kinds = || kinds.iter().copied();
    match connection {
        AnyConnection::Sqlite(connection) => {
            let query = bind!(diesel::sql_query(sql).into_boxed(), parameters);
            let rows: QueryResult<Vec<SqliteRow>> = query.load(*connection);
            rows.map_err(|error| classify(*connection, error))?.into_iter().map(|row| row.cells(kinds())).collect()
        }
        AnyConnection::Postgres(connection) => {
            let query = bind!(diesel::sql_query(sql).into_boxed(), parameters);
            let rows: QueryResult<Vec<PgRow>> = query.load(*connection);
            rows.map_err(|error| classify(*connection, error))?.into_iter().map(|row| row.cells(kinds())).collect()
        }
    }
}

/// Names as SQL of both backends, separated by commas.
fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn columns(table: &Table) -> String {
    names(table.columns.iter().map(|column| column.name))
}

fn kinds(table: &Table) -> Vec<Kind> {
    table.columns.iter().map(|column| column.kind).collect()
}

/// The next rows after a key, in the order of keys; from the first row on if there is no key.
pub(super) fn page(
    connection: &mut AnyConnection<'_>,
    table: &Table,
    after: Option<Cells>,
    rows: usize,
) -> Result<Vec<Cells>, StoreError> {
    let (name, key) = (table.name, names(table.key.iter().copied()));
    let after = after.unwrap_or_default();
    let places: Vec<String> = (1..=after.len()).map(|place| format!("${place}")).collect();
    let condition = if after.is_empty() { String::new() } else { format!("WHERE ({key}) > ({}) ", places.join(", ")) };
    let sql = format!("SELECT {} FROM \"{name}\" {condition}ORDER BY {key} LIMIT {rows}", columns(table));
    load(connection, sql, after, &kinds(table))
}

/// Whether the table has rows.
pub(super) fn has_rows(connection: &mut AnyConnection<'_>, table: &Table) -> Result<bool, StoreError> {
    Ok(!page(connection, table, None, 1)?.is_empty())
}

/// The number of rows.
pub(super) fn count(connection: &mut AnyConnection<'_>, table: &Table) -> Result<i64, StoreError> {
    let sql = format!("SELECT count(*) AS rows FROM \"{}\"", table.name);
    let found = load(connection, sql, Vec::new(), &[Kind::Long])?;
    match found.first().and_then(|row| row.first()) {
        Some(Cell::Long(rows)) => Ok(*rows),
        Some(_) | None => Err(StoreError::Damaged("a number of rows that is no number")),
    }
}

/// The greatest key; `None` if the table is empty.
pub(super) fn last_key(connection: &mut AnyConnection<'_>, table: &Table) -> Result<Option<Cells>, StoreError> {
    let key = names(table.key.iter().copied());
    let backwards = table.key.iter().map(|column| format!("\"{column}\" DESC")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {key} FROM \"{}\" ORDER BY {backwards} LIMIT 1", table.name);
    let kinds: Vec<Kind> = table.key.iter().filter_map(|column| table.kind(column)).collect();
    Ok(load(connection, sql, Vec::new(), &kinds)?.pop())
}

/// The row with a key.
pub(crate) fn find(connection: &mut AnyConnection<'_>, table: &Table, key: Cells) -> Result<Option<Cells>, StoreError> {
    let places: Vec<String> = (1..).zip(table.key).map(|(place, name)| format!("\"{name}\" = ${place}")).collect();
    let sql = format!("SELECT {} FROM \"{}\" WHERE {}", columns(table), table.name, places.join(" AND "));
    Ok(load(connection, sql, key, &kinds(table))?.pop())
}

/// Calls `each` with all rows after a key, in pages of so many rows.
pub(super) fn each_page<E: From<StoreError>>(
    connection: &mut AnyConnection<'_>,
    table: &Table,
    mut after: Option<Cells>,
    rows: usize,
    mut each: impl FnMut(Vec<Cells>) -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let page = page(connection, table, after, rows)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(key_of(table, last));
        let is_last = page.len() < rows;
        each(page)?;
        if is_last {
            return Ok(());
        }
    }
}

/// Rows that one statement can add to a table.
pub(super) fn rows_of_insert(connection: &AnyConnection<'_>, table: &Table) -> usize {
    match connection {
        AnyConnection::Sqlite(_) => SQLITE_PARAMETERS / table.columns.len().max(1),
        AnyConnection::Postgres(_) => PAGE_ROWS,
    }
}

/// Adds rows to a table, all or none of them: the one statement is a transaction of its own.
pub(super) fn insert(connection: &mut AnyConnection<'_>, table: &Table, rows: Vec<Cells>) -> Result<(), StoreError> {
    match connection {
        AnyConnection::Sqlite(connection) => {
            let row = format!("({})", vec!["?"; table.columns.len()].join(", "));
            let values = vec![row.as_str(); rows.len()].join(", ");
            let sql = format!("INSERT INTO \"{}\" ({}) VALUES {values}", table.name, columns(table));
            let query = bind!(diesel::sql_query(sql).into_boxed(), rows.into_iter().flatten());
            query.execute(*connection).map_err(|error| classify(*connection, error))?;
        }
        AnyConnection::Postgres(connection) => {
            let rows = binary(&rows)?;
            (table.copy_in)(connection, &rows).map_err(|error| classify(*connection, error))?;
        }
    }
    Ok(())
}

/// What a table holds: two tables with the same rows have the same proof, two with different rows never have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) rows: i64,
    hash: [u8; 32],
}

impl Content {
    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// Reads a whole table. `read` is called with the number of rows of each page.
pub(super) fn content(
    connection: &mut AnyConnection<'_>,
    table: &Table,
    mut read: impl FnMut(i64),
) -> Result<Content, StoreError> {
    let (mut hash, mut total, mut bytes) = (Sha256::new(), 0_i64, Vec::new());
    each_page(connection, table, None, PAGE_ROWS, |page| {
        bytes.clear();
        for row in &page {
            encode(row, &mut bytes)?;
        }
        hash.update(&bytes);
        let rows = i64::try_from(page.len()).unwrap_or(i64::MAX);
        total = total.saturating_add(rows);
        read(rows);
        Ok::<(), StoreError>(())
    })?;
    Ok(Content { rows: total, hash: hash.finalize().into() })
}
