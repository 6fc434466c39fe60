//! The official Python literal of a genotype, read without an interpreter.
//!
//! The grammar, with whitespace, newlines, `#` comments and trailing commas as Python allows them, and with any of
//! Python's and a word processor's quotes:
//!
//! ```text
//! genotype = [ NAME "=" ] "Genotype" "(" field { "," field } ")"
//! field    = [ CELL "=" ] edges | [ CELL "_concat" "=" ] states     fields without a name come first, in this order
//! edges    = list of edge, or list of lists of edge, one for each node
//! edge     = "(" QUOTED "," NUMBER ")"                               in either bracket
//! CELL     = "normal" | "reduce", or in spaces of one type of cell "cell"
//! states   = "range" "(" NUMBER "," NUMBER ")" | list of NUMBER | ( "list" | "tuple" ) "(" states ")"
//! list of  = "[" [ x { "," x } ] "]"                                 in either bracket
//! NUMBER   = DIGITS | TYPE "(" DIGITS ")"                            such as np.int64(1)
//! ```
//!
//! The reader goes over the text once and never recurses, so its cost is linear in its length. Where the literal begins in
//! a text is found [before](super::excerpt).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::excerpt::{is_name, locate};
use super::genotype::{CellGenotype, Field, Genotype, RawEdges, RawGenotype, check_length, edges_of_nodes};
use super::layout::Notation;
use super::{Keep, MAX_NODES, Space};
use crate::{Error, Result};

impl fmt::Display for Genotype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Notation::Edges, [cell]) = (self.space.notation(), &self.cells[..]) {
            return write_edges(formatter, cell);
        }
        formatter.write_str("Genotype(")?;
        for (index, (kind, cell)) in self.space.cells().iter().zip(&self.cells).enumerate() {
            if index > 0 {
                formatter.write_str(", ")?;
            }
            write_cell(formatter, kind.name, cell)?;
        }
        formatter.write_str(")")
    }
}

/// The text of the edges of a cell: node after node, `|operation~state|`.
fn write_edges(formatter: &mut fmt::Formatter<'_>, cell: &CellGenotype) -> fmt::Result {
    for (node, edges) in cell.nodes.iter().enumerate() {
        formatter.write_str(if node > 0 { "+|" } else { "|" })?;
        edges.iter().try_for_each(|edge| write!(formatter, "{}~{}|", edge.operation, edge.from))?;
    }
    Ok(())
}

fn write_cell(formatter: &mut fmt::Formatter<'_>, name: &str, cell: &CellGenotype) -> fmt::Result {
    let edges: Vec<_> =
        cell.edges().map(|(_, edge)| format!("('{}', {})", edge.operation, edge.from)).collect();
    write!(formatter, "{name}=[{}], {name}_concat=", edges.join(", "))?;
    match cell.concat.as_slice() {
        [first, .., last] if cell.concat.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
            write!(formatter, "range({first}, {})", last + 1)
        }
        [only] => write!(formatter, "range({only}, {})", only + 1),
        states => write!(formatter, "{states:?}"),
    }
}

impl FromStr for Genotype {
    type Err = Error;

    /// Reads a literal of the paper's space, or a text of edges.
    fn from_str(text: &str) -> Result<Self> {
        match text.trim_start().starts_with('|') {
            true => Self::from_text(text, &Space::darts()),
            false => Self::from_literal(text, &Space::darts()),
        }
    }
}

impl Genotype {
    /// Reads the only literal of a text, which does not say of which space it is.
    pub fn from_literal(text: &str, space: &Arc<Space>) -> Result<Self> {
        read(text, None, space)
    }

    /// Reads the literal that a module of Python assigns to a name.
    pub fn from_named_literal(text: &str, name: &str, space: &Arc<Space>) -> Result<Self> {
        read(text, Some(name), space)
    }
}

fn read(text: &str, name: Option<&str>, space: &Arc<Space>) -> Result<Genotype> {
    check_length(text)?;
    let text = text.trim_start_matches('\u{feff}');
    Reader { text, position: locate(text, name)? }.genotype(space)?.checked(space)
}

