//! The derived network of the evaluation phase: `NetworkCIFAR` of the official code, whose names its parameters have.

use super::auxiliary;
use super::contents::Contents;
use super::genotype::Genotype;
use super::layout::Form;
use super::stack::{Features, Stack, StackShape, auxiliary_cell};
use crate::autograd::{Loss, Recorder, Value, Window};
use crate::backend::{Backend, PoolKind, Shape, Span};
use crate::nn::{DropPath, NodeSums, Parameters, Recording, Spans};
use crate::{Error, Result};

/// The size of a derived network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkShape {
    /// The images of a batch.
    pub images: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Number of cells; the space says which of them halve the resolution.
    pub cells: usize,
    /// The share of the auxiliary head's loss; without it there is no such head.
    pub auxiliary: Option<f64>,
    /// Whether branches of nodes are multiplied by the factors of drop path.
    pub drop_path: bool,
    /// Whether the classifier reads the last cell behind a ReLU where the auxiliary head reads the same cell, as it does
    /// in networks of two or three cells. The official head has an in-place ReLU, which in training changes what the
    /// classifier reads. For comparisons with the official code.
    pub official_inplace_relu: bool,
    /// Whether the losses weigh each image by its class.
    pub class_weights: bool,
}

impl NetworkShape {
    /// Whether images of these sides leave the auxiliary head the feature maps that it is made for.
    pub fn suits_auxiliary(height: usize, width: usize) -> bool {
        auxiliary::suits(height, width)
    }

    fn stack(&self) -> StackShape {
        StackShape {
            image_channels: self.images.c as usize,
            classes: self.classes,
            init_channels: self.init_channels,
            cells: self.cells,
            auxiliary: self.auxiliary.is_some(),
            partial: 1,
        }
    }

    fn check(&self) -> Result<()> {
        let smallest = self.images.h.min(self.images.w);
        if self.cells == 0 || self.init_channels == 0 || self.classes == 0 || smallest == 0 {
            let reason = format!(
                "images {}, {} classes, {} cells and {} channels: none may be zero",
                self.images, self.classes, self.cells, self.init_channels
            );
            return Err(Error::Shape { operator: "derived network", reason });
        }
        Ok(())
    }
}

/// A recorded network: where everything lies.
pub struct Network {
    /// Names, shapes and places of the weights.
    pub parameters: Parameters,
    /// The flat vectors.
    pub spans: Spans,
    /// The batch's images.
    pub images: Value,
    /// The classifier's output.
    pub logits: Value,
    /// The classifier's loss.
    pub loss: Loss,
    /// Output and loss of the auxiliary head.
    pub auxiliary: Option<(Value, Loss)>,
    /// The factors of drop path, `[branch][n]`: cell after cell, node after node.
    pub drop_path: Option<Span>,
    /// The weights of the classes in the losses.
    pub class_weights: Option<Span>,
    /// Its size.
    pub shape: NetworkShape,
}

impl Network {
    /// Number of weights of the auxiliary head, which the network is used and counted without.
    pub fn auxiliary_weights(&self) -> usize {
        let head = self.parameters.iter().filter(|parameter| parameter.training_only);
        head.map(|parameter| parameter.part.len).sum()
    }

    /// Declares the network of a genotype.
    pub fn declare(genotype: &Genotype, shape: &NetworkShape) -> (Stack, Parameters) {
        let (mut parameters, space) = (Parameters::default(), &genotype.space);
        let contents: Vec<Contents> = genotype.cells.iter().map(|cell| Contents::one(space, cell)).collect();
        let stack = Stack::declare(&mut parameters, space, &contents, shape.stack(), Form::Derived);
        (stack, parameters)
    }

    /// The parameters of a network that is not recorded.
    pub fn parameters(genotype: &Genotype, shape: &NetworkShape) -> Parameters {
        Self::declare(genotype, shape).1
    }

    /// Records the network of a genotype.
    pub fn record<B: Backend>(
        recorder: &mut Recorder<B>,
        genotype: &Genotype,
        shape: NetworkShape,
    ) -> Result<Network> {
        shape.check()?;
        let (stack, parameters) = Self::declare(genotype, &shape);
        let spans = Spans {
            weights: recorder.span(parameters.len()),
            gradients: recorder.span(parameters.len()),
            running: recorder.span(parameters.running_len()),
        };
        recorder.unscale(spans.gradients, None);
        let images = recorder.input(shape.images);
        let batch = shape.images.n as usize;
        let drop_path = shape.drop_path.then(|| recorder.span(stack.droppable() * batch));
        let class_weights = shape.class_weights.then(|| recorder.span(shape.classes));
        let sums = NodeSums::Plain(drop_path.map(|factors| DropPath::new(factors, batch)));
        let mut recording = Recording { recorder, spans: &spans, sums, skip_dropout: None };
        let Features { layers, .. } = stack.emit(&mut recording, &images)?;
        let auxiliary = match (&stack.auxiliary, shape.auxiliary) {
            (Some((head, read)), Some(weight)) => {
                Some(head.record(&mut recording, &layers[*read], weight, class_weights)?)
            }
            _ => None,
        };
        let mut features = layers.last().cloned().unwrap_or_default();
        let shared = auxiliary.is_some() && auxiliary_cell(shape.cells) + 1 == shape.cells;
        if shape.official_inplace_relu && shared {
            features = rectify(recording.recorder, &features)?;
        }
        let logits = stack.classify(&mut recording, &features)?;
        recorder.keep(logits);
        let loss = recorder.cross_entropy(logits, 1.0, class_weights);
        Ok(Network { parameters, spans, images, logits, loss, auxiliary, drop_path, class_weights, shape })
    }
}

/// The values behind a ReLU.
fn rectify<B: Backend>(recorder: &mut Recorder<B>, values: &[Value]) -> Result<Vec<Value>> {
    let pixel = Window { kernel: 1, stride: 1, padding: 0 };
    values.iter().map(|&value| recorder.pool(value, PoolKind::Average, pixel, true)).collect()
}
