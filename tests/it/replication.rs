//! Postgres with a synchronous standby: what was answered is on the standby too, whatever happens on the primary. An
//! answer that cannot be sure of it says that the outcome is unknown.

use std::time::Duration;

use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::errors::reason_of;
use inventory_tests::programs::{Running, program};
use inventory_tests::replica::{Node, Pair};
use inventory_tests::requests::{decrement, guid, set, set_item};
use inventory_tests::tokens::channel_to;
use inventory_tests::world::start_grpc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// A caller that waits no longer than this has no answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A server on a primary with a synchronous standby, and a site with stock.
struct Shop {
    pair: Pair,
    site: String,
    channel: Channel,
    _stop: DropGuard,
}

impl Shop {
    async fn open() -> Self {
        Self::open_as(Pair::text).await
    }

    /// The same, with another role than the administrator's.
    async fn open_as(url: impl Fn(&Pair) -> String) -> Self {
        let pair = tokio::task::spawn_blocking(Pair::synchronous).await.expect("both servers start");
        let stop = CancellationToken::new();
        let url = url(&pair).parse().expect("the URL is valid");
        let address = start_grpc(url, stop.clone()).await;
        let channel = channel_to(address);
        let site = guid();
        let stocked = set(&site, vec![set_item("A", 10), set_item("B", 0)]);
        StockServiceClient::new(channel.clone()).set_stock(stocked).await.expect("the levels can be set");
        Self { pair, site, channel, _stop: stop.drop_guard() }
    }

    /// Sends an order; returns whether its answer is that of a replay.
    async fn order(&self, order: &v1::DecrementAvailabilityRequest) -> Result<bool, Status> {
        let mut client = AvailabilityServiceClient::new(self.channel.clone());
        let answer = client.decrement_availability(patient(order.clone())).await?;
        Ok(answer.into_inner().repeated_request)
    }

    /// Brings the standby back. Then the same request finds out that the order was made, and is on both servers.
    async fn settle(&self, order: &v1::DecrementAvailabilityRequest, path: &str) {
        self.pair.standby.thaw();
        while self.order(order).await.is_err() {}
        assert!(self.order(order).await.expect("it is on both servers"), "{path}");
    }

    /// The answer to an order while waits for the standby are cancelled that have lasted for so long. The caller waits
    /// for as long as it takes.
    async fn while_cancelling(
        &self,
        lasted: &str,
        order: &v1::DecrementAvailabilityRequest,
    ) -> Result<v1::DecrementAvailabilityResponse, Status> {
        let mut client = AvailabilityServiceClient::new(self.channel.clone());
        tokio::select! {
            answer = client.decrement_availability(order.clone()) => Ok(answer?.into_inner()),
            () = cancel_waits(self, lasted, usize::MAX) => unreachable!("it goes on"),
        }
    }

    /// Sends an order while the standby is away and waits for it are cancelled. Its outcome is unknown, until the
    /// standby is back.
    async fn cancelled(&self, lasted: &str, order: &v1::DecrementAvailabilityRequest, case: &str) {
        self.pair.standby.freeze();
        let status = self.while_cancelling(lasted, order).await.expect_err("no standby has it");
        assert_eq!(reason_of(&status), "OUTCOME_UNKNOWN", "{case}: {status}");
        self.settle(order, case).await;
    }

    /// Ends every connection that waits for the standby, until the primary shows what they wrote.
    async fn end_waits_until(&self, shown: &str) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        until(&self.pair.primary, shown, Some(end)).await;
    }
}

/// An order of one piece that no level refuses.
fn unrestricted(site: &str, item: &str) -> v1::DecrementAvailabilityRequest {
    v1::DecrementAvailabilityRequest { restrict_inventory_value: Some(false), ..decrement(site, &[(item, 1)]) }
}

fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

/// Runs `meanwhile` until a query on a server finds something.
async fn until(node: &Node, shown: &str, meanwhile: Option<&str>) {
    let shown = format!("SELECT count(*) AS wrong WHERE EXISTS ({shown})");
    while books::count(&node.url(), &shown) == 0 {
        if let Some(meanwhile) = meanwhile {
            books::script(&node.url(), meanwhile);
        }
        tokio::task::yield_now().await;
    }
}

/// An order whose commit was not confirmed is visible on the primary. A replay of it is answered only once the standby
/// has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_the_standby_as_the_first_call_did() {
    let shop = Shop::open().await;
    shop.pair.standby.freeze();
    let order = decrement(&shop.site, &[("A", 3)]);
    let refused = decrement(&shop.site, &[("B", 1)]);
    let (first, other, ()) = tokio::join!(shop.order(&order), shop.order(&refused), async {
        let request_id = &order.request_id;
        shop.end_waits_until(&format!("SELECT FROM change WHERE request_id = '{request_id}'")).await;
        shop.end_waits_until("SELECT FROM request WHERE refusal IS NOT NULL").await;
    });
    assert!(first.is_err() && other.is_err(), "the standby is away: {first:?}, {other:?}");
    for replay in [&order, &refused] {
        let answer = shop.order(replay).await.expect_err("nothing says that the standby has it");
        assert_ne!(answer.code(), tonic::Code::FailedPrecondition, "{answer}");
    }
    shop.settle(&order, "a replay").await;
    shop.pair.primary.kill();
    shop.pair.standby.promote();
    let found = "SELECT count(*) AS wrong FROM ledger WHERE delta = -3";
    assert_eq!(books::count(&shop.pair.standby.url(), found), 1, "what was answered is on the standby");
}

