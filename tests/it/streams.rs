//! Streams of calls: each message is a call of its own, and a stream that ends loses no answer.
//!
//! The rules of stock are tested on streams by the scenarios, which take every way, and by the tables of `rules` and
//! `contract`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inventory_core::model::access::Scope;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_tests::call_stream::CallStream;
use inventory_tests::chaos::Link;
use inventory_tests::errors::{error, error_of, insufficient_stock};
use inventory_tests::on_both;
use inventory_tests::requests::{decrement, guid, increment, items, reference};
use inventory_tests::tokens::{New, channel_to, revoke};
use inventory_tests::world::{Backend, Database, World, start_grpc};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

on_both!(
    each_message_is_a_call_of_its_own,
    an_answer_has_the_levels_that_were_asked_for,
    a_refusal_lists_every_shortage,
    a_bad_message_fails_alone,
    a_message_whose_time_is_over_in_the_middle_of_a_frame_fails_alone,
    calls_beyond_the_bound_wait_for_their_turn,
    a_stopping_server_loses_no_answer,
    a_caller_that_is_done_gets_all_answers,
);

/// An order of some pieces of A.
fn take(world: &World, pieces: i64) -> v1::DecrementAvailabilityRequest {
    decrement(&world.site, &[("A", pieces)])
}

async fn each_message_is_a_call_of_its_own(world: World) {
    world.set(&[("A", 10)]).await;
    let mut stream = CallStream::open(world.availability()).await;
    let (first, too_much, back) = (take(&world, 4), take(&world, 7), increment(&world.site, &guid(), &[("A", 1)]));
    let sent = [
        stream.send(first.clone()),
        stream.send(too_much.clone()),
        stream.send(back),
        stream.send(first.clone()),
        stream.send(v1::DecrementAvailabilityRequest { items: items(&[("A", 5)]), ..first.clone() }),
    ];
    let mut answers = Vec::new();
    for _ in sent {
        answers.push(stream.next().await.expect("open").expect("open"));
    }
    answers.sort_by_key(|(correlation_id, _)| *correlation_id);
    assert_eq!(answers.iter().map(|(id, _)| *id).collect::<Vec<_>>(), sent);
    let applied = |index: usize| answers[index].1.as_ref().expect("applied");
    assert_eq!((applied(0).sequence, applied(0).repeated_request), (2, false));
    let refused = answers[1].1.as_ref().expect_err("7 of 6 pieces");
    assert_eq!(error_of(refused), error(Code::FailedPrecondition, "INSUFFICIENT_STOCK", ""));
    assert_eq!((applied(2).sequence, applied(2).repeated_request), (3, false));
    assert_eq!((applied(3).sequence, applied(3).repeated_request), (2, true), "a replay on the same stream");
    let misused = answers[4].1.as_ref().expect_err("the key has other content");
    assert_eq!(error_of(misused), error(Code::AlreadyExists, "REQUEST_ID_REUSED", ""));
    assert_eq!(world.level("A").await, 7);

    let mut other = CallStream::open(world.availability()).await;
    assert!(other.call(first.clone()).await.expect("applied").repeated_request, "a replay on another stream");
    let unary = world.availability().decrement_availability(first).await.expect("applied").into_inner();
    assert!(unary.repeated_request, "a replay without a stream");
    other.call(too_much).await.expect_err("the recorded refusal");
    assert_eq!(world.level("A").await, 7);
}

async fn an_answer_has_the_levels_that_were_asked_for(world: World) {
    world.set(&[("A", 10)]).await;
    let mut stream = CallStream::open(world.availability()).await;
    let request = take(&world, 4);
    for (return_levels, replayed) in [(false, false), (true, true), (false, true)] {
        let change = Some(request.clone().into());
        stream.send_message(v1::ChangeAvailabilityRequest { change, return_levels, ..Default::default() });
        let (_, answer) = stream.next().await.expect("open").expect("open");
        let v1::AppliedChange { sequence, levels, repeated_request } = answer.expect("applied");
        let level = v1::Level { catalog_reference: reference("A"), available: 6, ..Default::default() };
        let expected = if return_levels { vec![level] } else { Vec::new() };
        assert_eq!((sequence, levels, repeated_request), (2, expected, replayed));
    }
}

