//! Standard output of the commands that people type.
//!
//! Colours are kept on a terminal only, and not with NO_COLOR. A reader that has left, as `head` does, ends a command
//! quietly.

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;

use anstream::AutoStream;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written: {0}")]
struct OutputError(std::io::Error);

/// Writes text at once, so that a reader of a pipe sees it.
pub(super) fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut output = AutoStream::auto(std::io::stdout());
    Ok(output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(OutputError)?)
}

/// Waits until the reader of standard output has left. For a command that prints only now and then.
pub(super) async fn reader_left() {
    // The registration is of a clone of the descriptor, which stays as it is: no setting of it is changed.
    let output = std::io::stdout().as_fd().try_clone_to_owned();
    match output.and_then(Sender::from_owned_fd_unchecked) {
        Ok(output) => {
            // Either way nobody reads it.
            let _ = output.ready(Interest::ERROR).await;
        }
        // A file, which has no reader.
        Err(_) => std::future::pending().await,
    }
}

/// The result of a command, unless it ended because nobody reads on.
pub(super) fn unless_closed(result: Result<(), Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let closed = |error: &(dyn Error + 'static)| {
        error.downcast_ref::<OutputError>().is_some_and(|OutputError(error)| error.kind() == ErrorKind::BrokenPipe)
    };
    result.or_else(|error| if closed(error.as_ref()) { Ok(()) } else { Err(error) })
}
