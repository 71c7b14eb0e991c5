//! The checker of histories is checked: it accepts what a right service may answer, and finds each planted error.

mod bursts;

use inventory_tests::history::{Asked, Call, History, Line, Seen};
use inventory_tests::model::{Answer, Request, Shortage, Target, Why};

const SITE: &str = "site";

/// Calls of one site, about item 0.
#[derive(Default)]
struct Calls(History);

impl Calls {
    /// The level was set to 5, under the key 1.
    fn stocked() -> Self {
        let calls = Self::default();
        calls.write(1, set(5)).answered(Answer::Applied(1));
        calls
    }

    fn write(&self, key: u64, request: Request) -> Call {
        self.0.begin(SITE, Asked::Write(key, request))
    }

    /// Takes pieces for an order that has the number of its key.
    fn take(&self, key: u64, pieces: i64) -> Call {
        self.write(key, take(key, pieces))
    }

    fn read(&self, level: i64, revision: i64, last_sequence: i64) {
        self.read_from(0, level, revision, last_sequence);
    }

    fn read_from(&self, at_least: i64, level: i64, revision: i64, last_sequence: i64) {
        self.0.begin(SITE, Asked::Level(0, at_least)).end(Seen::Level(level, revision, last_sequence));
    }

    fn ledger(&self, lines: &[(u64, i64)]) {
        let line =
            |&(key, delta): &(u64, i64)| Line { key: key.to_string(), unit: "item-0".into(), elsewhere: false, delta };
        self.0.ledger(SITE, &lines.iter().map(line).collect::<Vec<_>>());
    }

    #[track_caller]
    fn right(self) {
        self.0.check();
    }

    /// There is no explanation, and the first call that cannot be explained has these words.
    #[track_caller]
    fn wrong(self, words: &str) {
        let unexplained = self.0.explain().expect_err("no order explains the calls");
        assert!(unexplained.why.contains(words), "{}", unexplained.why);
    }
}

fn set(level: i64) -> Request {
    Request::Set(vec![Target { item: 0, level, expected: None, expected_revision: None, as_of: None }])
}

fn take(order: u64, pieces: i64) -> Request {
    Request::Decrement(vec![(0, pieces, false)], true, order as usize, true)
}

fn short(asked: i64, available: i64) -> Answer {
    let why = Why::InsufficientStock;
    Answer::Short(vec![Shortage { item: 0, asked, available, short: asked - available, why }])
}

#[test]
fn calls_one_after_the_other_are_explained() {
    let calls = Calls::stocked();
    calls.take(2, 3).answered(Answer::Applied(2));
    calls.take(3, 3).answered(short(3, 2));
    calls.take(2, 3).answered(Answer::Applied(2));
    calls.take(3, 3).answered(short(3, 2));
    calls.take(2, 1).answered(Answer::KeyReused);
    calls.read(2, 2, 2);
    calls.0.begin(SITE, Asked::Order(2, 2)).end(Seen::Order(vec![(0, 3, 0)]));
    calls.ledger(&[(1, 5), (2, -3)]);
    calls.right();
}

#[test]
fn calls_at_the_same_time_may_have_any_order() {
    let calls = Calls::stocked();
    let (one, other, late) = (calls.take(2, 3), calls.take(3, 3), calls.take(4, 2));
    let read = calls.0.begin(SITE, Asked::Level(0, 0));
    late.answered(Answer::Applied(3));
    one.answered(short(3, 2));
    other.answered(Answer::Applied(2));
    read.end(Seen::Level(5, 1, 1));
    calls.read(0, 3, 3);
    calls.right();
}

#[test]
fn a_call_without_an_answer_may_have_happened() {
    let calls = Calls::stocked();
    drop(calls.take(2, 2));
    calls.read(5, 1, 1);
    calls.take(3, 1).answered(Answer::Applied(2));
    // Now it happens, long after its caller has left.
    calls.read(2, 3, 3);
    calls.take(4, 2).answered(Answer::Applied(4));
    calls.ledger(&[(1, 5), (3, -1), (2, -2), (4, -2)]);
    calls.right();
}

#[test]
fn a_call_without_an_answer_may_not_have_happened() {
    let calls = Calls::stocked();
    drop(calls.take(2, 2));
    calls.take(3, 5).answered(Answer::Applied(2));
    calls.read(0, 2, 2);
    calls.ledger(&[(1, 5), (3, -5)]);
    calls.right();
}

