//! What the cells of a type hold: every candidate on every edge, or one operation on each.

use super::genotype::CellGenotype;
use super::{Operation, Space, Wiring};

/// What the cells of a type hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// The edges, node after node.
    pub edges: Vec<Held>,
    /// The states whose concatenation is the output.
    pub concat: Vec<usize>,
}

/// What an edge holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// The node that it enters.
    pub node: usize,
    /// The state that it leaves.
    pub from: usize,
    /// All its operations.
    pub operations: Vec<&'static Operation>,
    /// The place of the first one's mixing weight.
    pub mixing: usize,
    /// The place of the mixing weight of its auxiliary skip, where it has one. It may be that of an operation that is the same
    /// identity.
    pub auxiliary_skip: Option<usize>,
    /// The place of its own weight, where channels pass its operations by.
    pub weight: usize,
}

impl Contents {
    /// Every candidate on every edge of a type of cell whose mixing weights begin at `mixing`, and the weights of whose edges
    /// at `weight`; and the auxiliary skips of its edges, where these have some.
    pub fn all(
        space: &Space,
        wiring: &Wiring,
        mixing: usize,
        auxiliary_skips: &[usize],
        weight: usize,
    ) -> Self {
        let held = wiring.edges.iter().enumerate().map(|(index, edge)| Held {
            node: edge.node,
            from: edge.from,
            operations: edge.candidates.clone(),
            mixing: mixing + edge.row.start,
            auxiliary_skip: auxiliary_skips.get(index).copied(),
            weight: weight + index,
        });
        let (inputs, nodes) = (space.inputs(), wiring.nodes);
        Contents { inputs, nodes, edges: held.collect(), concat: space.concat(nodes) }
    }

    /// One operation on each edge.
    pub fn one(space: &Space, cell: &CellGenotype) -> Self {
        let held = cell.edges().enumerate().map(|(index, (node, edge))| Held {
            node,
            from: edge.from,
            operations: vec![edge.operation],
            mixing: index,
            auxiliary_skip: None,
            weight: index,
        });
        let (inputs, nodes) = (space.inputs(), cell.nodes.len());
        Contents { inputs, nodes, edges: held.collect(), concat: cell.concat.clone() }
    }
}

/// Which states the output of a cell depends on, and the last input where a node of them has no operation: its zeros have
/// the shape of that input.
pub(super) fn live_states(contents: &Contents) -> Vec<bool> {
    let Contents { inputs, nodes, .. } = *contents;
    let computes = |edge: &&Held| edge.operations.iter().any(|operation| !operation.is_zero());
    let mut live = vec![false; inputs + nodes];
    contents.concat.iter().for_each(|&state| live[state] = true);
    // A node reads earlier states only, and edges stand node after node.
    for edge in contents.edges.iter().rev().filter(computes) {
        live[edge.from] |= live[inputs + edge.node];
    }
    let empty = |node: usize| !contents.edges.iter().filter(computes).any(|edge| edge.node == node);
    live[inputs - 1] |= (0..nodes).any(|node| live[inputs + node] && empty(node));
    live
}
