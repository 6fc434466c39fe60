//! Batch norm of a value that has none, such as the sum of a node.
//!
//! The statistics of a batch norm are found where the value in front of it is made. So the value is made again: by a 1x1
//! convolution whose weights are the identity, which changes no value. It stands once in a network, on its smallest
//! feature maps.

use super::batch_norm::NormParameters;
use super::convolution::ConvolutionParameters;
use super::recorder::{Recorder, Value, Weight};
use crate::Result;
use crate::backend::{Backend, ConvolutionWindow};

impl<B: Backend> Recorder<B> {
    /// The value with a batch norm behind it.
    pub fn normalise(&mut self, input: Value, norm: NormParameters) -> Result<Value> {
        let channels = self.shape(input).c as usize;
        let identity = (0..channels * channels).map(|i| if i % (channels + 1) == 0 { 1.0 } else { 0.0 });
        let weights =
            Weight { value: self.constant(identity.collect()), gradient: self.span(channels * channels) };
        let parameters = ConvolutionParameters {
            window: ConvolutionWindow::square(1, 1, 0),
            channels,
            weights,
            relu: false,
            norm: Some(norm),
            of_images: false,
            gate: norm.gate,
        };
        self.convolution(input, parameters)
    }
}
