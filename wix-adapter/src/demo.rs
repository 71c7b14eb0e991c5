//! The names of the demo: what `standalone --demo` sets up, and the defaults of `send`.
//!
//! They are made up and mean nothing to Wix.

/// The app id that the demo's tokens are for.
pub const APP_ID: &str = "11111111-1111-4111-8111-111111111111";
/// The site: the `instanceId` of the demo's app installation.
pub const SITE_ID: &str = "22222222-2222-4222-8222-222222222222";
/// The app id of the demo's catalog.
pub const CATALOG_APP_ID: &str = "33333333-3333-4333-8333-333333333333";
/// The file that keeps the demo's signing key between runs, relative to the working folder.
pub const KEY_FILE: &str = "wix-demo-key.pem";
/// The catalog item ids that the demo stocks, each with its first stock level.
pub const STOCK: [(&str, i64); 3] = [("shirt", 12), ("mug", 5), ("last-one", 1)];
