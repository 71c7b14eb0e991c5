//! A Python with grpcio, for tests whose clients are not ours.

use std::path::PathBuf;
use std::process::Command;

/// A Python with grpcio. The first call installs it into `folder`: cargo's folder for tests (`CARGO_TARGET_TMPDIR`).
pub fn python(folder: &str) -> PathBuf {
    let venv = PathBuf::from(folder).join("python-client");
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
