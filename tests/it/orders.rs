//! Orders that look wrong: taken twice, given back twice, canceled before they were placed. What the ledger
//! says of them, and what a site may settle about them.

use futures_util::future::join_all;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_tests::on_both;
use inventory_tests::wix_caller::{item, order};
use inventory_tests::world::{World, reference, start_grpc};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both!(
    a_suspected_repeat_is_reported,
    a_suspected_repeat_may_be_suppressed,
    what_only_resembles_a_repeat_is_none,
    a_refund_and_a_cancellation_restock_once,
    goods_may_come_back_elsewhere,
    a_cancellation_may_come_first,
    an_order_that_was_refused_holds_nothing,
    wix_orders_are_told_call_by_call,
    many_returns_at_once_restock_once,
    policies_are_settled_one_by_one,
    sites_are_listed,
);

fn guid() -> String {
    Uuid::new_v4().to_string()
}

fn items(items: &[(&str, i64)]) -> Vec<v1::Item> {
    let item = |&(id, quantity): &(&str, i64)| v1::Item { unit: reference(id), quantity, ..Default::default() };
    items.iter().map(item).collect()
}

/// Calls for one order, each under a name of its own.
struct Order<'a> {
    world: &'a World,
    id: String,
}

impl<'a> Order<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, id: guid() }
    }

    async fn take(&self, reason: v1::Reason, asked: &[(&str, i64)]) -> Result<i64, Status> {
        let request = v1::DecrementAvailabilityRequest {
            site_id: self.world.site.clone(),
            order_id: self.id.clone(),
            items: items(asked),
            reason: reason.into(),
            request_id: guid(),
            ..Default::default()
        };
        Ok(self.world.availability().decrement_availability(request).await?.into_inner().sequence)
    }

    fn returning(&self, reason: v1::Reason, items: Vec<v1::Item>) -> v1::IncrementAvailabilityRequest {
        v1::IncrementAvailabilityRequest {
            site_id: self.world.site.clone(),
            order_id: self.id.clone(),
            items,
            reason: reason.into(),
            request_id: guid(),
        }
    }

    async fn give(&self, reason: v1::Reason, asked: &[(&str, i64)]) -> i64 {
        let request = self.returning(reason, items(asked));
        let answer = self.world.availability().increment_availability(request).await;
        answer.expect("an increment is not refused").into_inner().sequence
    }

    async fn told(&self) -> Result<v1::GetOrderResponse, Status> {
        let request =
            v1::GetOrderRequest { site_id: self.world.site.clone(), order_id: self.id.clone(), ..Default::default() };
        Ok(self.world.ledger().get_order(request).await?.into_inner())
    }

    /// What was asked for, done and marked, entry by entry.
    async fn entries(&self) -> Vec<(i64, i64, Vec<v1::Mark>)> {
        let entries = self.told().await.expect("known").entries;
        entries.iter().map(|entry| (entry.asked_delta, entry.delta, entry.marks().collect())).collect()
    }

    async fn outcomes(&self) -> Vec<(v1::Reason, v1::CallOutcome)> {
        let calls = self.told().await.expect("known").calls;
        calls.iter().map(|call| (call.reason(), call.outcome())).collect()
    }
}

