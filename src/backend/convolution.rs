//! Dense convolution: the stem, and the last convolution of the auxiliary head.

use super::{Operand, Shape, Slot, Span, Target, UnstoredGradient};

/// See [`ConvolutionKernels::convolution_forward`].
#[derive(Clone, Debug)]
pub struct Convolution {
    /// What is read.
    pub input: Operand,
    /// Whether it is read through a ReLU.
    pub relu: bool,
    /// Side of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Zero rows and columns on each side.
    pub padding: usize,
    /// `[kernel][kernel][c_in][c_out]`.
    pub weights: Span,
    /// The result.
    pub output: Slot,
    /// Its shape.
    pub output_shape: Shape,
    /// `[2][c_out]`: mean and biased variance of the result.
    pub statistics: Span,
}

/// Operands of [`ConvolutionKernels::convolution_backward`].
#[derive(Clone, Debug)]
pub struct ConvolutionGradient {
    /// Gradient of the result.
    pub output: UnstoredGradient,
    /// Gradient of the weights.
    pub weights: Span,
    /// Where the input gradient goes; images need none.
    pub input: Option<Target>,
}

/// A dense convolution on a device.
pub trait ConvolutionKernels {
    /// Dense convolution, behind a ReLU where asked for:
    /// `y[n,oh,ow,o] = sum_{i,j,c} x[n, oh*s+i-p, ow*s+j-p, c] * w[i,j,c,o]`, zero outside the image;
    /// then the [statistics](Convolution::statistics) of `y`.
    fn convolution_forward(&mut self, operator: &Convolution);
    /// The gradient of the weights and, where asked for, of the input, masked by the ReLU. The stem reads the
    /// images, which need none.
    fn convolution_backward(&mut self, operator: &Convolution, gradient: &ConvolutionGradient);
}
