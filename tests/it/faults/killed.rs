//! A server process that dies at each fault point, as by kill -9. Half of the orders travel on a stream of calls.

use std::path::Path;

use futures_util::future::join_all;
use inventory_core::engine::storage::faults::{Point, Statement};
use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::history::{History, RecordedGrpc};
use inventory_tests::model::Answer;
use inventory_tests::programs::{Running, program};
use inventory_tests::requests::{guid, reference};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::{Backend, Database};

use super::points;
use super::scenario::{Call, NAMED, SITES, Scenario, beginning, replay};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_on_sqlite() {
    run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_on_postgres() {
    run(Backend::Postgres).await;
}

/// A server that dies at the point that `file` names.
fn server(database: &Database, file: &Path) -> Running {
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    command.env("INVENTORY_FAULT_FILE", file);
    Running::start(command, 1)
}

/// Sends calls at once; returns the answers that say what happened.
async fn send(caller: &RecordedGrpc, sites: &[String], calls: &[Call]) -> Vec<Option<Answer>> {
    let send = |(site, key, by_sku, request): &Call| {
        let (caller, site, key, by_sku, request) =
            (caller.clone(), sites[*site].clone(), *key, *by_sku, request.clone());
        async move { caller.write(&site, key, by_sku, &request).await.ok() }
    };
    join_all(calls.iter().map(send)).await
}

async fn run(backend: Backend) {
    let database = Database::fresh(backend);
    let folder = database.folder();
    let file = folder.join("fault");
    let mut running = server(&database, &file);
    // To die at a statement that needs another trouble first is to die after the commit, or before it.
    let special: Vec<Statement> = Scenario::of(backend).iter().filter_map(|scenario| scenario.special()).collect();
    let is_special = |point: &Point| match point {
        Point::Before(statement) | Point::After(statement) => special.contains(statement),
        Point::BeforeAnswer => false,
    };
    for point in points(backend).into_iter().filter(|point| !is_special(point)) {
        // The optimistic path has one statement of its own.
        let alone = format!("{point:?}").contains("WriteAndCommit");
        let scenario = if alone { Scenario::Cached } else { Scenario::Mixed };
        let of_rollback = point == Point::Before(Statement::Rollback) || point == Point::After(Statement::Rollback);
        if alone {
            // A writer that met replays a moment ago looks for them first: then no batch takes the optimistic path.
            running = server(&database, &file);
        }
        let history = History::default();
        let mut caller = RecordedGrpc::new(&history, channel_to(running.addresses[0]));
        let sites: [String; SITES] = std::array::from_fn(|_| guid());
        prepare(&caller, running.addresses[0], &sites).await;
        let mut burst = scenario.burst();
        if of_rollback {
            // A transaction that has begun is rolled back if its write finds a replay. A writer that has cached the
            // level begins none, and one that met replays a moment ago looks for them first. So it is a new one, and it
            // gets nothing else.
            running = server(&database, &file);
            caller = RecordedGrpc::new(&history, channel_to(running.addresses[0]));
            burst = vec![replay()];
        }
        // The server sees all of the name, or no file.
        std::fs::write(folder.join("new"), format!("{point:?}")).expect("the folder is writable");
        std::fs::rename(folder.join("new"), &file).expect("the folder is writable");
        let answers = send(&caller, &sites, &burst).await;
        assert!(answers.iter().any(Option::is_none), "{point:?}: the server did not die");
        running.wait();
        std::fs::remove_file(&file).expect("the file is there");

        running = server(&database, &file);
        let caller = RecordedGrpc::new(&history, channel_to(running.addresses[0]));
        let settled = send(&caller, &sites, &burst).await;
        assert!(settled.iter().all(Option::is_some), "{point:?}: a new server answers everything: {settled:?}");
        for (before, after) in answers.iter().zip(&settled) {
            assert!(before.is_none() || before == after, "{point:?}: {before:?} was answered, and now {after:?}");
        }
        assert_eq!(send(&caller, &sites, &burst).await, settled, "{point:?}: a replay has another answer");
        for site in &sites {
            for item in 0..=NAMED {
                caller.level(site, item, 0).await.expect("a level can be read");
            }
        }
        println!("{point:?}");
        caller.check().await;
    }
    books::prove(&database.url);
}

/// Brings the sites to where the scenarios begin.
async fn prepare(caller: &RecordedGrpc, address: std::net::SocketAddr, sites: &[String; SITES]) {
    for site in &sites[..2] {
        let request = v1::UpdateUnitRequest {
            site_id: site.clone(),
            unit: reference(&format!("item-{NAMED}")),
            new_sku: Some(format!("sku-{NAMED}")),
            ..Default::default()
        };
        StockServiceClient::new(channel_to(address)).update_unit(request).await.expect("the SKU is free");
    }
    for call in beginning() {
        let answers = send(caller, sites, &[call]).await;
        assert!(answers[0].is_some(), "nothing fails yet");
    }
}