async fn settle(world: &World, change: v1::UpdateSiteRequest) -> v1::Site {
    let request = v1::UpdateSiteRequest { site_id: world.site.clone(), ..change };
    world.sites().update_site(request).await.expect("settled").into_inner().site.expect("held")
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

async fn a_suspected_repeat_is_reported(world: World) {
    world.set(&[("A", 10), ("B", 10)]).await;
    let order = Order::new(&world);
    order.take(OrderPlaced, &[("A", 1), ("B", 2)]).await.expect("there is enough");
    order.take(OrderPaid, &[("B", 1), ("A", 1), ("B", 1)]).await.expect("there is enough");
    let twice = vec![SuspectedRepeat];
    assert_eq!(order.entries().await, [(-1, -1, vec![]), (-2, -2, vec![]), (-2, -2, twice.clone()), (-1, -1, twice)]);
    assert_eq!((world.level("A").await, world.level("B").await), (8, 6), "it was carried out");
}

async fn a_suspected_repeat_may_be_suppressed(world: World) {
    settle(&world, suppress()).await;
    world.set(&[("A", 3)]).await;
    let order = Order::new(&world);
    let first = order.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    // Even where there would not be enough: as far as anybody knows it has what it asks for.
    let again = order.take(OrderPaid, &[("A", 2)]).await.expect("answered as if it were carried out");
    assert_eq!((again, world.level("A").await), (first, 1));
    assert_eq!(order.entries().await, [(-2, -2, vec![])]);
    assert_eq!(order.outcomes().await, [(OrderPlaced, Applied), (OrderPaid, Suppressed)]);
    // Once something came back, the same again is a new taking.
    order.give(OrderCanceled, &[("A", 2)]).await;
    order.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    assert_eq!(world.level("A").await, 1);
}

async fn what_only_resembles_a_repeat_is_none(world: World) {
    settle(&world, suppress()).await;
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
    assert_eq!(world.level("A").await, 6, "unless settled otherwise, it is only marked");

    settle(&world, clip()).await;
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
    let lines = order.told().await.expect("known").lines;
    assert!(lines.iter().all(|line| line.net == 0), "{lines:?}");
}

async fn goods_may_come_back_elsewhere(world: World) {
    settle(&world, clip()).await;
    world.set(&[("A", 5)]).await;
    let order = Order::new(&world);
    order.take(OrderPlaced, &[("A", 2)]).await.expect("there is enough");
    let shop = guid();
    let elsewhere = |quantity| v1::Item { location_id: shop.clone(), ..items(&[("A", quantity)]).remove(0) };
    for quantity in [1, 3] {
        let request = order.returning(OrderRefunded, vec![elsewhere(quantity)]);
        world.availability().increment_availability(request).await.expect("not refused");
    }
    assert_eq!(order.entries().await[1..], [(1, 1, vec![]), (3, 1, vec![OverReturn])]);
}

async fn a_cancellation_may_come_first(world: World) {
    settle(&world, clip()).await;
    world.set(&[("A", 5)]).await;
    let order = Order::new(&world);
    assert_eq!(order.told().await.expect_err("nothing is known").code(), Code::NotFound);
    order.give(OrderCanceled, &[("A", 2)]).await;
    assert_eq!(world.level("A").await, 7, "of an order never seen nothing is known");
    order.take(OrderPlaced, &[("A", 2)]).await.expect("it was on its way");
    assert_eq!(world.level("A").await, 5, "and all is as it was");
    order.give(OrderCanceled, &[("A", 2)]).await;
    assert_eq!(world.level("A").await, 5);
    let told = order.told().await.expect("known");
    assert_eq!(told.lines.iter().map(|line| (line.taken, line.returned, line.net)).collect::<Vec<_>>(), [(2, 2, 0)]);
    assert_eq!(
        order.entries().await,
        [(2, 2, vec![OverReturn]), (-2, -2, vec![]), (2, 0, vec![OverReturn])],
        "the ledger says why"
    );
    let sequences: Vec<i64> = told.calls.iter().map(|call| call.change_sequence).collect();
    assert_eq!(sequences, [2, 3, 4]);
}

async fn an_order_that_was_refused_holds_nothing(world: World) {
    settle(&world, clip()).await;
    world.set(&[("A", 1), ("B", 9)]).await;
    let order = Order::new(&world);
    assert!(order.take(OrderPlaced, &[("A", 2), ("B", 1)]).await.is_err());
    let told = order.told().await.expect("known by its refusal");
    assert_eq!((told.lines.len(), told.entries.len()), (0, 0));
    let [call] = told.calls.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (call.kind(), call.outcome(), call.refusal.as_str()),
        (v1::Kind::Decrement, Refused, "INSUFFICIENT_STOCK")
    );
    let short: Vec<(i64, i64, i64)> = call.shortages.iter().map(|s| (s.asked, s.available, s.short)).collect();
    assert_eq!((short, call.shortage_count), (vec![(2, 1, 1)], 1));
    assert_eq!((call.sequence, call.change_sequence), (2, 0));
    order.give(OrderCanceled, &[("A", 2), ("B", 1)]).await;
    assert_eq!((world.level("A").await, world.level("B").await), (1, 9), "nothing was taken, nothing comes back");
    order.take(OrderPlaced, &[("A", 1)]).await.expect("there is one");
    assert_eq!(order.outcomes().await, [(OrderPlaced, Refused), (OrderCanceled, Applied), (OrderPlaced, Applied)]);
}

