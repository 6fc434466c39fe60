//! Gradient descent with momentum over flat vectors.

use super::Span;

/// See [`GradientDescentKernels::gradient_descent`].
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
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
}

/// The optimiser of the weights on a device.
pub trait GradientDescentKernels {
    /// Gradient descent with momentum, as PyTorch: `g' = clip * g + decay * w`,
    /// `m = momentum * m + g'`, `w -= rate * m`, where `clip = min(1, limit / (norm + 1e-6))`; with Nesterov's momentum
    /// `w -= rate * (g' + momentum * m)`.
    fn gradient_descent(&mut self, step: &GradientDescent);
}
