//! The supernet: the network of a search, whose cells hold every candidate operation on every edge.

use std::ops::Range;
use std::sync::Arc;

use super::contents::Contents;
use super::declared_edge::stride;
use super::edge_shape::EdgeShape;
use super::layout::Form;
use super::stack::{Features, Stack, StackShape};
use super::{Operation, Space, Wiring};
use crate::autograd::{Loss, MixingWeights, Recorder, Value};
use crate::backend::{Backend, Shape, Span};
use crate::nn::{DropPath, NodeSums, Parameters, Recording, SkipDropout, Spans};
use crate::{Error, Result};

/// The size of a supernet.
#[derive(Clone, Debug, PartialEq)]
pub struct SupernetShape {
    /// What its cells choose from.
    pub space: Arc<Space>,
    /// The images of a batch.
    pub images: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Number of cells; the space says which of them halve the resolution.
    pub cells: usize,
    /// Intermediate nodes of a cell.
    pub nodes: usize,
    /// What its edges have beside their candidates.
    pub edges: EdgeShape,
}

impl SupernetShape {
    fn check(&self) -> Result<()> {
        let smallest = self.images.h.min(self.images.w);
        if self.cells == 0 || self.nodes == 0 || self.init_channels == 0 || self.classes == 0 || smallest == 0
        {
            let reason = format!(
                "images {}, {} classes, {} cells, {} nodes and {} channels: none may be zero",
                self.images, self.classes, self.cells, self.nodes, self.init_channels
            );
            return Err(Error::Shape { operator: "supernet", reason });
        }
        let (partial, images, factor) = (self.edges.partial, self.images, halvings(&self.space, self.cells));
        if partial == 0 || !self.init_channels.is_multiple_of(partial) {
            let reason =
                format!("{} channels cannot be divided by {partial} on each edge", self.init_channels);
            return Err(Error::Shape { operator: "supernet", reason });
        }
        let even = |side: u32| (side as usize).is_multiple_of(factor);
        if self.edges.passes() && !(even(images.h) && even(images.w)) {
            let reason = format!(
                "images {images}: with partial channel connections the sides must be multiples of {factor}, as what \
                 passes the operations by is halved without a remainder"
            );
            return Err(Error::Shape { operator: "supernet", reason });
        }
        self.space.check_nodes(self.nodes)
    }

    /// Number of edges of all cells.
    fn edges(&self, wirings: &[Wiring]) -> usize {
        (0..self.cells).map(|cell| wirings[self.space.cell_at(cell, self.cells)].edges.len()).sum()
    }
}

/// A recorded supernet: where everything lies.
pub struct Supernet {
    /// Names, shapes and places of the weights.
    pub parameters: Parameters,
    /// The flat vectors.
    pub spans: Spans,
    /// The edges of each type of cell.
    pub wirings: Vec<Wiring>,
    /// The mixing weights: the table of each type of cell, one after another, then those of auxiliary skips that have one of
    /// their own, then, where channels pass the candidates by, a weight of each edge, with which they pass. They are any
    /// numbers, and are written before a forward replay.
    pub mixing: MixingWeights,
    /// The places of the mixing weights to which the weight of an auxiliary skip is added, one for each edge: that of the skip
    /// connection among the edge's candidates where both are the same identity, else one of its own. Empty where edges have
    /// none.
    pub auxiliary_skips: Vec<usize>,
    /// The batch's images.
    pub images: Value,
    /// The stem's output.
    pub stem: Value,
    /// The values that the output of each cell, or of a block between cells, concatenates.
    pub layers: Vec<Vec<Value>>,
    /// The classifier's output.
    pub logits: Value,
    /// The loss.
    pub loss: Loss,
    /// The factors of drop path, `[edge][n]`: cell after cell, node after node.
    pub drop_path: Option<Span>,
    /// The masks of skip connections, where elements of these are dropped.
    pub skip_dropout: Option<SkipDropout>,
    /// Its size.
    pub shape: SupernetShape,
}

impl Supernet {
    /// Records a supernet.
    pub fn record<B: Backend>(recorder: &mut Recorder<B>, shape: SupernetShape) -> Result<Supernet> {
        shape.check()?;
        let wirings = shape.space.wirings(shape.nodes);
        let candidates: usize = wirings.iter().map(Wiring::len).sum();
        let auxiliary_skips = if shape.edges.auxiliary_skip {
            auxiliary_skips(&shape, &wirings, candidates)
        } else {
            Vec::new()
        };
        let own = auxiliary_skips.iter().filter(|&&place| place >= candidates).count();
        let edges = wirings.iter().map(|wiring| wiring.edges.len()).sum();
        let (stack, parameters) = declare(&shape, &wirings, &auxiliary_skips, candidates + own);
        let batch = shape.images.n as usize;
        let spans = Spans {
            weights: recorder.span(parameters.len()),
            gradients: recorder.span(parameters.len()),
            running: recorder.span(parameters.running_len()),
        };
        let mixing = recorder.mixing(candidates + own, if shape.edges.passes() { edges } else { 0 });
        recorder.unscale(spans.gradients, Some(mixing));
        let images = recorder.input(shape.images);
        let drop_path = shape.edges.drop_path.then(|| recorder.span(shape.edges(&wirings) * batch));
        let sums = NodeSums::Mixed(mixing, drop_path.map(|factors| DropPath::new(factors, batch)));
        let skip_dropout = shape.edges.skip_dropout.map(|masks| SkipDropout::new(recorder, masks));
        let mut recording = Recording { recorder, spans: &spans, sums, skip_dropout };
        let Features { stem, layers } = stack.emit(&mut recording, &images)?;
        let features = layers.last().map_or(&[][..], Vec::as_slice);
        features.iter().for_each(|&node| recording.recorder.keep(node));
        let logits = stack.classify(&mut recording, features)?;
        let skip_dropout = recording.skip_dropout;
        recorder.keep(logits);
        let loss = recorder.cross_entropy(logits, 1.0, None);
        Ok(Supernet {
            parameters,
            spans,
            wirings,
            mixing,
            auxiliary_skips,
            images,
            stem,
            layers,
            logits,
            loss,
            drop_path,
            skip_dropout,
            shape,
        })
    }

