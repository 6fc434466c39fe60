//! The sum of a derived cell's node, with drop path.

use super::{Operand, Shape, Slot, Span, Sums, Target};

/// See [`NodeSumKernels::node_sum_forward`].
#[derive(Clone, Debug)]
pub struct NodeSum {
    /// What is added.
    pub branches: Vec<NodeSumBranch>,
    /// The node.
    pub output: Slot,
    /// Its shape, and that of every branch.
    pub shape: Shape,
}

/// One term of a [`NodeSum`].
#[derive(Clone, Copy, Debug)]
pub struct NodeSumBranch {
    /// The branch's value.
    pub input: Operand,
    /// `[n]`: what each image of it is multiplied by; 1 where absent.
    pub factors: Option<Span>,
}

/// Operands of [`NodeSumKernels::node_sum_backward`].
#[derive(Clone, Debug)]
pub struct NodeSumGradient {
    /// Gradient of the node.
    pub output: Slot,
    /// In the order of [`NodeSum::branches`].
    pub branches: Vec<NodeSumBranchGradient>,
}

/// Gradients of one term of a [`NodeSum`].
#[derive(Clone, Copy, Debug)]
pub struct NodeSumBranchGradient {
    /// Where the branch's gradient goes.
    pub input: Target,
    /// `total` and `products` of the branch's batch norm, where this is its only consumer.
    pub sums: Option<Sums>,
}

/// The sum of a node in a training on a device.
pub trait NodeSumKernels {
    /// The sum of a derived cell's node, with drop path: `y[n] = sum_k factors_k[n] * (scale_k * x_k[n] + shift_k)`
    /// for each image n.
    fn node_sum_forward(&mut self, operator: &NodeSum);
    /// `factors_k[n] * g[n]` for each branch, in their order. Where a branch asks for sums, those of its batch
    /// norm's backward: `total = sum(g)`, `products = sum(g * xhat)` of its gradient.
    fn node_sum_backward(&mut self, operator: &NodeSum, gradient: &NodeSumGradient);
}
