//! Cells of NAS-Bench-201 by their strings (Dong and Yang, ICLR 2020): four nodes, of which node 0 is the input, and one
//! of five operations on each of the six edges.
//!
//! `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` lists the edges that enter nodes 1, 2 and 3, each as its operation and the node
//! that it leaves.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The operations of an edge, in the order of the columns of its alphas.
pub const OPERATIONS: [&str; 5] = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
/// The edges, each as the node that it enters and the node that it leaves, in the order of the rows of alphas.
pub const EDGES: [(usize, usize); 6] = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)];
/// The number of different architectures.
pub const COUNT: usize = OPERATIONS.len().pow(EDGES.len() as u32);

const NODES: usize = 4;
const NONE: usize = 0;
const SKIP: usize = 1;
/// The longest text that is read as an architecture, in bytes: about three times the longest one.
const MAX_TEXT: usize = 300;

/// A cell of NAS-Bench-201. [`fmt::Display`] and [`FromStr`] are its string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Architecture {
    /// For each of [`EDGES`], the place of its operation among [`OPERATIONS`].
    operations: [u8; EDGES.len()],
}

impl Architecture {
    /// The architecture with these operations, places among [`OPERATIONS`], on [`EDGES`].
    ///
    /// # Panics
    /// A place is none of an operation.
    pub fn new(places: [usize; EDGES.len()]) -> Self {
        let place = |place: usize| {
            assert!(place < OPERATIONS.len(), "operation {place} of {}", OPERATIONS.len());
            place as u8
        };
        Architecture { operations: places.map(place) }
    }

    /// The places of its operations among [`OPERATIONS`], in the order of [`EDGES`].
    pub fn places(self) -> [usize; EDGES.len()] {
        self.operations.map(usize::from)
    }

    /// All architectures, by [`number`](Self::number).
    pub fn all() -> impl Iterator<Item = Architecture> {
        (0..COUNT).map(|number| {
            let mut rest = number;
            let mut places = [0; EDGES.len()];
            for place in places.iter_mut().rev() {
                *place = rest % OPERATIONS.len();
                rest /= OPERATIONS.len();
            }
            Architecture::new(places)
        })
    }

    /// Its number among [`all`](Self::all): its places as digits, the first edge's the most significant.
    pub fn number(self) -> usize {
        self.places().into_iter().fold(0, |number, place| number * OPERATIONS.len() + place)
    }

    /// How many edges hold an operation.
    pub fn count(self, operation: &str) -> usize {
        self.places().into_iter().filter(|&place| OPERATIONS[place] == operation).count()
    }

    /// Whether the output depends on the input: whether a path without `none` leads there.
    pub fn reaches_output(self) -> bool {
        let mut reached = [true, false, false, false];
        for ((to, from), place) in EDGES.into_iter().zip(self.places()) {
            reached[to] |= reached[from] && place != NONE;
        }
        reached[NODES - 1]
    }

    /// A text that two architectures share where they compute the same function: the expression of the output node with
    /// each skip connection replaced by the node that it leaves, and sums sorted. With `zeros`, what no path without
    /// `none` reaches counts as zero as well, as in the benchmark's paper.
    pub fn expression(self, zeros: bool) -> String {
        const ZERO: &str = "#";
        let mut nodes = [const { String::new() }; NODES];
        nodes[0].push('0');
        for node in 1..NODES {
            let entering = EDGES.into_iter().zip(self.places()).filter(|((to, _), _)| *to == node);
            let mut terms: Vec<String> = entering
                .map(|((_, from), place)| match place {
                    NONE if zeros => ZERO.to_owned(),
                    _ if zeros && nodes[from] == ZERO => ZERO.to_owned(),
                    SKIP => nodes[from].clone(),
                    _ => format!("({})@{}", nodes[from], OPERATIONS[place]),
                })
                .collect();
            terms.sort_unstable();
            nodes[node] = terms.join("+");
        }
        nodes[NODES - 1].clone()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((to, from), place) in EDGES.into_iter().zip(self.places()) {
            match (to, from) {
                (1, 0) => formatter.write_str("|")?,
                (_, 0) => formatter.write_str("+|")?,
                _ => {}
            }
            write!(formatter, "{}~{from}|", OPERATIONS[place])?;
        }
        Ok(())
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|reason| Error::Genotype(format!("as a cell of NAS-Bench-201, {reason}")))
    }
}

/// The architecture of a string, which must be as [`fmt::Display`] writes it but for blanks around it.
fn parse(text: &str) -> std::result::Result<Architecture, String> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(format!("the text is {} bytes long; expected at most {MAX_TEXT}", text.len()));
    }
    let mut places = Vec::with_capacity(EDGES.len());
    for (entries, node) in edges(text, Some(NODES - 1))?.into_iter().zip(1..) {
        for name in entries {
            places.push(place(name).map_err(|reason| format!("node {node}: {reason}"))?);
        }
    }
    let places = places.try_into().map_err(|_| "the number of edges is not six".to_owned())?;
    Ok(Architecture::new(places))
}

