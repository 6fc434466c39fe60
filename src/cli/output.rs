//! Writing to the standard streams, whose reader may go away at any time.
//!
//! Colours are for a terminal; NO_COLOR takes them away there too. Drawings are in ASCII where the locale names another
//! character set than UTF-8.

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};

use crate::draw::drawing::heading;
use crate::space::genotype::Genotype;
use crate::space::operation::{Family, OPERATIONS};
use crate::terminal::{error_width, fitted, output_width};
use crate::{Error, Result};

/// Prints a text. A reader that went away, as `head` does, has read enough: that is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output", error)),
        _ => Ok(()),
    }
}

/// Prints sentences and columns for a reader: on a terminal, in lines that it is wide enough for.
pub fn tell(text: &str) -> Result<()> {
    print(&fitted(text, output_width()))
}

/// A text in one line, without what would move the cursor of a terminal or set its colours: names of files and classes
/// may hold anything.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Reports an error in one line, whatever it holds; in several on a terminal that is narrower.
pub fn report(sentence: &str) {
    const NAME: &str = "darts:";
    let line = fitted(&format!("{NAME} {}", plain(sentence).trim()), error_width());
    let style = AnsiColor::Red.on_default().bold();
    // There is nowhere left to say that this failed.
    let _ = writeln!(anstream::stderr(), "{style}{NAME}{style:#}{}", &line[NAME.len()..]);
}

/// A drawing of a genotype's cells with its headings and operations in colour.
pub fn coloured(genotype: &Genotype, drawing: &str) -> String {
    let mut coloured = drawing.to_owned();
    for operation in OPERATIONS.iter().filter(|operation| !operation.is_zero()) {
        let style = style(operation.family);
        coloured = coloured.replace(operation.name, &format!("{style}{operation}{style:#}"));
    }
    let bold = Style::new().bold();
    for heading in genotype.space.cells().iter().map(|kind| heading(kind.title)) {
        coloured = coloured.replace(&heading, &format!("{bold}{heading}{bold:#}"));
    }
    match draws_in_ascii(|name| std::env::var(name).ok()) {
        true => coloured.chars().map(ascii).collect(),
        false => coloured,
    }
}

/// Whether the locale is one without the characters of a drawing. The first variable that is set decides, as in POSIX; where
/// none is, terminals of today know UTF-8.
fn draws_in_ascii(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| variable(name).filter(|locale| !locale.is_empty());
    let Some(locale) = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set) else { return false };
    let locale = locale.to_ascii_lowercase();
    !locale.contains("utf-8") && !locale.contains("utf8")
}

/// A character of a drawing, in ASCII.
fn ascii(letter: char) -> char {
    match letter {
        '─' => '-',
        '│' => '|',
        '▶' => '>',
        '\u{2500}'..='\u{257f}' => '+',
        other => other,
    }
}

/// Each family of operations has a colour.
fn style(family: Family) -> Style {
    let colour = match family {
        Family::None => AnsiColor::White,
        Family::Pool => AnsiColor::Cyan,
        Family::Skip => AnsiColor::Red,
        Family::Separable | Family::Convolution => AnsiColor::Green,
        Family::Dilated => AnsiColor::Yellow,
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
    #[test]
    fn the_locale_decides_whether_drawings_are_in_ascii() {
        let with = |set: &[(&str, &str)]| {
            draws_in_ascii(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
            })
        };
        assert!(with(&[("LC_ALL", "C")]) && with(&[("LC_ALL", ""), ("LANG", "de_DE.ISO-8859-1")]));
        assert!(
            !with(&[]) && !with(&[("LC_ALL", "C.UTF-8"), ("LANG", "C")]) && !with(&[("LANG", "en_GB.utf8")])
        );
        let drawing: String = "k-1 ── skip ──┬─▶ node 0 ┘│".chars().map(ascii).collect();
        assert_eq!(drawing, "k-1 -- skip --+-> node 0 +|");
    }
}