async fn a_refusal_lists_every_shortage(world: World) {
    let item = |index: usize| {
        let options_json = format!(r#"{{"size":"{index:0>300}"}}"#);
        let reference = v1::CatalogReference { options_json, ..reference("A").expect("named") };
        v1::Item { unit: Some(reference.into()), quantity: 1, ..Default::default() }
    };
    let request = v1::DecrementAvailabilityRequest { items: (0..300).map(item).collect(), ..take(&world, 1) };
    let mut stream = CallStream::open(world.availability()).await;
    let refused = stream.call(request).await.expect_err("nothing is available");
    let short = insufficient_stock(&refused);
    assert_eq!((short.shortages.len(), short.shortage_count), (300, 300));
}

async fn a_bad_message_fails_alone(world: World) {
    world.set(&[("A", 10)]).await;
    let good = || v1::ChangeAvailabilityRequest {
        correlation_id: 7,
        change: Some(take(&world, 1).into()),
        ..Default::default()
    };
    let negative = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let no_site = v1::DecrementAvailabilityRequest { site_id: "x".into(), ..take(&world, 1) };
    let rows = [
        (v1::ChangeAvailabilityRequest { change: None, ..good() }, "change"),
        (v1::ChangeAvailabilityRequest { timeout: negative, ..good() }, "timeout"),
        (v1::ChangeAvailabilityRequest { change: Some(no_site.into()), ..good() }, "site_id"),
    ];
    let mut stream = CallStream::open(world.availability()).await;
    for (message, field) in rows {
        stream.send_message(message);
        let (correlation_id, answer) = stream.next().await.expect("open").expect("open");
        assert_eq!(correlation_id, 7);
        let refused = answer.expect_err(field);
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field));
    }
    // More than the server has under way of a stream.
    for _ in 0..3_000 {
        stream.send_message(v1::ChangeAvailabilityRequest { change: None, ..good() });
    }
    for _ in 0..3_000 {
        let (_, answer) = stream.next().await.expect("open").expect("open");
        answer.expect_err("it changes nothing");
    }
    stream.send_message(good());
    let (_, answer) = stream.next().await.expect("open").expect("open");
    answer.expect("the stream goes on, and the number is free again");
    assert_eq!(world.level("A").await, 9);
}

async fn a_message_whose_time_is_over_in_the_middle_of_a_frame_fails_alone(world: World) {
    world.set(&[("A", 10)]).await;
    let late = take(&world, 1);
    let message = |correlation_id, change: v1::DecrementAvailabilityRequest, timeout| {
        let change = Some(change.into());
        v1::ChangeAvailabilityRequest { correlation_id, change, timeout, ..Default::default() }
    };
    let at_once = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    let frame =
        vec![message(1, take(&world, 2), None), message(2, late.clone(), at_once), message(3, take(&world, 4), None)];
    let mut stream = CallStream::open_with_frame(world.availability(), frame).await;
    let mut answers = BTreeMap::new();
    for _ in 0..3 {
        let (correlation_id, answer) = stream.next().await.expect("open").expect("open");
        answers.insert(correlation_id, answer.map_err(|status| error_of(&status)));
    }
    let applied = |correlation_id: u64| answers[&correlation_id].as_ref().expect("applied").sequence;
    assert_eq!((applied(1), applied(3)), (2, 3), "decided in the order of their arrival");
    assert_eq!(answers[&2], Err(error(Code::DeadlineExceeded, "DEADLINE", "")));
    // Its time was over before a writer saw it, so it has taken nothing, and the same request can still do it.
    assert_eq!(world.level("A").await, 4);
    let again = stream.call(late).await.expect("there is enough");
    assert_eq!((again.sequence, again.repeated_request, world.level("A").await), (4, false, 3));
}

async fn calls_beyond_the_bound_wait_for_their_turn(world: World) {
    const CALLS: u64 = 5_000;
    let world = world.recording();
    world.set(&[("A", 10_000)]).await;
    let mut stream = CallStream::open(world.availability()).await.recording(world.history());
    for _ in 0..CALLS {
        stream.send(take(&world, 1));
    }
    let mut answered = BTreeSet::new();
    while (answered.len() as u64) < CALLS {
        let (correlation_id, answer) = stream.next().await.expect("open").expect("open");
        answer.expect("applied");
        assert!(answered.insert(correlation_id), "each call is answered once");
    }
    assert_eq!(world.level("A").await, 10_000 - CALLS as i64);
    world.check().await;
}

async fn a_stopping_server_loses_no_answer(world: World) {
    let stop = CancellationToken::new();
    let grpc = start_grpc(world.database.url.clone(), stop.clone()).await;
    let world = world.recording();
    world.set(&[("A", 1_000_000)]).await;
    let stream = CallStream::open(AvailabilityServiceClient::new(channel_to(grpc))).await;
    let mut stream = stream.recording(world.history());
    for _ in 0..20_000 {
        stream.send(take(&world, 1));
    }
    let mut answered = 0;
    loop {
        if answered == 100 {
            stop.cancel();
        }
        match stream.next().await.expect("the stream ends with OK") {
            Some((_, answer)) => {
                answer.expect("applied");
                answered += 1;
            }
            None => break,
        }
    }
    assert!((100..20_000).contains(&answered), "{answered}");
    assert_eq!(world.level("A").await, 1_000_000 - answered, "what was read was answered, and nothing else was taken");
    world.check().await;
}

