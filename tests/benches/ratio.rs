//! How much faster than the peer: from the signed HTTP body to the durable answer, all on the same cores. Our servers,
//! the peer on Wix's official SDK, and the peer with a naive transaction per order take turns with the same signed
//! bodies, and each has its books checked. The limits of the machine are measured in the same run.
//!
//!     cargo bench -p inventory-tests --bench ratio
//!
//! It needs Node and npm. With `BENCH_BEFORE=FOLDER` the programs in that folder, of another version, take turns with
//! ours, and no peer does. `BENCH_ONLY="hot spread bulk limits"` picks parts, `BENCH_RUNS` the number of rounds,
//! `BENCH_SECS` the seconds of each measurement.

use std::time::Duration;

use inventory_core::store::DatabaseUrl;
use inventory_tests::bench::calls::{Call, IN_FLIGHT};
use inventory_tests::bench::contender::{Contender, Started, before};
use inventory_tests::bench::fixtures::{Workload, pieces, requests};
use inventory_tests::bench::limits::{checking_server, inserts, raw_commits, signature_check};
use inventory_tests::bench::load::{self, Loaded, Window};
use inventory_tests::bench::peer::{Peer, processes};
use inventory_tests::bench::report::{Figure, Table, heading, runs, seconds, wanted};
use inventory_tests::books;
use inventory_tests::postgres::{Durability, fresh_database, remove_database};
use inventory_tests::world::Backend;

/// Connections of the load generator.
const CONNECTIONS: usize = 64;
/// The stream of orders.
const STREAM: u64 = 1;
/// Orders per second that one caller sends at most, one after the other.
const ONE_CALLER_MAX: f64 = 10_000.0;

/// The signed orders of a workload, divided among the measurements, so that no order is sent twice in a turn.
struct Orders {
    workload: Workload,
    requests: Vec<Vec<u8>>,
    /// Where the orders of the open loop start, and where those of the only caller start.
    steady: usize,
    single: usize,
}

/// What one contender reached with one workload in one round.
struct Turn {
    contender: Contender,
    closed: Loaded,
    /// Microseconds of processor time for each order, of each process.
    cpu: Vec<f64>,
    /// HOT only.
    calm: Option<Calm>,
}

/// What a turn of HOT measures besides.
struct Calm {
    /// The offered rate: half of the rate of the closed loop before.
    offered: f64,
    /// The open loop at this rate.
    steady: Loaded,
    /// One caller on an idle system.
    single: Loaded,
    /// The p50 of a bare commit, in milliseconds.
    commit: f64,
    /// Plain gRPC, of those who have it.
    calls: Vec<(Call, Loaded)>,
}

fn main() {
    let contenders = Contender::all();
    let against = before().map_or_else(
        || format!("Node {}, processes: {}", Peer::installed().node, processes()),
        |folder| format!("beside the programs in {}", folder.display()),
    );
    heading("ratio");
    println!("{}; {against}", postgres());
    println!("{} s a measurement; all on the same cores: load, servers and database", seconds());
    let mut turns: Vec<(Workload, Vec<Turn>)> = Vec::new();
    for workload in Workload::ALL.into_iter().filter(|workload| wanted(workload.name())) {
        let orders = Orders::sign(workload);
        let mut own = Vec::new();
        for round in 1..=runs() {
            for &contender in &contenders {
                let turn = orders.turn(contender);
                let name = workload.name();
                eprintln!("round {round}, {name}, {}: {:.0}/s", contender.name(), turn.closed.rate());
                own.push(turn);
            }
        }
        turns.push((workload, own));
    }
    if !turns.is_empty() {
        print_ratios(&turns);
        print_figures(&turns);
    }
    if let Some((_, hot)) = turns.iter().find(|(workload, _)| *workload == Workload::Hot) {
        print_calm(hot);
        print_calls(hot);
    }
    if wanted("limits") {
        eprintln!("the limits of the machine");
        print_limits();
    }
}

/// The version of Postgres, and whether it keeps what it answered.
fn postgres() -> String {
    let text = fresh_database(Durability::Full);
    let url: DatabaseUrl = text.parse().expect("the database URL is valid");
    let shown = ["server_version", "fsync", "synchronous_commit"]
        .map(|setting| books::lines(&url, &format!("SELECT current_setting('{setting}') AS line")).concat());
    remove_database(&text);
    let [version, fsync, commit] = shown;
    format!("Postgres {version}, fsync {fsync}, synchronous_commit {commit}")
}

impl Orders {
    fn sign(workload: Workload) -> Self {
        let most = workload.orders_per_second();
        let closed = most * (seconds() + Contender::OURS.warm_up().as_secs_f64());
        let (steady, single) = if workload == Workload::Hot { (most / 2.0, ONE_CALLER_MAX) } else { (0.0, 0.0) };
        let steady_from = closed as usize;
        let single_from = steady_from + (steady * seconds()) as usize;
        let count = single_from + (single * seconds()) as usize;
        Self { workload, requests: requests(workload, STREAM, count), steady: steady_from, single: single_from }
    }

