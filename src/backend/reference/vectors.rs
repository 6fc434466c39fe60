//! Arithmetic over flat vectors.

use super::*;

impl<S: Storage> VectorKernels for Reference<S> {
    fn fill(&mut self, span: Span, value: f64) {
        self.state[span.range()].fill(S::Scalar::of(value));
    }

    fn copy(&mut self, target: Span, source: Span) {
        self.state.copy_within(source.range(), target.offset);
    }

    fn scaled_add(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span) {
        let factor = S::Scalar::of(factor / divisor.map_or(1.0, |divisor| self.at(divisor, 0).wide()));
        for i in 0..target.len {
            self.put(target, i, self.at(target, i) + factor * self.at(source, i));
        }
    }

    fn euclidean_norm(&mut self, source: Span, result: Span) {
        let squares = self.state[source.range()].iter().map(|x| x.wide() * x.wide()).sum::<f64>();
        self.put(result, 0, S::Scalar::of(squares.sqrt()));
    }
}
