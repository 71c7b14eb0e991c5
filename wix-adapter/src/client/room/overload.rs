//! A server of a fixed speed, simulated: which calls are answered in their time, which are refused at once, and which
//! wait in vain.

use super::*;

/// The time of a call, in ms.
const TIME: u64 = 2_200;
/// Room that the server gives back in a millisecond.
const SPEED: usize = 200;
/// What becomes of the calls that come in so many ms is watched; the simulation goes on until all have ended.
const WATCHED: u64 = 10_000;

/// A site that sends calls at a steady rate.
#[derive(Clone, Copy)]
struct Sender {
    site: u64,
    items: usize,
    /// How much it sends, as a part of the server's speed.
    load: f64,
}

/// What became of a site's calls.
#[derive(Debug, Default, PartialEq)]
struct Ends {
    in_time: usize,
    refused: usize,
    /// It was not answered in its time, and was not refused at once.
    late: usize,
}

/// A call that waits for room, or for the server.
struct Call {
    since: u64,
    size: usize,
    /// Kept while its caller waits.
    _place: oneshot::Receiver<Place>,
}

/// How the server answers.
#[derive(Clone, Copy, Debug)]
struct Server {
    /// A batch each so many ms.
    every: u64,
    /// By how much a batch is larger and smaller than it should be, in turns.
    uneven: f64,
    /// Nothing between these times.
    pause: [u64; 2],
}

impl Server {
    fn answers(self, ms: u64) -> bool {
        ms.is_multiple_of(self.every) && !(self.pause[0]..self.pause[1]).contains(&ms)
    }

    /// How much room it gives back with the batch of this time.
    fn batch(self, ms: u64) -> usize {
        let part = if (ms / self.every).is_multiple_of(2) { 1.0 + self.uneven } else { 1.0 - self.uneven };
        (part * (SPEED as u64 * self.every) as f64) as usize
    }
}

/// Says what became of each sender's calls.
fn simulate(senders: &[Sender], server: Server) -> Vec<Ends> {
    let mut state = State::default();
    let mut waiting: HashMap<u64, VecDeque<Call>> = HashMap::new();
    // With the time at which it came there.
    let mut at_server: VecDeque<(u64, u64, Call)> = VecDeque::new();
    let mut ends: HashMap<u64, Ends> = HashMap::new();
    let (mut owed, mut left_over) = (vec![0.0; senders.len()], 0);
    let counts = |call: &Call| call.since < WATCHED;
    for ms in 0..WATCHED + 2 * TIME {
        for (sender, owed) in senders.iter().zip(&mut owed) {
            let size = CALL + sender.items;
            *owed += sender.load * SPEED as f64;
            while *owed >= size as f64 {
                *owed -= size as f64;
                let (caller, place) = oneshot::channel();
                let call = Call { since: ms, size, _place: place };
                match state.ask(sender.site, Waiting { size, caller }, Duration::from_millis(TIME)) {
                    Asked::Taken => at_server.push_back((sender.site, ms, call)),
                    Asked::Waits => waiting.entry(sender.site).or_default().push_back(call),
                    Asked::InVain if counts(&call) => ends.entry(sender.site).or_default().refused += 1,
                    Asked::InVain => {}
                }
            }
        }
        // Callers whose time is over leave.
        for (site, calls) in &mut waiting {
            while let Some(call) = calls.pop_front_if(|call| call.since + TIME <= ms) {
                ends.entry(*site).or_default().late += usize::from(counts(&call));
            }
        }
        if !server.answers(ms) {
            continue;
        }
        left_over += server.batch(ms);
        while let Some((site, since, call)) = at_server.pop_front_if(|(_, _, call)| call.size <= left_over) {
            left_over -= call.size;
            state.remove(site, call.size, Duration::from_millis(ms - since));
            if counts(&call) {
                let ends = ends.entry(site).or_default();
                if ms < call.since + TIME { ends.in_time += 1 } else { ends.late += 1 }
            }
        }
        if at_server.is_empty() {
            left_over = 0;
        }
        for (site, _) in state.admit() {
            let call = waiting.get_mut(&site).and_then(VecDeque::pop_front).expect("it waits");
            at_server.push_back((site, ms, call));
        }
    }
    senders.iter().map(|sender| ends.remove(&sender.site).unwrap_or_default()).collect()
}

/// A server whose batches are large and small in turns: one is four times as large as the next.
const fn uneven(every: u64) -> Server {
    Server { every, uneven: 0.6, pause: [0, 0] }
}

#[test]
fn at_twice_the_speed_each_call_is_answered_in_its_time_or_refused_at_once() {
    for (items, every) in [(1, 1), (1, 50), (30, 50), (300, 50), (300, 250)] {
        let flood = Sender { site: 1, items, load: 2.0 };
        let ends = simulate(&[flood], uneven(every)).remove(0);
        assert!(ends.late == 0 && ends.refused > 0, "{items} {every}: {ends:?}");
        // In 250 ms it could answer more calls than may be under way.
        let most = WATCHED as usize * SPEED / (CALL + items);
        assert!(every == 250 || ends.in_time >= most, "{items} {every}: the server does what it can: {ends:?}, {most}");
    }
}

#[test]
fn a_small_site_beside_a_flood_is_refused_nothing() {
    for every in [1, 50, 250] {
        let flood = Sender { site: 1, items: 300, load: 2.0 };
        let small = Sender { site: 2, items: 1, load: 0.05 };
        let ends = simulate(&[flood, small], uneven(every));
        assert_eq!((ends[0].late, ends[1].refused, ends[1].late), (0, 0, 0), "{every}: {ends:?}");
    }
}

#[test]
fn a_pause_that_the_server_makes_up_for_costs_few_calls() {
    for items in [1, 30, 300] {
        let site = Sender { site: 1, items, load: 0.5 };
        let ends = |ms: u64| simulate(&[site], Server { pause: [3_000, 3_000 + ms], ..uneven(50) }).remove(0);
        let hiccup = ends(300);
        assert_eq!((hiccup.refused, hiccup.late), (0, 0), "{items}: {hiccup:?}");
        // Until those that waited for the whole pause are answered, it looks as if the server were slow.
        let (pause, in_200_ms) = (ends(1_000), SPEED / 2 * 200 / (CALL + items));
        assert!(pause.late == 0 && pause.refused < in_200_ms, "{items}: {pause:?}");
    }
}
