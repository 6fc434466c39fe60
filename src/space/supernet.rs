//! The supernet: the network of a search, whose cells hold every candidate operation on every edge.

use std::sync::Arc;

use rand_distr::{Distribution, Normal};

use super::cell::{Contents, Form};
use super::stack::{Stack, StackShape};
use super::{Space, Wiring};
use crate::autograd::{Loss, MixingWeights, Recorder, Value};
use crate::backend::{Backend, Shape, Span};
use crate::nn::{NodeSums, Parameters, Recording, Spans};
use crate::random::{Stream, generator};
use crate::{Error, Result};

/// Initial alphas are normal numbers of this deviation.
const ALPHA_DEVIATION: f32 = 1e-3;

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
        self.space.check_nodes(self.nodes)
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
    /// Alphas: the table of each type of cell, one after another.
    pub alphas: Span,
    /// Their gradient.
    pub alpha_gradient: Span,
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

impl Supernet {
    /// Records a supernet.
    pub fn record<B: Backend>(recorder: &mut Recorder<B>, shape: SupernetShape) -> Result<Supernet> {
        shape.check()?;
        let wirings = shape.space.wirings(shape.nodes);
        let (stack, parameters) = declare(&shape, &wirings)?;
        let spans = Spans {
            weights: recorder.span(parameters.len()),
            gradients: recorder.span(parameters.len()),
            running: recorder.span(parameters.running_len()),
        };
        let alphas = recorder.span(wirings.iter().map(Wiring::len).sum());
        let alpha_gradient = recorder.span(alphas.len);
        recorder.unscale(spans.gradients, Some(alpha_gradient));
        let images = recorder.input(shape.images);
        let all = recorder.softmax(alphas, alpha_gradient, wirings[0].edges[0].row.len());
        let mut start = 0;
        let mixing = wirings.iter().map(|wiring| {
            let table = |span: Span| span.part(start, wiring.len());
            let weights = MixingWeights { value: table(all.value), gradient: table(all.gradient) };
            start += wiring.len();
            weights
        });
        let sums = NodeSums::Mixed(mixing.collect());
        let mut recording = Recording { recorder, spans: &spans, sums };
        let (stem, cells) = stack.emit(&mut recording, &images)?;
        let features = cells.last().map_or(&[][..], Vec::as_slice);
        features.iter().for_each(|&node| recording.recorder.keep(node));
        let logits = stack.classify(&mut recording, features)?;
        recorder.keep(logits);
        let loss = recorder.cross_entropy(logits, 1.0);
        Ok(Supernet {
            parameters,
            spans,
            wirings,
            alphas,
            alpha_gradient,
            images,
            stem,
            cells,
            logits,
            loss,
            shape,
        })
    }

    /// Initial alphas for a seed.
    pub fn initial_alphas(&self, seed: u64) -> Vec<f32> {
        let mut random = generator(seed, Stream::Alphas, 0);
        let normal = Normal::new(0.0, ALPHA_DEVIATION).ok();
        (0..self.alphas.len).map(|_| normal.map_or(0.0, |normal| normal.sample(&mut random))).collect()
    }
}

fn declare(shape: &SupernetShape, wirings: &[Wiring]) -> Result<(Stack, Parameters)> {
    let mut parameters = Parameters::default();
    let contents: Vec<Contents> = wirings.iter().map(Contents::from).collect();
    let stack = StackShape {
        image_channels: shape.images.c as usize,
        classes: shape.classes,
        init_channels: shape.init_channels,
        cells: shape.cells,
        auxiliary: false,
    };
    let stack = Stack::declare(&mut parameters, &shape.space, &contents, stack, Form::Supernet)?;
    Ok((stack, parameters))
}
