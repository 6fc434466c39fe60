//! The auxiliary head: a second classifier on an inner cell, whose loss helps to train a deep network.

use crate::autograd::{Loss, Value, Window};
use crate::backend::{Backend, ConvolutionWindow, PoolKind, Shape, Span};
use crate::nn::parameters::NormParts;
use crate::nn::{ClassifierBlock, ConvolutionBlock, ConvolutionNames, Layout, Parameters, Part, Recording};
use crate::{Error, Result};

/// What the names of the parameters begin with.
const NAME: &str = "auxiliary_head";
/// Cells in front of the head that halve the resolution: the cell that it reads and another.
pub const REDUCTIONS: usize = 2;
/// Channels of the two convolutions.
const CHANNELS: [usize; 2] = [128, 768];
/// The window of the average pooling.
const POOL: Window = Window { kernel: 5, stride: 3, padding: 0 };
/// The side of the second convolution, which leaves one pixel.
const KERNEL: usize = 2;

/// A declared auxiliary head.
pub struct AuxiliaryHead {
    first: (Part, NormParts),
    second: ConvolutionBlock,
    classifier: ClassifierBlock,
}

/// The pooled feature maps, if they are of 2x2 pixels.
fn pooled(maps: Shape) -> Option<Shape> {
    let pooled = maps.windows(POOL.kernel, POOL.stride, POOL.padding, maps.c as usize)?;
    let side = KERNEL as u32;
    (pooled.h == side && pooled.w == side).then_some(pooled)
}

/// Whether images of these sides leave the head the feature maps that it is made for.
pub fn suits(height: usize, width: usize) -> bool {
    let images = Shape::new(1, height, width, 1);
    pooled((0..REDUCTIONS).fold(images, |maps, _| maps.strided(2, 1))).is_some()
}

impl AuxiliaryHead {
    /// Declares the parameters over a cell's output of so many channels.
    pub fn declare(parameters: &mut Parameters, inputs: usize, classes: usize) -> Self {
        let name = |member: usize| format!("{NAME}.features.{member}");
        let [middle, features] = CHANNELS;
        let first =
            parameters.weight(format!("{}.weight", name(2)), Layout::Matrix { inputs, outputs: middle });
        let first = (first, parameters.norm(vec![name(3)], middle, true));
        let names = ConvolutionNames { relu: Some(name(4)), convolution: name(5), norm: Some(name(6)) };
        let window = ConvolutionWindow::square(KERNEL, 1, 0);
        let second = ConvolutionBlock::declare(parameters, names, window, [middle, features], true);
        let name = format!("{NAME}.classifier");
        let classifier = ClassifierBlock::declare(parameters, &name, features, classes);
        AuxiliaryHead { first, second, classifier }
    }

    /// Records ReLU, average pooling to 2x2, a 1x1 and a 2x2 convolution, each with batch norm and ReLU, and a
    /// classifier, whose loss counts `weight` times.
    pub fn record<B: Backend>(
        &self,
        Recording { recorder, spans, .. }: &mut Recording<B>,
        cell: &[Value],
        weight: f64,
        class_weights: Option<Span>,
    ) -> Result<(Value, Loss)> {
        let mut values = Vec::new();
        for &node in cell {
            let shape = recorder.shape(node);
            if pooled(shape).is_none() {
                let reason = format!("it reads feature maps of 8 to 10 pixels a side, not {shape}");
                return Err(Error::Shape { operator: "auxiliary head", reason });
            }
            values.push(recorder.pool(node, PoolKind::Average, POOL, true)?);
        }
        // This convolution begins with a ReLU of its own, which changes nothing: averages behind a ReLU are not
        // negative, and where one is zero so are the gradients of all its pixels.
        let (part, norm) = self.first;
        let value = recorder.pointwise(&values, &[spans.weight(part)], CHANNELS[0], spans.norm(norm))?;
        let value = recorder.convolution(value, self.second.parameters(spans, None))?;
        let pixel = Window { kernel: 1, stride: 1, padding: 0 };
        let value = recorder.pool(value, PoolKind::Average, pixel, true)?;
        let (weights, bias) = (spans.weight(self.classifier.weights), spans.weight(self.classifier.bias));
        let logits = recorder.linear(value, weights, bias)?;
        recorder.keep(logits);
        Ok((logits, recorder.cross_entropy(logits, weight, class_weights)))
    }
}
