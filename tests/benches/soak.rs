//! Failover with Patroni, round after round, while orders come. After each round every answered order must be in the
//! ledger of the primary, once. The end is a summary, and a failure if an order is lost or doubled.
//!
//!     cargo bench --bench soak
//!
//! It needs Debian's packages patroni, etcd-server and haproxy. A round takes about a quarter of a minute. SIGINT
//! (Ctrl-C) ends it after the round, with the summary; a second one ends it at once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inventory_tests::bench::report::{Table, machine};
use inventory_tests::books;
use inventory_tests::programs::{Running, program};
use inventory_tests::shoppers::Shoppers;
use inventory_tests::shoppers::audit::{Audit, Findings};
use inventory_tests::soak::cluster::Cluster;
use inventory_tests::soak::faults::Fault;
use inventory_tests::test_keys;
use inventory_tests::wix_caller::APP_ID;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Rounds, unless `SOAK_ROUNDS` says otherwise.
const ROUNDS: usize = 300;
/// Orders a second, unless `SOAK_RATE` says otherwise.
const RATE: u32 = 200;
/// How Patroni speaks to etcd, unless `SOAK_ETCD` says `etcd3`. With `etcd3`, Patroni 3.0.2 takes the key of the leader
/// from whoever holds it when it wakes from a SIGSTOP. Then answered orders are lost.
const ETCD: &str = "etcd";
/// After so many rounds the whole ledger is read, and the books are proved. The other rounds read what is new.
const WHOLE_EVERY: usize = 25;
/// Orders that are sent again after each round.
const REPLAYS: usize = 20;
/// A fault that has not had its effect within this time is undone.
const EFFECT: Duration = Duration::from_secs(60);
/// A cluster that is not whole within this time after the fault was undone never will be.
const REPAIR: Duration = Duration::from_secs(120);

/// The cluster, two servers on it, and their load.
struct Soak {
    shoppers: Arc<Shoppers>,
    audit: Audit,
    findings: Findings,
    rounds: BTreeMap<Fault, Seen>,
    random: fastrand::Rng,
    // Ended in this order.
    _servers: Vec<Running>,
    cluster: Cluster,
}

/// The rounds with one fault.
#[derive(Default)]
struct Seen {
    /// The longest gaps between two answers: of both servers together, of the one behind haproxy, and of the one that
    /// knows all hosts.
    gaps: Vec<[Duration; 3]>,
    without_effect: usize,
}

fn main() -> ExitCode {
    let (rounds, rate) = (setting("SOAK_ROUNDS", ROUNDS), setting("SOAK_RATE", RATE));
    let (seed, api) = (setting("SOAK_SEED", fastrand::u64(..)), setting("SOAK_ETCD", ETCD.to_owned()));
    println!("soak, {}; SOAK_ROUNDS={rounds} SOAK_RATE={rate} SOAK_ETCD={api} SOAK_SEED={seed}", machine());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(interrupts(stop.clone()));
        let mut soak = Soak::start(rate, seed, &api).await;
        soak.run(rounds, &stop).await
    })
}

fn setting<T: std::str::FromStr + Display>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number in its range; unset it")),
        Err(_) => default,
    }
}

/// The first SIGINT ends the soak after the round. The second one ends it at once.
async fn interrupts(stop: CancellationToken) {
    let mut interrupts = signal(SignalKind::interrupt()).expect("SIGINT can be heard");
    interrupts.recv().await;
    stop.cancel();
    interrupts.recv().await;
    std::process::exit(130);
}

impl Soak {
    async fn start(rate: u32, seed: u64, api: &str) -> Self {
        let cluster = Cluster::start(api).await;
        let names = ["haproxy", "hosts"];
        let urls = cluster.urls();
        let servers: Vec<Running> = names.iter().zip(&urls).map(|(name, url)| server(&cluster, name, url)).collect();
        let adapters: Vec<Running> =
            servers.iter().zip(names).map(|(server, name)| adapter(&cluster, name, server)).collect();
        let addresses: Vec<_> = adapters.iter().map(|adapter| adapter.addresses[0]).collect();
        let shoppers = Arc::new(Shoppers::come(servers[0].addresses[0], &addresses, rate).await);
        Self {
            shoppers,
            audit: Audit::default(),
            findings: Findings::default(),
            rounds: BTreeMap::new(),
            random: fastrand::Rng::with_seed(seed),
            _servers: adapters.into_iter().chain(servers).collect(),
            cluster,
        }
    }

    /// Runs the rounds, each fault once before any comes again. Prints the summary.
    async fn run(&mut self, rounds: usize, stop: &CancellationToken) -> ExitCode {
        let (mut turn, mut trouble) = (Vec::new(), None);
        for number in 1..=rounds {
            if turn.is_empty() {
                turn = Fault::ALL.to_vec();
                self.random.shuffle(&mut turn);
            }
            let fault = turn.pop().expect("it was filled");
            trouble = self.round(number, fault).await.err();
            if trouble.is_some() || !self.findings.is_empty() || stop.is_cancelled() {
                break;
            }
        }
        if trouble.is_some() {
            // Whatever else is wrong, what was answered must be there.
            let _ = self.check(true).await;
        } else if self.findings.is_empty() {
            trouble = self.end().await.err();
        }
        self.summary();
        if trouble.is_none() && self.findings.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("{}{:?}", trouble.unwrap_or_default(), self.findings);
        println!("the logs and the databases are in {}", self.cluster.keep().display());
        ExitCode::FAILURE
    }

