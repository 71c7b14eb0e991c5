//! A client that is not ours: Python's grpcio, which knows the contract by reflection alone.

use std::path::PathBuf;
use std::process::Command;

use inventory_tests::on_both;
use inventory_tests::world::World;

on_both!(grpcio_with_reflection);

/// A Python with grpcio, made once in cargo's target folder.
fn python() -> PathBuf {
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-client");
    let python = venv.join("bin/python");
    let ready = venv.join("ready");
    // Two tests of one process may come here together; the lock is held until the file is there.
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _making = MAKING.lock();
    if !ready.exists() {
        let run = |program: &std::ffi::OsStr, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().expect("python3 is needed for this test");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run("python3".as_ref(), &["-m", "venv", "--clear", &venv.to_string_lossy()]);
        let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/requirements.txt");
        run(python.as_os_str(), &["-m", "pip", "install", "--quiet", "--requirement", requirements]);
        std::fs::write(&ready, "").expect("a mark can be left");
    }
    python
}

async fn grpcio_with_reflection(world: World) {
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/client.py");
    let (grpc, site) = (world.grpc.to_string(), world.site.clone());
    let output = tokio::task::spawn_blocking(move || Command::new(python()).args([client, &grpc, &site]).output());
    let output = output.await.expect("no panic").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.level("from-python").await, 5);
    assert_eq!(world.entries().await.len(), 2);
}
