//! What is done to the cluster.

use axum::http::Method;
use serde_json::json;

use super::cluster::{Cluster, Roles};
use super::machine::Break;
use crate::replica::send;
use crate::shoppers::Shoppers;

/// Answers that show that orders are served.
const ANSWERS: u64 = 100;

/// A fault, done to a cluster that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL to the primary's first process.
    PrimaryKilled,
    /// SIGKILL to one of the primary's other processes. The primary ends, because it does not restart after a crash.
    BackendKilled,
    /// SIGSTOP to all processes of the primary.
    PrimaryFrozen,
    /// SIGKILL to the primary's Patroni. The primary goes on.
    PatroniKilled,
    /// SIGSTOP to the primary's Patroni. The primary goes on.
    PatroniFrozen,
    /// SIGKILL to the primary and its Patroni.
    MachineKilled,
    /// SIGSTOP to the primary and its Patroni.
    MachineFrozen,
    /// The primary is cut off from everything.
    MachineCutOff,
    /// The primary's Patroni is cut off from etcd.
    PrimaryCutFromEtcd,
    /// The primary is cut off from its standbys and the servers. Patroni reaches etcd, so the primary stays.
    PrimaryCutFromOthers,
    /// The primary restarts in place.
    PrimaryRestarted,
    /// A planned switchover.
    Switchover,
    /// SIGKILL to the synchronous standby.
    StandbyKilled,
    /// SIGSTOP to the synchronous standby.
    StandbyFrozen,
    /// The synchronous standby's Patroni is cut off from etcd.
    StandbyCutFromEtcd,
    /// Both standbys freeze. When commits wait, the primary is killed.
    StandbysFrozenPrimaryKilled,
    /// SIGKILL to one etcd.
    EtcdKilled,
    /// SIGSTOP to one etcd.
    EtcdFrozen,
    /// SIGKILL to every etcd. The primary steps down.
    EveryEtcdKilled,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::PrimaryKilled,
        Self::BackendKilled,
        Self::PrimaryFrozen,
        Self::PatroniKilled,
        Self::PatroniFrozen,
        Self::MachineKilled,
        Self::MachineFrozen,
        Self::MachineCutOff,
        Self::PrimaryCutFromEtcd,
        Self::PrimaryCutFromOthers,
        Self::PrimaryRestarted,
        Self::Switchover,
        Self::StandbyKilled,
        Self::StandbyFrozen,
        Self::StandbyCutFromEtcd,
        Self::StandbysFrozenPrimaryKilled,
        Self::EtcdKilled,
        Self::EtcdFrozen,
        Self::EveryEtcdKilled,
    ];

    /// What is done, as text.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrimaryKilled => "primary: kill -9",
            Self::BackendKilled => "one process of the primary: kill -9",
            Self::PrimaryFrozen => "primary: SIGSTOP",
            Self::PatroniKilled => "the primary's Patroni: kill -9",
            Self::PatroniFrozen => "the primary's Patroni: SIGSTOP",
            Self::MachineKilled => "primary and its Patroni: kill -9",
            Self::MachineFrozen => "primary and its Patroni: SIGSTOP",
            Self::MachineCutOff => "primary and its Patroni: cut off from everything",
            Self::PrimaryCutFromEtcd => "the primary's Patroni: cut off from etcd",
            Self::PrimaryCutFromOthers => "primary: cut off from standbys and servers, not from etcd",
            Self::PrimaryRestarted => "primary: restart in place",
            Self::Switchover => "planned switchover",
            Self::StandbyKilled => "synchronous standby: kill -9",
            Self::StandbyFrozen => "synchronous standby: SIGSTOP",
            Self::StandbyCutFromEtcd => "the synchronous standby's Patroni: cut off from etcd",
            Self::StandbysFrozenPrimaryKilled => "both standbys: SIGSTOP; then primary: kill -9",
            Self::EtcdKilled => "one etcd: kill -9",
            Self::EtcdFrozen => "one etcd: SIGSTOP",
            Self::EveryEtcdKilled => "every etcd: kill -9",
        }
    }

    /// Does it to a cluster that is whole. Returns when orders are answered in spite of it, or when it has had its
    /// effect. [`Cluster::heal`] undoes it.
    pub async fn run(self, cluster: &Cluster, roles: Roles<'_>, shoppers: &Shoppers, random: &mut fastrand::Rng) {
        let Roles { primary, synchronous, other } = roles;
        let how = if random.bool() { Break::Cut } else { Break::Silent };
        let etcd = random.usize(..cluster.etcd_count());
        let served = shoppers.more_answers(ANSWERS);
        let moved = async {
            cluster.moved_from(primary).await;
            shoppers.more_answers(ANSWERS).await;
        };
        match self {
            Self::PrimaryKilled => {
                primary.signal_postmaster("KILL");
                moved.await;
            }
            Self::BackendKilled => {
                let any = random.choice(primary.backends()).expect("the primary runs");
                send("KILL", &[any]);
                served.await;
            }
            Self::PrimaryFrozen => {
                primary.signal_postgres("STOP");
                moved.await;
            }
            Self::PatroniKilled => {
                primary.signal_patroni("KILL");
                moved.await;
            }
            Self::PatroniFrozen => {
                primary.signal_patroni("STOP");
                moved.await;
            }
            Self::MachineKilled => {
                primary.signal_patroni("KILL");
                primary.signal_postgres("KILL");
                moved.await;
            }
            Self::MachineFrozen => {
                primary.signal_patroni("STOP");
                primary.signal_postgres("STOP");
                moved.await;
            }
            Self::MachineCutOff => {
                primary.cut_from_others(how);
                primary.cut_from_etcd(how);
                moved.await;
            }
            Self::PrimaryCutFromEtcd => {
                primary.cut_from_etcd(how);
                moved.await;
            }
            Self::PrimaryCutFromOthers => {
                primary.cut_from_others(how);
                cluster.until(primary, ALONE).await;
            }
            Self::PrimaryRestarted => {
                cluster.ask(primary, Method::POST, "/restart", "{}".into()).await;
                served.await;
            }
            Self::Switchover => {
                let roles = json!({"leader": primary.name, "candidate": synchronous.name});
                cluster.ask(primary, Method::POST, "/switchover", roles.to_string()).await;
                served.await;
            }
            Self::StandbyKilled => {
                synchronous.signal_postmaster("KILL");
                served.await;
            }
            Self::StandbyFrozen => {
                synchronous.signal_postgres("STOP");
                // Answers of commits that the standby has already say nothing.
                cluster.until(primary, HELD_UP).await;
                shoppers.more_answers(ANSWERS).await;
            }
            Self::StandbyCutFromEtcd => {
                synchronous.cut_from_etcd(how);
                cluster.until_synchronous(primary, other).await;
                shoppers.more_answers(ANSWERS).await;
            }
            Self::StandbysFrozenPrimaryKilled => {
                synchronous.signal_postgres("STOP");
                other.signal_postgres("STOP");
                cluster.until(primary, HELD_UP).await;
                primary.signal_postmaster("KILL");
                // Nobody can take over, so it starts again. It shows commits that no standby has.
                cluster.until(primary, HELD_UP).await;
            }
            Self::EtcdKilled => {
                cluster.kill_etcd(etcd);
                shoppers.more_answers(4 * ANSWERS).await;
            }
            Self::EtcdFrozen => {
                cluster.signal_etcd(etcd, "STOP");
                shoppers.more_answers(4 * ANSWERS).await;
            }
            Self::EveryEtcdKilled => {
                (0..cluster.etcd_count()).for_each(|etcd| cluster.kill_etcd(etcd));
                cluster.without_primary().await;
            }
        }
    }
}

/// Commits wait for a standby.
const HELD_UP: &str = "SELECT count(*) AS wrong FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
/// No standby copies the primary.
const ALONE: &str = "SELECT (NOT EXISTS (SELECT FROM pg_stat_replication))::int::bigint AS wrong";
