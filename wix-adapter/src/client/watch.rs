//! Watches a server: whether it serves, and since when it does not.
//!
//! A server reports its health on a stream that stays open. So it is known at once that it stops (it reports so before
//! it takes no more calls), that its database is away, or that its connection broke. A server that hangs is found by
//! the transport: it does not answer a ping in time, and the connection breaks.
//!
//! A server that has left is asked again after a pause, which grows up to two seconds. It comes back when it reports
//! that it serves. Each change is one line in the log.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;

use super::server::Server;
use crate::measure::{Outage, UpstreamMeasures};

/// Time for the first report of a server.
const REPORT_TIME: Duration = Duration::from_millis(500);
/// The first pause before a server that has left is asked again. Each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A server that has served for so long is asked again soon when it leaves. Others are not, so that one that comes and
/// goes does not fill the log.
const STEADY: Duration = Duration::from_secs(10);
/// How long a server that reports that it does not serve keeps the calls under way. One that stops answers them in this
/// time.
const CALLS_KEPT: Duration = Duration::from_millis(300);
/// How long a server that has just started may take until it serves, before the log says that it does not.
const START_TIME: Duration = Duration::from_secs(5);

/// Watches the server at `index` for ever.
pub(super) async fn watch(servers: Arc<[Server]>, index: usize, measures: UpstreamMeasures) {
    let Some(server) = servers.get(index) else { return };
    let mut watch = Watch { servers: &servers, server, measures, told: Told::Nothing, since: None };
    let mut pause = PAUSE_MIN;
    loop {
        let (outage, why) = watch.follow().await;
        watch.leave(outage, &why);
        if watch.since.take().is_some_and(|since| since.elapsed() >= STEADY) {
            pause = PAUSE_MIN;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

struct Watch<'a> {
    servers: &'a [Server],
    server: &'a Server,
    measures: UpstreamMeasures,
    told: Told,
    /// When it began to serve; `None` if it does not.
    since: Option<Instant>,
}

/// What is known of a server, and was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Serves,
    Left,
}

impl Watch<'_> {
    /// Follows the reports of the server until there are no more. Returns why.
    async fn follow(&mut self) -> (Outage, String) {
        let (mut status, mut reports) = match tokio::time::timeout(REPORT_TIME, self.server.health()).await {
            Ok(Ok(reports)) => reports,
            Ok(Err(status)) => return (Outage::Unreachable, cause(&status)),
            Err(_) => return (Outage::Silent, "it does not answer".to_owned()),
        };
        loop {
            let next = if status == ServingStatus::Serving {
                self.serves();
                reports.message().await
            } else {
                self.server.set_serves(false);
                let patience = if self.told == Told::Nothing { START_TIME } else { CALLS_KEPT };
                match tokio::time::timeout(patience, reports.message()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.leave(Outage::NotServing, "it reports that it does not serve");
                        reports.message().await
                    }
                }
            };
            status = match next {
                Ok(Some(report)) => report.status(),
                Ok(None) => return (Outage::Lost, "it has ended the connection".to_owned()),
                Err(status) => return (Outage::Lost, cause(&status)),
            };
        }
    }

    fn serves(&mut self) {
        self.since.get_or_insert_with(Instant::now);
        self.server.set_serves(true);
        self.measures.serves();
        if self.told == Told::Left {
            tracing::info!(upstream = self.server.name, "the gRPC server serves again");
        }
        self.told = Told::Serves;
    }

    /// Sends it no more calls. What it has not answered is sent to others, if another one serves.
    fn leave(&mut self, outage: Outage, why: &str) {
        self.server.set_serves(false);
        if self.servers.iter().any(Server::serves) {
            self.server.give_up_calls();
        }
        if self.told != Told::Left {
            self.measures.left(outage);
            tracing::warn!(
                upstream = self.server.name,
                why,
                "a gRPC server does not serve: calls go to the others, if there are any"
            );
        }
        self.told = Told::Left;
    }
}

/// What a status of the transport says, with the cause at its root.
fn cause(status: &Status) -> String {
    let mut root = status.source();
    while let Some(next) = root.and_then(Error::source) {
        root = Some(next);
    }
    match root.map(ToString::to_string) {
        Some(root) if root != status.message() => format!("{}: {root}", status.message()),
        Some(_) | None => status.message().to_owned(),
    }
}