/// A replay, a second call of an order, and a batch that another server has overtaken are decided twice: the optimistic
/// path fails first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_twice_leaves_no_warning_in_the_log_of_postgres() {
    let shop = Shop::open().await;
    let order = decrement(&shop.site, &[("A", 1)]);
    for replayed in [false, true] {
        assert_eq!(shop.order(&order).await.ok(), Some(replayed));
    }
    let again = v1::DecrementAvailabilityRequest { request_id: guid(), ..order };
    assert_eq!(shop.order(&again).await.ok(), Some(false));

    let stop = CancellationToken::new();
    let other = channel_to(start_grpc(shop.pair.url(), stop.clone()).await);
    let _stop = stop.drop_guard();
    let mut other = AvailabilityServiceClient::new(other);
    for _ in 0..2 {
        other.decrement_availability(decrement(&shop.site, &[("A", 1)])).await.expect("there are pieces left");
        assert_eq!(shop.order(&decrement(&shop.site, &[("A", 1)])).await.ok(), Some(false));
    }
    let log = shop.pair.log(&shop.pair.primary);
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARNING")).collect();
    assert_eq!(warnings, [""; 0]);
}

/// A setting that is made again changes nothing. It waits for the standby as the first change did.
#[tokio::test(flavor = "multi_thread")]
async fn a_setting_made_again_waits_for_the_standby() {
    let shop = Shop::open().await;
    shop.pair.standby.freeze();
    let change =
        v1::UpdateSiteRequest { site_id: shop.site.clone(), default_location_id: guid(), ..Default::default() };
    let unit = v1::UpdateUnitRequest {
        site_id: shop.site.clone(),
        unit: inventory_tests::requests::reference("A"),
        new_sku: Some("SKU".into()),
        ..Default::default()
    };
    let mut sites = SiteServiceClient::new(shop.channel.clone());
    let mut units = StockServiceClient::new(shop.channel.clone());
    let (first, ()) = tokio::join!(sites.update_site(patient(change.clone())), async {
        shop.end_waits_until("SELECT FROM site WHERE default_location_id IS NOT NULL").await;
    });
    assert!(first.is_err(), "the standby is away");
    let (first, ()) = tokio::join!(units.update_unit(patient(unit.clone())), async {
        shop.end_waits_until("SELECT FROM unit WHERE sku = 'SKU'").await;
    });
    assert!(first.is_err(), "the standby is away");
    assert!(sites.update_site(patient(change)).await.is_err(), "nothing says that the standby has it");
    assert!(units.update_unit(patient(unit)).await.is_err(), "nothing says that the standby has it");
}

/// Somebody cancels every wait for the standby, at once and as often as there is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_wait_for_the_standby_is_no_commit() {
    let shop = Shop::open().await;
    // As Postgres lets the standbys be named. A level that is not cached takes the locked path, one that is cached the
    // optimistic one.
    for (names, item) in [("standby", "A"), ("*", "C"), ("FIRST 1 (*)", "A"), ("1(standby)", "D"), ("any 1 (*)", "A")] {
        shop.pair.primary.require(names);
        let order = unrestricted(&shop.site, item);
        assert!(!shop.order(&unrestricted(&shop.site, "A")).await.expect("the standby is there"), "{names}");
        shop.cancelled("0 s", &order, names).await;
    }
}

/// Commits wait for more standbys than there are. The one that has everything is not enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_wait_for_one_of_two_standbys_is_no_commit() {
    let shop = Shop::open().await;
    for names in ["FIRST 2 (*)", "ANY 2 (*)"] {
        shop.pair.primary.require(names);
        let status = shop.while_cancelling("0 s", &unrestricted(&shop.site, "A")).await.expect_err("one is away");
        assert_eq!(reason_of(&status), "OUTCOME_UNKNOWN", "{names}: {status}");
    }
}

/// A role that may not see what the standbys have goes by the time that commits take.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_doubts_a_commit_that_is_slow() {
    let shop = Shop::open_as(Pair::text_of_plain_role).await;
    for (item, path) in [("A", "cached"), ("C", "not cached")] {
        shop.cancelled("1.5 s", &unrestricted(&shop.site, item), path).await;

        shop.pair.standby.freeze();
        let order = unrestricted(&shop.site, item);
        let (answer, ()) = tokio::join!(shop.order(&order), cancel_waits(&shop, "0.2 s", 1));
        let status = answer.expect_err("no standby has it");
        assert_ne!(status.code(), tonic::Code::FailedPrecondition, "{path}: {status}");
        shop.settle(&order, path).await;
    }
}

/// The log says once what such a role cannot notice, and how to mend that.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_what_it_cannot_notice() {
    let pair = tokio::task::spawn_blocking(Pair::synchronous).await.expect("both servers start");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = folder.path().join("log");
    for (url, told) in [(pair.text_of_plain_role(), 1), (pair.text(), 0)] {
        let mut command = program("inventory-grpc");
        command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &url]);
        let server = Running::start_logging(command, 1, &log);
        let mut client = AvailabilityServiceClient::new(channel_to(server.addresses[0]));
        for _ in 0..3 {
            client.decrement_availability(unrestricted(&guid(), "A")).await.expect("the standby is there");
        }
        assert!(server.terminate().success());
        let log = std::fs::read_to_string(&log).expect("the server has a log");
        assert_eq!(log.matches("GRANT pg_read_all_stats").count(), told, "{log}");
    }
}

/// Cancels so many waits for the standby that have lasted for so long.
async fn cancel_waits(shop: &Shop, lasted: &str, count: usize) {
    let cancel = format!(
        "SELECT pg_cancel_backend(pid)::text AS line FROM pg_stat_activity \
         WHERE wait_event = 'SyncRep' AND state_change < now() - interval '{lasted}'"
    );
    for _ in 0..count {
        while books::lines(&shop.pair.primary.url(), &cancel).is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