#[test]
fn a_call_without_an_answer_may_have_used_its_key() {
    let calls = Calls::stocked();
    drop(calls.take(2, 9));
    calls.take(2, 1).answered(Answer::KeyReused);
    calls.ledger(&[(1, 5)]);
    calls.right();

    // It used it at a level that is no more when another call wants the key.
    let calls = Calls::stocked();
    drop(calls.take(2, 9));
    calls.write(3, set(20)).answered(Answer::Applied(2));
    calls.take(2, 1).answered(Answer::KeyReused);
    calls.ledger(&[(1, 5), (3, 15)]);
    calls.right();

    let calls = Calls::stocked();
    calls.take(2, 1).answered(Answer::KeyReused);
    calls.ledger(&[(1, 5)]);
    calls.wrong("KeyReused");

    // The one that used it may have been asked later.
    let calls = Calls::stocked();
    let early = calls.take(2, 1);
    calls.take(2, 9).answered(short(9, 5));
    early.answered(Answer::KeyReused);
    calls.right();

    // Nobody used it: the same request was told that it is another one.
    let calls = Calls::stocked();
    drop(calls.take(2, 9));
    calls.take(2, 9).answered(Answer::KeyReused);
    calls.ledger(&[(1, 5)]);
    calls.wrong("KeyReused");
}

#[test]
fn a_call_without_an_answer_does_not_claim_the_key_of_another() {
    // The ledger has entries of the key, as many as either call makes. The answer tells whose they are.
    let calls = Calls::stocked();
    let (left, answered) = (calls.take(2, 3), calls.write(2, set(4)));
    answered.answered(Answer::Applied(2));
    drop(left);
    calls.ledger(&[(1, 5), (2, -1)]);
    calls.right();

    // Nobody was answered, but a read tells it.
    let calls = Calls::stocked();
    drop((calls.take(2, 3), calls.write(2, set(4))));
    calls.read(4, 2, 2);
    calls.ledger(&[(1, 5), (2, -1)]);
    calls.right();

    let calls = Calls::stocked();
    drop((calls.take(2, 3), calls.write(2, set(4))));
    calls.read(3, 2, 2);
    calls.ledger(&[(1, 5), (2, -2)]);
    calls.wrong("Level(3, 2, 2)");
}

#[test]
fn a_call_without_an_answer_may_be_the_first_of_a_replay() {
    // It was refused at a level that is no more when the same request is made again.
    let calls = Calls::stocked();
    drop(calls.take(2, 6));
    calls.write(3, set(9)).answered(Answer::Applied(2));
    calls.take(2, 6).answered(short(6, 5));
    calls.ledger(&[(1, 5), (3, 4)]);
    calls.right();

    // It found the level that it asked for, and had nothing to change.
    let calls = Calls::stocked();
    drop(calls.write(2, set(5)));
    calls.take(3, 1).answered(Answer::Applied(2));
    calls.write(2, set(5)).answered(Answer::Applied(1));
    calls.ledger(&[(1, 5), (3, -1)]);
    calls.right();

    // It had never a reason for such a refusal.
    let calls = Calls::stocked();
    drop(calls.take(2, 6));
    calls.write(3, set(9)).answered(Answer::Applied(2));
    calls.take(2, 6).answered(short(6, 4));
    calls.ledger(&[(1, 5), (3, 4)]);
    calls.wrong("available: 4");
}

#[test]
fn a_call_that_was_not_done_may_be_made_again() {
    let calls = Calls::stocked();
    calls.take(2, 2).not_done();
    calls.read(5, 1, 1);
    calls.take(2, 2).answered(Answer::Applied(2));
    calls.right();
}

#[test]
fn which_of_many_unknown_calls_happened_is_found_out() {
    let calls = Calls::stocked();
    for (key, pieces) in [(2, 4), (3, 1), (4, 3), (5, 2), (6, 1)] {
        drop(calls.take(key, pieces));
    }
    // 1 and 2 pieces were taken, in this order or the other one, and 1 after that.
    calls.read(2, 3, 3);
    calls.take(7, 1).answered(Answer::Applied(4));
    calls.read(1, 4, 4);
    calls.read(0, 5, 5);
    calls.right();
}

#[test]
fn answers_without_sequence_numbers_are_explained() {
    let calls = Calls::stocked();
    let open: Vec<Call> = (2..42).map(|key| calls.take(key, 1)).collect();
    for (index, call) in open.into_iter().enumerate() {
        match index % 8 {
            7 => call.end(Seen::Applied(None)),
            _ => call.answered(short(1, 0)),
        }
    }
    calls.read(0, 6, 6);
    calls.right();
}

