//! The layout of a table at run time: its columns, their kinds and its key. It comes from the table's description
//! (`tables.rs`), and serves what treats all tables alike.

use diesel::QueryResult;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text};

use crate::store::guid::Guid;

/// A table.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns of its key, in order.
    pub(crate) key: &'static [&'static str],
    /// All of its columns.
    pub(crate) columns: &'static [Column],
    /// The condition for the rows that go with the site `$1`; `None` if none do.
    pub(crate) rows_of_site: Option<&'static str>,
    /// Adds rows to the table on Postgres, all or none of them. They are in the binary format of COPY, with all columns
    /// in order.
    pub(crate) copy_in: fn(&mut PgConnection, &[u8]) -> QueryResult<usize>,
}

/// A column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What a column holds, if it is not NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Guid,
    Text,
    Long,
    Short,
    Flag,
    Bytes,
}

/// A table with a layout.
pub(crate) trait Described {
    const TABLE: Table;
}

/// The SQL type of a column.
pub(crate) trait Stored {
    const KIND: Kind;
}

macro_rules! stored {
    ($($sql:ident: $kind:ident),+) => { $(
        impl Stored for $sql {
            const KIND: Kind = Kind::$kind;
        }
    )+ };
}

stored!(Guid: Guid, Text: Text, BigInt: Long, SmallInt: Short, Bool: Flag, Binary: Bytes);

impl<T: Stored> Stored for Nullable<T> {
    const KIND: Kind = T::KIND;
}

impl Table {
    /// Where the columns of the key stand among all columns.
    pub(crate) fn key_places(&self) -> impl Iterator<Item = usize> {
        self.key.iter().filter_map(|key| self.columns.iter().position(|column| column.name == *key))
    }

    /// The kind of a column; `None` if there is no such column.
    pub(crate) fn kind(&self, column: &str) -> Option<Kind> {
        self.columns.iter().find(|found| found.name == column).map(|found| found.kind)
    }
}

/// `layout! { table (key) { column: SqlType, … } }`: gives diesel's table its layout.
macro_rules! layout {
    ($table:ident ($($key:ident),+) { $($column:ident: $sql:ident $(<$inner:ident>)?),+ }) => {
        impl $crate::store::layout::Described for $table::table {
            const TABLE: $crate::store::layout::Table = $crate::store::layout::Table {
                name: stringify!($table),
                key: &[$(stringify!($key)),+],
                columns: &[$($crate::store::layout::Column {
                    name: stringify!($column),
                    kind: <$sql $(<$inner>)? as $crate::store::layout::Stored>::KIND,
                }),+],
                rows_of_site: None,
                copy_in: |connection, rows| {
                    use diesel::pg::CopyFormat;
                    use diesel::prelude::ExecuteCopyFromDsl;
                    use diesel::result::Error;
                    let write = |out: &mut dyn std::io::Write| {
                        out.write_all(rows).map_err(|error| Error::SerializationError(error.into()))
                    };
                    diesel::copy_from($table::table)
                        .from_raw_data($table::table, write)
                        .with_format(CopyFormat::Binary)
                        .execute(connection)
                },
            };
        }
    };
}

pub(crate) use layout;
