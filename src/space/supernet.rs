//! The supernet: a stem, a stack of cells that hold every candidate operation on every edge, and a classifier.

use super::alphas::{CANDIDATES, edges_of};
use super::cell::{Cell, CellShape};
use crate::autograd::{Loss, MixingWeights, Recorder, Value};
use crate::backend::{Backend, Shape, Span};
use crate::nn::parameters::NormParts;
use crate::nn::{Layout, Parameters, Part, Spans};
use crate::{Error, Result};
use std::ops::Range;

/// The stem has three times the channels of the first cell.
pub(super) const STEM_MULTIPLIER: usize = 3;

/// The size of a supernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupernetShape {
    /// The images of a batch.
    pub images: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Number of cells; those at one and two thirds of the depth halve the resolution.
    pub cells: usize,
    /// Intermediate nodes of a cell.
    pub nodes: usize,
}

impl SupernetShape {
    /// Whether cell `index` halves the resolution and doubles the channels.
    pub fn is_reduction(&self, index: usize) -> bool {
        index == self.cells / 3 || index == 2 * self.cells / 3
    }

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
        Ok(())
    }
}

/// A recorded supernet: where everything lies.
pub struct Supernet {
    /// Names, shapes and places of the weights.
    pub parameters: Parameters,
    /// The flat vectors.
    pub spans: Spans,
    /// The mixing weights of the normal cells, then of the reduction cells: `[2][edges][operations]`. They are any
    /// numbers, and are written before a forward replay.
    pub mixing: MixingWeights,
    /// The batch's images.
    pub images: Value,
    /// The stem's output.
    pub stem: Value,
    /// The nodes of each cell.
    pub cells: Vec<Vec<Value>>,
    /// The classifier's output.
    pub logits: Value,
    /// The loss.
    pub loss: Loss,
    /// Its size.
    pub shape: SupernetShape,
}

struct Declared {
    stem: Part,
    stem_norm: NormParts,
    cells: Vec<Cell>,
    classifier: (Part, Part),
}

impl Supernet {
    /// Records a supernet.
    pub fn record<B: Backend>(recorder: &mut Recorder<B>, shape: SupernetShape) -> Result<Supernet> {
        shape.check()?;
        let mut parameters = Parameters::default();
        let declared = declare(&mut parameters, &shape);
        let spans = Spans {
            weights: recorder.span(parameters.len()),
            gradients: recorder.span(parameters.len()),
            running: recorder.span(parameters.running_len()),
        };
        let mixing = recorder.mixing(2 * edges_of(shape.nodes) * CANDIDATES);
        recorder.unscale(spans.gradients, Some(mixing.gradient));
        let images = recorder.input(shape.images);
        let of_type = [0, 1].map(|kind| {
            let half = |span: Span| span.part(kind * span.len / 2, span.len / 2);
            let gates =
                mixing.gates.map(|gates| gates.part(kind * mixing.value.len / 2, mixing.value.len / 2));
            MixingWeights { value: half(mixing.value), gradient: half(mixing.gradient), gates }
        });
        let channels = STEM_MULTIPLIER * shape.init_channels;
        let stem_norm = spans.norm(declared.stem_norm);
        let stem = recorder.convolution(images, spans.weight(declared.stem), 3, channels, stem_norm)?;
        let mut cells: Vec<Vec<Value>> = Vec::new();
        for (index, cell) in declared.cells.iter().enumerate() {
            let output =
                |back: usize| index.checked_sub(back).map_or(std::slice::from_ref(&stem), |i| &cells[i]);
            let inputs = [output(2), output(1)];
            let weights = of_type[usize::from(shape.is_reduction(index))];
            let nodes = cell.record(recorder, &spans, weights, inputs)?;
            cells.push(nodes);
        }
        let features = cells.last().map_or(&[][..], Vec::as_slice);
        features.iter().for_each(|&node| recorder.keep(node));
        let pooled = recorder.global_pool(features)?;
        let (weight, bias) = declared.classifier;
        let logits = recorder.linear(pooled, spans.weight(weight), spans.weight(bias))?;
        recorder.keep(logits);
        let loss = recorder.cross_entropy(logits, 1.0);
        Ok(Supernet { parameters, spans, mixing, images, stem, cells, logits, loss, shape })
    }

    /// Where the mixing weights of each edge lie: one for each of its candidates.
    pub fn rows(&self) -> Vec<Range<usize>> {
        (0..self.mixing.value.len).step_by(CANDIDATES).map(|start| start..start + CANDIDATES).collect()
    }
}

fn declare(parameters: &mut Parameters, shape: &SupernetShape) -> Declared {
    let stem_channels = STEM_MULTIPLIER * shape.init_channels;
    let layout = Layout::Dense { kernel: 3, inputs: shape.images.c as usize, outputs: stem_channels };
    let stem = parameters.weight("stem.0.weight", layout);
    let stem_norm = parameters.norm(vec!["stem.1".to_string()], stem_channels, true);
    let (mut before_previous, mut previous, mut channels) =
        (stem_channels, stem_channels, shape.init_channels);
    let mut previous_reduction = false;
    let mut cells = Vec::new();
    for index in 0..shape.cells {
        let reduction = shape.is_reduction(index);
        if reduction {
            channels *= 2;
        }
        let cell = CellShape {
            nodes: shape.nodes,
            before_previous,
            previous,
            channels,
            reduction,
            previous_reduction,
        };
        cells.push(Cell::declare(parameters, &format!("cells.{index}"), cell));
        (before_previous, previous, previous_reduction) = (previous, shape.nodes * channels, reduction);
    }
    let layout = Layout::Linear { inputs: previous, outputs: shape.classes };
    let weight = parameters.weight("classifier.weight", layout);
    let bias = parameters.bias("classifier.bias", shape.classes, previous);
    Declared { stem, stem_norm, cells, classifier: (weight, bias) }
}
