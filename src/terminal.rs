//! Lines for a reader in a terminal of any width.
//!
//! A line that is too long goes on below its text. Words stay whole, and so do drawings and commands: what stands between
//! backticks, and a line of two spaces and `darts`.

use std::io::{stderr, stdout};

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr;

/// The columns of the terminal that the standard output is, if it is one.
pub fn output_width() -> Option<usize> {
    terminal_size_of(stdout()).map(|(Width(columns), _)| columns.into())
}

/// The columns of the terminal that the standard error is, if it is one.
pub fn error_width() -> Option<usize> {
    terminal_size_of(stderr()).map(|(Width(columns), _)| columns.into())
}

/// A text whose lines are at most so long, where their words are; the same text where there is no terminal.
pub fn fitted(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let lines = text.split('\n').map(|line| fitted_line(line, width));
    lines.collect::<Vec<_>>().join("\n")
}

fn fitted_line(line: &str, width: usize) -> String {
    let is_whole = line.starts_with("  darts ") || line.contains(['─', '│']);
    if line.width() <= width || is_whole {
        return line.to_owned();
    }
    let start = line.len() - line.trim_start().len();
    let fields = fields(line.trim());
    let deepest = width / 3;
    let start = if start > deepest { 2 } else { start };
    // Text goes on below text, where there is a label before it.
    let label = fields.get(1).map(|(gap, _)| start + fields[0].1.width() + gap);
    let below = label.filter(|&below| below <= deepest).unwrap_or(if start > 0 { start } else { 2 });
    let mut lines = vec![" ".repeat(start)];
    let mut used = start;
    for (gap, part) in parts(&fields, width - below.min(width)) {
        let is_first = used == if lines.len() == 1 { start } else { below };
        let gap = if is_first { 0 } else { gap };
        if !is_first && used + gap + part.width() > width {
            lines.push(" ".repeat(below) + &part);
            used = below + part.width();
        } else {
            let line = lines.last_mut().expect("there is a first line");
            *line += &(" ".repeat(gap) + &part);
            used += gap + part.width();
        }
    }
    lines.join("\n")
}

/// The parts of a line between two spaces or more, each with the number of spaces before it.
fn fields(line: &str) -> Vec<(usize, &str)> {
    let (mut fields, mut rest, mut gap) = (Vec::new(), line, 0);
    while let Some(place) = rest.find("  ") {
        fields.push((gap, &rest[..place]));
        let next = rest[place..].trim_start();
        gap = rest.len() - place - next.len();
        rest = next;
    }
    fields.push((gap, rest));
    fields
}

/// What a line is broken between: its fields where it has several behind its label and they fit, else words.
fn parts(fields: &[(usize, &str)], room: usize) -> Vec<(usize, String)> {
    let mut parts = Vec::new();
    for &(gap, field) in fields {
        if fields.len() > 2 && field.width() <= room {
            parts.push((gap, field.to_owned()));
            continue;
        }
        let words = words(field).into_iter().enumerate();
        parts.extend(words.map(|(index, word)| (if index == 0 { gap } else { 1 }, word)));
    }
    parts
}

/// The words of a text; what stands between backticks is one, and a number or sign goes with the word before it, behind a
/// comma excepted.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quoted = false;
    for word in text.split(' ') {
        let is_number = word.starts_with(|first: char| first.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_digit() || b"+,.".contains(&byte));
        let is_bound = is_number || ["%", "*", "|"].contains(&word);
        match words.last_mut() {
            Some(last) if quoted || (is_bound && !last.ends_with(',')) => *last += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
        quoted ^= word.matches('`').count() % 2 == 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_below_their_text() {
        let survey = "classes   3, as training + test pictures: a 15+2, b 16+2, c 14+3\ntest      p/test";
        let expected = "classes   3, as training + test\n          pictures: a 15+2, b 16+2,\n          c 14+3\ntest      p/test";
        assert_eq!(fitted(survey, Some(36)), expected);
        assert_eq!(fitted(survey, Some(200)), survey);
        assert_eq!(fitted(survey, None), survey);
    }

    #[test]
    fn columns_stay_together() {
        let epoch = "epoch  1/40  train 1.5534 47.16 %  test 2.1026 28.13 % *  3165 images/s  0.5 s";
        let expected =
            "epoch  1/40  train 1.5534 47.16 %\n       test 2.1026 28.13 % *\n       3165 images/s  0.5 s";
        assert_eq!(fitted(epoch, Some(40)), expected);
        let cell = "    normal  sep3 1 + avg3 0 | avg3 0 + dil5 1";
        assert_eq!(fitted(cell, Some(36)), "    normal  sep3 1 + avg3 0 | avg3 0\n            + dil5 1");
    }

    #[test]
    fn commands_and_paths_stay_whole() {
        let command = "  darts search --plan runs/search/plan.toml --alpha-lr 0.1";
        assert_eq!(fitted(command, Some(30)), command);
        let sentence =
            "interrupted; `darts search --resume runs/digits` goes on in runs/a-very-long-name/of/a/run";
        let expected = "interrupted;\n  `darts search --resume runs/digits`\n  goes on in\n  runs/a-very-long-name/of/a/run";
        assert_eq!(fitted(sentence, Some(20)), expected);
        assert_eq!(fitted("ein Wörtchen 漢字漢字 und", Some(17)), "ein Wörtchen\n  漢字漢字 und");
    }

    #[test]
    fn no_word_is_lost_at_any_width() {
        let text =
            "          the number of skip connections, and each `node as operation` and  input + 12 % end";
        for width in 0..100 {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeezed(&fitted(text, Some(width))), squeezed(text), "{width}");
        }
    }
}
