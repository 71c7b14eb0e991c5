//! Suspicious orders: placed twice, returned twice, canceled before they were placed. What the ledger says about them,
//! and what the policies of a site do with them.

use std::cell::Cell;

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_request::Change;
use inventory_tests::call_stream::{CallStream, unary};
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::requests::{all_pages, decrement, guid, increment, items};
use inventory_tests::wix_caller::{item, order, order_id, with_new_request_id};
use inventory_tests::world::{World, start_grpc};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

on_both!(
    a_suspected_duplicate_is_applied_and_marked,
    a_suspected_duplicate_can_be_suppressed,
    edits_other_items_and_other_orders_are_no_duplicates,
    a_refund_and_a_cancellation_restock_once,
    a_return_to_another_location_counts_for_the_order,
    a_cancellation_may_arrive_before_the_order,
    a_refused_order_holds_nothing,
    get_order_lists_every_call_of_a_wix_order,
    concurrent_returns_restock_once,
    policies_are_configured_one_by_one,
    sites_are_listed_in_pages,
);

/// Sends calls for one order, each under an idempotency key of its own. Every second call travels on a stream, so that
/// the rules about earlier calls of an order meet calls of both ways.
struct Order<'a> {
    world: &'a World,
    id: String,
    calls: Cell<usize>,
}

impl<'a> Order<'a> {
    fn new(world: &'a World) -> Self {
        Self::of(world, guid())
    }

    fn of(world: &'a World, id: String) -> Self {
        Self { world, id, calls: Cell::new(0) }
    }

    async fn call(&self, change: impl Into<Change>) -> Result<v1::AppliedChange, Status> {
        if self.calls.replace(self.calls.get() + 1).is_multiple_of(2) {
            unary(self.world.availability(), change).await
        } else {
            CallStream::open(self.world.availability()).await.call(change).await
        }
    }

    /// Takes units, and returns the site's sequence number afterwards.
    async fn take(&self, reason: v1::Reason, lines: &[(&str, i64)]) -> Result<i64, Status> {
        let request = v1::DecrementAvailabilityRequest {
            order_id: self.id.clone(),
            reason: reason.into(),
            ..decrement(&self.world.site, lines)
        };
        Ok(self.call(request).await?.sequence)
    }

    /// A request that returns units.
    fn returning(&self, reason: v1::Reason, lines: &[(&str, i64)]) -> v1::IncrementAvailabilityRequest {
        v1::IncrementAvailabilityRequest { reason: reason.into(), ..increment(&self.world.site, &self.id, lines) }
    }

    /// Returns units, and returns the site's sequence number afterwards.
    async fn give(&self, reason: v1::Reason, lines: &[(&str, i64)]) -> i64 {
        let request = self.returning(reason, lines);
        self.call(request).await.expect("a return is not refused").sequence
    }

    async fn get(&self) -> Result<v1::GetOrderResponse, Status> {
        let request =
            v1::GetOrderRequest { site_id: self.world.site.clone(), order_id: self.id.clone(), ..Default::default() };
        Ok(self.world.ledger().get_order(request).await?.into_inner())
    }

    /// The requested change, the change that was made and the marks of each entry.
    async fn entries(&self) -> Vec<(i64, i64, Vec<v1::Mark>)> {
        let entries = self.get().await.expect("the order is known").entries;
        entries.iter().map(|entry| (entry.asked_delta, entry.delta, entry.marks().collect())).collect()
    }

    /// The reason and the outcome of each call.
    async fn outcomes(&self) -> Vec<(v1::Reason, v1::CallOutcome)> {
        let calls = self.get().await.expect("the order is known").calls;
        calls.iter().map(|call| (call.reason(), call.outcome())).collect()
    }
}

async fn configure(world: &World, change: v1::UpdateSiteRequest) -> v1::Site {
    world.configure_site(change).await.expect("the policies can be changed")
}

fn clip() -> v1::UpdateSiteRequest {
    v1::UpdateSiteRequest { over_returns: v1::OverReturnPolicy::Clip.into(), ..Default::default() }
}

fn suppress() -> v1::UpdateSiteRequest {
    v1::UpdateSiteRequest { suspected_repeats: v1::SuspectedRepeatPolicy::Suppress.into(), ..Default::default() }
}

