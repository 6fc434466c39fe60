//! 1x1 convolution behind a ReLU over concatenated inputs: ReLUConvBN and FactorizedReduce.

use super::{Gradients, Operand, Shape, Slot, Span, Target, UnstoredGradient};

/// See [`PointwiseKernels::pointwise_forward`].
#[derive(Clone, Debug)]
pub struct Pointwise {
    /// Read through a ReLU; their channels are concatenated in this order.
    pub inputs: Vec<Operand>,
    /// One matrix `[c_in][c_out]` at stride 1, or two `[c_in][c_out/2]` at stride 2.
    pub weights: Vec<Span>,
    /// The result.
    pub output: Slot,
    /// Its shape.
    pub output_shape: Shape,
    /// `[2][c_out]`: mean and biased variance of the result.
    pub statistics: Span,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

impl Pointwise {
    /// Step between the pixels read.
    pub fn stride(&self) -> usize {
        self.weights.len()
    }

    /// Channels of all inputs.
    pub fn input_channels(&self) -> usize {
        self.inputs.iter().map(|input| input.shape.c as usize).sum()
    }
}

/// Operands of [`PointwiseKernels::pointwise_backward`].
#[derive(Clone, Debug)]
pub struct PointwiseGradient {
    /// Gradient of the result.
    pub output: UnstoredGradient,
    /// Gradients of the weights, in their order.
    pub weights: Vec<Span>,
    /// Where the inputs' gradients go, in their order.
    pub inputs: Vec<Target>,
}

/// 1x1 convolutions on a device.
pub trait PointwiseKernels {
    /// `relu`, then a 1x1 convolution over the inputs' concatenated channels, and the statistics of
    /// the result. With two weight matrices (FactorizedReduce) each gives half of the output channels
    /// at stride 2, the second from the input shifted by one pixel in both directions; pixels beyond
    /// the image are zero.
    fn pointwise_forward(&mut self, operator: &Pointwise);
    /// Gradients of [`PointwiseKernels::pointwise_forward`]: of the weights (where wanted) and of each input.
    fn pointwise_backward(&mut self, operator: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients);
}
