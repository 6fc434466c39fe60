//! Types of cells, and the edges of a cell of the supernet.

use std::ops::Range;

use super::operation::Operation;

/// The most nodes that a cell may have; far above any published cell, far below what exhausts memory.
pub const MAX_NODES: usize = 32;

/// A type of cell. All cells of a type share their alphas.
#[derive(Debug, PartialEq, Eq)]
pub struct CellType {
    /// Its name in files.
    pub name: &'static str,
    /// Its name for people, after "the".
    pub title: &'static str,
    /// Whether its edges from the inputs have stride 2.
    pub reduces: bool,
}

/// The types of cells of a stack that reduces by cells, in the order of their tables of alphas.
pub(super) static CELLS: [CellType; 2] = [
    CellType { name: "normal", title: "normal cell", reduces: false },
    CellType { name: "reduce", title: "reduction cell", reduces: true },
];

/// That of a stack without such cells.
pub(super) static ONE_CELL: [CellType; 1] = [CellType { name: "cell", title: "cell", reduces: false }];

/// An edge of a cell of the supernet.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The node that it enters, counted from 0.
    pub node: usize,
    /// The state that it leaves.
    pub from: usize,
    /// What it may hold, in the order of its row.
    pub candidates: Vec<&'static Operation>,
    /// Its row in the table of alphas of its type of cell: a range of elements.
    pub row: Range<usize>,
}

/// The edges of a type of cell: node after node and, within a node, in the order of the states that they leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Wiring {
    /// Number of nodes.
    pub nodes: usize,
    /// The edges.
    pub edges: Vec<Edge>,
}

impl Wiring {
    /// Number of alphas, or of mixing weights: one for each candidate of each edge.
    pub fn len(&self) -> usize {
        self.edges.last().map_or(0, |edge| edge.row.end)
    }

    /// Whether there are no edges.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The edges that enter a node.
    pub fn entering(&self, node: usize) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.node == node)
    }

    /// The rows of the edges, in their order.
    pub fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        self.edges.iter().map(|edge| edge.row.clone())
    }
}