use v1::CallOutcome::{Applied, Refused, Suppressed};
use v1::Mark::{OverReturn, SuspectedRepeat};
use v1::Reason::{OrderCanceled, OrderEdited, OrderPaid, OrderPlaced, OrderRefunded};

async fn a_suspected_duplicate_is_applied_and_marked(world: World) {
    world.set(&[("A", 10), ("B", 10)]).await;
    let order = Order::new(&world);
    order.take(OrderPlaced, &[("A", 1), ("B", 2)]).await.expect("there is enough");
    order.take(OrderPaid, &[("B", 1), ("A", 1), ("B", 1)]).await.expect("there is enough");
    let marked = vec![SuspectedRepeat];
    assert_eq!(order.entries().await, [(-1, -1, vec![]), (-2, -2, vec![]), (-2, -2, marked.clone()), (-1, -1, marked)]);
    assert_eq!((world.level("A").await, world.level("B").await), (8, 6), "the duplicate is applied");
}

async fn a_suspected_duplicate_can_be_suppressed(world: World) {
    configure(&world, suppress()).await;
    world.set(&[("A", 3)]).await;
    let order = Order::new(&world);
    let first = order.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    // Only 1 is left, but the order already holds what the duplicate asks for, so the duplicate is not refused.
    let duplicate = order.take(OrderPaid, &[("A", 2)]).await.expect("answered as if it were applied");
    assert_eq!((duplicate, world.level("A").await), (first, 1));
    assert_eq!(order.entries().await, [(-2, -2, vec![])]);
    assert_eq!(order.outcomes().await, [(OrderPlaced, Applied), (OrderPaid, Suppressed)]);
    // After a return, the same items are no longer a suspected duplicate.
    order.give(OrderCanceled, &[("A", 2)]).await;
    order.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    assert_eq!(world.level("A").await, 1);
}

async fn edits_other_items_and_other_orders_are_no_duplicates(world: World) {
    configure(&world, suppress()).await;
    world.set(&[("A", 100), ("B", 100)]).await;
    let order = Order::new(&world);
    order.take(OrderPlaced, &[("A", 1)]).await.expect("there is enough");
    order.take(OrderEdited, &[("A", 1)]).await.expect("an edit adds");
    order.take(OrderPlaced, &[("A", 2)]).await.expect("another quantity");
    order.take(OrderPlaced, &[("A", 1), ("B", 1)]).await.expect("another item");
    Order::new(&world).take(OrderPlaced, &[("A", 1)]).await.expect("another order");
    assert_eq!((world.level("A").await, world.level("B").await), (94, 99));
    assert!(world.entries().await.iter().all(|entry| entry.marks.is_empty()));
}

async fn a_refund_and_a_cancellation_restock_once(world: World) {
    world.set(&[("A", 5), ("B", 5)]).await;
    let reported = Order::new(&world);
    reported.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    reported.give(OrderRefunded, &[("A", 1)]).await;
    reported.give(OrderCanceled, &[("A", 2)]).await;
    assert_eq!(reported.entries().await[1..], [(1, 1, vec![]), (2, 2, vec![OverReturn])]);
    assert_eq!(world.level("A").await, 6, "the default policy only marks an over-return");

    configure(&world, clip()).await;
    let order = Order::new(&world);
    order.take(OrderPlaced, &[("A", 2), ("B", 1)]).await.expect("there is enough");
    order.give(OrderRefunded, &[("A", 1)]).await;
    order.give(OrderCanceled, &[("A", 2), ("B", 1)]).await;
    order.give(OrderCanceled, &[("A", 2)]).await;
    assert_eq!(
        order.entries().await[2..],
        [(1, 1, vec![]), (2, 1, vec![OverReturn]), (1, 1, vec![]), (2, 0, vec![OverReturn])]
    );
    assert_eq!((world.level("A").await, world.level("B").await), (6, 5));
    let lines = order.get().await.expect("the order is known").lines;
    assert!(lines.iter().all(|line| line.net == 0), "{lines:?}");
}

