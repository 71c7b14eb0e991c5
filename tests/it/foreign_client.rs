//! Foreign clients: Python's grpcio, which learns the contract by reflection alone, and TypeScript with the types that
//! are generated from the contract.

use std::process::Command;

use inventory_tests::node::{protos, typescript_client};
use inventory_tests::on_both;
use inventory_tests::python::python;
use inventory_tests::world::World;

on_both!(a_python_client_works_by_reflection_alone, a_typescript_client_works_with_generated_types);

async fn a_python_client_works_by_reflection_alone(world: World) {
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/client.py");
    run(&world, move || {
        let mut command = Command::new(python(env!("CARGO_TARGET_TMPDIR")));
        command.arg(client);
        command
    })
    .await;
    assert_eq!(world.level("from-python").await, 5);
    assert_eq!(world.entries().await.len(), 2);
}

async fn a_typescript_client_works_with_generated_types(world: World) {
    run(&world, || {
        let mut command = Command::new("node");
        command.arg(typescript_client(env!("CARGO_TARGET_TMPDIR")));
        command
    })
    .await;
    assert_eq!(world.level("from-typescript").await, 5);
    assert_eq!(world.entries().await.len(), 2);
}

/// Runs a client with the address of the server, the site and the folder of the contract.
async fn run(world: &World, client: impl FnOnce() -> Command + Send + 'static) {
    let (grpc, site) = (world.grpc.to_string(), world.site.clone());
    let output = tokio::task::spawn_blocking(move || client().args([&grpc, &site]).arg(protos()).output());
    let output = output.await.expect("no panic").expect("the client starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
}
