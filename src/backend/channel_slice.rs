//! The first channels of a value.

use super::{Operand, Shape, Slot, Target};

/// See [`ChannelSliceKernels::channel_slice_forward`].
#[derive(Clone, Debug)]
pub struct ChannelSlice {
    /// What is sliced.
    pub input: Operand,
    /// The result.
    pub output: Slot,
    /// Its shape: that of the input with fewer channels, or as many.
    pub output_shape: Shape,
}

/// Operands of [`ChannelSliceKernels::channel_slice_backward`].
#[derive(Clone, Debug)]
pub struct ChannelSliceGradient {
    /// Gradient of the result.
    pub output: Slot,
    /// Where the input gradient goes.
    pub input: Target,
}

/// The first channels of a value on a device.
pub trait ChannelSliceKernels {
    /// `y[c] = scale[c] * x[c] + shift[c]` for the channels c of the result. The result has no batch norm.
    fn channel_slice_forward(&mut self, operator: &ChannelSlice);
    /// The input gradient: that of the result, and zero for the other channels.
    fn channel_slice_backward(&mut self, operator: &ChannelSlice, gradient: &ChannelSliceGradient);
}
