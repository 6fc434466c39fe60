//! Operators as data: where their operands lie and what their geometry is. The tape fills these in
//! once, when a network is recorded; a [`Backend`](super::Backend) only reads them.

use super::{Norm, Operand, Shape, Slot, Span, Sums, Target, UnstoredGradient};

/// See [`Backend::convolution_forward`](super::Backend::convolution_forward).
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

/// Operands of [`Backend::convolution_backward`](super::Backend::convolution_backward).
#[derive(Clone, Debug)]
pub struct ConvolutionGradient {
    /// Gradient of the result.
    pub output: UnstoredGradient,
    /// Gradient of the weights.
    pub weights: Span,
    /// Where the input gradient goes; images need none.
    pub input: Option<Target>,
}

/// See [`Backend::separable_forward`](super::Backend::separable_forward). All branches of all sources
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

/// Operands of [`Backend::separable_backward`](super::Backend::separable_backward), one entry a source.
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

/// See [`Backend::pointwise_forward`](super::Backend::pointwise_forward).
#[derive(Clone, Debug)]
pub struct Pointwise {
    /// Read through a ReLU; their channels are concatenated in this order.
    pub inputs: Vec<Operand>,
    /// One matrix `[c_in][c_out]` at stride 1, or two `[c_in][c_out/2]` at stride 2.
    pub weights: Vec<Span>,
    /// The result.
    pub output: Slot,
    /// Its shape.
    pub output_shape: Shape,
    /// `[2][c_out]`: mean and biased variance of the result.
    pub statistics: Span,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

impl Pointwise {
    /// Step between the pixels read.
    pub fn stride(&self) -> usize {
        self.weights.len()
    }

    /// Channels of all inputs.
    pub fn input_channels(&self) -> usize {
        self.inputs.iter().map(|input| input.shape.c as usize).sum()
    }
}

/// Operands of [`Backend::pointwise_backward`](super::Backend::pointwise_backward).
#[derive(Clone, Debug)]
pub struct PointwiseGradient {
    /// Gradient of the result.
    pub output: UnstoredGradient,
    /// Gradients of the weights, in their order.
    pub weights: Vec<Span>,
    /// Where the inputs' gradients go, in their order.
    pub inputs: Vec<Target>,
}

/// See [`Backend::normalised_pools_forward`](super::Backend::normalised_pools_forward).
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

/// Operands of [`Backend::normalised_pools_backward`](super::Backend::normalised_pools_backward).
#[derive(Clone, Debug)]
pub struct NormalisedPoolsGradient {
    /// Gradient of the maxima.
    pub maximum: UnstoredGradient,
    /// Gradient of the averages.
    pub average: UnstoredGradient,
    /// Where the input gradient goes.
    pub input: Target,
}

/// What a window of a [`Pool`] becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Its largest pixel.
    Maximum,
    /// The mean of its pixels.
    Average,
}

/// See [`Backend::pool_forward`](super::Backend::pool_forward).
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

/// Operands of [`Backend::pool_backward`](super::Backend::pool_backward).
#[derive(Clone, Debug)]
pub struct PoolGradient {
    /// Gradient of the result.
    pub output: Slot,
    /// Where the input gradient goes.
    pub input: Target,
}

/// One batch norm: what it reads and what its readers need.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// `[2][c]`: mean and biased variance of the batch.
    pub statistics: Span,
    /// `[2][c]`: running mean and running unbiased variance.
    pub running: Span,
    /// The results.
    pub norm: Norm,
    /// Values per channel in the batch.
    pub count: usize,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// Operands of [`Backend::batch_norm_reduce`](super::Backend::batch_norm_reduce).
#[derive(Clone, Debug)]
pub struct BatchNormReduce {
    /// Gradient of the normalised value.
    pub gradient: Slot,
    /// The raw value, with its norm.
    pub input: Operand,
    /// The results.
    pub sums: Sums,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// See [`Backend::batch_norm_backward`](super::Backend::batch_norm_backward).
#[derive(Clone, Debug)]
pub struct BatchNormGradient {
    /// The batch norm.
    pub norm: Norm,
    /// Values per channel in the batch.
    pub count: usize,
    /// Where the normalised value flows, with the sums found there.
    pub terms: Vec<BatchNormTerm>,
    /// `[c]`, of the [`UnstoredGradient`].
    pub raw_factor: Span,
    /// `[c]`, of the [`UnstoredGradient`].
    pub constant: Span,
    /// Gradient of gamma.
    pub gamma: Option<Span>,
    /// Gradient of beta.
    pub beta: Option<Span>,
    /// Its gate: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// One consumer of a normalised value.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormTerm {
    /// The sums over the consumer's gradient.
    pub sums: Sums,
    /// The mixing weight by which the value enters, one element; 1 where absent.
    pub weight: Option<Span>,
    /// `[c]`, of the [`Term`](super::Term).
    pub factor: Span,
    /// The gate of this consumer: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// See [`Backend::mixed_forward`](super::Backend::mixed_forward).
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

/// Operands of [`Backend::mixed_backward`](super::Backend::mixed_backward).
#[derive(Clone, Debug)]
pub struct MixedGradient {
    /// Gradient of the node.
    pub output: Slot,
    /// `[c]`: `sum(g)`.
    pub total: Span,
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

/// See [`Backend::node_sum_forward`](super::Backend::node_sum_forward).
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

/// Operands of [`Backend::node_sum_backward`](super::Backend::node_sum_backward).
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

/// See [`Backend::global_pool_forward`](super::Backend::global_pool_forward).
#[derive(Clone, Debug)]
pub struct GlobalPool {
    /// Their channels are concatenated in this order.
    pub inputs: Vec<Operand>,
    /// `[n][c]`.
    pub output: Slot,
}

/// Operands of [`Backend::global_pool_backward`](super::Backend::global_pool_backward).
#[derive(Clone, Debug)]
pub struct GlobalPoolGradient {
    /// `[n][c]`.
    pub output: Slot,
    /// In the order of [`GlobalPool::inputs`].
    pub inputs: Vec<Target>,
}

/// See [`Backend::linear_forward`](super::Backend::linear_forward).
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

/// Operands of [`Backend::linear_backward`](super::Backend::linear_backward).
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

/// See [`Backend::cross_entropy`](super::Backend::cross_entropy).
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// `[rows][classes]`.
    pub logits: Slot,
    /// Number of images.
    pub rows: usize,
    /// Number of classes.
    pub classes: usize,
    /// `[3]`: mean loss, images right at the first guess, images right within five.
    pub result: Span,
    /// `[rows][classes]`: gradient of `weight` times the mean loss by the logits.
    pub gradient: Slot,
    /// The share of this loss in what is minimised.
    pub weight: f64,
}

/// See [`Backend::gradient_descent`](super::Backend::gradient_descent).
#[derive(Clone, Copy, Debug)]
pub struct GradientDescent {
    /// w.
    pub weights: Span,
    /// g.
    pub gradient: Span,
    /// m.
    pub momentum_buffer: Span,
    /// The norm of the gradient, one element, and the largest that is allowed.
    pub clip: Option<(Span, f64)>,
    /// Learning rate.
    pub rate: f64,
    /// Share of the momentum buffer that stays.
    pub momentum: f64,
    /// Weight decay.
    pub decay: f64,
}
