//! GUIDs as both backends store them: `uuid` in Postgres, a 16-byte BLOB in SQLite. The model's ids know nothing of
//! diesel, so the conversions that its derives would generate are written here.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Binary, Nullable, SingleValue, SqlType};
use diesel::sqlite::Sqlite;
use uuid::Uuid;

use crate::model::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};

/// The SQL type of every GUID. The numbers are those of `uuid` and `uuid[]` in Postgres's catalog, where they are
/// fixed.
#[derive(Clone, Copy, Debug, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
#[allow(unreachable_pub, reason = "diesel's tables are public inside their private module, and so are their types")]
pub struct Guid;

macro_rules! expression {
    ($sql:ty: $($name:ty),+) => { $(
        impl AsExpression<$sql> for $name {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<'a> AsExpression<$sql> for &'a $name {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }
    )+ };
}

macro_rules! stored_as_guid {
    ($($name:ty),+) => {
        expression!(Guid: $($name),+);
        expression!(Nullable<Guid>: $($name),+);
        $(
            impl ToSql<Guid, Pg> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                    std::io::Write::write_all(out, self.as_uuid().as_bytes())?;
                    Ok(IsNull::No)
                }
            }

            impl FromSql<Guid, Pg> for $name {
                fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                    Ok(Self::from_uuid(Uuid::from_slice(value.as_bytes())?))
                }
            }

            impl ToSql<Guid, Sqlite> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                    out.set_value(self.as_uuid().as_bytes().as_slice());
                    Ok(IsNull::No)
                }
            }

            impl FromSql<Guid, Sqlite> for $name {
                fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                    let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
                    Ok(Self::from_uuid(Uuid::from_slice(&bytes)?))
                }
            }

            impl<DB: Backend> ToSql<Nullable<Guid>, DB> for $name
            where
                Self: ToSql<Guid, DB>,
            {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                    ToSql::<Guid, DB>::to_sql(self, out)
                }
            }

            impl<ST: SingleValue, DB: Backend> Queryable<ST, DB> for $name
            where
                Self: FromSql<ST, DB>,
            {
                type Row = Self;

                fn build(row: Self) -> deserialize::Result<Self> {
                    Ok(row)
                }
            }
        )+
    };
}

// A GUID of any meaning, as a parameter.
impl ToSql<Guid, Pg> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, self.as_bytes())?;
        Ok(IsNull::No)
    }
}

impl ToSql<Guid, Sqlite> for Uuid {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.as_bytes().as_slice());
        Ok(IsNull::No)
    }
}

stored_as_guid!(SiteId, LocationId, OrderId, UnitId, LevelId, RequestKey, Fingerprint);
