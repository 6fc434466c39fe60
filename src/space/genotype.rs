//! A genotype: which operation each edge of the two cells holds.
//!
//! A cell computes states. States 0 and 1 are its inputs, the outputs of the two cells before it;
//! node `n` computes state `n + 2` as the sum of two edges, each an operation applied to an earlier
//! state. The output of the cell is the concatenation of some nodes' states.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The states a cell begins with: the outputs of the two cells before it.
pub const INPUTS: usize = 2;

/// Edges that enter each node of a genotype.
pub const EDGES_PER_NODE: usize = 2;

/// The most nodes a cell may have; far above any published cell, far below what exhausts memory.
pub const MAX_NODES: usize = 32;

/// The longest text that is read as a genotype, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;

/// An operation on an edge. The first eight are the candidates of the search, in their official order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// No connection: zeros.
    None,
    /// Max pooling over 3x3.
    MaxPool3x3,
    /// Average pooling over 3x3; padding is not counted.
    AveragePool3x3,
    /// The identity, or a factorized reduction where the stride is 2.
    SkipConnect,
    /// Two depthwise separable 3x3 convolutions.
    SepConv3x3,
    /// Two depthwise separable 5x5 convolutions.
    SepConv5x5,
    /// A depthwise separable 3x3 convolution of dilation 2.
    DilConv3x3,
    /// A depthwise separable 5x5 convolution of dilation 2.
    DilConv5x5,
    /// Two depthwise separable 7x7 convolutions; in published genotypes only.
    SepConv7x7,
    /// A 1x7 convolution, then a 7x1 convolution; in published genotypes only.
    Conv7x1Conv1x7,
}

impl Operation {
    /// The candidates of the search, in the order of an alpha row.
    pub const ALL: [Operation; 8] = [
        Operation::None,
        Operation::MaxPool3x3,
        Operation::AveragePool3x3,
        Operation::SkipConnect,
        Operation::SepConv3x3,
        Operation::SepConv5x5,
        Operation::DilConv3x3,
        Operation::DilConv5x5,
    ];

    /// Every operation a genotype may be written with, the candidates first.
    const KNOWN: [Operation; 10] = {
        let mut known = [Operation::Conv7x1Conv1x7; 10];
        let mut index = 0;
        while index < Self::ALL.len() {
            known[index] = Self::ALL[index];
            index += 1;
        }
        known[8] = Operation::SepConv7x7;
        known
    };

    /// The official name.
    pub const fn name(self) -> &'static str {
        match self {
            Operation::None => "none",
            Operation::MaxPool3x3 => "max_pool_3x3",
            Operation::AveragePool3x3 => "avg_pool_3x3",
            Operation::SkipConnect => "skip_connect",
            Operation::SepConv3x3 => "sep_conv_3x3",
            Operation::SepConv5x5 => "sep_conv_5x5",
            Operation::DilConv3x3 => "dil_conv_3x3",
            Operation::DilConv5x5 => "dil_conv_5x5",
            Operation::SepConv7x7 => "sep_conv_7x7",
            Operation::Conv7x1Conv1x7 => "conv_7x1_1x7",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Operation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::KNOWN.into_iter().find(|operation| operation.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::KNOWN[1..].iter().map(|operation| operation.name()).collect();
            let name: String = name.chars().take(40).collect();
            Error::Genotype(format!("unknown operation {name:?}; known are {}", known.join(", ")))
        })
    }
}

/// One cell of a genotype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellGenotype {
    /// Operation and input state of each edge, two for each node, node after node.
    pub edges: Vec<(Operation, usize)>,
    /// The states whose concatenation is the output of the cell.
    pub concat: Vec<usize>,
}

impl CellGenotype {
    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.edges.len() / EDGES_PER_NODE
    }
}

/// Both cells; equal to the official `Genotype` tuple, whose text [`fmt::Display`] writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawGenotype", into = "RawGenotype")]
pub struct Genotype {
    /// The cell that keeps the resolution.
    pub normal: CellGenotype,
    /// The cell that halves the resolution.
    pub reduce: CellGenotype,
}

