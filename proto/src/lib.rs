//! The contract `inventory.v1`: messages, client, server, and the descriptors for reflection.
//! The comments in `proto/inventory/v1/*.proto` are its specification.

pub mod json;

/// Package `inventory.v1`.
pub mod v1 {
    // Generated: its style is not ours.
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("inventory.v1");
}

/// The `FileDescriptorSet` of the contract, encoded, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inventory.bin"));

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "inventory.v1";

/// Metadata of a call that says who asks; it is entered in the ledger.
pub const ACTOR_METADATA: &str = "inventory-actor";
