//! How a table is described once, and what both backends make of the description.
//!
//! [`described!`] takes a table's columns, their SQL types, and how a row to be written gives their values. From it
//! come diesel's table, a set of columns that Postgres writes as arrays, and a row that SQLite writes by itself. So a
//! new column is one line of its table's description, beside the migration that adds it. [`listed!`] describes a table
//! that is written in diesel's own terms, [`columns!`] values that update a table. Tables of both kinds have a layout
//! (`layout.rs`).

use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, HasSqlType};
use diesel::sqlite::Sqlite;

use crate::model::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};

/// A value of a column.
pub(crate) trait Value {
    /// Whether it is NULL.
    fn is_null(&self) -> bool {
        false
    }
}

macro_rules! never_null {
    ($($name:ty),+) => { $(impl Value for $name {})+ };
}

never_null!(SiteId, LocationId, OrderId, UnitId, LevelId, RequestKey, Fingerprint, i64, i16, bool, &str);

impl<T: Value> Value for Option<T> {
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

/// The values of one column as an array parameter. An array of NULLs alone is sent empty: `unnest` pads it with NULL.
pub(crate) struct Column<ST, T>(Vec<T>, PhantomData<ST>);

impl<ST, T: Value> FromIterator<T> for Column<ST, T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values: Vec<T> = values.into_iter().collect();
        if values.iter().all(Value::is_null) {
            values.clear();
        }
        Self(values, PhantomData)
    }
}

impl<ST: 'static, T> Column<ST, T>
where
    Pg: HasSqlType<Array<ST>>,
    Vec<T>: ToSql<Array<ST>, Pg>,
{
    pub(crate) fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<Array<ST>, Vec<T>>(&self.0)
    }
}

/// A row that SQLite writes by itself.
pub(crate) trait SqliteRow {
    /// Whether a sparse column has a value.
    fn has_sparse(&self) -> bool;
    /// Pushes `INSERT INTO table (columns) VALUES (values)`, with the sparse columns or without.
    fn push_insert<'b>(&'b self, out: &mut AstPass<'_, 'b, Sqlite>, with_sparse: bool) -> QueryResult<()>;
    /// Pushes what makes of the insertion an update, if the key exists.
    fn push_update(out: &mut AstPass<'_, '_, Sqlite>);
}

/// Pushes a comma before every item but the first.
pub(crate) fn comma<DB: Backend>(out: &mut AstPass<'_, '_, DB>, is_first: &mut bool) {
    if !std::mem::replace(is_first, false) {
        out.push_sql(", ");
    }
}

/// `columns! { Columns<'a> of Row { column: SqlType = RustType, |row| value; … } }`: a set of columns that Postgres
/// takes as arrays. `push_select` writes them as `SELECT unnest($1) AS column, …`, a row for each row of the source.
/// (In the select list, not in FROM, where Postgres would store all rows in a tuple store first.)
macro_rules! columns {
    ($name:ident<$life:lifetime> of $row:ty {
        $($column:ident: $sql:ident $(<$inner:ident>)? = $value:ty, $get:expr);+ $(;)?
    }) => {
        pub(crate) struct $name<$life> {
            $($column: $crate::store::describe::Column<$sql $(<$inner>)?, $value>,)+
            source: std::marker::PhantomData<&$life ()>,
        }

        impl<$life> $name<$life> {
            /// The columns of `rows`.
            pub(crate) fn of(rows: impl Iterator<Item = &$life $row> + Clone) -> Self {
                Self { $($column: rows.clone().map($get).collect(),)+ source: std::marker::PhantomData }
            }

            /// Pushes the rows as a SELECT.
            pub(crate) fn push_select<'b>(
                &'b self,
                out: &mut diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                out.push_sql("SELECT ");
                let mut is_first = true;
                $(
                    $crate::store::describe::comma(out, &mut is_first);
                    out.push_sql("unnest(");
                    self.$column.push(out)?;
                    out.push_sql(concat!(") AS ", stringify!($column)));
                )+
                Ok(())
            }

            /// Pushes the names of the columns, separated by commas.
            #[allow(dead_code, reason = "columns that only update a table are not listed")]
            pub(crate) fn push_names(out: &mut diesel::query_builder::AstPass<'_, '_, diesel::pg::Pg>) {
                let mut is_first = true;
                $(
                    $crate::store::describe::comma(out, &mut is_first);
                    out.push_sql(stringify!($column));
                )+
            }
        }
    };
}