    fn turn(&self, contender: Contender) -> Turn {
        let started = contender.start(self.workload);
        let measured = Duration::from_secs_f64(seconds());
        let window = Window { warm_up: contender.warm_up(), measured };
        let before = started.cpu_seconds();
        let closed = load::during(started.http.clone(), &self.requests[..self.steady], CONNECTIONS, window).expect(200);
        let cpu = started.cpu_seconds().into_iter().zip(before);
        let cpu = cpu.map(|(after, before)| (after - before) * 1e6 / closed.answered() as f64).collect();
        let mut orders = closed.answered();
        let mut taken = pieces(self.workload, STREAM, 0..orders);
        let mut calm = None;
        if self.workload == Workload::Hot {
            let measured = self.calm(contender, &started, &closed);
            let sent = measured.steady.answered() + measured.single.answered();
            // Orders of HOT take one piece each.
            let called: i64 = measured.calls.iter().map(|(call, loaded)| call.pieces(loaded.answered())).sum();
            orders += sent + called as usize;
            taken += sent as i64 + called;
            calm = Some(measured);
        }
        started.end(orders, taken);
        Turn { contender, closed, cpu, calm }
    }

    fn calm(&self, contender: Contender, started: &Started, closed: &Loaded) -> Calm {
        let offered = closed.rate() / 2.0;
        let steady = &self.requests[self.steady..self.single];
        let steady = &steady[..steady.len().min((offered * seconds()) as usize)];
        let steady = load::open(started.http.clone(), steady, CONNECTIONS, offered).expect(200);
        let measured = Duration::from_secs_f64(seconds());
        let window = Window { warm_up: measured / 4, measured: measured / 2 };
        let single = load::during(started.http.clone(), &self.requests[self.single..], 1, window).expect(200);
        let window = Window { warm_up: measured / 4, measured };
        let calls = contender.calls().iter();
        let calls = calls.filter_map(|&call| Some((call, call.during(started.grpc.clone()?, window))));
        let commits = raw_commits(started.backend(), 500);
        let commit = commits.value_at_quantile(0.5) as f64 / 1_000.0;
        Calm { offered, steady, single, commit, calls: calls.collect() }
    }
}

/// The turns of one contender, in the order of the rounds.
fn of(turns: &[Turn], contender: Contender) -> impl Iterator<Item = &Turn> {
    turns.iter().filter(move |turn| turn.contender == contender)
}

/// Ratios that are of interest, of those who took part.
const RATIOS: [(&str, Contender, Contender); 5] = [
    ("ours ÷ peer", Contender::OURS, Contender::PEER),
    ("ours ÷ naive", Contender::OURS, Contender::NAIVE),
    ("ours in one process on SQLite ÷ peer", Contender::STANDALONE, Contender::PEER),
    ("ours ÷ the version before", Contender::OURS, Contender::BEFORE),
    ("ours in one process on SQLite ÷ the version before", Contender::STANDALONE, Contender::BEFORE_STANDALONE),
];

/// The table of README.md.
fn print_ratios(turns: &[(Workload, Vec<Turn>)]) {
    let contenders = Contender::all();
    let ratios = RATIOS.iter().filter(|(_, one, other)| contenders.contains(one) && contenders.contains(other));
    let ratios: Vec<_> = ratios.collect();
    let first = format!("signed HTTP, {CONNECTIONS} connections");
    let mut columns = vec![first.as_str()];
    columns.extend(ratios.iter().map(|(name, ..)| *name));
    columns.extend(["ours: orders /s", "p99 ms", "the other: orders /s", "p99 ms"]);
    let mut table = Table::new(&columns);
    for (workload, turns) in turns {
        // A ratio is of one round, because the speed of a machine changes from minute to minute.
        let ratio = |of_one, of_other| {
            let rounds = of(turns, of_one).zip(of(turns, of_other));
            let ratios = rounds.map(|(one, other)| one.closed.rate() / other.closed.rate());
            Figure::from(ratios.collect::<Vec<_>>()).shown(2)
        };
        let median = |contender, value: fn(&Loaded) -> f64| {
            Figure::from(of(turns, contender).map(|turn| value(&turn.closed)).collect::<Vec<_>>()).median()
        };
        let mut row = vec![workload.name().to_owned()];
        row.extend(ratios.iter().map(|(_, one, other)| ratio(*one, *other)));
        for contender in contenders.iter().take(2) {
            row.push(format!("{:.0}", median(*contender, Loaded::rate)));
            row.push(format!("{:.1}", median(*contender, |loaded| loaded.millis(99.0))));
        }
        table.add(row);
    }
    table.print();
}

