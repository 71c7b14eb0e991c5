//! The connection that a supervisor makes while its writer is stuck.
//!
//! libpq bounds the time of a login, and nothing bounds the time of the statements after it: a server that freezes
//! between the two keeps the connection open, and never answers. So a thread of its own makes the connection. The
//! supervisor waits for it for a time, then leaves it to itself and may try again. How many late connections there may
//! be is bounded. One that is made after all is closed at once, and reads do not follow it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::storage::{BatchStore, Server};
use crate::model::limits;

/// A connection that was made in time.
pub(in crate::engine) struct Connected {
    pub(in crate::engine) store: Box<dyn BatchStore>,
    /// The server that it leads to.
    pub(in crate::engine) server: Server,
    /// Whether a commit has succeeded on this connection. `Probe` says whether one is tried.
    pub(in crate::engine) has_committed: bool,
}

/// On which server a new connection commits something, to learn whether commits succeed there.
pub(in crate::engine) enum Probe {
    Nowhere,
    On(Server),
    /// On whichever server it reaches.
    Anywhere,
}

impl Probe {
    fn is_for(&self, server: &Server) -> bool {
        match self {
            Self::Nowhere => false,
            Self::On(wanted) => wanted == server,
            Self::Anywhere => true,
        }
    }
}

/// Makes connections as a writer does.
pub(in crate::engine) struct Spare {
    /// Is never connected itself.
    store: Box<dyn BatchStore>,
    /// The number of the writer.
    index: usize,
    /// How long a connection may take, with its commit.
    pub(in crate::engine) time: Duration,
    /// The threads of late connections.
    late: Vec<JoinHandle<()>>,
}

impl Spare {
    pub(in crate::engine) fn new(store: Box<dyn BatchStore>, index: usize, time: Duration) -> Self {
        Self { store, index, time, late: Vec::new() }
    }

    /// Connects, and commits something if `probe` asks for it. `None` if that fails or is late, or if too many earlier
    /// connections are late.
    pub(in crate::engine) fn connect(&mut self, probe: Probe) -> Option<Connected> {
        self.late.retain(|thread| !thread.is_finished());
        if self.late.len() >= limits::LATE_CONNECTS_MAX {
            return None;
        }
        let probe = if self.late.len() < limits::LATE_PROBES_MAX { probe } else { Probe::Nowhere };
        let store = self.store.another()?;
        let (sender, connected) = channel();
        let thread = std::thread::Builder::new().name(format!("spare-{}", self.index));
        let thread = thread.spawn(move || {
            // If nobody waits any more, the connection ends here.
            let _ = connect(store, &probe).map(|connected| sender.send(connected));
        });
        // Without a thread there is no connection; the supervisor tries again.
        let thread = thread.ok()?;
        match connected.recv_timeout(self.time) {
            Ok(connected) => Some(connected),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.late.push(thread);
                None
            }
        }
    }
}

fn connect(mut store: Box<dyn BatchStore>, probe: &Probe) -> Option<Connected> {
    let server = store.connect().ok()?;
    let has_committed = probe.is_for(&server);
    if has_committed {
        store.probe().ok()?;
    }
    Some(Connected { store, server, has_committed })
}