/// `listed! { table (key) { column -> SqlType, … } }`: diesel's table, and its layout.
macro_rules! listed {
    (
        $(#[$doc:meta])*
        $table:ident ($($key:ident),+) { $($column:ident -> $sql:ident $(<$inner:ident>)?),+ $(,)? }
    ) => {
        diesel::table! {
            use diesel::sql_types::*;
            use crate::store::guid::Guid;

            $(#[$doc])*
            $table ($($key),+) {
                $($column -> $sql $(<$inner>)?,)+
            }
        }

        $crate::store::layout::layout! { $table ($($key),+) { $($column: $sql $(<$inner>)?),+ } }
    };
}

/// `described! { table (key) as Columns<'a>, Row<'a> of Source { column: SqlType = RustType, |row| value; … } }`.
/// A column that few rows have is marked `sparse`: SQLite leaves it out where no sparse column of a row has a value.
macro_rules! described {
    (
        $(#[$doc:meta])*
        $table:ident ($($key:ident),+) as $columns:ident<$life:lifetime>, $row:ident of $source:ty {
            $($column:ident: $sql:ident $(<$inner:ident>)? = $value:ty, $get:expr $(, $sparse:ident)?);+ $(;)?
        }
    ) => {
        diesel::table! {
            use diesel::sql_types::*;
            use crate::store::guid::Guid;

            $(#[$doc])*
            $table ($($key),+) {
                $($column -> $sql $(<$inner>)?,)+
            }
        }

        $crate::store::layout::layout! { $table ($($key),+) { $($column: $sql $(<$inner>)?),+ } }

        $crate::store::describe::columns! {
            $columns<$life> of $source { $($column: $sql $(<$inner>)? = $value, $get);+ }
        }

        impl $columns<'_> {
            /// Pushes what makes of an insertion an update of all columns, if the key exists.
            #[allow(dead_code, reason = "most tables are only inserted into")]
            pub(crate) fn push_update<DB: diesel::backend::Backend>(
                out: &mut diesel::query_builder::AstPass<'_, '_, DB>,
            ) {
                out.push_sql(" ON CONFLICT (");
                let mut is_first = true;
                $(
                    $crate::store::describe::comma(out, &mut is_first);
                    out.push_sql(stringify!($key));
                )+
                out.push_sql(") DO UPDATE SET ");
                let mut is_first = true;
                $(
                    $crate::store::describe::comma(out, &mut is_first);
                    out.push_sql(concat!(stringify!($column), " = excluded.", stringify!($column)));
                )+
            }
        }

        pub(crate) struct $row<$life> {
            $($column: $value,)+
            source: std::marker::PhantomData<&$life ()>,
        }

        impl<$life> From<&$life $source> for $row<$life> {
            fn from(source: &$life $source) -> Self {
                fn get<S, V>(source: S, value: impl Fn(S) -> V) -> V {
                    value(source)
                }
                Self { $($column: get(source, $get),)+ source: std::marker::PhantomData }
            }
        }

        impl<$life> $crate::store::describe::SqliteRow for $row<$life> {
            fn has_sparse(&self) -> bool {
                use $crate::store::describe::Value;
                $((described!(@is_sparse $($sparse)?) && !self.$column.is_null()))||+
            }

            fn push_insert<'b>(
                &'b self,
                out: &mut diesel::query_builder::AstPass<'_, 'b, diesel::sqlite::Sqlite>,
                with_sparse: bool,
            ) -> diesel::QueryResult<()> {
                out.push_sql(concat!("INSERT INTO ", stringify!($table), " ("));
                let mut is_first = true;
                $(if with_sparse || !described!(@is_sparse $($sparse)?) {
                    $crate::store::describe::comma(out, &mut is_first);
                    out.push_sql(stringify!($column));
                })+
                out.push_sql(") VALUES (");
                let mut is_first = true;
                $(if with_sparse || !described!(@is_sparse $($sparse)?) {
                    $crate::store::describe::comma(out, &mut is_first);
                    out.push_bind_param::<$sql $(<$inner>)?, $value>(&self.$column)?;
                })+
                out.push_sql(")");
                Ok(())
            }

            fn push_update(out: &mut diesel::query_builder::AstPass<'_, '_, diesel::sqlite::Sqlite>) {
                $columns::push_update(out);
            }
        }
    };
    (@is_sparse sparse) => { true };
    (@is_sparse) => { false };
}

pub(crate) use {columns, described, listed};
