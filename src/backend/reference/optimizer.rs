//! Optimisers and vector arithmetic over flat parameter vectors.

use super::*;

impl<S: Storage> Reference<S> {
    pub(super) fn add_scaled(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span) {
        let factor = S::Scalar::of(factor / divisor.map_or(1.0, |divisor| self.at(divisor, 0).wide()));
        for i in 0..target.len {
            self.put(target, i, self.at(target, i) + factor * self.at(source, i));
        }
    }

    pub(super) fn descend(&mut self, op: &GradientDescent) {
        let [rate, momentum, decay] = [op.rate, op.momentum, op.decay].map(S::Scalar::of);
        let clip = op.clip.map_or(1.0, |(norm, limit)| (limit / (self.at(norm, 0).wide() + 1e-6)).min(1.0));
        let clip = S::Scalar::of(clip);
        for i in 0..op.weights.len {
            let weight = self.at(op.weights, i);
            let gradient = clip * self.at(op.gradient, i) + decay * weight;
            let buffer = momentum * self.at(op.momentum_buffer, i) + gradient;
            self.put(op.momentum_buffer, i, buffer);
            self.put(op.weights, i, weight - rate * buffer);
        }
    }
}
