//! Batch norm: coefficients for its readers, and the sums and coefficients of its backward. Nothing normalised is
//! ever stored.

use super::{Gradients, Mode, Norm, Operand, Slot, Span, Sums};

/// Batch norm's epsilon (PyTorch's default).
pub const BATCH_NORM_EPSILON: f64 = 1e-5;
/// How far the running statistics move towards those of a batch (PyTorch's default).
pub const BATCH_NORM_MOMENTUM: f64 = 0.1;

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

/// Operands of [`BatchNormKernels::batch_norm_reduce`].
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

/// See [`BatchNormKernels::batch_norm_backward`].
#[derive(Clone, Debug)]
pub struct BatchNormGradient {
    /// The batch norm.
    pub norm: Norm,
    /// Values per channel in the batch.
    pub count: usize,
    /// Where the normalised value flows, with the sums found there.
    pub terms: Vec<BatchNormTerm>,
    /// `[c]`, of the [`UnstoredGradient`](super::UnstoredGradient).
    pub raw_factor: Span,
    /// `[c]`, of the [`UnstoredGradient`](super::UnstoredGradient).
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

/// Batch norm on a device.
pub trait BatchNormKernels {
    /// From the batch statistics (or, in inference, the running ones) to what readers apply:
    /// `inverse_deviation = 1/sqrt(variance + epsilon)`, `scale = gamma * inverse_deviation`,
    /// `shift = beta - scale * mean`. Running variances are unbiased.
    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode);
    /// `total = sum(g)` and `products = sum(g * xhat)` per channel, for a normalised value with
    /// several consumers.
    fn batch_norm_reduce(&mut self, reduce: &BatchNormReduce);
    /// From those sums to the coefficients of the [`UnstoredGradient`](super::UnstoredGradient): with `S1 = sum_t w_t total_t`,
    /// `S2 = sum_t w_t products_t` over n values per channel, `factor_t = scale * w_t`,
    /// `raw_factor = -scale * S2/n * inverse_deviation`, `constant = -scale * S1/n - raw_factor * mean`;
    /// also `dgamma = S2`, `dbeta = S1`. In inference `raw_factor` and `constant` are 0: there the statistics do not depend on
    /// the values.
    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient], wanted: Gradients);
}
