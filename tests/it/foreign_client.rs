//! A foreign client: Python's grpcio, which learns the contract by reflection alone.

use std::path::PathBuf;
use std::process::Command;

use inventory_tests::on_both;
use inventory_tests::world::World;

on_both!(a_python_client_works_by_reflection_alone);

/// A Python with grpcio. The first call installs it into cargo's target folder.
fn python() -> PathBuf {
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python-client");
    let python = venv.join("bin/python");
    let ready = venv.join("ready");
    // Two tests of one process may get here at the same time. The second one waits for the installation.
    static INSTALLING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _installing = INSTALLING.lock();
    if !ready.exists() {
        let run = |program: &std::ffi::OsStr, arguments: &[&str]| {
            let output =
                Command::new(program).args(arguments).output().expect("python3 starts; install it for this test");
            assert!(output.status.success(), "{program:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        };
        run("python3".as_ref(), &["-m", "venv", "--clear", &venv.to_string_lossy()]);
        let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/requirements.txt");
        run(python.as_os_str(), &["-m", "pip", "install", "--quiet", "--requirement", requirements]);
        std::fs::write(&ready, "").expect("the target folder is writable");
    }
    python
}

async fn a_python_client_works_by_reflection_alone(world: World) {
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/client.py");
    let (grpc, site) = (world.grpc.to_string(), world.site.clone());
    let output = tokio::task::spawn_blocking(move || Command::new(python()).args([client, &grpc, &site]).output());
    let output = output.await.expect("no panic").expect("Python starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.level("from-python").await, 5);
    assert_eq!(world.entries().await.len(), 2);
}
