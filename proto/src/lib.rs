#![doc = include_str!("../README.md")]

mod bearer;
mod change;
pub mod codec;
pub mod json;
pub mod shared_call;
mod unit;

pub use crate::bearer::{BadTokenFile, Bearer, NoToken, TOKEN_PREFIX};
pub use crate::unit::UnitRef;

/// Package `inventory.v1`: messages, clients and servers.
pub mod v1 {
    // Generated: its style is not ours.
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("inventory.v1");
    include!(concat!(env!("OUT_DIR"), "/client/inventory.v1.rs"));
}

/// The `FileDescriptorSet` of the contract, encoded, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inventory.bin"));

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "inventory.v1";

/// Metadata of a call without a token that names the caller. The server writes it to the ledger as the actor. With a
/// token, the actor is the name of the token.
pub const ACTOR_METADATA: &str = "inventory-actor";

/// Metadata of a call that says on whose behalf the caller acts. The server writes it to the ledger beside the actor. A
/// caller with a token needs the scope `on-behalf`.
pub const ON_BEHALF_OF_METADATA: &str = "inventory-on-behalf-of";

/// Metadata of a call: how many bytes of error details the caller can read. Without it the server sends at most
/// [`DETAIL_BYTES_DEFAULT`], which fits the metadata limit of any client.
pub const MAX_DETAIL_BYTES_METADATA: &str = "inventory-max-detail-bytes";

/// Bytes of error details that any client can read.
pub const DETAIL_BYTES_DEFAULT: usize = 4 * 1024;
