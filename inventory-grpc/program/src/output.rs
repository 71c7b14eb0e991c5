//! What a program prints for people, on standard output and on standard error.
//!
//! A reader that leaves, as `head` does, never stops work half way: from then on lines go nowhere. `println!` and its
//! like would panic, so no file of the programs uses them.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct OutputError(#[from] std::io::Error);

impl OutputError {
    /// Whether it is a pipe whose reader has left.
    pub fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Lines to standard output. After the reader has left, they go nowhere.
#[derive(Debug, Default)]
pub struct Out {
    is_closed: bool,
}

impl Out {
    /// Prints a line. Anything but a closed pipe is an error, such as a full disk.
    pub fn line(&mut self, line: impl Display) -> Result<(), OutputError> {
        if self.is_closed {
            return Ok(());
        }
        let written = writeln!(std::io::stdout(), "{line}").map_err(OutputError::from);
        self.is_closed = written.as_ref().is_err_and(OutputError::is_closed);
        if self.is_closed { Ok(()) } else { written }
    }

    /// Prints where a program listens, a line for each of its ports. One without an address is off.
    pub fn addresses<const N: usize>(&mut self, ports: [(&str, Option<SocketAddr>); N]) -> Result<(), OutputError> {
        for (name, address) in ports {
            if let Some(address) = address {
                self.line(format_args!("{name} listening on {address}"))?;
            }
        }
        Ok(())
    }
}

/// Writes a line to standard error. If it cannot be written, nobody can be told.
pub fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