    /// One round: orders are served, the fault is done and undone, the cluster is whole again, replays are answered,
    /// and the ledger is checked. The error says why the soak cannot go on.
    async fn round(&mut self, number: usize, fault: Fault) -> Result<(), String> {
        let (cluster, shoppers, started) = (&self.cluster, &self.shoppers, Instant::now());
        let before = timeout(REPAIR, cluster.whole()).await.map_err(|_| "the cluster is not whole; ".to_owned())?;
        shoppers.more_answers(u64::from(RATE)).await;
        let effect = timeout(EFFECT, fault.run(cluster, before, shoppers, &mut self.random)).await.is_ok();
        cluster.heal();
        let not_whole = |_| format!("the cluster is not whole again after `{}`; ", fault.name());
        let after = timeout(REPAIR, cluster.whole()).await.map_err(not_whole)?;
        let not_served = |_| format!("orders are not answered after `{}`; ", fault.name());
        let served = async {
            shoppers.more_answers(u64::from(RATE)).await;
            shoppers.replay(REPLAYS, &mut self.random).await;
        };
        timeout(REPAIR, served).await.map_err(not_served)?;
        let moved = format!("{} → {}", before.primary.name, after.primary.name);
        let whole = number.is_multiple_of(WHOLE_EVERY);
        self.check(whole).await?;

        let (gaps, counts) = (self.shoppers.take_gaps(), self.shoppers.counts());
        let [both, haproxy, hosts] = [gaps[0], gaps[1], gaps[2]];
        let seen = self.rounds.entry(fault).or_default();
        seen.gaps.push([both, haproxy, hosts]);
        seen.without_effect += usize::from(!effect);
        println!(
            "{number:4}  {:<58} {moved}  gap {both:4.1?} (haproxy {haproxy:.1?}, list {hosts:.1?}), {:.0?}; {} orders, \
             {} answered{}{}",
            fault.name(),
            started.elapsed(),
            counts.sent,
            counts.answered,
            if effect { "" } else { "; NO EFFECT" },
            if whole { "; all read, books proved" } else { "" },
        );
        Ok(())
    }

    /// The shoppers leave, and everything is checked once more.
    async fn end(&mut self) -> Result<(), String> {
        timeout(REPAIR, self.shoppers.leave()).await.map_err(|_| "not every shopper got an answer; ".to_owned())?;
        self.check(true).await
    }

    /// Compares the answered orders with the primary's ledger. What is found wrong is looked at a second time: another
    /// server may have become the primary meanwhile.
    async fn check(&mut self, whole: bool) -> Result<(), String> {
        for last in [false, true] {
            let whole = whole || last;
            let primary = timeout(REPAIR, self.cluster.primary()).await;
            let ledger = primary.map_err(|_| "no server takes writes; ".to_owned())?.url();
            let (mut audit, shoppers) = (std::mem::take(&mut self.audit), Arc::clone(&self.shoppers));
            let checked = tokio::task::spawn_blocking(move || {
                let mut findings =
                    if whole { audit.of_all(&shoppers, &ledger) } else { audit.of_new(&shoppers, &ledger) };
                findings.strange.extend(whole.then(|| books::wrong(&ledger)).flatten());
                (audit, findings)
            });
            match checked.await {
                Ok((audit, findings)) => (self.audit, self.findings) = (audit, findings),
                Err(error) if last => return Err(format!("the ledger cannot be read: {error}; ")),
                Err(_) => continue,
            }
            if self.findings.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn summary(&self) {
        let mut table =
            Table::new(&["what was done", "rounds", "gap: median s", "longest s", "haproxy", "list of hosts"]);
        let longest = |of: usize, seen: &Seen| seen.gaps.iter().map(|gaps| gaps[of]).max().unwrap_or_default();
        for (fault, seen) in &self.rounds {
            let mut gaps: Vec<Duration> = seen.gaps.iter().map(|gaps| gaps[0]).collect();
            gaps.sort_unstable();
            let gaps = [gaps[gaps.len() / 2], longest(0, seen), longest(1, seen), longest(2, seen)];
            let gaps = gaps.map(|gap| format!("{:.1}", gap.as_secs_f64()));
            let cells = [vec![fault.name().to_owned(), seen.gaps.len().to_string()], gaps.to_vec()];
            table.add(cells.concat());
        }
        table.print();
        let (counts, of_all) = (self.shoppers.counts(), self.rounds.values());
        println!(
            "\n{} rounds ({} without effect): {} orders, {} answered, {} unknown, lost {}, doubled {}, otherwise wrong \
             {}. {} shoppers turned away. Longest gap {:.1?}",
            of_all.clone().map(|seen| seen.gaps.len()).sum::<usize>(),
            of_all.clone().map(|seen| seen.without_effect).sum::<usize>(),
            counts.sent,
            counts.answered,
            counts.sent - counts.answered,
            self.findings.lost.len(),
            self.findings.doubled.len(),
            self.findings.strange.len(),
            counts.turned_away,
            of_all.map(|seen| longest(0, seen)).max().unwrap_or_default(),
        );
    }
}

/// A gRPC server that reaches the database under `url`. It ends with the cluster, in whatever way this process ends.
fn server(cluster: &Cluster, name: &str, url: &str) -> Running {
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", url]);
    command.current_dir(cluster.folder()).process_group(0);
    Running::start_logging(command, 1, &cluster.folder().join(format!("server-{name}.log")))
}

/// Its adapter.
fn adapter(cluster: &Cluster, name: &str, server: &Running) -> Running {
    let address = server.addresses[0].to_string();
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID, "--grpc-upstream", &address]);
    command.env("WIX_PUBLIC_KEY", &test_keys::app_key().public).current_dir(cluster.folder()).process_group(0);
    Running::start_logging(command, 1, &cluster.folder().join(format!("adapter-{name}.log")))
}
