//! The operations that an edge may hold: one row each. To add one, add its row, and name it in a space.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::backend::PoolKind;

/// An operation on an edge of a cell.
#[derive(Debug)]
pub struct Operation {
    /// The official name, which genotypes and spaces are written with.
    pub name: &'static str,
    /// The name in at most six letters, for a line of a terminal.
    pub short: &'static str,
    /// What it is a kind of.
    pub family: Family,
    /// What it computes.
    pub block: Block,
    /// Its colour in drawings.
    pub colour: Colour,
}

/// Kinds of operations, which a reader should be able to tell apart at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// No connection.
    None,
    /// Pooling.
    Pool,
    /// The identity.
    Skip,
    /// Separable convolutions.
    Separable,
    /// Dilated separable convolutions.
    Dilated,
    /// Dense convolutions.
    Convolution,
}

/// What an operation computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Zeros: the edge is not there.
    Zero,
    /// Its input, or a factorized reduction of it where the stride is 2.
    Identity,
    /// Pooling over 3x3.
    Pool(PoolKind),
    /// ReLU, depthwise convolution, pointwise convolution and batch norm.
    Separable {
        /// Side of the depthwise window: odd.
        kernel: usize,
        /// Distance between its taps.
        dilation: usize,
        /// How often the four follow each other; the first has the stride.
        times: usize,
    },
    /// ReLU, dense convolutions with nothing between them, and batch norm.
    Convolution {
        /// Rows and columns of the window of each: odd. Where there are several, a window moves by the stride along its longer
        /// side.
        windows: &'static [[usize; 2]],
    },
}

/// A colour as CSS writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// On a light background.
    pub light: &'static str,
    /// On a dark background.
    pub dark: &'static str,
}

/// Every operation that a genotype may be written with.
pub static OPERATIONS: [Operation; 12] = [
    Operation {
        name: "none",
        short: "none",
        family: Family::None,
        block: Block::Zero,
        colour: Colour { light: "#7d8590", dark: "#98a1ab" },
    },
    Operation {
        name: "max_pool_3x3",
        short: "max3",
        family: Family::Pool,
        block: Block::Pool(PoolKind::Maximum),
        colour: Colour { light: "#2f9fd0", dark: "#66c6ef" },
    },
    Operation {
        name: "avg_pool_3x3",
        short: "avg3",
        family: Family::Pool,
        block: Block::Pool(PoolKind::Average),
        colour: Colour { light: "#1f5fbf", dark: "#6f9dff" },
    },
    Operation {
        name: "skip_connect",
        short: "skip",
        family: Family::Skip,
        block: Block::Identity,
        colour: Colour { light: "#d1440c", dark: "#ff7f50" },
    },
    Operation {
        name: "sep_conv_3x3",
        short: "sep3",
        family: Family::Separable,
        block: Block::Separable { kernel: 3, dilation: 1, times: 2 },
        colour: Colour { light: "#0f8a5f", dark: "#3fcf97" },
    },
    Operation {
        name: "sep_conv_5x5",
        short: "sep5",
        family: Family::Separable,
        block: Block::Separable { kernel: 5, dilation: 1, times: 2 },
        colour: Colour { light: "#7b3fb5", dark: "#bd8bf0" },
    },
    Operation {
        name: "sep_conv_7x7",
        short: "sep7",
        family: Family::Separable,
        block: Block::Separable { kernel: 7, dilation: 1, times: 2 },
        colour: Colour { light: "#5f8a00", dark: "#b5d94a" },
    },
    Operation {
        name: "dil_conv_3x3",
        short: "dil3",
        family: Family::Dilated,
        block: Block::Separable { kernel: 3, dilation: 2, times: 1 },
        colour: Colour { light: "#c2478f", dark: "#f283c0" },
    },
    Operation {
        name: "dil_conv_5x5",
        short: "dil5",
        family: Family::Dilated,
        block: Block::Separable { kernel: 5, dilation: 2, times: 1 },
        colour: Colour { light: "#b87800", dark: "#f0b13c" },
    },
    Operation {
        name: "nor_conv_1x1",
        short: "nor1",
        family: Family::Convolution,
        block: Block::Convolution { windows: &[[1, 1]] },
        colour: Colour { light: "#a3742a", dark: "#dcb873" },
    },
    Operation {
        name: "nor_conv_3x3",
        short: "nor3",
        family: Family::Convolution,
        block: Block::Convolution { windows: &[[3, 3]] },
        colour: Colour { light: "#6b4a9e", dark: "#b39ae6" },
    },
    Operation {
        name: "conv_7x1_1x7",
        short: "conv7",
        family: Family::Convolution,
        block: Block::Convolution { windows: &[[1, 7], [7, 1]] },
        colour: Colour { light: "#8a5a3c", dark: "#d3a283" },
    },
];

impl Operation {
    /// The operation of this name.
    ///
    /// # Errors
    /// There is none; the sentence lists those that `suits` takes.
    pub fn find(name: &str, suits: fn(&Operation) -> bool) -> Result<&'static Operation, String> {
        OPERATIONS.iter().find(|operation| operation.name == name).ok_or_else(|| {
            let known = OPERATIONS.iter().filter(|operation| suits(operation));
            let known: Vec<_> = known.map(|operation| operation.name).collect();
            let name: String = name.chars().take(40).collect();
            format!("unknown operation {name:?}; known are {}", known.join(", "))
        })
    }

    /// Whether it stands for no edge: a derivation passes it over.
    pub fn is_zero(&self) -> bool {
        self.block == Block::Zero
    }

    /// Whether it is the identity, of which a search that collapses has too many.
    pub fn is_skip(&self) -> bool {
        self.block == Block::Identity
    }

    /// Whether it has weights of its own wherever it stands; a factorized reduction has them at stride 2 only.
    pub fn is_learned(&self) -> bool {
        !matches!(self.block, Block::Zero | Block::Identity | Block::Pool(_))
    }

    /// Its place in [`OPERATIONS`].
    fn index(&self) -> usize {
        OPERATIONS.iter().position(|other| std::ptr::eq(other, self)).unwrap_or(OPERATIONS.len())
    }
}

impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Operation {}

impl Hash for Operation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl PartialOrd for Operation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// In the order of [`OPERATIONS`].
impl Ord for Operation {
    fn cmp(&self, other: &Self) -> Ordering {
        self.index().cmp(&other.index())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_is_found_by_its_name_and_has_a_colour_of_its_own() {
        for operation in &OPERATIONS {
            assert_eq!(Operation::find(operation.name, |_| false), Ok(operation));
            assert!(operation.short.len() <= 6, "{operation}");
        }
        for colour in [|row: &Operation| row.colour.light, |row: &Operation| row.colour.dark] {
            assert_eq!(OPERATIONS.iter().map(colour).collect::<BTreeSet<_>>().len(), OPERATIONS.len());
        }
        let shorts: BTreeSet<_> = OPERATIONS.iter().map(|row| row.short).collect();
        assert_eq!(shorts.len(), OPERATIONS.len());
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let refused = Operation::find("sep", Operation::is_skip).unwrap_err();
        assert_eq!(refused, "unknown operation \"sep\"; known are skip_connect");
    }

    #[test]
    fn windows_are_odd() {
        let odd = |row: &Operation| match row.block {
            Block::Separable { kernel, .. } => kernel % 2 == 1,
            Block::Convolution { windows } => windows.as_flattened().iter().all(|side| side % 2 == 1),
            _ => true,
        };
        assert!(OPERATIONS.iter().all(odd));
    }
}
