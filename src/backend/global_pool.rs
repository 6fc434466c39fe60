//! Global average pooling.

use super::{Operand, Slot, Target};

/// See [`GlobalPoolKernels::global_pool_forward`].
#[derive(Clone, Debug)]
pub struct GlobalPool {
    /// Their channels are concatenated in this order.
    pub inputs: Vec<Operand>,
    /// `[n][c]`.
    pub output: Slot,
}

/// Operands of [`GlobalPoolKernels::global_pool_backward`].
#[derive(Clone, Debug)]
pub struct GlobalPoolGradient {
    /// `[n][c]`.
    pub output: Slot,
    /// In the order of [`GlobalPool::inputs`].
    pub inputs: Vec<Target>,
}

/// Global average pooling on a device.
pub trait GlobalPoolKernels {
    /// The mean over all pixels of each channel, the inputs' channels concatenated: `[n][c]`.
    fn global_pool_forward(&mut self, operator: &GlobalPool);
    /// `g[n,c] / (h*w)` for every pixel of every input.
    fn global_pool_backward(&mut self, operator: &GlobalPool, gradient: &GlobalPoolGradient);
}
