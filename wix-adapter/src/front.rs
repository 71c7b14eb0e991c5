//! Threads for the HTTP server alone.
//!
//! Under overload thousands of its tasks are ready at any time, and each waits for its turn. A call under way passes
//! through some ten other tasks: the stream to the server, the server, and back. Among the tasks of the HTTP server,
//! each of these would wait as long as a new call does. Hardly a call would be answered in its time, and the refusals
//! would keep it so. On other threads they have their turn from the operating system.
//!
//! `--bench overload` measures it: the servers stop for 2.3 seconds at twice the rate that they reach. On common
//! threads, a tenth of the rate was answered afterwards, for as long as the load lasted.

use std::net::SocketAddr;

use inventory_program::Reload;
use inventory_program::drain::Stop;
use inventory_program::listen::{ListenError, Listener};
use inventory_program::tls::Protection;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use crate::routes::Adapter;
use crate::server;

/// The threads of the HTTP server. What still runs on them ends when this is dropped.
pub struct Front {
    threads: Handle,
    runtime: Option<Runtime>,
}

/// The threads cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("the threads of the HTTP server cannot be started")]
pub struct FrontError(#[source] std::io::Error);

impl Front {
    /// Starts as many threads as a program has for everything else.
    pub fn start() -> Result<Self, FrontError> {
        let runtime = inventory_program::runtime().map_err(FrontError)?;
        Ok(Self { threads: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// [`server::bind`] for these threads.
    pub fn bind(&self, address: SocketAddr, protection: &Protection, reload: Reload) -> Result<Listener, ListenError> {
        let _inside = self.threads.enter();
        server::bind(address, protection, reload)
    }

    /// [`server::serve`] on these threads, with a listener that was bound for them.
    pub fn serve(&self, listener: Listener, adapter: Adapter, stop: Stop) -> JoinHandle<()> {
        self.threads.spawn(server::serve(listener, adapter, stop))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Whoever drops it may be a task, which must not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
