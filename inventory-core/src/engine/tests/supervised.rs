//! Writers whose connection hangs, and who takes their place.

use super::*;
use crate::engine::storage::Server;
use crate::engine::supervisor::spare::{Probe, Spare};

#[tokio::test]
async fn a_writer_whose_server_hangs_is_replaced_when_another_server_takes_over() {
    let (engine, books) = engine(&[]);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    let gate = Arc::clone(&books.lock().expect("no panic").gate);
    // Its commits never return.
    let _frozen = gate.lock().await;
    let hangs = submitted(&engine, give("b", 1));
    // Supervisors connect while a writer hangs. They find the same server.
    until(&books, |books| books.connects >= 3).await;
    assert!(!hangs.is_finished(), "a new connection to the same server would wait too");
    {
        let mut books = books.lock().expect("no panic");
        (books.server, books.gate) = (1, Arc::default());
    }
    let answer = hangs.await.expect("no panic");
    assert!(matches!(answer, Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{answer:?}");
    assert!(is_applied(&engine.submit(give("b", 1), soon()).await), "the same key finds out");
    engine.drain().await;
}

#[tokio::test]
async fn a_writer_whose_connection_alone_hangs_is_replaced_when_others_can_commit() {
    let patience = Patience { hung_after: Duration::ZERO, ..Patience::default() };
    let (engine, books) = engine_with(&[], patience);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    let (gate, commits) = {
        let mut books = books.lock().expect("no panic");
        books.probes_fail = true;
        (Arc::clone(&books.gate), books.commits)
    };
    // Its commit never returns.
    let _stopped = gate.lock().await;
    let hangs = submitted(&engine, give("b", 1));
    until(&books, |books| books.commits != commits).await;
    // All later ones do.
    books.lock().expect("no panic").gate = Arc::default();
    until(&books, |books| books.probes >= 2).await;
    assert!(!hangs.is_finished(), "others cannot commit either, so a new writer would not help");
    books.lock().expect("no panic").probes_fail = false;
    let answer = hangs.await.expect("no panic");
    assert!(matches!(answer, Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{answer:?}");
    assert!(is_applied(&engine.submit(give_to(2, "c", 1), soon()).await), "another site of the same writer");
    assert!(is_applied(&engine.submit(give("b", 1), soon()).await), "the same key finds out");
    engine.drain().await;
}

#[tokio::test]
async fn a_connection_that_hangs_does_not_hold_up_the_supervisor() {
    let patience = Patience { connect: Duration::from_millis(10), ..Patience::default() };
    let (engine, books) = engine_with(&[], patience);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    let (gate, connecting) = {
        let books = books.lock().expect("no panic");
        (Arc::clone(&books.gate), Arc::clone(&books.connecting))
    };
    // The server freezes: neither commits nor connections return.
    let frozen = (gate.lock().await, connecting.lock().await);
    let hangs = submitted(&engine, give("b", 1));
    until(&books, |books| books.connects >= 2).await;
    {
        let mut books = books.lock().expect("no panic");
        (books.server, books.gate, books.connecting) = (1, Arc::default(), Arc::default());
    }
    let answer = hangs.await.expect("no panic");
    assert!(matches!(answer, Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{answer:?}");
    assert!(is_applied(&engine.submit(give("b", 1), soon()).await), "the same key finds out");
    // The server thaws, and the late connections to it are made.
    drop(frozen);
    while Arc::strong_count(&connecting) > 1 {
        tokio::task::yield_now().await;
    }
    let adopted = books.lock().expect("no panic").adopted.clone();
    assert_eq!(adopted, Some(Server("1".to_owned())), "reads do not follow a connection that no writer uses");
    engine.drain().await;
}

#[tokio::test]
async fn a_writer_that_hangs_while_it_reconnects_stays_if_its_server_lives() {
    let (engine, books) = engine(&[]);
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await));
    let connecting = {
        let mut books = books.lock().expect("no panic");
        books.faults.push(Fault::ConnectionLostBeforeCommit);
        Arc::clone(&books.connecting)
    };
    let hanging = connecting.lock().await;
    let hangs = submitted(&engine, give("b", 1));
    until(&books, |books| books.connects >= 2).await;
    // All later connections are made at once. The supervisor connects twice, and finds the same server.
    books.lock().expect("no panic").connecting = Arc::default();
    until(&books, |books| books.connects >= 4 || hangs.is_finished()).await;
    assert!(!hangs.is_finished(), "no other server has taken over");
    drop(hanging);
    let answer = hangs.await.expect("no panic");
    assert!(is_applied(&answer), "the same writer goes on: {answer:?}");
    engine.drain().await;
}

#[tokio::test]
async fn a_writer_that_hangs_in_its_first_connection_is_replaced_only_when_others_can_commit() {
    let patience = Patience { hung_after: Duration::ZERO, ..Patience::default() };
    let (engine, books) = engine_with(&[], patience);
    let connecting = {
        let mut books = books.lock().expect("no panic");
        books.probes_fail = true;
        Arc::clone(&books.connecting)
    };
    let _hanging = connecting.lock().await;
    let hangs = submitted(&engine, give("a", 1));
    until(&books, |books| books.connects >= 1).await;
    // All later connections are made at once.
    books.lock().expect("no panic").connecting = Arc::default();
    until(&books, |books| books.probes >= 2 || hangs.is_finished()).await;
    assert!(!hangs.is_finished(), "others cannot commit either, so a new writer would not help");
    books.lock().expect("no panic").probes_fail = false;
    let answer = hangs.await.expect("no panic");
    assert!(matches!(answer, Err(Error::Failed(Failed::OutcomeUnknown(_)))), "{answer:?}");
    assert!(is_applied(&engine.submit(give("a", 1), soon()).await), "the same key finds out");
    engine.drain().await;
}

#[test]
fn connections_that_hang_are_bounded_and_leave_room_when_they_end() {
    let books = Arc::new(Mutex::new(Books::default()));
    let connecting = Arc::clone(&books.lock().expect("no panic").connecting);
    let hanging = connecting.blocking_lock();
    let mut spare = Spare::new(Box::new(Faulty::over(Arc::clone(&books))), 0, Duration::from_millis(1));
    for _ in 0..2 * limits::LATE_CONNECTS_MAX {
        assert!(spare.connect(Probe::Nowhere).is_none());
    }
    // The last thread may not have begun.
    while books.lock().expect("no panic").connects < limits::LATE_CONNECTS_MAX {
        std::thread::yield_now();
    }
    assert_eq!(books.lock().expect("no panic").connects, limits::LATE_CONNECTS_MAX);
    drop(hanging);
    // A connection that is free is made in time, on a slow machine too.
    spare.time = PATIENCE;
    while spare.connect(Probe::Nowhere).is_none() {
        std::thread::yield_now();
    }
}
