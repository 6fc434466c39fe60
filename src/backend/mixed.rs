//! The weighted sum over the branches of a node: the mixed operation of a search.

use super::{Norm, Shape, Slot, Span, Target};

/// See [`MixedKernels::mixed_forward`].
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The branches of all edges that end in the node, those of `none` left out.
    pub branches: Vec<MixedBranch>,
    /// The node.
    pub output: Slot,
    /// Its shape, and that of every branch.
    pub shape: Shape,
    /// `[branches + 1][c]`, for the backend: `weight * scale` of each branch and the sum of
    /// `weight * shift`.
    pub workspace: Span,
}

/// One branch of a node's weighted sum.
#[derive(Clone, Copy, Debug)]
pub struct MixedBranch {
    /// The branch's value.
    pub data: Slot,
    /// Its batch norm.
    pub norm: Option<Norm>,
    /// The mixing weight, one element.
    pub weight: Span,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// Operands of [`MixedKernels::mixed_backward`].
#[derive(Clone, Debug)]
pub struct MixedGradient {
    /// Gradient of the node.
    pub output: Slot,
    /// `[c]`: `sum(g)`.
    pub total: Span,
    /// One element, accumulated: the sum of `total`. It is the gradient of a mixing weight whose branch were all ones.
    pub sum: Span,
    /// In the order of [`Mixed::branches`].
    pub branches: Vec<MixedBranchGradient>,
}

/// Gradients of one branch of a node's weighted sum.
#[derive(Clone, Copy, Debug)]
pub struct MixedBranchGradient {
    /// `[c]`: `sum(g * xhat)`.
    pub products: Span,
    /// Gradient of the mixing weight, one element, accumulated.
    pub weight: Span,
    /// The input gradient of an identity; other branches read the node's gradient themselves.
    pub identity: Option<Target>,
}

/// The sum of a node in a search on a device.
pub trait MixedKernels {
    /// The weighted sum over the branches of all edges of a node:
    /// `y = sum_k weight_k * (scale_k * x_k + shift_k)`.
    fn mixed_forward(&mut self, operator: &Mixed);
    /// One pass over the node's gradient g and all branches: `total = sum(g)`, its sum over the channels (accumulated),
    /// `products_k = sum(g * xhat_k)` (of x itself where it is not normalised), the gradient of each
    /// weight `sum_c(gamma * products_k + beta * total)` (accumulated), and for identity branches
    /// the input gradient `weight_k * g`.
    fn mixed_backward(&mut self, operator: &Mixed, gradient: &MixedGradient);
}
