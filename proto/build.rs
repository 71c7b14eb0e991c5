//! Generates the Rust side of the contract. protox reads the `.proto` files, so no `protoc` is needed.

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
    println!("cargo::rerun-if-changed=google");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("inventory.bin"), descriptors.encode_to_vec())?;
    // Two passes, because only the server's codec reports an undecodable message as the caller's mistake.
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::codec::ServerCodec")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors.clone())?;
    let clients = out.join("client");
    std::fs::create_dir_all(&clients)?;
    tonic_prost_build::configure()
        .build_server(false)
        .extern_path(".inventory.v1", "crate::v1")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(clients)
        .compile_fds(descriptors)?;
    Ok(())
}