async fn a_caller_that_is_done_gets_all_answers(world: World) {
    world.set(&[("A", 1_000)]).await;
    let mut stream = CallStream::open(world.availability()).await;
    for _ in 0..200 {
        stream.send(take(&world, 1));
    }
    stream.end();
    let mut answered = 0;
    while let Some((_, answer)) = stream.next().await.expect("the stream ends with OK") {
        answer.expect("applied");
        answered += 1;
    }
    assert_eq!((answered, world.level("A").await), (200, 800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_not_answered_yet_cannot_be_used_again() {
    let (world, link) = World::behind_link().await;
    world.set(&[("A", 10)]).await;
    let mut stream = CallStream::open(world.availability()).await;
    // The first call is not answered while the database is silent.
    link.freeze();
    let message = |timeout: Option<i64>| v1::ChangeAvailabilityRequest {
        correlation_id: 7,
        change: Some(take(&world, 1).into()),
        timeout: timeout.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    stream.send_message(message(Some(1)));
    stream.send_message(message(None));
    let (_, answer) = stream.next().await.expect("open").expect("open");
    let refused = answer.expect_err("the second call");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "correlation_id"));
    let (_, answer) = stream.next().await.expect("open").expect("open");
    let late = answer.expect_err("the first call");
    assert_eq!(error_of(&late), error(Code::DeadlineExceeded, "DEADLINE", ""));
    link.restore();
    // The answer to the first call may come now. It is not taken for that to another call of the same number.
    let other = v1::ChangeAvailabilityRequest { change: Some(take(&world, 100).into()), ..message(None) };
    stream.send_message(other);
    let (correlation_id, answer) = stream.next().await.expect("open").expect("open");
    assert_eq!(correlation_id, 7);
    assert_eq!(answer.expect_err("100 of at most 10 pieces").code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_a_cut_leaves_unknown_are_found_out_on_a_new_stream() {
    let world = World::start(Backend::Postgres).await.recording();
    world.set(&[("A", 1_000)]).await;
    let stop = CancellationToken::new();
    let grpc = start_grpc(world.database.url.clone(), stop.clone()).await;
    let link = Link::to(grpc).await;
    let client = || AvailabilityServiceClient::new(channel_to(link.address));
    let orders: Vec<_> = (0..500).map(|_| take(&world, 1)).collect();
    let mut stream = CallStream::open(client()).await.recording(world.history());
    for order in &orders {
        stream.send(order.clone());
    }
    let mut answered = 0;
    while answered < 10 {
        stream.next().await.expect("open").expect("open").1.expect("applied");
        answered += 1;
    }
    link.cut();
    while let Ok(Some((_, answer))) = stream.next().await {
        answer.expect("applied");
    }
    link.restore();
    let mut again = CallStream::open(client()).await.recording(world.history());
    for order in &orders {
        again.send(order.clone());
    }
    for _ in &orders {
        again.next().await.expect("open").expect("open").1.expect("applied, now or before");
    }
    assert_eq!(world.level("A").await, 500, "every order took its piece once");
    assert_eq!(world.entries().await.len(), 501);
    world.check().await;
}

/// A database with one token for `sites`, and a client that has it.
async fn with_token(sites: &[&str]) -> (World, impl Fn(&mut MetadataMap) + use<>) {
    let world = World::start(Backend::Sqlite).await;
    let text = New { name: "shop", scopes: &[Scope::Orders], sites, expires_at: None }.create(&world.database.url);
    let value: tonic::metadata::AsciiMetadataValue = format!("Bearer {text}").parse().expect("ASCII");
    (world, move |metadata: &mut MetadataMap| drop(metadata.insert("authorization", value.clone())))
}

/// Opens a stream with a token, once the server has read it.
async fn open(world: &World, sign: &impl Fn(&mut MetadataMap)) -> CallStream {
    tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Ok(stream) =
                CallStream::open_with(world.availability(), |request| sign(request.metadata_mut())).await
            {
                return stream;
            }
        }
    })
    .await
    .expect("the server reads the token within seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_sites_only_and_ends_its_streams_when_it_is_revoked() {
    let site = guid();
    let (world, sign) = with_token(&[site.as_str()]).await;
    let mut stream = open(&world, &sign).await;
    stream.call(increment(&site, &guid(), &[("A", 1)])).await.expect("the token is good for the site");
    let refused = stream.call(increment(&guid(), &guid(), &[("A", 1)])).await.expect_err("another site");
    assert_eq!(error_of(&refused), error(Code::PermissionDenied, "PERMISSION_DENIED", ""));
    stream.call(increment(&site, &guid(), &[("A", 1)])).await.expect("the stream goes on");
    revoke(&world.database.url, "shop");
    let ended: Status = stream.next().await.expect_err("the stream ends with an error");
    assert_eq!(error_of(&ended), error(Code::Unauthenticated, "UNAUTHENTICATED", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_ends_the_streams_of_callers_without_one() {
    let database = Database::fresh(Backend::Sqlite);
    let stop = CancellationToken::new();
    let grpc = start_grpc(database.url.clone(), stop.clone()).await;
    let mut stream = CallStream::open(AvailabilityServiceClient::new(channel_to(grpc))).await;
    stream.call(increment(&guid(), &guid(), &[("A", 1)])).await.expect("nobody has a token yet");
    New { name: "shop", scopes: &[Scope::Orders], ..New::default() }.create(&database.url);
    let ended = stream.next().await.expect_err("the stream ends with an error");
    assert_eq!(error_of(&ended), error(Code::Unauthenticated, "UNAUTHENTICATED", ""));
}
