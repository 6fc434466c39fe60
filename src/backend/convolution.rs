//! Dense convolution: of all input channels with all output channels, over a window of any sides.

use super::{Gradients, Operand, ResultGradient, Shape, Slot, Span, Target};

/// A window that moves over an image: numbers of rows, then of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionWindow {
    /// Its sides.
    pub kernel: [usize; 2],
    /// Its steps.
    pub stride: [usize; 2],
    /// Zeros on each side of the image.
    pub padding: [usize; 2],
}

impl ConvolutionWindow {
    /// A window whose sides, steps and paddings are equal.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        ConvolutionWindow { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] }
    }

    /// Number of pixels under it.
    pub fn taps(self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The shape of the result over images of a shape, with `channels` channels; none where the window does not fit.
    pub fn over(self, images: Shape, channels: usize) -> Option<Shape> {
        let side = |axis: usize, side: u32| {
            let room = (side as usize + 2 * self.padding[axis]).checked_sub(self.kernel[axis])?;
            Some(room / self.stride[axis] + 1)
        };
        Some(Shape::new(images.n as usize, side(0, images.h)?, side(1, images.w)?, channels))
    }
}

impl std::fmt::Display for ConvolutionWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([h, w], [down, right]) = (self.kernel, self.padding);
        write!(f, "{h}x{w} window with padding {down}x{right}")
    }
}

/// See [`ConvolutionKernels::convolution_forward`].
#[derive(Clone, Debug)]
pub struct Convolution {
    /// What is read.
    pub input: Operand,
    /// Whether it is read through a ReLU.
    pub relu: bool,
    /// The window; its padding is less than its sides.
    pub window: ConvolutionWindow,
    /// `[kernel rows][kernel columns][c_in][c_out]`.
    pub weights: Span,
    /// The result.
    pub output: Slot,
    /// Its shape.
    pub output_shape: Shape,
    /// `[2][c_out]`: mean and biased variance of the result; none where no batch norm stands behind it.
    pub statistics: Option<Span>,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// Operands of [`ConvolutionKernels::convolution_backward`].
#[derive(Clone, Debug)]
pub struct ConvolutionGradient {
    /// Gradient of the result.
    pub output: ResultGradient,
    /// Gradient of the weights.
    pub weights: Span,
    /// Where the input gradient goes; images need none.
    pub input: Option<Target>,
}

/// A dense convolution on a device.
pub trait ConvolutionKernels {
    /// Dense convolution, behind a ReLU where asked for:
    /// `y[n,oh,ow,o] = sum_{i,j,c} x[n, oh*s+i-p, ow*t+j-q, c] * w[i,j,c,o]` with strides s, t and paddings p, q of rows and
    /// columns, zero outside the image; then the [statistics](Convolution::statistics) of `y`.
    fn convolution_forward(&mut self, operator: &Convolution);
    /// The gradient of the weights (where wanted) and of the input (where it has a target), masked by the ReLU.
    fn convolution_backward(
        &mut self,
        operator: &Convolution,
        gradient: &ConvolutionGradient,
        wanted: Gradients,
    );
}