impl Genotype {
    /// The most states that a cell concatenates, or operations that read one state, those of the two cells behind included.
    pub fn most_operands(&self) -> usize {
        let of_cell = |cell: &CellGenotype| {
            let readers = |state| cell.edges.iter().filter(|edge| edge.1 == state).count();
            let most = (0..INPUTS + cell.nodes()).map(readers).max().unwrap_or_default();
            cell.concat.len().max(most + INPUTS)
        };
        of_cell(&self.normal).max(of_cell(&self.reduce))
    }

    /// Refuses a genotype that is too wide for a device that takes this many operands.
    pub fn check_operands(&self, most: usize) -> Result<()> {
        let operands = self.most_operands();
        if operands <= most {
            return Ok(());
        }
        Err(Error::Genotype(format!(
            "its cells join up to {operands} values at once, and the GPU's kernels take {most}; use --device cpu"
        )))
    }

    /// Reads either form: JSON where the text begins with a brace, the literal otherwise.
    pub fn from_text(text: &str) -> Result<Self> {
        if text.trim_start().starts_with('|') {
            return Err(Error::Genotype(
                "|...| is how NAS-Bench-201 writes its cells; expected a cell of the DARTS space, Genotype(normal=...)"
                    .to_owned(),
            ));
        }
        if text.trim_start().starts_with('{') { Self::from_json(text) } else { text.parse() }
    }

    /// Reads the JSON form.
    pub fn from_json(text: &str) -> Result<Self> {
        check_length(text)?;
        let raw: RawGenotype = serde_json::from_str(text).map_err(|error| {
            Error::Genotype(format!(
                "in its JSON form, {}",
                error.to_string().replace("usize", "a whole number")
            ))
        })?;
        raw.try_into()
    }

    /// The JSON form, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Refuses a text too long to be a genotype before anything is made of it.
pub(super) fn check_length(text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let length = text.len();
    Err(Error::Genotype(format!("the text is {length} bytes long; a genotype needs at most {MAX_TEXT}")))
}

/// A genotype as written, in JSON or as a literal, before anything about it was checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGenotype {
    pub normal: Vec<(String, usize)>,
    pub normal_concat: Vec<usize>,
    pub reduce: Vec<(String, usize)>,
    pub reduce_concat: Vec<usize>,
}

impl From<Genotype> for RawGenotype {
    fn from(genotype: Genotype) -> Self {
        let raw = |edges: Vec<(Operation, usize)>| -> Vec<_> {
            edges.into_iter().map(|(operation, input)| (operation.name().to_owned(), input)).collect()
        };
        RawGenotype {
            normal: raw(genotype.normal.edges),
            normal_concat: genotype.normal.concat,
            reduce: raw(genotype.reduce.edges),
            reduce_concat: genotype.reduce.concat,
        }
    }
}

impl TryFrom<RawGenotype> for Genotype {
    type Error = Error;

    fn try_from(raw: RawGenotype) -> Result<Self> {
        Ok(Genotype {
            normal: checked_cell("normal", raw.normal, raw.normal_concat)?,
            reduce: checked_cell("reduce", raw.reduce, raw.reduce_concat)?,
        })
    }
}

/// The one place where a cell is checked, whatever form it was written in.
fn checked_cell(cell: &str, raw: Vec<(String, usize)>, concat: Vec<usize>) -> Result<CellGenotype> {
    let refuse = |reason: String| Err(Error::Genotype(reason));
    let most = MAX_NODES * EDGES_PER_NODE;
    if raw.is_empty() || !raw.len().is_multiple_of(EDGES_PER_NODE) || raw.len() > most {
        let found = raw.len();
        return refuse(format!(
            "the {cell} cell has {found} edges; expected two for each node, so an even number from 2 to {most}"
        ));
    }
    let mut edges = Vec::with_capacity(raw.len());
    for (index, (name, input)) in raw.into_iter().enumerate() {
        let node = index / EDGES_PER_NODE;
        let operation: Operation = name.parse().map_err(|error| match error {
            Error::Genotype(reason) => Error::Genotype(format!("node {node} of the {cell} cell: {reason}")),
            other => other,
        })?;
        if operation == Operation::None {
            return refuse(format!(
                "node {node} of the {cell} cell holds the operation none, which stands for no edge; a genotype lists only the edges that are there"
            ));
        }
        let last = node + INPUTS - 1;
        if input > last {
            return refuse(format!(
                "node {node} of the {cell} cell takes input {input}, but only states 0 to {last} exist before it"
            ));
        }
        edges.push((operation, input));
    }
    check_concat(cell, edges.len() / EDGES_PER_NODE, &concat)?;
    Ok(CellGenotype { edges, concat })
}