    /// For each edge, where the mixing weights lie that share its sum, which is the sum of [`MixingWeights::sums`] there: those
    /// of all edges of its node, or with drop path its own.
    pub fn rows_of_sums(&self) -> Vec<Range<usize>> {
        if self.drop_path.is_some() {
            return self.rows();
        }
        let mut start = 0;
        let mut rows = Vec::new();
        for wiring in &self.wirings {
            for edge in &wiring.edges {
                let entering = || wiring.entering(edge.node).map(|edge| &edge.row);
                let first = entering().map(|row| row.start).min().unwrap_or_default();
                let end = entering().map(|row| row.end).max().unwrap_or_default();
                rows.push(start + first..start + end);
            }
            start += wiring.len();
        }
        rows
    }

    /// The edges of each node, of which those of a type of cell follow on those of the one before.
    pub fn nodes(&self) -> Vec<Range<usize>> {
        let (mut nodes, mut start) = (Vec::new(), 0);
        for wiring in &self.wirings {
            for node in 0..wiring.nodes {
                let end = start + wiring.entering(node).count();
                nodes.push(start..end);
                start = end;
            }
        }
        nodes
    }

    /// Where the mixing weights of each edge lie: one for each of its candidates.
    pub fn rows(&self) -> Vec<Range<usize>> {
        rows(&self.wirings)
    }
}

/// How many times smaller the sides of the last cell's feature maps are than those of the images.
pub fn halvings(space: &Space, cells: usize) -> usize {
    let reduces = |&cell: &usize| space.cells()[space.cell_at(cell, cells)].reduces;
    1 << (0..cells).filter(reduces).count()
}

/// Where the mixing weights of each edge lie.
fn rows(wirings: &[Wiring]) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut rows = Vec::new();
    for wiring in wirings {
        rows.extend(wiring.rows().map(|row| start + row.start..start + row.end));
        start += wiring.len();
    }
    rows
}

/// See [`Supernet::auxiliary_skips`]. Places of their own begin at `own`.
fn auxiliary_skips(shape: &SupernetShape, wirings: &[Wiring], mut own: usize) -> Vec<usize> {
    // A skip connection that loses elements is another.
    let whole = shape.edges.skip_dropout.is_none();
    let inputs = shape.space.inputs();
    let edges = wirings.iter().zip(shape.space.cells()).flat_map(|(wiring, kind)| {
        wiring.edges.iter().map(move |edge| (stride(kind.reduces, inputs, edge.from), &edge.candidates))
    });
    let place = |(row, (stride, candidates)): (Range<usize>, (usize, &Vec<&'static Operation>))| {
        let same =
            candidates.iter().position(|candidate| candidate.is_skip()).filter(|_| stride == 1 && whole);
        same.map_or_else(
            || {
                own += 1;
                own - 1
            },
            |place| row.start + place,
        )
    };
    rows(wirings).into_iter().zip(edges).map(place).collect()
}

/// Declares the cells; the weights of edges begin at `weight`.
fn declare(
    shape: &SupernetShape,
    wirings: &[Wiring],
    auxiliary_skips: &[usize],
    mut weight: usize,
) -> (Stack, Parameters) {
    let mut parameters = Parameters::default();
    let (mut mixing, mut skips) = (0, auxiliary_skips);
    let contents = wirings.iter().map(|wiring| {
        let of_cell;
        (of_cell, skips) = skips.split_at(wiring.edges.len().min(skips.len()));
        let contents = Contents::all(&shape.space, wiring, mixing, of_cell, weight);
        mixing += wiring.len();
        weight += wiring.edges.len();
        contents
    });
    let contents: Vec<_> = contents.collect();
    let stack = StackShape {
        image_channels: shape.images.c as usize,
        classes: shape.classes,
        init_channels: shape.init_channels,
        cells: shape.cells,
        auxiliary: false,
        partial: shape.edges.partial,
    };
    let stack = Stack::declare(&mut parameters, &shape.space, &contents, stack, Form::Supernet);
    (stack, parameters)
}