fn print_figures(turns: &[(Workload, Vec<Turn>)]) {
    let mut table = Table::new(&["workload", "who", "orders /s", "p50 ms", "p99 ms", "CPU µs of each process"]);
    for (workload, turns) in turns {
        for contender in Contender::all() {
            let figure =
                |value: &dyn Fn(&Turn) -> f64| Figure::from(of(turns, contender).map(value).collect::<Vec<_>>());
            let processes = of(turns, contender).map(|turn| turn.cpu.len()).min().unwrap_or_default();
            let cpu = (0..processes).map(|process| format!("{:.0}", figure(&|turn| turn.cpu[process]).median()));
            table.add(vec![
                workload.name().into(),
                contender.name(),
                figure(&|turn| turn.closed.rate()).shown(0),
                figure(&|turn| turn.closed.millis(50.0)).shown(2),
                figure(&|turn| turn.closed.millis(99.0)).shown(2),
                cpu.collect::<Vec<_>>().join(" + "),
            ]);
        }
    }
    table.print();
}

fn print_calm(turns: &[Turn]) {
    let mut table = Table::new(&[
        "HOT",
        "idle, one caller: p50 ms",
        "in bare commits",
        "p99 ms",
        "open loop, half of its rate: offered /s",
        "p50 ms",
        "p99 ms",
    ]);
    for contender in Contender::all() {
        let figure = |value: &dyn Fn(&Calm) -> f64| {
            Figure::from(of(turns, contender).filter_map(|turn| turn.calm.as_ref()).map(value).collect::<Vec<_>>())
        };
        table.add(vec![
            contender.name(),
            figure(&|calm| calm.single.millis(50.0)).shown(2),
            figure(&|calm| calm.single.millis(50.0) / calm.commit).shown(1),
            figure(&|calm| calm.single.millis(99.0)).shown(2),
            figure(&|calm| calm.offered).shown(0),
            figure(&|calm| calm.steady.millis(50.0)).shown(2),
            figure(&|calm| calm.steady.millis(99.0)).shown(2),
        ]);
    }
    table.print();
}

fn print_calls(turns: &[Turn]) {
    let name = format!("HOT, plain gRPC, {IN_FLIGHT} in flight");
    let mut table = Table::new(&[&name, "server", "calls /s", "÷ signed HTTP", "p50 ms", "p99 ms"]);
    for contender in Contender::all() {
        for call in Call::ALL {
            let own =
                || of(turns, contender).filter_map(move |turn| turn.calm.as_ref()?.loaded(call).map(|own| (turn, own)));
            if own().next().is_none() {
                continue;
            }
            let figure = |value: &dyn Fn((&Turn, &Loaded)) -> f64| Figure::from(own().map(value).collect::<Vec<_>>());
            table.add(vec![
                call.name().into(),
                contender.name(),
                figure(&|(_, loaded)| loaded.rate()).shown(0),
                figure(&|(turn, loaded)| loaded.rate() / turn.closed.rate()).shown(2),
                figure(&|(_, loaded)| loaded.millis(50.0)).shown(2),
                figure(&|(_, loaded)| loaded.millis(99.0)).shown(2),
            ]);
        }
    }
    table.print();
}

impl Calm {
    fn loaded(&self, call: Call) -> Option<&Loaded> {
        self.calls.iter().find(|(own, _)| *own == call).map(|(_, loaded)| loaded)
    }
}

/// Measures the limits in turns.
fn print_limits() {
    let measured = Duration::from_secs_f64(seconds() / 4.0);
    let mut limits: Vec<(String, Box<dyn Fn() -> f64>)> = Vec::new();
    // Connections, and entries per commit. SQLite has one writer.
    let ways = [(1, 1), (CONNECTIONS, 1), (1, 8), (1, 64), (1, 512)];
    for backend in [Backend::Postgres, Backend::Sqlite] {
        for (connections, group) in ways.into_iter().filter(|(many, _)| backend == Backend::Postgres || *many == 1) {
            let name = format!("{backend:?}: entries inserted, {group} per commit, connections: {connections}");
            limits.push((name, Box::new(move || inserts(backend, connections, group, measured))));
        }
    }
    let calls = requests(Workload::Hot, STREAM, 30_000);
    let check = "an axum handler that only checks the token, one thread: answers";
    limits.push((check.into(), Box::new(move || checking_server(&calls, CONNECTIONS))));
    limits.push(("checks of a token, one core".into(), Box::new(|| 1e6 / signature_check(10_000))));
    let mut rates = vec![Vec::new(); limits.len()];
    for _ in 0..runs() {
        for ((_, measure), rates) in limits.iter().zip(&mut rates) {
            rates.push(measure());
        }
    }
    let mut table = Table::new(&["limit", "a second"]);
    for ((name, _), rates) in limits.into_iter().zip(rates) {
        table.add(vec![name, Figure::from(rates).shown(0)]);
    }
    table.print();
}
