//! A value of a row whatever its table is: read from either backend, written to either, and in one form that is the
//! same for equal values, so that rows of two databases can be compared.

use diesel::deserialize::{self, FromSql, QueryableByName};
use diesel::pg::Pg;
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::{Sqlite, SqliteType};
use uuid::Uuid;

use crate::model::error::StoreError;
use crate::store::layout::{Kind, Table};

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Guid(Uuid),
    Text(String),
    Long(i64),
    Short(i16),
    Flag(bool),
    Bytes(Vec<u8>),
}

/// The values of a row, in the order of its table's columns.
pub(crate) type Cells = Vec<Cell>;

/// A row as a backend gives it, without the meaning of its values.
pub(super) trait RawRow {
    /// The values, which are of these kinds.
    fn cells(self, kinds: impl Iterator<Item = Kind>) -> Result<Cells, StoreError>;
}

const FOREIGN: StoreError = StoreError::Damaged("a value of another type than its column");

/// A row of SQLite, where each value has a type of its own.
pub(super) struct SqliteRow(Vec<Raw>);

enum Raw {
    Null,
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl QueryableByName<Sqlite> for SqliteRow {
    fn build<'a>(row: &impl NamedRow<'a, Sqlite>) -> deserialize::Result<Self> {
        let value = |at: usize| {
            let field = Row::get(row, at).ok_or("a row ends early")?;
            let Some(value) = field.value() else { return Ok(Raw::Null) };
            match value.value_type() {
                None => Ok(Raw::Null),
                Some(SqliteType::Text) => Ok(Raw::Text(FromSql::<Text, Sqlite>::from_sql(value)?)),
                Some(SqliteType::Binary) => Ok(Raw::Blob(FromSql::<Binary, Sqlite>::from_sql(value)?)),
                Some(SqliteType::SmallInt | SqliteType::Integer | SqliteType::Long) => {
                    Ok(Raw::Integer(FromSql::<BigInt, Sqlite>::from_sql(value)?))
                }
                Some(SqliteType::Float | SqliteType::Double) => Err("no column holds fractions".into()),
            }
        };
        (0..row.field_count()).map(value).collect::<deserialize::Result<_>>().map(Self)
    }
}

impl RawRow for SqliteRow {
    fn cells(self, kinds: impl Iterator<Item = Kind>) -> Result<Cells, StoreError> {
        let cell = |(raw, kind): (Raw, Kind)| match (raw, kind) {
            (Raw::Null, _) => Ok(Cell::Null),
            (Raw::Integer(value), Kind::Long) => Ok(Cell::Long(value)),
            (Raw::Integer(value), Kind::Short) => i16::try_from(value).map(Cell::Short).map_err(|_| FOREIGN),
            (Raw::Integer(value @ (0 | 1)), Kind::Flag) => Ok(Cell::Flag(value == 1)),
            (Raw::Text(value), Kind::Text) => Ok(Cell::Text(value)),
            (Raw::Blob(value), Kind::Guid) => Uuid::from_slice(&value).map(Cell::Guid).map_err(|_| FOREIGN),
            (Raw::Blob(value), Kind::Bytes) => Ok(Cell::Bytes(value)),
            (Raw::Integer(_) | Raw::Text(_) | Raw::Blob(_), _) => Err(FOREIGN),
        };
        self.0.into_iter().zip(kinds).map(cell).collect()
    }
}

/// A row of Postgres, with the values in its binary format.
pub(super) struct PgRow(Vec<Option<Vec<u8>>>);

impl QueryableByName<Pg> for PgRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let value = |at: usize| {
            let field = Row::get(row, at).ok_or("a row ends early")?;
            Ok(field.value().map(|value| value.as_bytes().to_vec()))
        };
        (0..row.field_count()).map(value).collect::<deserialize::Result<_>>().map(Self)
    }
}

impl RawRow for PgRow {
    fn cells(self, kinds: impl Iterator<Item = Kind>) -> Result<Cells, StoreError> {
        let cell = |(bytes, kind): (Option<Vec<u8>>, Kind)| {
            let Some(bytes) = bytes else { return Ok(Cell::Null) };
            let found = match kind {
                Kind::Guid => Uuid::from_slice(&bytes).map(Cell::Guid).ok(),
                Kind::Text => String::from_utf8(bytes).map(Cell::Text).ok(),
                Kind::Long => bytes.try_into().map(i64::from_be_bytes).map(Cell::Long).ok(),
                Kind::Short => bytes.try_into().map(i16::from_be_bytes).map(Cell::Short).ok(),
                Kind::Flag => Some(Cell::Flag(bytes == [1])),
                Kind::Bytes => Some(Cell::Bytes(bytes)),
            };
            found.ok_or(FOREIGN)
        };
        self.0.into_iter().zip(kinds).map(cell).collect()
    }
}

/// The values of the key of a row.
pub(super) fn key_of(table: &Table, row: &Cells) -> Cells {
    table.key_places().filter_map(|place| row.get(place).cloned()).collect()
}

/// Before the first row of COPY's binary format: a mark, no flags, and no more of a header.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// After the last row.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Rows in the binary format of Postgres's COPY.
pub(super) fn binary(rows: &[Cells]) -> Result<Vec<u8>, StoreError> {
    let mut out = HEADER.to_vec();
    for row in rows {
        encode(row, &mut out)?;
    }
    out.extend(TRAILER);
    Ok(out)
}

/// A row in the same format: equal rows give equal bytes, and different rows different ones.
pub(super) fn encode(row: &[Cell], out: &mut Vec<u8>) -> Result<(), StoreError> {
    let too_long = |_| StoreError::Damaged("a value that is too long for a row");
    out.extend(i16::try_from(row.len()).map_err(too_long)?.to_be_bytes());
    for cell in row {
        let mut put = |bytes: &[u8]| {
            out.extend(i32::try_from(bytes.len()).map_err(too_long)?.to_be_bytes());
            out.extend(bytes);
            Ok::<(), StoreError>(())
        };
        match cell {
            Cell::Null => out.extend((-1_i32).to_be_bytes()),
            Cell::Guid(value) => put(value.as_bytes())?,
            Cell::Text(value) => put(value.as_bytes())?,
            Cell::Long(value) => put(&value.to_be_bytes())?,
            Cell::Short(value) => put(&value.to_be_bytes())?,
            Cell::Flag(value) => put(&[u8::from(*value)])?,
            Cell::Bytes(value) => put(value)?,
        }
    }
    Ok(())
}
