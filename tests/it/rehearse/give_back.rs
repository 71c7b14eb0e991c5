//! A rehearsal gives back what it takes, whatever happens to an answer or to itself.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use inventory_tests::front::{Act, Came, front};
use inventory_tests::programs::program;
use inventory_tests::wix_caller::APP_ID;
use inventory_tests::world::Backend;
use serde_json::Value;

use super::{Deployment, Report, books, rehearse_beside};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_comes_back_though_its_answer_was_lost() {
    let deployment = Arc::new(Deployment::start(Backend::Sqlite, false));
    // The first call that is large takes 300 pieces. The server takes them, but the answer is lost.
    let larges = AtomicUsize::new(0);
    let trick = move |came: &Came<'_>| {
        let takes = came.body.len() > 200_000 && came.path.ends_with("/decrement");
        let is_first = takes && larges.fetch_add(1, Ordering::Relaxed) == 0;
        if is_first { Act::ForwardThen(502, "bad gateway") } else { Act::Forward }
    };
    let url = format!("http://{}", front(deployment.http(), trick).await);
    let report = rehearse_beside(&deployment, url, &["--without-tls"], 1).await;
    report.assert_fails("300-items", "answers: 502", "start the adapter");
    assert_eq!(report.check("as-found")["outcome"], "ok");
    assert_eq!(books(deployment.grpc.addresses[0]).await, (0, 2 + 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_comes_back_though_a_proxy_refuses_meanwhile() {
    let deployment = Arc::new(Deployment::start(Backend::Sqlite, false));
    // The answer to the order is lost. Then a proxy answers in the place of the adapter, once to its replay and once to
    // its return: that says nothing of what was taken.
    let larges = AtomicUsize::new(0);
    let trick = move |came: &Came<'_>| {
        if came.body.len() < 200_000 {
            return Act::Forward;
        }
        match larges.fetch_add(1, Ordering::Relaxed) {
            0 => Act::ForwardThen(502, "bad gateway"),
            1 => Act::Answer(404, "<html>no such page".to_owned()),
            3 => Act::Answer(401, "log in".to_owned()),
            _ => Act::Forward,
        }
    };
    let url = format!("http://{}", front(deployment.http(), trick).await);
    let report = rehearse_beside(&deployment, url, &["--without-tls"], 1).await;
    report.assert_fails("300-items", "answers: 502", "start the adapter");
    assert_eq!((&report.check("as-found")["outcome"], &report.0["ledger_entries"]), (&"ok".into(), &602.into()));
    assert_eq!(books(deployment.grpc.addresses[0]).await, (0, 2 + 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_comes_back_at_ctrl_c() {
    let deployment = Arc::new(Deployment::start(Backend::Sqlite, false));
    let (taken, mut seen) = tokio::sync::watch::channel(0);
    let trick = move |came: &Came<'_>| {
        if !(came.body.len() > 200_000 && came.path.ends_with("/decrement")) {
            return Act::Forward;
        }
        taken.send_modify(|count| *count += 1);
        if *taken.borrow() == 1 { Act::ForwardThenSilence } else { Act::Forward }
    };
    let url = format!("http://{}", front(deployment.http(), trick).await);
    let mut command = program("wix-adapter");
    command.args(["rehearse", "--json", "--without-tls", "--url", &url, "--wix-app-id", APP_ID]);
    command.current_dir(deployment.keys.path()).stdout(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let waited = tokio::time::timeout(Duration::from_secs(60), seen.wait_for(|count| *count > 0)).await;
    waited.expect("the rehearsal takes 300 pieces").expect("the front runs");
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill starts").success());
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("no panic");
    let output = output.expect("the program ends");
    let report = Report(serde_json::from_slice(&output.stdout).expect("JSON"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((&report.0["interrupted"], report.with("failed").len()), (&Value::from(true), 0), "{:#}", report.0);
    assert_eq!(report.with("not_tried"), ["tls", "300-items", "latency"]);
    assert_eq!(report.check("as-found")["outcome"], "ok");
    assert_eq!(books(deployment.grpc.addresses[0]).await, (0, 2 + 600));
}
