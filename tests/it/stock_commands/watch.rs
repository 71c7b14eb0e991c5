//! `watch`: entries as they happen, also after the server was away.

use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use inventory_tests::chaos::Link;
use inventory_tests::on_both;
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::{World, start_grpc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{command, told};

on_both!(an_entry_is_watched_as_it_happens);

/// `watch`, as it runs.
struct Watching {
    child: Child,
    entries: Lines<BufReader<ChildStdout>>,
    told: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    /// Starts `watch`, and waits until it watches.
    fn start(server: SocketAddr, site: &str, arguments: &[&str]) -> Self {
        let mut command = command(server, site, &[&["watch"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let entries = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let told = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut watching = Self { child, entries, told };
        let line = watching.told();
        assert!(line.starts_with(&format!("watching the site {site} at {server} after entry ")), "{line}");
        watching
    }

    /// The next entry.
    fn entry(&mut self) -> String {
        tokio::task::block_in_place(|| self.entries.next()).expect("an entry comes").expect("it is text")
    }

    /// What it tells next.
    fn told(&mut self) -> String {
        tokio::task::block_in_place(|| self.told.next()).expect("it tells something").expect("it is text")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It sees what is made after it began, also after it lost the server, and what was made meanwhile.
async fn an_entry_is_watched_as_it_happens(world: World) {
    world.set(&[("mug", 5)]).await;
    let link = Link::to(world.grpc).await;
    let mut text = Watching::start(link.address, &world.site, &[]);
    let mut json = Watching::start(link.address, &world.site, &["--json", "--after", "0"]);
    assert!(json.entry().contains(r#""sequence":1,"#), "an entry from before it began");
    told(&world, &["stock", "adjust", &format!("{CATALOG}/mug"), "-2", "--reason", "damaged"]);
    let line = text.entry();
    let rest = line.split_once("-2 -> 3 ").expect("the change and the level").1;
    assert_eq!(rest.trim_start(), format!("{CATALOG}/mug  adjust, damaged            by inventory-grpc for ann"));
    let entry: Value = serde_json::from_str(&json.entry()).expect("each line is an object");
    assert_eq!((&entry["sequence"], &entry["reason"]), (&json!(2), &json!("REASON_DAMAGED")));

    link.cut();
    assert!(text.told().contains("asking again until the server is back, after entry 2"));
    told(&world, &["stock", "set", &format!("{CATALOG}/mug"), "9"]);
    // Another server of the same database takes over.
    let stop = CancellationToken::new();
    link.lead_to(start_grpc(world.database.url.clone(), stop.clone()).await);
    link.restore();
    assert!(text.told().contains("the server is back; going on after entry 2"));
    assert!(text.entry().contains("+6 -> 9 "), "each entry once, without a gap");
    let entry: Value = serde_json::from_str(&json.entry()).expect("each line is an object");
    assert_eq!(entry["sequence"], json!(3));
    drop((text, json));
    stop.cancel();
}