#[test]
fn a_lost_update_is_found() {
    let calls = Calls::stocked();
    let (one, other) = (calls.take(2, 1), calls.take(3, 1));
    one.answered(Answer::Applied(2));
    other.answered(Answer::Applied(3));
    calls.read(4, 3, 3);
    calls.wrong("Level(0, 0)");

    let calls = Calls::stocked();
    let (one, other) = (calls.take(2, 1), calls.take(3, 1));
    one.answered(Answer::Applied(2));
    other.answered(Answer::Applied(2));
    calls.wrong("Applied(Some(2))");

    let calls = Calls::stocked();
    let (one, other) = (calls.take(2, 1), calls.take(3, 1));
    one.end(Seen::Applied(None));
    other.end(Seen::Applied(None));
    calls.read(4, 2, 2);
    calls.wrong("Level(0, 0)");
}

#[test]
fn a_replay_that_was_applied_twice_is_found() {
    let calls = Calls::stocked();
    calls.take(2, 1).answered(Answer::Applied(2));
    calls.take(2, 1).answered(Answer::Applied(3));
    calls.wrong("its key has the answer Applied(2)");

    let calls = Calls::stocked();
    drop(calls.take(2, 1));
    calls.take(2, 1).answered(Answer::Applied(3));
    calls.wrong("Applied(Some(3))");

    let calls = Calls::stocked();
    calls.take(2, 1).answered(Answer::Applied(2));
    calls.take(2, 1).answered(Answer::Applied(2));
    calls.ledger(&[(1, 5), (2, -1), (2, -1)]);
    calls.wrong("Ledger([(0, 5), (0, -1), (0, -1)])");
}

#[test]
fn a_stale_read_is_found() {
    let calls = Calls::stocked();
    calls.take(2, 1).answered(Answer::Applied(2));
    calls.read(5, 1, 1);
    calls.wrong("Level(5, 1, 1)");

    // It is not stale as long as the write may come later, but two reads agree on when it came.
    let calls = Calls::stocked();
    let open = calls.take(2, 1);
    calls.read(4, 2, 2);
    calls.read(5, 1, 1);
    open.answered(Answer::Applied(2));
    calls.wrong("Level(5, 1, 1)");

    let calls = Calls::stocked();
    drop(calls.take(2, 1));
    calls.read_from(2, 5, 1, 1);
    calls.wrong("Level(0, 2)");

    let calls = Calls::stocked();
    calls.take(2, 1).answered(Answer::Applied(2));
    calls.0.begin(SITE, Asked::Order(2, 0)).end(Seen::Order(Vec::new()));
    calls.wrong("Order(2, 0)");
}

#[test]
fn an_order_that_was_applied_after_it_was_refused_is_found() {
    let calls = Calls::stocked();
    calls.take(2, 6).answered(short(6, 5));
    calls.write(3, set(9)).answered(Answer::Applied(2));
    calls.read(3, 3, 3);
    calls.wrong("Level(3, 3, 3)");

    let calls = Calls::stocked();
    calls.take(2, 6).answered(short(6, 5));
    calls.write(3, set(9)).answered(Answer::Applied(2));
    calls.take(2, 6).answered(Answer::Applied(3));
    calls.wrong("its key has the answer Short");
}

#[test]
fn a_refusal_that_was_not_right_at_any_time_is_found() {
    let calls = Calls::stocked();
    let order = calls.take(2, 5);
    calls.write(3, set(7)).answered(Answer::Applied(2));
    order.answered(short(5, 4));
    calls.wrong("available: 4");
}

#[test]
fn an_answered_order_that_is_lost_is_found() {
    let calls = Calls::stocked();
    calls.take(2, 1).answered(Answer::Applied(2));
    calls.ledger(&[(1, 5)]);
    calls.wrong("Ledger");

    let calls = Calls::stocked();
    calls.take(2, 1).end(Seen::Applied(None));
    calls.take(3, 1).answered(Answer::Applied(2));
    calls.wrong("Applied(Some(2))");
}

#[test]
fn a_call_that_was_not_done_and_yet_took_stock_is_found() {
    let calls = Calls::stocked();
    calls.take(2, 2).not_done();
    calls.read(3, 2, 2);
    calls.wrong("Level(3, 2, 2)");
}
