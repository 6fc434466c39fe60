//! Batch norm: coefficients for its readers, and the sums and coefficients of its backward.

use super::*;

impl<S: Storage> BatchNormKernels for Reference<S> {
    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode) {
        norms.iter().for_each(|norm| self.normalise(norm, mode));
    }

    fn batch_norm_reduce(&mut self, reduce: &BatchNormReduce) {
        if self.open(reduce.gate) {
            self.reduce_gradient(reduce.gradient, &reduce.input, reduce.sums);
        }
    }

    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient], wanted: Gradients) {
        gradients.iter().for_each(|gradient| self.normalise_backward(gradient, wanted));
    }
}

impl<S: Storage> Reference<S> {
    fn normalise(&mut self, op: &BatchNorm, mode: Mode) {
        if !self.open(op.gate) {
            return;
        }
        let channels = op.norm.mean.len;
        let [momentum, epsilon] = [BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON].map(S::Scalar::of);
        let unbiased = S::Scalar::of(op.count as f64 / (op.count as f64 - 1.0).max(1.0));
        let one = S::Scalar::of(1.0);
        let read = if mode == Mode::Inference { op.running } else { op.statistics };
        for c in 0..channels {
            let (mean, variance) = (self.at(read, c), self.at(read, channels + c));
            if mode == Mode::Train {
                let moved = |old, new| (one - momentum) * old + momentum * new;
                self.put(op.running, c, moved(self.at(op.running, c), mean));
                let running = self.at(op.running, channels + c);
                self.put(op.running, channels + c, moved(running, variance * unbiased));
            }
            let inverse_deviation = one / (variance + epsilon).sqrt();
            let scale = op.norm.gamma.map_or(one, |gamma| self.at(gamma, c)) * inverse_deviation;
            let beta = op.norm.beta.map_or(zero(), |beta| self.at(beta, c));
            self.put(op.norm.mean, c, mean);
            self.put(op.norm.inverse_deviation, c, inverse_deviation);
            self.put(op.norm.scale, c, scale);
            self.put(op.norm.shift, c, beta - scale * mean);
        }
    }

    /// `total = sum(g)`, `products = sum(g * xhat)`.
    pub(super) fn reduce_gradient(&mut self, gradient: Slot, input: &Operand, sums: Sums) {
        let channels = input.shape.c as usize;
        for c in 0..channels {
            let column = || (c..gradient.len).step_by(channels);
            let total = column().map(|i| self.raw(gradient, i)).sum();
            let products = column()
                .map(|i| self.raw(gradient, i) * self.standardised(input.data, input.norm, i, c))
                .sum();
            self.put(sums.total, c, total);
            self.put(sums.products, c, products);
        }
    }

    /// `xhat`, or `x` where nothing normalises it.
    pub(super) fn standardised(&self, data: Slot, norm: Option<Norm>, index: usize, c: usize) -> S::Scalar {
        let x = self.raw(data, index);
        match norm {
            Some(norm) => (x - self.at(norm.mean, c)) * self.at(norm.inverse_deviation, c),
            None => x,
        }
    }

    fn normalise_backward(&mut self, op: &BatchNormGradient, wanted: Gradients) {
        if !self.open(op.gate) {
            return self.clear(&[op.gamma, op.beta].into_iter().flatten().collect::<Vec<_>>());
        }
        let count = S::Scalar::of(op.count as f64);
        for c in 0..op.norm.mean.len {
            let scale = self.at(op.norm.scale, c);
            let (mut total, mut products) = (zero::<S::Scalar>(), zero::<S::Scalar>());
            for term in &op.terms {
                if !self.open(term.gate) {
                    self.put(term.factor, c, zero());
                    continue;
                }
                let weight = term.weight.map_or(S::Scalar::of(1.0), |weight| self.at(weight, 0));
                total += weight * self.at(term.sums.total, c);
                products += weight * self.at(term.sums.products, c);
                self.put(term.factor, c, scale * weight);
            }
            let (raw_factor, constant) = if wanted.in_inference() {
                (zero(), zero())
            } else {
                let raw_factor = -scale * products / count * self.at(op.norm.inverse_deviation, c);
                (raw_factor, -scale * total / count - raw_factor * self.at(op.norm.mean, c))
            };
            self.put(op.raw_factor, c, raw_factor);
            self.put(op.constant, c, constant);
            if let Some(gamma) = op.gamma {
                self.put(gamma, c, products);
            }
            if let Some(beta) = op.beta {
                self.put(beta, c, total);
            }
        }
    }
}
