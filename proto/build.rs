//! Makes the Rust side of the contract without a `protoc`: protox reads the `.proto` files.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 4] = [
    "inventory/v1/availability_service.proto",
    "inventory/v1/stock_service.proto",
    "inventory/v1/ledger_service.proto",
    "inventory/v1/site_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=inventory");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("inventory.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
