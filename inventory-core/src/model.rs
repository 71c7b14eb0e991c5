//! What the service speaks of: units, levels, requests and their outcomes. Types and pure functions only: no I/O,
//! no diesel, no tokio. Whatever exists here is within its bounds.

/// Gives an enum the numbers that stand for its variants in the database. A number is never reused.
macro_rules! coded {
    ($type:ident { $($variant:ident = $code:literal),+ $(,)? }) => {
        impl $type {
            /// The number that stands for it in the database.
            pub const fn code(self) -> i16 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The variant of a stored number; `None` if this version does not know it.
            pub const fn from_code(code: i16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

pub mod access;
pub mod action;
pub mod catalog;
pub mod command;
pub mod entry;
pub mod error;
pub mod ids;
pub mod journal;
pub mod kind;
pub mod level;
pub mod limits;
pub mod order;
pub mod outcome;
pub mod retention;
pub mod site;
pub mod unit;