async fn a_return_to_another_location_counts_for_the_order(world: World) {
    configure(&world, clip()).await;
    world.set(&[("A", 5)]).await;
    let order = Order::new(&world);
    order.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    let shop = guid();
    for quantity in [1, 3] {
        let item = v1::Item { location_id: shop.clone(), ..items(&[("A", quantity)]).remove(0) };
        let request = v1::IncrementAvailabilityRequest { items: vec![item], ..order.returning(OrderRefunded, &[]) };
        world.availability().increment_availability(request).await.expect("a return is not refused");
    }
    assert_eq!(order.entries().await[1..], [(1, 1, vec![]), (3, 1, vec![OverReturn])]);
}

async fn a_cancellation_may_arrive_before_the_order(world: World) {
    configure(&world, clip()).await;
    world.set(&[("A", 5)]).await;
    let order = Order::new(&world);
    assert_eq!(order.get().await.expect_err("no call of the order was made").code(), Code::NotFound);
    order.give(OrderCanceled, &[("A", 2)]).await;
    assert_eq!(world.level("A").await, 7, "a return of an unknown order is applied");
    order.take(OrderPlaced, &[("A", 2)]).await.expect("the delayed order");
    assert_eq!(world.level("A").await, 5, "the order and its cancellation cancel out");
    order.give(OrderCanceled, &[("A", 2)]).await;
    assert_eq!(world.level("A").await, 5);
    let found = order.get().await.expect("the order is known");
    assert_eq!(found.lines.iter().map(|line| (line.taken, line.returned, line.net)).collect::<Vec<_>>(), [(2, 2, 0)]);
    assert_eq!(
        order.entries().await,
        [(2, 2, vec![OverReturn]), (-2, -2, vec![]), (2, 0, vec![OverReturn])],
        "the ledger marks both over-returns"
    );
    let sequences: Vec<i64> = found.calls.iter().map(|call| call.change_sequence).collect();
    assert_eq!(sequences, [2, 3, 4]);
}

async fn a_refused_order_holds_nothing(world: World) {
    configure(&world, clip()).await;
    world.set(&[("A", 1), ("B", 9)]).await;
    let order = Order::new(&world);
    assert!(order.take(OrderPlaced, &[("A", 2), ("B", 1)]).await.is_err());
    let found = order.get().await.expect("the refused call is recorded");
    assert_eq!((found.lines.len(), found.entries.len()), (0, 0));
    let [call] = found.calls.as_slice() else { panic!("the order has one call: {found:?}") };
    assert_eq!(
        (call.kind(), call.outcome(), call.refusal.as_str()),
        (v1::Kind::Decrement, Refused, "INSUFFICIENT_STOCK")
    );
    let short: Vec<(i64, i64, i64)> = call.shortages.iter().map(|s| (s.asked, s.available, s.short)).collect();
    assert_eq!((short, call.shortage_count), (vec![(2, 1, 1)], 1));
    assert_eq!((call.sequence, call.change_sequence), (2, 0));
    order.give(OrderCanceled, &[("A", 2), ("B", 1)]).await;
    assert_eq!(
        (world.level("A").await, world.level("B").await),
        (1, 9),
        "the order took nothing, so nothing is returned"
    );
    order.take(OrderPlaced, &[("A", 1)]).await.expect("there is one");
    assert_eq!(order.outcomes().await, [(OrderPlaced, Refused), (OrderCanceled, Applied), (OrderPlaced, Applied)]);
}

async fn get_order_lists_every_call_of_a_wix_order(world: World) {
    configure(&world, clip()).await;
    world.set(&[("A", 2)]).await;
    let data = order(&world.site, json!([item("A", 1)]));
    let call_for = |reason: &str| {
        let mut call = with_new_request_id(data.clone());
        call["request"]["reason"] = json!(reason);
        call
    };
    let (paid, cancel, refund) = (call_for("ORDER_PAID"), call_for("ORDER_CANCELED"), call_for("ORDER_REFUNDED"));
    for (method, call) in [("decrement", &data), ("decrement", &data), ("decrement", &paid)] {
        assert_eq!(world.wix.call(method, call.clone()).await.status, 200);
    }
    for call in [&cancel, &refund, &cancel] {
        assert_eq!(world.wix.call("increment", call.clone()).await.status, 200);
    }
    let order = Order::of(&world, order_id(&data).to_owned());
    let calls = order.get().await.expect("the order is known").calls;
    assert!(calls.iter().all(|call| call.actor == "wix" && call.record_time.is_some()));
    // Replays are not calls of their own. Both decrements were applied.
    let reasons: Vec<v1::Reason> = calls.iter().map(v1::OrderCall::reason).collect();
    assert_eq!(reasons, [OrderPlaced, OrderPaid, OrderCanceled, OrderRefunded]);
    assert_eq!(world.level("A").await, 2);
}

