//! Depthwise separable convolution: ReLU, depthwise window, 1x1 convolution.

use super::{Gradients, Operand, Shape, Slot, Span, Sums, Target, UnstoredGradient};

/// See [`SeparableKernels::separable_forward`]. All branches of all sources
/// have the same input shape and stride.
#[derive(Clone, Debug)]
pub struct Separable {
    /// What is read, each with the branches that read it.
    pub sources: Vec<SeparableSource>,
    /// Step of the depthwise window.
    pub stride: usize,
    /// The shape of every result.
    pub output_shape: Shape,
}

/// One input of a [`Separable`].
#[derive(Clone, Debug)]
pub struct SeparableSource {
    /// Read through a ReLU.
    pub input: Operand,
    /// The convolutions that read it.
    pub branches: Vec<SeparableBranch>,
}

/// One depthwise separable convolution.
#[derive(Clone, Debug)]
pub struct SeparableBranch {
    /// Side of the depthwise window: odd.
    pub kernel: usize,
    /// Distance between its taps.
    pub dilation: usize,
    /// `[kernel][kernel][c_in]`.
    pub depthwise: Span,
    /// `[c_in][c_out]`.
    pub pointwise: Span,
    /// The result.
    pub output: Slot,
    /// `[2][c_out]`: mean and biased variance of the result.
    pub statistics: Span,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// Operands of [`SeparableKernels::separable_backward`], one entry a source.
#[derive(Clone, Debug)]
pub struct SeparableGradient {
    /// In the order of [`Separable::sources`].
    pub sources: Vec<SeparableSourceGradient>,
}

/// Gradients of one source of a [`Separable`].
#[derive(Clone, Debug)]
pub struct SeparableSourceGradient {
    /// Where the input gradient goes.
    pub input: Target,
    /// `total` and `products` of the input's batch norm, where this is its only consumer.
    pub sums: Option<Sums>,
    /// In the order of [`SeparableSource::branches`].
    pub branches: Vec<SeparableBranchGradient>,
}

/// Gradients of one branch.
#[derive(Clone, Debug)]
pub struct SeparableBranchGradient {
    /// Gradient of the result.
    pub output: UnstoredGradient,
    /// Gradient of the depthwise weights.
    pub depthwise: Span,
    /// Gradient of the pointwise weights.
    pub pointwise: Span,
}

/// Depthwise separable convolutions on a device.
pub trait SeparableKernels {
    /// Depthwise separable convolutions, each branch of each source:
    /// `d = depthwise(relu(x))`, `y[p,o] = sum_c d[p,c] * pointwise[c,o]`, and the statistics of `y`.
    /// Padding is `dilation*(kernel-1)/2`. `d` is not kept.
    fn separable_forward(&mut self, operator: &Separable);
    /// Gradients of [`SeparableKernels::separable_forward`]: of the weights (where wanted), and of each
    /// source's input, summed over its branches and masked by the ReLU. Where the source asks for
    /// sums, those of its batch norm's backward: `total = sum(g)`, `products = sum(g * xhat)`.
    fn separable_backward(&mut self, operator: &Separable, gradient: &SeparableGradient, wanted: Gradients);
}
