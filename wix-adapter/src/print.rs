//! Standard output for people. A reader that goes away (`… | head -1`) ends the printing, and nothing else.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Lines to standard output. After the reader has closed its end, lines go nowhere.
#[derive(Debug, Default)]
pub(crate) struct Out {
    is_closed: bool,
}

impl Out {
    /// Prints a line. Anything but a closed pipe is an error, such as a full disk.
    pub(crate) fn line(&mut self, line: impl Display) -> std::io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        match writeln!(std::io::stdout(), "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => result,
        }
    }
}
