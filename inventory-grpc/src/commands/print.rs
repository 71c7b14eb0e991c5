//! Standard output of the commands that read, and of `token create`, which fails if nobody sees its token.
//!
//! Colours are kept on a terminal only, and not with NO_COLOR. A reader that has left, as `head` does, ends a command
//! quietly. Other commands that change something go on instead: they print with [`inventory_program::Out`].

use std::error::Error;
use std::io::Write;
use std::os::fd::AsFd;

use anstream::AutoStream;
use inventory_program::OutputError;
use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Writes text at once, so that a reader of a pipe sees it.
pub(super) fn print(text: &str) -> Result<(), Box<dyn Error>> {
    let mut output = AutoStream::auto(std::io::stdout());
    Ok(output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(OutputError::from)?)
}

/// Standard output as a file of rows. [`unless_closed`] tells its errors from those of a file.
pub(super) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stdout().write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush().map_err(of_stdout)
    }
}

/// The same error, which says that it is about standard output.
fn of_stdout(error: std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), OutputError::from(error))
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
    result.or_else(|error| if is_closed(error.as_ref()) { Ok(()) } else { Err(error) })
}

fn is_closed(error: &(dyn Error + 'static)) -> bool {
    let of_rows = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let of_rows = of_rows.and_then(|error| error.downcast_ref::<OutputError>());
    error.downcast_ref::<OutputError>().or(of_rows).is_some_and(OutputError::is_closed)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn error(kind: ErrorKind) -> std::io::Error {
        kind.into()
    }

    #[test]
    fn only_a_closed_standard_output_ends_a_command_quietly() {
        let closed: [Box<dyn Error>; 2] =
            [OutputError::from(error(ErrorKind::BrokenPipe)).into(), of_stdout(error(ErrorKind::BrokenPipe)).into()];
        for error in closed {
            assert!(unless_closed(Err(error)).is_ok());
        }
        let others: [Box<dyn Error>; 4] = [
            OutputError::from(error(ErrorKind::StorageFull)).into(),
            of_stdout(error(ErrorKind::StorageFull)).into(),
            // A pipe that stands in the place of a file.
            error(ErrorKind::BrokenPipe).into(),
            "the connection is a broken pipe".into(),
        ];
        for error in others {
            assert!(unless_closed(Err(error)).is_err());
        }
    }
}
