#![doc = include_str!("../README.md")]

mod causes;
pub mod drain;
mod exit;
mod files;
pub mod listen;
pub mod memory;
mod metrics;
pub mod observe;
mod output;
mod reload;
pub mod repeat;
mod signals;
pub mod tls;
pub mod trace;

use std::error::Error;
use std::process::{ExitCode, Termination};

pub use crate::causes::with_causes;
pub use crate::exit::Unsettled;
pub use crate::metrics::{MetricsError, serve_metrics};
pub use crate::observe::Sight;
pub use crate::output::{Out, OutputError, tell};
pub use crate::reload::Reloaded;
pub use crate::signals::{Reload, StopError, reload_on_signal, stop_on_signal};

/// Runs `work` to its end and returns the exit code: that of its result (0 for `()`), or, after one line on standard
/// error, 1, or 2 if the error is [`Unsettled`].
///
/// `name` stands before that line and is the service name of the traces. Call it once per process: it installs the
/// process's logs.
pub fn run<T: Termination>(
    name: &'static str,
    sight: Sight,
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> ExitCode {
    let result = runtime().map_err(Into::into).and_then(|runtime| {
        let result = runtime.block_on(async {
            let traces = observe::start(name, &sight)?;
            files::raise_open_max();
            let result = work.await;
            if let Some(traces) = traces
                && let Err(error) = traces.shutdown()
            {
                tracing::warn!(%error, "the last traces were not delivered");
            }
            result
        });
        // A thread that waits for the database would hold up the end. Nobody waits for what it does.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(done) => done.report(),
        Err(error) => {
            tell_error(name, error.as_ref());
            exit::code_of(error.as_ref())
        }
    }
}

/// Writes the error of a program and its causes as one line to standard error.
pub fn tell_error(name: &str, error: &dyn Error) {
    tell(format_args!("{name}: {}", with_causes(error)));
}

/// A runtime with one worker thread for every two cores, at least one.
///
/// The database and the other program need the other cores. On two cores a second worker made a request half as
/// expensive again, by wake-ups alone (measured end to end).
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores.div_ceil(2)).enable_all().build()
}