/// The output of a cell concatenates nodes: its inputs may have another resolution.
fn check_concat(cell: &str, nodes: usize, concat: &[usize]) -> Result<()> {
    let refuse = |reason: String| Err(Error::Genotype(reason));
    let last = nodes + INPUTS - 1;
    if concat.is_empty() {
        return refuse(format!("{cell}_concat is empty; expected some of the states {INPUTS} to {last}"));
    }
    let mut seen = BTreeSet::new();
    for &state in concat {
        if !(INPUTS..=last).contains(&state) {
            return refuse(format!(
                "{cell}_concat names state {state}, but the nodes of the {cell} cell are states {INPUTS} to {last}"
            ));
        }
        if !seen.insert(state) {
            return refuse(format!("{cell}_concat names state {state} twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(edges: &[(&str, usize)], concat: &[usize]) -> Result<CellGenotype> {
        let edges = edges.iter().map(|&(name, input)| (name.to_owned(), input)).collect();
        checked_cell("normal", edges, concat.to_vec())
    }

    fn refusal(edges: &[(&str, usize)], concat: &[usize]) -> String {
        cell(edges, concat).unwrap_err().to_string()
    }

    #[test]
    fn names_are_official_and_come_back() {
        for operation in Operation::KNOWN {
            assert_eq!(operation.name().parse::<Operation>().unwrap(), operation);
        }
        assert_eq!(Operation::ALL[7].name(), "dil_conv_5x5");
        assert_eq!(Operation::KNOWN[9], Operation::Conv7x1Conv1x7);
    }

    #[test]
    fn each_refusal_names_the_place() {
        let good = [("sep_conv_3x3", 0), ("skip_connect", 1)];
        assert!(cell(&good, &[2]).is_ok());
        assert!(refusal(&[], &[2]).contains("has 0 edges"));
        assert!(refusal(&good[..1], &[2]).contains("has 1 edges"));
        assert!(refusal(&[good[0]; 66], &[2]).contains("from 2 to 64"));
        assert!(refusal(&[good[0], ("sep", 1)], &[2]).contains("node 0 of the normal cell: unknown"));
        assert!(refusal(&[good[0], ("none", 1)], &[2]).contains("operation none"));
        let later = [good[0], good[1], good[0], ("skip_connect", 5)];
        assert!(
            refusal(&later, &[2, 3])
                .ends_with("node 1 of the normal cell takes input 5, but only states 0 to 2 exist before it")
        );
        assert!(refusal(&good, &[]).contains("normal_concat is empty"));
        assert!(refusal(&good, &[3]).contains("names state 3"));
        assert!(refusal(&good, &[1]).contains("names state 1"));
        assert!(refusal(&good, &[2, 2]).contains("twice"));
    }

    #[test]
    fn json_round_trip_and_refusals() {
        let text = r#"{"normal":[["sep_conv_3x3",0],["skip_connect",1]],"normal_concat":[2],"reduce":[["max_pool_3x3",0],["max_pool_3x3",1]],"reduce_concat":[2]}"#;
        let genotype = Genotype::from_json(text).unwrap();
        assert_eq!(genotype.to_json(), text);
        let refused = |text: &str| Genotype::from_json(text).unwrap_err().to_string();
        assert!(refused(&text.replace("reduce_concat", "extra")).contains("unknown field"));
        assert!(refused(&text.replace("skip_connect", "skip")).starts_with("genotype: node 0"));
        assert!(refused(&"[".repeat(MAX_TEXT + 1)).contains("bytes long"));
        assert!(refused(&"[".repeat(MAX_TEXT)).starts_with("genotype: "));
    }
}
