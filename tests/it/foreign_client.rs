//! A foreign client: Python's grpcio, which learns the contract by reflection alone.

use std::process::Command;

use inventory_tests::on_both;
use inventory_tests::python::python;
use inventory_tests::world::World;

on_both!(a_python_client_works_by_reflection_alone);

async fn a_python_client_works_by_reflection_alone(world: World) {
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/client.py");
    let (grpc, site) = (world.grpc.to_string(), world.site.clone());
    let output = tokio::task::spawn_blocking(move || {
        Command::new(python(env!("CARGO_TARGET_TMPDIR"))).args([client, &grpc, &site]).output()
    });
    let output = output.await.expect("no panic").expect("Python starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.level("from-python").await, 5);
    assert_eq!(world.entries().await.len(), 2);
}
