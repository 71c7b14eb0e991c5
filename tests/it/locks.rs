//! Somebody else's transaction holds the row of a site, or another row that its orders need: a tool, or a person at a
//! prompt. Only that site waits.

use std::sync::mpsc;
use std::thread::JoinHandle;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, RunQueryDsl, sql_query};
use futures_util::future::join_all;
use inventory_core::store::DatabaseUrl;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_tests::books;
use inventory_tests::requests::{decrement, guid, reference, set, set_item};
use inventory_tests::world::{Backend, World};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// A transaction that holds locks until it is dropped.
struct Stranger {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    /// Begins a transaction, and locks what `lock` says.
    fn with(url: &DatabaseUrl, lock: String) -> Self {
        let DatabaseUrl::Postgres(url) = url.clone() else { panic!("only Postgres has row locks") };
        let (end, until) = mpsc::channel::<()>();
        let (locked, is_locked) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut connection = PgConnection::establish(&url).expect("Postgres accepts connections");
            connection.batch_execute(&format!("BEGIN; {lock}")).expect("the lock is free");
            locked.send(()).expect("the test waits for it");
            // An error is the end too: the sender is dropped.
            let _ = until.recv();
            connection.batch_execute("ROLLBACK").expect("the transaction can end");
        });
        is_locked.recv().expect("the stranger has its lock");
        Self { end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Two sites of the same writer, with ten pieces of A each.
async fn neighbours(world: &World) -> (String, String) {
    // The remainder of a site's id chooses its writer, so ids with the same last digit share one.
    let (first, second) = (guid(), guid());
    let (first, second) = (format!("{}0", &first[..35]), format!("{}0", &second[..35]));
    for site in [&first, &second] {
        world.stock().set_stock(set(site, vec![set_item("A", 1_000)])).await.expect("the level can be set");
    }
    (first, second)
}

async fn send(channel: Channel, order: v1::DecrementAvailabilityRequest) -> Result<(), Status> {
    let mut request = Request::new(order);
    request.set_timeout(std::time::Duration::from_secs(3));
    AvailabilityServiceClient::new(channel).decrement_availability(request).await.map(drop)
}

async fn level(world: &World, site: &str) -> i64 {
    let asked = v1::GetStockRequest { site_id: site.to_owned(), unit: reference("A"), ..Default::default() };
    let answer = world.stock().get_stock(asked).await.expect("stock can be read").into_inner();
    answer.stock.expect("the answer holds the stock").available
}

/// Waits until Postgres has a session for which `condition` is true. `order` must not be answered before.
async fn until_session(world: &World, condition: &str, order: &tokio::task::JoinHandle<Result<(), Status>>) {
    let DatabaseUrl::Postgres(url) = &world.database.url else { panic!("only Postgres has row locks") };
    // One connection for all looks: the condition may be true for 20 ms at a time.
    let mut connection = PgConnection::establish(url).expect("Postgres accepts connections");
    let sessions = format!("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND {condition}");
    while sql_query(&sessions).execute(&mut connection).expect("the query runs") == 0 {
        assert!(!order.is_finished(), "the order was answered before a session had {condition}");
        tokio::task::yield_now().await;
    }
}

fn is_locked(answer: &Result<(), Status>) -> bool {
    let status = answer.as_ref().expect_err("the site is locked");
    status.code() == Code::Unavailable && status.message().contains("another transaction holds a lock")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_site_does_not_hold_up_the_others() {
    let world = World::start(Backend::Postgres).await;
    let (locked, free) = neighbours(&world).await;
    let stranger =
        Stranger::with(&world.database.url, format!("SELECT FROM site WHERE site_id = '{locked}' FOR UPDATE"));
    let blocked: Vec<_> =
        (0..5).map(|_| tokio::spawn(send(world.channel(), decrement(&locked, &[("A", 1)])))).collect();
    for number in 0..10 {
        send(world.channel(), decrement(&free, &[("A", 1)])).await.unwrap_or_else(|e| panic!("order {number}: {e}"));
    }
    let mixed = (0..10).map(|index| {
        let site = if index % 2 == 0 { &free } else { &locked };
        tokio::spawn(send(world.channel(), decrement(site, &[("A", 1)])))
    });
    let mixed: Vec<_> = mixed.collect();
    assert!(blocked.iter().all(|order| !order.is_finished()), "they wait for the lock as long as they may");
    for (index, order) in mixed.into_iter().enumerate() {
        let answer = order.await.expect("no panic");
        match index % 2 {
            0 => answer.expect("the site is free"),
            _ => assert!(is_locked(&answer), "{answer:?}"),
        }
    }
    for answer in join_all(blocked).await {
        let answer = answer.expect("no panic");
        assert!(is_locked(&answer), "{answer:?}");
    }
    assert_eq!(level(&world, &free).await, 985);

    // The lock ends while an order waits for it. Since no other order waits, the writer looks at the lock for this one
    // alone. A look ends with ROLLBACK.
    let before = books::lines(&world.database.url, "SELECT clock_timestamp()::text AS line").concat();
    let patient = tokio::spawn(send(world.channel(), decrement(&locked, &[("A", 1)])));
    send(world.channel(), decrement(&free, &[("A", 1)])).await.expect("the site is free");
    assert_eq!(level(&world, &locked).await, 1_000, "nothing was taken by orders that got no answer");
    until_session(&world, &format!("query = 'ROLLBACK' AND query_start > '{before}'"), &patient).await;
    drop(stranger);
    patient.await.expect("no panic").expect("the lock is free again");
    send(world.channel(), decrement(&locked, &[("A", 1)])).await.expect("the site works again");
    assert_eq!(level(&world, &locked).await, 998);
}

/// Settings wait for nobody: the change fails, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_locked_site_says_that_a_lock_is_held() {
    let world = World::start(Backend::Postgres).await;
    let (locked, free) = neighbours(&world).await;
    let lock = format!("SELECT FROM site WHERE site_id = '{locked}' FOR UPDATE");
    let _stranger = Stranger::with(&world.database.url, lock);
    let change = v1::UpdateSiteRequest { site_id: locked.clone(), default_location_id: guid(), ..Default::default() };
    let answer = world.sites().update_site(change).await.map(drop);
    assert!(is_locked(&answer), "{answer:?}");
    send(world.channel(), decrement(&free, &[("A", 1)])).await.expect("the site is free");
}

/// The locked row is not the site's, but one of its levels.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_level_does_not_hold_up_other_sites() {
    let world = World::start(Backend::Postgres).await;
    let (locked, free) = neighbours(&world).await;
    let lock = format!("SELECT FROM level WHERE site_id = '{locked}' FOR UPDATE");
    let stranger = Stranger::with(&world.database.url, lock);
    let mixed = (0..10).map(|index| {
        let site = if index % 2 == 0 { &free } else { &locked };
        tokio::spawn(send(world.channel(), decrement(site, &[("A", 1)])))
    });
    for (index, order) in mixed.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = order.await.expect("no panic");
        match index % 2 {
            0 => answer.expect("the site is free"),
            _ => assert!(is_locked(&answer), "{answer:?}"),
        }
    }
    // The lock ends while an order waits for it.
    let patient = tokio::spawn(send(world.channel(), decrement(&locked, &[("A", 1)])));
    send(world.channel(), decrement(&free, &[("A", 1)])).await.expect("the site is free");
    assert_eq!(level(&world, &locked).await, 1_000, "nothing was taken by orders that got no answer");
    until_session(&world, "wait_event_type = 'Lock'", &patient).await;
    drop(stranger);
    patient.await.expect("no panic").expect("the level is free again");
    send(world.channel(), decrement(&locked, &[("A", 1)])).await.expect("the site works again");
    assert_eq!((level(&world, &locked).await, level(&world, &free).await), (998, 994));
}
