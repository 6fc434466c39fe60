//! Arithmetic over flat vectors of the state memory.

use super::Span;

/// Arithmetic over flat vectors on a device.
pub trait VectorKernels {
    /// Sets every element.
    fn fill(&mut self, span: Span, value: f64);
    /// `target = source`.
    fn copy(&mut self, target: Span, source: Span);
    /// `target += factor * source`, or `factor / divisor * source` with a divisor on the device.
    fn scaled_add(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span);
    /// The Euclidean norm.
    fn euclidean_norm(&mut self, source: Span, result: Span);
}