/// The functions that make a list of states.
const CALLS: [&str; 3] = ["range", "list", "tuple"];

/// Single and double quotes, straight and as word processors make them.
const QUOTES: [&[char]; 2] = [&['\'', '\u{2018}', '\u{2019}'], &['"', '\u{201c}', '\u{201d}', '\u{201e}']];

fn is_quote(letter: char) -> bool {
    QUOTES.iter().any(|kind| kind.contains(&letter))
}

/// Whether two quotes are of one kind.
fn closes(opening: char, closing: char) -> bool {
    QUOTES.iter().any(|kind| kind.contains(&opening) && kind.contains(&closing))
}

/// The text and how far it has been read.
struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn genotype(&mut self, space: &Space) -> Result<RawGenotype> {
        let start = self.position;
        let mut name = self.word("Genotype(...)")?;
        if self.taken('=') {
            name = self.word("Genotype(...)")?;
        }
        if name != "Genotype" {
            return self.refuse(&format!("expected Genotype(...), found {name:?}"));
        }
        self.expect('(')?;
        let mut raw = RawGenotype::new(space);
        let (mut unnamed, mut named) = (0, false);
        while !self.taken(')') {
            let field = match self.named_field(space)? {
                Some(field) => {
                    named = true;
                    field
                }
                None if named => return self.refuse("a field without a name follows one with a name"),
                None if unnamed == 2 * space.cells().len() => {
                    return self.refuse("there are too many fields");
                }
                None => {
                    unnamed += 1;
                    let cell = (unnamed - 1) / 2;
                    if unnamed % 2 == 1 { Field::Edges(cell) } else { Field::Concat(cell) }
                }
            };
            let given_before = match field {
                Field::Edges(cell) => raw.edges[cell].replace(self.edges(space, cell)?).is_some(),
                Field::Concat(cell) => raw.concat[cell].replace(self.states(space)?).is_some(),
            };
            if given_before {
                return self.refuse("a field is given twice");
            }
            self.comma_before(')')?;
        }
        self.end(start)?;
        Ok(raw)
    }

    /// The name of a field and its `=`, unless its value stands without them.
    fn named_field(&mut self, space: &Space) -> Result<Option<Field>> {
        let known = Field::names(space);
        let begin = self.position;
        if matches!(self.next(), Some('[' | '(')) {
            return Ok(None);
        }
        let word = self.word(&format!("a field: {known}"))?;
        if CALLS.contains(&word) && self.next() == Some('(') {
            self.position = begin;
            return Ok(None);
        }
        self.expect('=')?;
        match Field::find(space, word) {
            Some(field) => Ok(Some(field)),
            None => self.refuse(&format!("unknown field {word:?}; expected {known}")),
        }
    }

    /// Refuses text that goes on in the line of a literal which begins the text. What surrounds one in a module, a log or a
    /// Markdown fence says nothing.
    fn end(&self, start: usize) -> Result<()> {
        let [before, rest] = [&self.text[..start], &self.text[self.position..]].map(str::trim_start);
        let before = before.trim_end();
        let alone =
            before.is_empty() || before.strip_suffix('=').is_some_and(|name| is_name(name.trim_end()));
        let in_line = self.text[self.position..].lines().next().is_some_and(|line| !line.trim().is_empty());
        if alone && in_line && !rest.starts_with('#') {
            return self.refuse("unexpected text after the genotype");
        }
        Ok(())
    }

    /// The bracket that closes a list whose opening one comes next.
    fn opened(&mut self) -> Result<char> {
        if self.taken('(') {
            return Ok(')');
        }
        self.expect('[').map(|()| ']')
    }

    fn edges(&mut self, space: &Space, cell: usize) -> Result<RawEdges> {
        let close = self.opened()?;
        let (mut edges, mut of_nodes) = (Vec::new(), Vec::new());
        while !self.taken(close) {
            let inner = self.opened()?;
            if !matches!(self.next(), Some('[' | '(' | ']' | ')')) {
                edges.push(self.edge(inner)?);
            } else {
                let before = edges.len();
                while !self.taken(inner) {
                    let innermost = self.opened()?;
                    edges.push(self.edge(innermost)?);
                    self.comma_before(inner)?;
                }
                of_nodes.push(edges.len() - before);
            }
            self.comma_before(close)?;
        }
        let listed = of_nodes.iter().sum::<usize>();
        if listed > 0 && listed != edges.len() {
            return self.refuse("some edges stand in the list of a node and some do not");
        }
        if listed > 0 && edges_of_nodes(space, cell, listed).is_none_or(|expected| expected != of_nodes) {
            let name = space.cells()[cell].name;
            let found = of_nodes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            let kept = match space.keep() {
                Keep::Strongest(kept) => format!("{kept} of each"),
                Keep::All => "all that enter each".to_owned(),
            };
            return self.refuse(&format!(
                "the nodes of the {name} cell have {found} edges; the space {space} keeps {kept}"
            ));
        }
        Ok(edges)
    }

    /// The rest of an edge after its opening bracket.
    fn edge(&mut self, close: char) -> Result<(String, usize)> {
        let operation = self.quoted()?.to_owned();
        self.expect(',')?;
        let from = self.number()?;
        self.comma_before(close)?;
        self.expect(close)?;
        Ok((operation, from))
    }

    fn states(&mut self, space: &Space) -> Result<Vec<usize>> {
        if matches!(self.next(), Some('[' | '(')) {
            return self.listed();
        }
        let word = self.word("range(a, b) or a list of states")?;
        if ["list", "tuple"].contains(&word) {
            self.expect('(')?;
            let states = if self.next() == Some('r') { self.range(space)? } else { self.listed()? };
            self.expect(')')?;
            return Ok(states);
        }
        self.position -= word.len();
        self.range(space)
    }

    fn listed(&mut self) -> Result<Vec<usize>> {
        let (close, mut states) = (self.opened()?, Vec::new());
        while !self.taken(close) {
            states.push(self.number()?);
            self.comma_before(close)?;
        }
        Ok(states)
    }

    fn range(&mut self, space: &Space) -> Result<Vec<usize>> {
        let mut states = Vec::new();
        let word = self.word("range(a, b) or a list of states")?;
        if word != "range" {
            return self.refuse(&format!("expected range(a, b) or a list of states, found {word:?}"));
        }
        self.expect('(')?;
        let first = self.number()?;
        self.expect(',')?;
        let end = self.number()?;
        self.expect(')')?;
        // A range is short to write and may be endless to hold.
        if end > MAX_NODES + space.inputs() {
            return self.refuse(&format!(
                "range({first}, {end}) goes beyond {MAX_NODES} nodes, the most a cell may have"
            ));
        }
        states.extend(first..end);
        Ok(states)
    }

    /// The next character after whitespace and comments; it stays unread.
    fn next(&mut self) -> Option<char> {
        loop {
            let rest = &self.text[self.position..];
            let next = rest.chars().next()?;
            if next == '#' {
                self.position += rest.find('\n').unwrap_or(rest.len());
            } else if next.is_whitespace() {
                self.position += next.len_utf8();
            } else {
                return Some(next);
            }
        }
    }

    fn taken(&mut self, wanted: char) -> bool {
        let found = self.next() == Some(wanted);
        if found {
            self.position += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        if self.taken(wanted) { Ok(()) } else { self.refuse_next(&format!("'{wanted}'")) }
    }

    /// Reads the comma after an element, which may be absent before the end of the list.
    fn comma_before(&mut self, end: char) -> Result<()> {
        if self.taken(',') || self.next() == Some(end) {
            return Ok(());
        }
        self.refuse_next(&format!("',' or '{end}'"))
    }

    fn word(&mut self, wanted: &str) -> Result<&'a str> {
        let word = self.run(|letter| letter == '_' || letter.is_ascii_alphanumeric());
        if word.is_empty() { self.refuse_next(wanted) } else { Ok(word) }
    }

    fn number(&mut self) -> Result<usize> {
        let of_type = self.next().is_some_and(|next| next.is_ascii_alphabetic());
        if of_type {
            let name = self.run(|letter| letter == '.' || letter == '_' || letter.is_ascii_alphanumeric());
            let last = name.rsplit('.').next().unwrap_or(name);
            if !last.trim_start_matches('u').starts_with("int") {
                return self.refuse(&format!("expected the number of a state, found {name:?}"));
            }
            self.expect('(')?;
        }
        let digits = self.run(|letter| letter.is_ascii_digit());
        if digits.is_empty() {
            return self.refuse_next("the number of a state");
        }
        if of_type {
            self.expect(')')?;
        }
        match digits.parse() {
            Ok(number) => Ok(number),
            Err(_) => self.refuse("the number of a state is far too large"),
        }
    }

    fn quoted(&mut self) -> Result<&'a str> {
        let Some(quote) = self.next().filter(|&next| is_quote(next)) else {
            return self.refuse_next("the name of an operation in quotes");
        };
        let rest = &self.text[self.position + quote.len_utf8()..];
        let end = |letter| is_quote(letter) || ['\n', '(', ')'].contains(&letter);
        let found = rest.find(end).and_then(|length| Some((length, rest[length..].chars().next()?)));
        match found {
            Some((length, last)) if closes(quote, last) => {
                self.position += quote.len_utf8() + length + last.len_utf8();
                Ok(&rest[..length])
            }
            _ => self.refuse("the name of an operation has no closing quote"),
        }
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        self.next();
        let rest = &self.text[self.position..];
        let length = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    fn refuse_next<T>(&mut self, wanted: &str) -> Result<T> {
        match self.next() {
            Some(found) => self.refuse(&format!("expected {wanted}, found {found:?}")),
            None => self.refuse(&format!("expected {wanted}, found the end of the text")),
        }
    }

    fn refuse<T>(&self, reason: &str) -> Result<T> {
        let read = &self.text[..self.position];
        let line = read.matches('\n').count() + 1;
        let column = read.chars().rev().take_while(|&letter| letter != '\n').count() + 1;
        Err(Error::Genotype(format!("line {line}, column {column}: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITERAL: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=range(2, 3), \
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('avg_pool_3x3', 0), \
        ('skip_connect', 2), ('skip_connect', 3)], reduce_concat=[2, 4])";

    fn refusal(text: &str) -> String {
        text.parse::<Genotype>().unwrap_err().to_string()
    }

    #[test]
    fn the_literal_comes_back() {
        assert_eq!(LITERAL.parse::<Genotype>().unwrap().to_string(), LITERAL);
    }

    #[test]
    fn python_freedoms_are_read() {
        let free = LITERAL.replace('\'', "\"").replace("[(", "[\n  # the first\n  (").replace(")]", "),\n]");
        let free =
            format!("\n BEST = {}", free.replace("range(2, 3)", "[2,]").replace("[2, 4])", "[2,4],)\n"));
        assert_eq!(free.parse::<Genotype>().unwrap().to_string(), LITERAL);
    }

    #[test]
    fn forms_of_public_repositories_are_read() {
        let nested = LITERAL
            .replace(
                "[('sep_conv_3x3', 0), ('skip_connect', 1)]",
                "[[('sep_conv_3x3', 0), ('skip_connect', 1)]]",
            )
            .replace("[('max", "([('max")
            .replace("3x3', 1), ('skip_connect', 2), (", "3x3', 1)], [('skip_connect', 2), (")
            .replace("3x3', 0), ('skip_connect', 2), (", "3x3', 0)], [('skip_connect', 2), (")
            .replace("', 3)], reduce_", "', 3)]), reduce_");
        let unnamed = ["normal_concat=", "reduce_concat=", "normal=", "reduce="]
            .iter()
            .fold(LITERAL.to_owned(), |text, field| text.replace(field, ""));
        let forms = [
            nested.clone(),
            unnamed.clone(),
            unnamed.replace("(2, 3)", "(np.int64(2), int(3))"),
            LITERAL.replace("range(2, 3)", "list(range(2, 3))").replace("[2, 4]", "tuple((2, np.int64(4)))"),
            LITERAL.replace("[2, 4]", "(2, 4)").replace("('skip_connect', 1)", "['skip_connect', 1]"),
            format!("\u{feff}{LITERAL}"),
            LITERAL.replacen('\'', "\u{2018}", 1).replacen('\'', "\u{2019}", 1),
            LITERAL.replace("'skip_connect'", "\u{201c}skip_connect\u{201d}"),
            format!("The best:\n```python\nBEST = {LITERAL}\n```\nNothing else.\n"),
            format!("```\n{LITERAL}\n```"),
            format!("08/25 03:14:15 PM genotype = {LITERAL}\n08/25 03:14:16 PM tensor([[0.1, 0.2]])\n"),
            format!(
                "import os\nfrom genotypes import Genotype\nBEST = genotypes.{LITERAL}  # 97 %\nos.exit()\n"
            ),
        ];
        for form in forms {
            assert_eq!(form.parse::<Genotype>().map(|found| found.to_string()).unwrap(), LITERAL, "{form}");
        }
        let three = nested.replace("1)], [('skip_connect', 2), (", "1), ('skip_connect', 2)], [(");
        let told = refusal(&three);
        assert!(told.contains("the nodes of the reduce cell have 3, 1, 2 edges"), "{told}");
        assert!(told.ends_with("the space darts keeps 2 of each"), "{told}");
        let mixed = LITERAL.replace("('skip_connect', 1)]", "[('skip_connect', 1)]]");
        assert!(refusal(&mixed).contains("some edges stand in the list of a node"), "{}", refusal(&mixed));
        let two = format!("A = {LITERAL}\nB = {}\nC = B\n", LITERAL.replace("sep", "dil"));
        let named =
            |name| Genotype::from_named_literal(&two, name, &Space::darts()).map(|found| found.to_string());
        assert_eq!(named("A").unwrap(), LITERAL);
        assert_eq!(named("C").unwrap(), LITERAL.replace("sep", "dil"));
        assert!(named("D").unwrap_err().to_string().contains("it has A, B"));
    }

    #[test]
    fn json_may_stand_in_a_fence_and_behind_a_byte_order_mark() {
        let genotype: Genotype = LITERAL.parse().unwrap();
        let json = genotype.to_json();
        for form in [format!("\u{feff}{json}"), format!("```json\n{json}\n```\n")] {
            assert_eq!(Genotype::from_text(&form, &Space::darts()).unwrap(), genotype);
        }
    }

    #[test]
    fn refusals_name_the_place() {
        assert!(refusal("").contains("line 1, column 1: expected Genotype(...), found the end"));
        assert!(refusal("os.system('x')").contains("column 3: expected Genotype(...)"));
        assert!(
            refusal(&LITERAL.replace("('skip_connect', 1)", "('skip_connect', -1)")).contains("found '-'")
        );
        assert!(refusal(&LITERAL.replace("', 1)", "', 99999999999999999999999)")).contains("too large"));
        assert!(refusal(&LITERAL.replace("range(2, 3)", "range(2, 999999999)")).contains("32 nodes"));
        assert!(refusal(&LITERAL.replace("reduce=", "normal=")).contains("given twice"));
        assert!(refusal(&LITERAL.replace(", reduce_concat=[2, 4]", "")).contains("reduce_concat is missing"));
        assert!(refusal(&LITERAL.replace("connect'", "connect")).contains("no closing quote"));
        assert!(refusal(&format!("{LITERAL}\n{LITERAL}")).contains("2 genotypes are in the text"));
        assert!(refusal(&format!("{LITERAL} import os")).contains("unexpected text after the genotype"));
        assert!(
            refusal(&format!("BEST = {LITERAL} import os")).contains("unexpected text after the genotype")
        );
        assert!(refusal(&LITERAL.replace("reduce=", "")).contains("without a name follows"));
        assert!(refusal(&LITERAL.replace("', 1)", "', float(1))")).contains("state, found \"float\""));
        assert!(refusal(&LITERAL.replace("range(2, 3)", "eval(2)")).contains("found \"eval\""));
        let none = refusal(&LITERAL.replace("sep_conv_3x3", "none"));
        assert!(none.contains("node 0 of the normal cell holds the operation none"), "{none}");
        assert!(refusal(&"(".repeat(1 << 17)).contains("131072 bytes long"));
    }
}
