//! The exit code of a program that failed: 1, or 2 for what [`Unsettled`] says. clap exits with 2 for wrong usage.

use std::error::Error;
use std::process::ExitCode;

/// The server was not reached, or it is not known what it did. A script can tell this from a refusal or a failure,
/// after which nothing has changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unsettled(pub String);

/// The exit code after an error.
pub(crate) fn code_of(error: &(dyn Error + 'static)) -> ExitCode {
    if error.is::<Unsettled>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}
