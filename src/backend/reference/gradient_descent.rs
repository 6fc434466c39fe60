//! Gradient descent with momentum.

use super::*;

impl<S: Storage> GradientDescentKernels for Reference<S> {
    fn gradient_descent(&mut self, op: &GradientDescent) {
        let [rate, momentum, decay] = [op.rate, op.momentum, op.decay].map(S::Scalar::of);
        let clip = op.clip.map_or(1.0, |(norm, limit)| (limit / (self.at(norm, 0).wide() + 1e-6)).min(1.0));
        let clip = S::Scalar::of(clip);
        for i in 0..op.weights.len {
            let weight = self.at(op.weights, i);
            let gradient = clip * self.at(op.gradient, i) + decay * weight;
            let buffer = momentum * self.at(op.momentum_buffer, i) + gradient;
            self.put(op.momentum_buffer, i, buffer);
            let along = if op.nesterov { gradient + momentum * buffer } else { buffer };
            self.put(op.weights, i, weight - rate * along);
        }
    }
}
