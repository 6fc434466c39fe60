//! The classifier: an affine map.

use super::{Gradients, Slot, Span, Target};

/// See [`LinearKernels::linear_forward`].
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[rows][inputs]`.
    pub input: Slot,
    /// Number of images.
    pub rows: usize,
    /// Features of each.
    pub inputs: usize,
    /// Results of each.
    pub outputs: usize,
    /// `[inputs][outputs]`.
    pub weights: Span,
    /// `[outputs]`.
    pub bias: Span,
    /// `[rows][outputs]`.
    pub output: Slot,
}

/// Operands of [`LinearKernels::linear_backward`].
#[derive(Clone, Debug)]
pub struct LinearGradient {
    /// `[rows][outputs]`.
    pub output: Slot,
    /// Where the input gradient goes.
    pub input: Target,
    /// Gradient of the weights.
    pub weights: Span,
    /// Gradient of the bias.
    pub bias: Span,
}

/// The classifier on a device.
pub trait LinearKernels {
    /// `y = x * weights + bias`.
    fn linear_forward(&mut self, operator: &Linear);
    /// Gradients of input, weights and bias (the latter two where wanted).
    fn linear_backward(&mut self, operator: &Linear, gradient: &LinearGradient, wanted: Gradients);
}
