//! How a cell gives its output, how cells are stacked to a network, and how they are written: values of a definition; and
//! which of two networks a cell is part of.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::wiring::{CELLS, CellType, ONE_CELL};

/// What a cell gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Its nodes, one behind another.
    #[default]
    Concatenation,
    /// Its last node.
    Last,
}

/// How cells are stacked to a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stacking {
    /// A stem of three times the channels; cells, of which those at one and two thirds of the depth halve the resolution and
    /// double the channels: they are of a type of their own (DARTS, section 3.2).
    #[default]
    Thirds,
    /// A stem; three stages of as many cells, a residual block between two stages, which halves the resolution and doubles
    /// the channels; a batch norm and a ReLU (Dong and Yang, NAS-Bench-201, ICLR 2020, figure 1).
    Residual,
    /// A stem, cells of one resolution and width, a batch norm and a ReLU.
    Plain,
}

/// How cells and their parameters are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notation {
    /// As the official code of DARTS does: `Genotype(normal=[('skip_connect', 0), ...], ...)`.
    #[default]
    Literal,
    /// As that of NAS-Bench-201 does: `|skip_connect~0|+|none~0|skip_connect~1|`.
    Edges,
}

/// Which network a cell is part of. It decides the official names of parameters, and where batch norms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The network of a search: no batch norm of a cell learns a factor and an offset, and pools have one, unless the space says
    /// otherwise.
    Supernet,
    /// The network of a genotype: batch norms learn both, and pools have none.
    Derived,
}

impl Form {
    /// Whether batch norms of cells learn a factor and an offset.
    pub(super) fn affine(self) -> bool {
        self == Form::Derived
    }
}

/// What a network is made of, from the stem to the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A cell of the type of this place.
    Cell(usize),
    /// A residual block that halves the resolution and doubles the channels.
    Residual,
}

/// Stages of a residual stack.
const STAGES: usize = 3;

impl Stacking {
    /// Whether definitions leave it out.
    pub(super) fn is_default(&self) -> bool {
        *self == Stacking::default()
    }

    /// The types of cells, in the order of their tables of alphas.
    pub fn cells(self) -> &'static [CellType] {
        match self {
            Stacking::Thirds => &CELLS,
            Stacking::Residual | Stacking::Plain => &ONE_CELL,
        }
    }

    /// The type of cell `index` of so many.
    pub fn cell_at(self, index: usize, cells: usize) -> usize {
        let reduces = index == cells / 3 || index == 2 * cells / 3;
        usize::from(self == Stacking::Thirds && reduces)
    }

    /// The layers of a network of so many cells.
    pub fn layers(self, cells: usize) -> Vec<Layer> {
        let stage = cells / STAGES;
        let mut layers = Vec::with_capacity(cells + STAGES - 1);
        for index in 0..cells {
            if self == Stacking::Residual && index > 0 && stage > 0 && index % stage == 0 {
                layers.push(Layer::Residual);
            }
            layers.push(Layer::Cell(self.cell_at(index, cells)));
        }
        layers
    }

    /// What the number of cells must be a multiple of.
    pub fn cells_step(self) -> usize {
        if self == Stacking::Residual { STAGES } else { 1 }
    }

    /// What the sides of images must be multiples of: what is left over would be in one branch of a residual block and not
    /// in the other.
    pub fn sides_step(self) -> usize {
        if self == Stacking::Residual { 1 << (STAGES - 1) } else { 1 }
    }

    /// Channels of the stem, as a multiple of those of the first cell's nodes.
    pub fn stem_multiplier(self) -> usize {
        if self == Stacking::Thirds { 3 } else { 1 }
    }

    /// Whether a batch norm and a ReLU stand in front of the classifier.
    pub fn closes(self) -> bool {
        self != Stacking::Thirds
    }

    /// Whether an auxiliary head has a cell to read.
    pub fn has_auxiliary(self) -> bool {
        self == Stacking::Thirds
    }
}

impl Output {
    /// Whether definitions leave it out.
    pub(super) fn is_default(&self) -> bool {
        *self == Output::default()
    }
}

impl Notation {
    /// The official name of what an edge of a cell holds: of the edge of this index, from one state to another.
    pub(super) fn edge(self, cell: &str, form: Form, index: usize, [to, from]: [usize; 2]) -> String {
        match (self, form) {
            (Notation::Literal, _) => format!("{cell}._ops.{index}"),
            (Notation::Edges, Form::Supernet) => format!("{cell}.edges.{to}<-{from}"),
            (Notation::Edges, Form::Derived) => format!("{cell}.layers.{index}"),
        }
    }

    /// The official name of a candidate of an edge.
    pub(super) fn candidate(self, edge: &str, place: usize) -> String {
        match self {
            Notation::Literal => format!("{edge}._ops.{place}"),
            Notation::Edges => format!("{edge}.{place}"),
        }
    }

    /// Whether definitions leave it out.
    pub(super) fn is_default(&self) -> bool {
        *self == Notation::default()
    }
}

/// Its name in a definition.
impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Its name in a definition.
impl fmt::Display for Stacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residual_blocks_stand_between_three_stages() {
        let residual: Vec<_> =
            (0..17).filter(|&index| Stacking::Residual.layers(15)[index] == Layer::Residual).collect();
        assert_eq!((residual, Stacking::Residual.layers(15).len()), (vec![5, 11], 17));
        assert_eq!(Stacking::Plain.layers(2), [Layer::Cell(0); 2]);
        let reducing: Vec<_> =
            (0..8).filter(|&index| Stacking::Thirds.layers(8)[index] == Layer::Cell(1)).collect();
        assert_eq!(reducing, [2, 5]);
    }
}
