//! Who may call what: tokens, their scopes and sites, and who stands in the ledger as the actor.

use inventory_core::model::access::Scope;
use inventory_grpc::access::METHODS;
use inventory_grpc::server::Options;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{ACTOR_METADATA, Bearer, DESCRIPTORS, ON_BEHALF_OF_METADATA, v1};
use inventory_tests::errors::reason_of;
use inventory_tests::on_both;
use inventory_tests::requests::{decrement, guid, set, set_item};
use inventory_tests::tokens::{GET_SITE, New, bearer, call, channel_to, code_of, revoke, signed, until, until_known};
use inventory_tests::world::{Backend, World, start_grpc, start_grpc_with};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// The stream of calls.
const CALL_STREAM: &str = "/inventory.v1.AvailabilityService/ChangeAvailability";

on_both!(
    a_revocation_takes_effect_on_every_server,
    the_actor_is_the_tokens_name,
    a_token_for_some_sites_opens_no_other,
    without_tokens_callers_name_themselves,
);

/// Any request about a site.
#[derive(Clone, PartialEq, Message)]
struct OfSite {
    #[prost(string, tag = "1")]
    site_id: String,
}

/// Tests of the layer itself need no second store.
async fn sqlite() -> World {
    World::start(Backend::Sqlite).await
}

