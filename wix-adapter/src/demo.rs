//! The demonstration's names: what `standalone --demo` sets up and `send` speaks of by default.

/// The app that the demonstration pretends to be.
pub const APP_ID: &str = "11111111-1111-4111-8111-111111111111";
/// The site on which it is installed.
pub const SITE_ID: &str = "22222222-2222-4222-8222-222222222222";
/// The catalog whose items it stocks.
pub const CATALOG_APP_ID: &str = "33333333-3333-4333-8333-333333333333";
/// The file that keeps the signing key between runs.
pub const KEY_FILE: &str = "wix-demo-key.pem";
/// What is stocked when nothing is: item and pieces.
pub const STOCK: [(&str, i64); 3] = [("shirt", 12), ("mug", 5), ("last-one", 1)];
