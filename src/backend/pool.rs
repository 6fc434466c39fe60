//! Maximum or average of square windows, without a batch norm behind.

use super::{Operand, Shape, Slot, Target};

/// What a window of a [`Pool`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Its largest pixel.
    Maximum,
    /// The mean of its pixels.
    Average,
}

/// See [`PoolKernels::pool_forward`].
#[derive(Clone, Debug)]
pub struct Pool {
    /// What is pooled.
    pub input: Operand,
    /// Whether it is read through a ReLU.
    pub relu: bool,
    /// What a window becomes.
    pub kind: PoolKind,
    /// Side of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Rows and columns by which the first window reaches beyond the image; less than the window's side.
    pub padding: usize,
    /// The result.
    pub output: Slot,
    /// Its shape.
    pub output_shape: Shape,
}

impl Pool {
    /// Rows, or columns, of the image in the window at `position`, of an image with `side` of them.
    pub fn window(&self, position: usize, side: usize) -> std::ops::Range<usize> {
        let start = position * self.stride;
        start.saturating_sub(self.padding)..(start + self.kernel - self.padding).min(side)
    }
}

/// Operands of [`PoolKernels::pool_backward`].
#[derive(Clone, Debug)]
pub struct PoolGradient {
    /// Gradient of the result.
    pub output: Slot,
    /// Where the input gradient goes.
    pub input: Target,
}

/// Pooling of one kind on a device.
pub trait PoolKernels {
    /// The maximum or the average of square windows, behind a ReLU where asked for. Pixels outside the image
    /// count for neither. The result has no batch norm.
    fn pool_forward(&mut self, operator: &Pool);
    /// The input gradient, masked by the ReLU; a maximum sends its gradient to the first largest pixel.
    fn pool_backward(&mut self, operator: &Pool, gradient: &PoolGradient);
}
