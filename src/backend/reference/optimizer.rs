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

    pub(super) fn adam_step(&mut self, op: &Adam) {
        let correction = |beta: f64| 1.0 - beta.powf(op.step as f64);
        let [beta1, beta2, decay, epsilon] =
            [op.betas.0, op.betas.1, op.decay, op.epsilon].map(S::Scalar::of);
        // 1 - beta is rounded once: in f32, 1 - 0.999f32 is off by 1e-5.
        let [rest1, rest2] = [1.0 - op.betas.0, 1.0 - op.betas.1].map(S::Scalar::of);
        let rate = S::Scalar::of(op.rate / correction(op.betas.0));
        let root = S::Scalar::of(correction(op.betas.1).sqrt());
        for i in 0..op.parameters.len {
            let parameter = self.at(op.parameters, i);
            let gradient = self.at(op.gradient, i) + decay * parameter;
            let first = beta1 * self.at(op.first, i) + rest1 * gradient;
            let second = beta2 * self.at(op.second, i) + rest2 * gradient * gradient;
            self.put(op.first, i, first);
            self.put(op.second, i, second);
            self.put(op.parameters, i, parameter - rate * first / (second.sqrt() / root + epsilon));
        }
    }
}
