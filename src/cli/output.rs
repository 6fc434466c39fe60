//! Writing to the standard streams, whose reader may go away at any time.
//!
//! Colours are for a terminal; NO_COLOR takes them away there too.

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};

use crate::space::genotype::Operation;
use crate::{Error, Result};

/// Prints a text. A reader that went away, as `head` does, has read enough: that is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output", error)),
        _ => Ok(()),
    }
}

/// A text in one line, without what would move the cursor of a terminal or set its colours: names of files and classes
/// may hold anything.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Reports an error in one line, whatever it holds.
pub fn report(sentence: &str) {
    let line = plain(sentence);
    let style = AnsiColor::Red.on_default().bold();
    // There is nowhere left to say that this failed.
    let _ = writeln!(anstream::stderr(), "{style}darts:{style:#} {}", line.trim());
}

/// A drawing of cells with its headings and operations in colour.
pub fn coloured(drawing: &str) -> String {
    let mut coloured = drawing.to_owned();
    for operation in &Operation::ALL[1..] {
        let style = style(*operation);
        coloured = coloured.replace(operation.name(), &format!("{style}{operation}{style:#}"));
    }
    let bold = Style::new().bold();
    for heading in ["Normal cell", "Reduction cell"] {
        coloured = coloured.replace(heading, &format!("{bold}{heading}{bold:#}"));
    }
    coloured
}

/// Poolings, the identity and the two kinds of convolution each have a colour.
fn style(operation: Operation) -> Style {
    use Operation::{AveragePool3x3, DilConv3x3, DilConv5x5, MaxPool3x3, SkipConnect};
    let colour = match operation {
        MaxPool3x3 | AveragePool3x3 => AnsiColor::Cyan,
        SkipConnect => AnsiColor::Red,
        DilConv3x3 | DilConv5x5 => AnsiColor::Yellow,
        _ => AnsiColor::Green,
    };
    colour.on_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_is_not_printed() {
        assert_eq!(plain("a\u{1b}[31mred\nü\t\u{9b}2J"), "a [31mred ü  2J");
    }
}