async fn concurrent_returns_restock_once(world: World) {
    configure(&world, clip()).await;
    let stop = CancellationToken::new();
    let other = start_grpc(world.database.url.clone(), stop.clone()).await;
    let other = AvailabilityServiceClient::connect(format!("http://{other}"))
        .await
        .expect("the second server accepts connections");
    world.set(&[("A", 100)]).await;
    let orders: Vec<Order<'_>> = (0..20).map(|_| Order::new(&world)).collect();
    for order in &orders {
        order.take(OrderPlaced, &[("A", 3)]).await.expect("there is enough");
    }
    let calls = orders.iter().flat_map(|order| (0..8).map(move |index| (order, index))).map(|(order, index)| {
        let request = order.returning(OrderCanceled, &[("A", 2)]);
        let mut server = if index % 2 == 0 { world.availability() } else { other.clone() };
        async move { server.increment_availability(request).await.expect("a return is not refused") }
    });
    join_all(calls).await;
    assert_eq!(world.level("A").await, 100);
    for order in &orders {
        let found = order.get().await.expect("the order is known");
        assert_eq!(found.lines.iter().map(|line| line.net).collect::<Vec<_>>(), [0]);
        let marked = found.entries.iter().filter(|entry| !entry.marks.is_empty()).count();
        assert_eq!((found.entries.len(), marked), (9, 7));
    }
    stop.cancel();
}

async fn policies_are_configured_one_by_one(world: World) {
    let policies = |site: &v1::Site| (site.suspected_repeats(), site.over_returns());
    let (report, clipped) = (v1::OverReturnPolicy::Report, v1::OverReturnPolicy::Clip);
    let (reported, suppressed) = (v1::SuspectedRepeatPolicy::Report, v1::SuspectedRepeatPolicy::Suppress);
    let site = configure(&world, v1::UpdateSiteRequest::default()).await;
    assert_eq!(policies(&site), (reported, report));
    assert_eq!(policies(&configure(&world, clip()).await), (reported, clipped));
    assert_eq!(policies(&configure(&world, suppress()).await), (suppressed, clipped));
    let back = v1::UpdateSiteRequest { over_returns: report.into(), ..Default::default() };
    assert_eq!(policies(&configure(&world, back).await), (suppressed, report));
    for (request, field) in [
        (v1::UpdateSiteRequest { suspected_repeats: 7, ..Default::default() }, "suspected_repeats"),
        (v1::UpdateSiteRequest { over_returns: 7, ..Default::default() }, "over_returns"),
    ] {
        let refused = world.configure_site(request).await.expect_err(field);
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field));
    }
}

async fn sites_are_listed_in_pages(world: World) {
    let mut sites: Vec<String> = (0..5).map(|_| guid()).collect();
    for site_id in &sites {
        let request = v1::UpdateSiteRequest { site_id: site_id.clone(), ..clip() };
        world.sites().update_site(request).await.expect("the site can be created");
    }
    sites.sort();
    let page = async |page_token| {
        let request = v1::ListSitesRequest { page_size: 2, page_token };
        let page = world.sites().list_sites(request).await.expect("sites can be listed").into_inner();
        assert!(page.sites.len() <= 2);
        (page.sites, page.next_page_token)
    };
    let listed = all_pages(page).await;
    assert_eq!(listed.iter().map(|site| site.site_id.clone()).collect::<Vec<_>>(), sites);
    assert!(listed.iter().all(|site| site.over_returns() == v1::OverReturnPolicy::Clip && site.revision == 1));
    let request = v1::ListSitesRequest { page_size: 0, page_token: "x".into() };
    assert_eq!(world.sites().list_sites(request).await.expect_err("not a page token").code(), Code::InvalidArgument);
}
