//! The connection that a supervisor makes while its writer is stuck.
//!
//! libpq bounds the time of a login, and nothing bounds the time of the statements after it: a server that freezes
//! between the two keeps the connection open, and never answers. So a thread of its own makes the connection. The
//! supervisor waits for it for a time, then leaves it to itself and may try again. How many late connections there may
//! be is bounded. One that is made after all is closed at once.

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
    /// Whether that is the writer's own server, and a commit has succeeded on this connection.
    pub(in crate::engine) has_committed: bool,
}

/// Makes connections as a writer does.
pub(in crate::engine) struct Spare {
    /// Is never connected itself.
    store: Box<dyn BatchStore>,
    /// The number of the writer.
    index: usize,
    /// How long a connection may take, with its commit.
    time: Duration,
    /// The threads of late connections.
    late: Vec<JoinHandle<()>>,
}

impl Spare {
    pub(in crate::engine) fn new(store: Box<dyn BatchStore>, index: usize, time: Duration) -> Self {
        Self { store, index, time, late: Vec::new() }
    }

    /// Connects; on the server `own`, commits something too. `None` if that fails or is late, or if too many earlier
    /// connections are late.
    pub(in crate::engine) fn connect(&mut self, own: Option<&Server>) -> Option<Connected> {
        self.late.retain(|thread| !thread.is_finished());
        if self.late.len() >= limits::LATE_CONNECTS_MAX {
            return None;
        }
        let own = own.filter(|_| self.late.len() < limits::LATE_PROBES_MAX).cloned();
        let store = self.store.another()?;
        let (sender, connected) = channel();
        let thread = std::thread::Builder::new().name(format!("spare-{}", self.index));
        let thread = thread.spawn(move || {
            // If nobody waits any more, the connection ends here.
            let _ = connect(store, own.as_ref()).map(|connected| sender.send(connected));
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

fn connect(mut store: Box<dyn BatchStore>, own: Option<&Server>) -> Option<Connected> {
    let server = store.connect().ok()?;
    let has_committed = own == Some(&server);
    if has_committed {
        store.probe().ok()?;
    }
    Some(Connected { store, server, has_committed })
}
