//! What README.md holds for a reader to copy: blocks of code, and commands within its sentences.

use std::fs;
use std::path::Path;

/// A block of code.
#[derive(Debug)]
pub struct Block {
    /// The line that its fence stands in, counted from 1.
    pub place: usize,
    /// The language behind the fence, empty for none.
    pub language: String,
    /// Its lines, of which one that ends in a backslash is joined with the next.
    pub lines: Vec<String>,
}

/// A command of a block, and the lines that it printed.
#[derive(Debug)]
pub struct Printed<'a> {
    pub command: &'a str,
    pub output: Vec<&'a str>,
}

pub fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// All blocks, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, bool) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(language), false) => {
                blocks.push(Block { place: index + 1, language: language.into(), lines: Vec::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => blocks.last_mut().unwrap().push(line),
            (None, false) => {}
        }
    }
    assert!(!open, "the last block has no end");
    blocks
}

/// The commands of `darts`, with arguments, that stand between backticks in the sentences outside of all blocks.
pub fn within_sentences(text: &str) -> Vec<String> {
    let sentences: Vec<&str> = text.split("```").step_by(2).collect();
    let joined = sentences.join("\n\n").replace("\n\n", "\u{0}").replace('\n', " ");
    let paragraphs = joined.split('\u{0}');
    let spans = paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    spans.filter(|span| span.starts_with("darts ")).map(str::to_owned).collect()
}

impl Block {
    fn push(&mut self, line: &str) {
        match self.lines.last_mut().filter(|last| last.ends_with('\\')) {
            Some(last) => *last = format!("{} {}", last.trim_end_matches('\\').trim_end(), line.trim_start()),
            None => self.lines.push(line.to_owned()),
        }
    }

    /// The block as it stands there.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// The commands of a session, each behind a `$`, with what they printed; of another block, all its lines.
    pub fn commands(&self) -> Vec<Printed<'_>> {
        let is_session = self.lines.iter().any(|line| line.starts_with("$ "));
        let mut commands: Vec<Printed> = Vec::new();
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            match (line.strip_prefix("$ "), is_session) {
                (Some(command), _) => commands.push(Printed { command, output: Vec::new() }),
                (None, true) => commands.last_mut().expect("a command before its output").output.push(line),
                (None, false) => commands.push(Printed { command: line, output: Vec::new() }),
            }
        }
        commands
    }
}
