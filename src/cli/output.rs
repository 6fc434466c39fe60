//! Writing to the standard streams, whose reader may go away at any time.

use std::io::{ErrorKind, Write};

use crate::{Error, Result};

/// Prints a text. A reader that went away, as `head` does, has read enough: that is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output", error)),
        _ => Ok(()),
    }
}

/// Reports an error in one line, whatever it holds.
pub fn report(sentence: &str) {
    let line: String =
        sentence.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    // There is nowhere left to say that this failed.
    let _ = writeln!(std::io::stderr(), "darts: {}", line.trim());
}
