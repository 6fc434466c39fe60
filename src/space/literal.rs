//! The official Python literal of a genotype, read without an interpreter.
//!
//! The grammar, with whitespace, newlines, `#` comments and trailing commas as Python allows them:
//!
//! ```text
//! genotype = [ NAME "=" ] "Genotype" "(" field { "," field } ")"
//! field    = CELL "=" edges | CELL "_concat" "=" states
//! edges    = "[" [ edge { "," edge } ] "]"
//! edge     = "(" QUOTED "," NUMBER ")"
//! CELL     = "normal" | "reduce"
//! states   = "range" "(" NUMBER "," NUMBER ")" | "[" [ NUMBER { "," NUMBER } ] "]"
//! ```
//!
//! The reader goes over the text once and never recurses, so its cost is linear in its length.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::genotype::{CellGenotype, Field, Genotype, RawEdges, RawGenotype, check_length};
use super::{MAX_NODES, Space};
use crate::{Error, Result};

impl fmt::Display for Genotype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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

    /// Reads a literal of the paper's space.
    fn from_str(text: &str) -> Result<Self> {
        Self::from_literal(text, &Space::darts())
    }
}

impl Genotype {
    /// Reads a literal, which does not say of which space it is.
    pub fn from_literal(text: &str, space: &Arc<Space>) -> Result<Self> {
        check_length(text)?;
        Reader { text, position: 0 }.genotype(space)?.checked(space)
    }
}

/// The text and how far it has been read.
struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn genotype(&mut self, space: &Space) -> Result<RawGenotype> {
        let mut name = self.word("Genotype(...)")?;
        if self.taken('=') {
            name = self.word("Genotype(...)")?;
        }
        if name != "Genotype" {
            return self.refuse(&format!("expected Genotype(...), found {name:?}"));
        }
        self.expect('(')?;
        let mut raw = RawGenotype::new(space);
        while !self.taken(')') {
            let known = Field::names(space);
            let field = self.word(&format!("a field: {known}"))?;
            self.expect('=')?;
            let given_before = match Field::find(space, field) {
                Some(Field::Edges(cell)) => raw.edges[cell].replace(self.edges()?).is_some(),
                Some(Field::Concat(cell)) => raw.concat[cell].replace(self.states(space)?).is_some(),
                None => return self.refuse(&format!("unknown field {field:?}; expected {known}")),
            };
            if given_before {
                return self.refuse(&format!("the field {field} is given twice"));
            }
            self.comma_before(')')?;
        }
        if self.next().is_some() {
            return self.refuse("unexpected text after the genotype");
        }
        Ok(raw)
    }

    fn edges(&mut self) -> Result<RawEdges> {
        self.expect('[')?;
        let mut edges = Vec::new();
        while !self.taken(']') {
            self.expect('(')?;
            let operation = self.quoted()?.to_owned();
            self.expect(',')?;
            edges.push((operation, self.number()?));
            self.expect(')')?;
            self.comma_before(']')?;
        }
        Ok(edges)
    }

    fn states(&mut self, space: &Space) -> Result<Vec<usize>> {
        let mut states = Vec::new();
        if self.taken('[') {
            while !self.taken(']') {
                states.push(self.number()?);
                self.comma_before(']')?;
            }
            return Ok(states);
        }
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
        let digits = self.run(|letter| letter.is_ascii_digit());
        if digits.is_empty() {
            return self.refuse_next("the number of a state");
        }
        match digits.parse() {
            Ok(number) => Ok(number),
            Err(_) => self.refuse("the number of a state is far too large"),
        }
    }

    fn quoted(&mut self) -> Result<&'a str> {
        let Some(quote @ ('\'' | '"')) = self.next() else {
            return self.refuse_next("the name of an operation in quotes");
        };
        let rest = &self.text[self.position + 1..];
        match rest.find([quote, '\n', '(', ')']) {
            Some(length) if rest[length..].starts_with(quote) => {
                self.position += length + 2;
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
        assert!(refusal(&format!("{LITERAL}\n{LITERAL}")).contains("line 2, column 1: unexpected text"));
        assert!(refusal(&"(".repeat(1 << 17)).contains("131072 bytes long"));
    }
}