/// The operations of a text such as `|none~0|+|none~0|skip_connect~1|`: of each node, those of the edges that leave node 0,
/// node 1 and so on. A cell has as many nodes as expected, if a number is.
pub(super) fn edges(text: &str, expected: Option<usize>) -> std::result::Result<Vec<Vec<&str>>, String> {
    let text = text.trim();
    let groups: Vec<&str> = text.split('+').collect();
    if let Some(expected) = expected.filter(|&expected| expected != groups.len()) {
        return Err(format!(
            "{} is of {} parts; expected {expected} nodes joined by +",
            quoted(text),
            groups.len()
        ));
    }
    let mut nodes = Vec::with_capacity(groups.len());
    for (group, node) in groups.into_iter().zip(1..) {
        let entries = group.strip_prefix('|').and_then(|rest| rest.strip_suffix('|'));
        let entries = entries
            .ok_or_else(|| format!("node {node} is {}; expected its edges, each between |", quoted(group)))?;
        let entries: Vec<&str> = entries.split('|').collect();
        if entries.len() != node {
            return Err(format!("the number of edges of node {node} is {}; expected {node}", entries.len()));
        }
        let names = entries.into_iter().enumerate().map(|(from, entry)| operation(entry, from));
        let names: std::result::Result<Vec<_>, String> = names.collect();
        nodes.push(names.map_err(|reason| format!("node {node}: {reason}"))?);
    }
    Ok(nodes)
}

/// The operation of an edge that leaves node `from`, such as `none~0`.
fn operation(entry: &str, from: usize) -> std::result::Result<&str, String> {
    let (name, left) = entry
        .split_once('~')
        .ok_or_else(|| format!("{} is no edge; expected one such as none~{from}", quoted(entry)))?;
    if left != from.to_string() {
        return Err(format!("{} leaves node {}; expected node {from}", quoted(entry), quoted(left)));
    }
    Ok(name)
}

/// The place of an operation.
fn place(name: &str) -> std::result::Result<usize, String> {
    let known = OPERATIONS.iter().position(|&operation| operation == name);
    known
        .ok_or_else(|| format!("{} is no operation; expected one of {}", quoted(name), OPERATIONS.join(", ")))
}

/// A part of a text in quotation marks, shortened.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BEST: &str =
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|";

    #[test]
    fn a_string_comes_back() {
        let best: Architecture = BEST.parse().unwrap();
        assert_eq!(best.to_string(), BEST);
        assert_eq!(best.places(), [3, 3, 3, 1, 3, 2]);
        assert_eq!(format!(" {BEST}\n").parse::<Architecture>().unwrap(), best);
        for (number, architecture) in Architecture::all().enumerate() {
            assert_eq!(architecture.number(), number);
            assert_eq!(architecture.to_string().parse::<Architecture>().unwrap(), architecture);
        }
        assert_eq!(Architecture::all().count(), 15_625);
    }

    #[test]
    fn a_malformed_string_is_refused_by_its_first_fault() {
        let cases = [
            ("", "\"\" is of 1 parts; expected 3 nodes joined by +"),
            ("|none~0|+|none~0|none~1|", "is of 2 parts"),
            ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|+|none~0|", "is of 4 parts"),
            ("|none~0|+|none~0|+|none~0|none~1|none~2|", "the number of edges of node 2 is 1; expected 2"),
            ("|none~0|+|none~0||none~1|+|none~0|none~1|none~2|", "the number of edges of node 2 is 3"),
            ("none~0+|none~0|none~1|+|none~0|none~1|none~2|", "node 1 is \"none~0\"; expected its edges"),
            ("|none~1|+|none~0|none~1|+|none~0|none~1|none~2|", "leaves node \"1\"; expected node 0"),
            ("|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "node 2: \"none~1\" leaves node \"1\""),
            ("|none~00|+|none~0|none~1|+|none~0|none~1|none~2|", "leaves node \"00\""),
            (
                "|none|+|none~0|none~1|+|none~0|none~1|none~2|",
                "\"none\" is no edge; expected one such as none~0",
            ),
            ("|sep_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|", "\"sep_conv_3x3\" is no operation"),
            ("|none ~0|+|none~0|none~1|+|none~0|none~1|none~2|", "\"none \" is no operation"),
            ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|x", "node 3 is"),
            (&"|".repeat(301), "the text is 301 bytes long"),
        ];
        for (text, sentence) in cases {
            let refused = text.parse::<Architecture>().unwrap_err().to_string();
            assert!(refused.contains(sentence), "{text}\n{refused}");
        }
    }

    /// Figures of the benchmark's authors: 12,751 and 6,466 different functions, and 341 cells without a path.
    #[test]
    fn the_counts_of_equal_and_of_dead_cells_are_those_of_the_benchmark() {
        let expressions =
            |zeros| Architecture::all().map(|cell| cell.expression(zeros)).collect::<BTreeSet<_>>().len();
        assert_eq!([expressions(false), expressions(true)], [12_751, 6_466]);
        assert_eq!(Architecture::all().filter(|cell| !cell.reaches_output()).count(), 341);
    }

    #[test]
    fn an_expression_is_that_of_the_official_code() {
        let cell = "|none~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|avg_pool_3x3~2|";
        let cell: Architecture = cell.parse().unwrap();
        assert_eq!(cell.expression(true), "#+(#+(0)@nor_conv_1x1)@avg_pool_3x3+(0)@avg_pool_3x3");
        assert_eq!((cell.count("none"), cell.count("avg_pool_3x3")), (1, 2));
    }
}
