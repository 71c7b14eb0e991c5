//! GUIDs as both backends store them: `uuid` in Postgres, a 16-byte BLOB in SQLite.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Binary, SqlType};
use diesel::sqlite::Sqlite;
use uuid::Uuid;

use crate::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};

/// The SQL type of every GUID. The numbers are those of `uuid` and `uuid[]` in Postgres's
/// catalog; they are fixed there.
#[derive(Clone, Copy, Debug, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct Guid;

macro_rules! stored_as_guid {
    ($($name:ty),+) => { $(
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
    )+ };
}

stored_as_guid!(SiteId, LocationId, OrderId, UnitId, LevelId, RequestKey, Fingerprint);
