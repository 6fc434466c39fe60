//! Maximum and average of 3x3 neighbourhoods, each with a batch norm behind: the pools of a mixed edge.

use super::{Operand, Shape, Slot, Span, Target, UnstoredGradient};

/// See [`NormalisedPoolsKernels::normalised_pools_forward`].
#[derive(Clone, Debug)]
pub struct NormalisedPools {
    /// What is pooled.
    pub input: Operand,
    /// Step of the window.
    pub stride: usize,
    /// The maxima.
    pub maximum: Slot,
    /// The averages.
    pub average: Slot,
    /// The shape of both.
    pub output_shape: Shape,
    /// `[2][c]`: mean and biased variance of the maxima.
    pub maximum_statistics: Span,
    /// `[2][c]`: mean and biased variance of the averages.
    pub average_statistics: Span,
    /// The gate of the maxima: see [`Backend`](super::Backend).
    pub maximum_gate: Option<Span>,
    /// The gate of the averages.
    pub average_gate: Option<Span>,
}

/// Operands of [`NormalisedPoolsKernels::normalised_pools_backward`].
#[derive(Clone, Debug)]
pub struct NormalisedPoolsGradient {
    /// Gradient of the maxima.
    pub maximum: UnstoredGradient,
    /// Gradient of the averages.
    pub average: UnstoredGradient,
    /// Where the input gradient goes.
    pub input: Target,
}

/// Both pools of a state on a device.
pub trait NormalisedPoolsKernels {
    /// Maximum and average of 3x3 neighbourhoods, padding 1, and the statistics of both. Pixels
    /// outside the image count for neither.
    fn normalised_pools_forward(&mut self, operator: &NormalisedPools);
    /// The input gradient of both; the maximum sends its gradient to the first largest pixel.
    fn normalised_pools_backward(&mut self, operator: &NormalisedPools, gradient: &NormalisedPoolsGradient);
}