/// What a caller sees of an error.
fn seen(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

#[test]
fn the_table_names_every_method_and_no_other() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors can be read").file;
    let mut found: Vec<String> = Vec::new();
    for file in files.iter().filter(|file| file.package() == "inventory.v1") {
        for service in &file.service {
            let path = |method: &str| format!("/inventory.v1.{}/{method}", service.name());
            found.extend(service.method.iter().map(|method| path(method.name())));
        }
    }
    let mut table: Vec<String> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
    found.sort();
    table.sort();
    assert_eq!(table, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_exactly_its_methods() {
    let world = sqlite().await;
    let tokens = Scope::ALL.map(|scope| {
        let name = scope.name().replace(':', "-");
        (scope, New { name: &name, scopes: &[scope], ..New::default() }.create(&world.database.url))
    });
    until_known(world.channel(), &tokens[0].1).await;
    for (method, needed) in METHODS {
        let refused = call(world.channel(), &Bearer::NONE, method, ()).await;
        assert_eq!(code_of(&refused), Code::Unauthenticated, "{method} without a token");
        for (scope, token) in &tokens {
            let result = call(world.channel(), &bearer(token), method, ()).await;
            // The empty request is bad, but for the list of sites, and for a stream of calls, which has none. It is
            // looked at only by those who may call.
            let expected = match (*scope == needed, needed) {
                (true, Scope::Admin) => Code::Ok,
                (true, _) if method == CALL_STREAM => Code::Ok,
                (true, _) => Code::InvalidArgument,
                (false, _) => Code::PermissionDenied,
            };
            assert_eq!(code_of(&result), expected, "{method} with {scope}: {result:?}");
        }
    }
    let check = HealthCheckRequest { service: String::new() };
    HealthClient::new(world.channel()).check(check).await.expect("health is open");
    for unknown in ["/inventory.v1.StockService/Steal", "/inventory.v2.StockService/GetStock", "/x"] {
        let result = call(world.channel(), &bearer(&tokens[0].1), unknown, ()).await;
        assert_eq!(code_of(&result), Code::Unimplemented, "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_needs_more_than_a_verification() {
    let world = sqlite().await;
    world.set(&[("A", 1)]).await;
    let verify = async |name: &str, scopes: &[Scope], repair| {
        let token = New { name, scopes, ..New::default() }.create(&world.database.url);
        until_known(world.channel(), &token).await;
        let request = v1::VerifySiteRequest { site_id: world.site.clone(), repair };
        let mut client = LedgerServiceClient::with_interceptor(world.channel(), bearer(&token));
        client.verify_site(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    let (read, write, admin) = (Scope::StockRead, Scope::StockWrite, Scope::Admin);
    assert_eq!(verify("reader", &[read], false).await, Code::Ok);
    assert_eq!(verify("reader-2", &[read], true).await, Code::PermissionDenied);
    assert_eq!(verify("writer", &[read, write], true).await, Code::PermissionDenied);
    assert_eq!(verify("half", &[read, admin], true).await, Code::PermissionDenied);
    assert_eq!(verify("admin", &[read, write, admin], true).await, Code::Ok);
}

async fn a_token_for_some_sites_opens_no_other(world: World) {
    let foreign = guid();
    let stocked = set(&foreign, vec![set_item("A", 1)]);
    world.stock().set_stock(stocked).await.expect("the foreign site exists");
    world.set(&[("A", 1)]).await;
    let sites = [world.site.to_uppercase(), guid()];
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let token = New { name: "shop", scopes: &Scope::ALL, sites: &sites, expires_at: None };
    let token = bearer(&token.create(&world.database.url));
    let known = |result: &Result<(), Status>| code_of(result) != Code::Unauthenticated;
    let _ = until(|| call(world.channel(), &token, GET_SITE, ()), known).await;
    // A stream names no site; each of its calls does, and is checked in `streams`.
    let of_a_site = |method: &str| !method.ends_with("/ListSites") && method != CALL_STREAM;
    for (method, _) in METHODS.iter().filter(|(method, _)| of_a_site(method)) {
        let of = |site_id: &str| call(world.channel(), &token, method, OfSite { site_id: site_id.to_owned() });
        let own = of(&world.site).await;
        assert_ne!(code_of(&own), Code::PermissionDenied, "{method}");
        let existing = of(&foreign).await.expect_err(method);
        let absent = of(&guid()).await.expect_err(method);
        assert_eq!(seen(&existing), seen(&absent), "{method}");
        assert_eq!((existing.code(), reason_of(&existing)), (Code::PermissionDenied, "PERMISSION_DENIED".into()));
        assert_ne!(code_of(&of("x").await), Code::Ok, "{method}");
    }
    let mut client = SiteServiceClient::with_interceptor(world.channel(), token);
    let listed = client.list_sites(v1::ListSitesRequest::default()).await.expect("listed").into_inner().sites;
    assert_eq!(listed.iter().map(|site| &site.site_id).collect::<Vec<_>>(), [&world.site]);
}

async fn a_revocation_takes_effect_on_every_server(world: World) {
    world.set(&[("A", 1)]).await;
    let stop = CancellationToken::new();
    let other = channel_to(start_grpc(world.database.url.clone(), stop.clone()).await);
    let url = &world.database.url;
    let token = New { name: "erp", scopes: &[Scope::StockRead], ..New::default() }.create(url);
    let kept = New { name: "kept", scopes: &[Scope::StockRead], ..New::default() }.create(url);
    for channel in [world.channel(), other.clone()] {
        until_known(channel.clone(), &token).await;
        until_known(channel, &kept).await;
    }
    let watch = v1::WatchEntriesRequest { site_id: world.site.clone(), after_sequence: 0 };
    let mut client = LedgerServiceClient::with_interceptor(other.clone(), bearer(&token));
    let mut watched = client.watch_entries(watch).await.expect("the ledger can be watched").into_inner();
    revoke(url, "erp");
    for channel in [world.channel(), other.clone()] {
        let refused = |result: &Result<(), Status>| code_of(result) == Code::Unauthenticated;
        let token = bearer(&token);
        let _ = until(|| call(channel.clone(), &token, GET_SITE, ()), refused).await;
        assert_eq!(code_of(&call(channel, &bearer(&kept), GET_SITE, ()).await), Code::InvalidArgument);
    }
    let end = loop {
        match watched.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unauthenticated);
    stop.cancel();
}

async fn the_actor_is_the_tokens_name(world: World) {
    let url = &world.database.url;
    let plain = New { name: "erp", scopes: &[Scope::Orders, Scope::StockWrite, Scope::StockRead], ..New::default() };
    let plain = bearer(&plain.create(url));
    let agent = New { name: "agent", scopes: &[Scope::Orders, Scope::OnBehalf], ..New::default() }.create(url);
    until_known(world.channel(), &agent).await;
    let agent = bearer(&agent);
    let claims = [(ACTOR_METADATA, "somebody else")];
    let behalf = [(ACTOR_METADATA, "somebody else"), (ON_BEHALF_OF_METADATA, "ann@example.com")];
    let mut stock = StockServiceClient::new(world.channel());
    let request = || set(&world.site, vec![set_item("A", 5)]);
    stock.set_stock(signed(request(), &plain, &claims)).await.expect("the level is set");
    let refused = stock.set_stock(signed(request(), &plain, &behalf)).await.expect_err("the scope is missing");
    assert_eq!(reason_of(&refused), "PERMISSION_DENIED");
    let mut availability = AvailabilityServiceClient::new(world.channel());
    let order = guid();
    let take = |pieces| v1::DecrementAvailabilityRequest {
        order_id: order.clone(),
        ..decrement(&world.site, &[("A", pieces)])
    };
    availability.decrement_availability(signed(take(1), &agent, &behalf)).await.expect("applied");
    availability.decrement_availability(signed(take(9), &agent, &behalf)).await.expect_err("short");
    let long = "x".repeat(65);
    let mut request = signed(take(1), &agent, &[]);
    request.metadata_mut().insert(ON_BEHALF_OF_METADATA, long.parse().expect("ASCII"));
    let refused = availability.decrement_availability(request).await.expect_err("too long");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut ledger = LedgerServiceClient::with_interceptor(world.channel(), plain);
    let listed = v1::ListEntriesRequest { site_id: world.site.clone(), ..Default::default() };
    let entries = ledger.list_entries(listed).await.expect("listed").into_inner().entries;
    let authors: Vec<_> = entries.iter().map(|entry| (entry.actor.as_str(), entry.on_behalf_of.as_str())).collect();
    assert_eq!(authors, [("erp", ""), ("agent", "ann@example.com")]);
    let asked = v1::GetOrderRequest { site_id: world.site.clone(), order_id: order, ..Default::default() };
    let calls = ledger.get_order(asked).await.expect("known").into_inner().calls;
    let authors: Vec<_> = calls.iter().map(|call| (call.actor.as_str(), call.on_behalf_of.as_str())).collect();
    assert_eq!(authors, [("agent", "ann@example.com"); 2]);
}

async fn without_tokens_callers_name_themselves(world: World) {
    let request = || set(&world.site, vec![set_item("A", 5)]);
    let named = [(ACTOR_METADATA, "warehouse"), (ON_BEHALF_OF_METADATA, "ann")];
    let mut stock = world.stock();
    stock.set_stock(signed(request(), &Bearer::NONE, &named)).await.expect("nobody needs a token yet");
    let entries = world.entries().await;
    assert_eq!((&*entries[0].actor, &*entries[0].on_behalf_of), ("warehouse", "ann"));
    // A wrong token is never taken for none.
    let wrong = bearer("inv_wrong");
    let refused = stock.set_stock(signed(request(), &wrong, &named)).await.expect_err("a wrong token");
    assert_eq!(refused.code(), Code::Unauthenticated);

    let stop = CancellationToken::new();
    let options = Options { allow_anonymous: true, ..Options::default() };
    let open = channel_to(start_grpc_with(world.database.url.clone(), options, stop.clone()).await);
    let token = New { name: "erp", scopes: &[Scope::StockRead], ..New::default() }.create(&world.database.url);
    let closed = |result: &Result<(), Status>| code_of(result) == Code::Unauthenticated;
    let _ = until(|| call(world.channel(), &Bearer::NONE, GET_SITE, ()), closed).await;
    until_known(open.clone(), &token).await;
    revoke(&world.database.url, "erp");
    let token = bearer(&token);
    let _ = until(|| call(open.clone(), &token, GET_SITE, ()), closed).await;
    let result = call(open, &Bearer::NONE, GET_SITE, ()).await;
    assert_eq!(code_of(&result), Code::InvalidArgument, "--allow-anonymous");
    // A database whose tokens are all revoked does not open again.
    let result = call(world.channel(), &Bearer::NONE, GET_SITE, ()).await;
    assert_eq!(code_of(&result), Code::Unauthenticated);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_by_the_servers_clock() {
    let world = sqlite().await;
    let second = 1_000_000;
    world.clock.set(100 * second);
    let expires_at = Some(200 * second);
    let token = New { name: "erp", scopes: &[Scope::StockRead], sites: &[], expires_at };
    let token = token.create(&world.database.url);
    until_known(world.channel(), &token).await;
    let token = bearer(&token);
    for (time, code) in [(200 * second - 1, Code::InvalidArgument), (200 * second, Code::Unauthenticated)] {
        world.clock.set(time);
        assert_eq!(code_of(&call(world.channel(), &token, GET_SITE, ()).await), code, "at {time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_without_a_good_token_is_the_same() {
    let world = sqlite().await;
    let url = &world.database.url;
    let new = |name, expires_at| New { name, scopes: &[Scope::StockRead], sites: &[], expires_at }.create(url);
    let (good, expired, revoked) = (new("good", None), new("expired", Some(1)), new("revoked", None));
    revoke(url, "revoked");
    until_known(world.channel(), &good).await;
    let of =
        async |bearer: Bearer| seen(&call(world.channel(), &bearer, GET_SITE, ()).await.expect_err("not a good token"));
    let missing = of(Bearer::NONE).await;
    assert_eq!(missing.0, Code::Unauthenticated);
    let (mut unknown, last) = (good.clone(), if good.ends_with('A') { 'B' } else { 'A' });
    unknown.pop();
    unknown.push(last);
    for text in [expired, revoked, unknown, "inv_".to_owned(), format!("{good}A")] {
        assert_eq!(of(bearer(&text)).await, missing, "{text}");
    }
    // A scope that is missing and a site that is missing look the same, too.
    let shop = New { name: "shop", scopes: &[Scope::StockRead], sites: &[&guid()], expires_at: None }.create(url);
    until_known(world.channel(), &shop).await;
    let of = async |method: &str| {
        let request = OfSite { site_id: world.site.clone() };
        seen(&call(world.channel(), &bearer(&shop), method, request).await.expect_err("not permitted"))
    };
    assert_eq!(of(GET_SITE).await, of("/inventory.v1.SiteService/UpdateSite").await);
}