async fn wix_orders_are_told_call_by_call(world: World) {
    settle(&world, clip()).await;
    world.set(&[("A", 2)]).await;
    let data = order(&world.site, json!([item("A", 1)]));
    let mut again = data.clone();
    again["metadata"]["requestId"] = json!(Uuid::new_v4());
    again["request"]["reason"] = json!("ORDER_PAID");
    let mut cancel = again.clone();
    cancel["metadata"]["requestId"] = json!(Uuid::new_v4());
    cancel["request"]["reason"] = json!("ORDER_CANCELED");
    let mut refund = cancel.clone();
    refund["metadata"]["requestId"] = json!(Uuid::new_v4());
    refund["request"]["reason"] = json!("ORDER_REFUNDED");
    for (method, call) in [("decrement", &data), ("decrement", &data), ("decrement", &again)] {
        assert_eq!(world.wix.call(method, call.clone()).await.status, 200);
    }
    for call in [&cancel, &refund, &cancel] {
        assert_eq!(world.wix.call("increment", call.clone()).await.status, 200);
    }
    let told = Order { world: &world, id: data["request"]["orderId"].as_str().expect("text").to_owned() };
    let calls = told.told().await.expect("known").calls;
    assert!(calls.iter().all(|call| call.actor == "wix" && call.record_time.is_some()));
    // The repeats under the same key are not calls of their own. Both decrements were carried out.
    let reasons: Vec<v1::Reason> = calls.iter().map(v1::OrderCall::reason).collect();
    assert_eq!(reasons, [OrderPlaced, OrderPaid, OrderCanceled, OrderRefunded]);
    assert_eq!(world.level("A").await, 2);
}

async fn many_returns_at_once_restock_once(world: World) {
    settle(&world, clip()).await;
    let stop = CancellationToken::new();
    let other = start_grpc(world.database.url.clone(), stop.clone()).await;
    let other = AvailabilityServiceClient::connect(format!("http://{other}")).await.expect("it answers");
    world.set(&[("A", 100)]).await;
    let orders: Vec<Order<'_>> = (0..20).map(|_| Order::new(&world)).collect();
    for order in &orders {
        order.take(OrderPlaced, &[("A", 3)]).await.expect("there is enough");
    }
    let calls = orders.iter().flat_map(|order| (0..8).map(move |index| (order, index))).map(|(order, index)| {
        let request = order.returning(OrderCanceled, items(&[("A", 2)]));
        let mut server = if index % 2 == 0 { world.availability() } else { other.clone() };
        async move { server.increment_availability(request).await.expect("not refused") }
    });
    join_all(calls).await;
    assert_eq!(world.level("A").await, 100);
    for order in &orders {
        let told = order.told().await.expect("known");
        assert_eq!(told.lines.iter().map(|line| line.net).collect::<Vec<_>>(), [0]);
        let marked = told.entries.iter().filter(|entry| !entry.marks.is_empty()).count();
        assert_eq!((told.entries.len(), marked), (9, 7));
    }
    stop.cancel();
}

async fn policies_are_settled_one_by_one(world: World) {
    let policies = |site: &v1::Site| (site.suspected_repeats(), site.over_returns());
    let (report, clipped) = (v1::OverReturnPolicy::Report, v1::OverReturnPolicy::Clip);
    let (reported, suppressed) = (v1::SuspectedRepeatPolicy::Report, v1::SuspectedRepeatPolicy::Suppress);
    let site = settle(&world, v1::UpdateSiteRequest::default()).await;
    assert_eq!(policies(&site), (reported, report));
    assert_eq!(policies(&settle(&world, clip()).await), (reported, clipped));
    assert_eq!(policies(&settle(&world, suppress()).await), (suppressed, clipped));
    let back = v1::UpdateSiteRequest { over_returns: report.into(), ..Default::default() };
    assert_eq!(policies(&settle(&world, back).await), (suppressed, report));
    for (request, field) in [
        (v1::UpdateSiteRequest { suspected_repeats: 7, ..Default::default() }, "suspected_repeats"),
        (v1::UpdateSiteRequest { over_returns: 7, ..Default::default() }, "over_returns"),
    ] {
        let request = v1::UpdateSiteRequest { site_id: world.site.clone(), ..request };
        let refused = world.sites().update_site(request).await.expect_err(field);
        let violations = refused.get_details_bad_request().expect("details").field_violations;
        assert_eq!((refused.code(), violations[0].field.as_str()), (Code::InvalidArgument, field));
    }
}

async fn sites_are_listed(world: World) {
    let mut sites: Vec<String> = (0..5).map(|_| guid()).collect();
    for site_id in &sites {
        let request = v1::UpdateSiteRequest { site_id: site_id.clone(), ..clip() };
        world.sites().update_site(request).await.expect("made");
    }
    sites.sort();
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListSitesRequest { page_size: 2, page_token };
        let page = world.sites().list_sites(request).await.expect("listed").into_inner();
        assert!(page.sites.len() <= 2);
        listed.extend(page.sites);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.iter().map(|site| site.site_id.clone()).collect::<Vec<_>>(), sites);
    assert!(listed.iter().all(|site| site.over_returns() == v1::OverReturnPolicy::Clip && site.revision == 1));
    let request = v1::ListSitesRequest { page_size: 0, page_token: "x".into() };
    assert_eq!(world.sites().list_sites(request).await.expect_err("no token").code(), Code::InvalidArgument);
}
