//! The weighted sum over the branches of a node.

use super::*;

impl<S: Storage> MixedKernels for Reference<S> {
    fn mixed_forward(&mut self, op: &Mixed) {
        let channels = op.shape.c as usize;
        for index in 0..op.output.len {
            let sum = op
                .branches
                .iter()
                .filter(|branch| self.open(branch.gate))
                .map(|branch| {
                    self.at(branch.weight, 0) * self.value(branch.data, branch.norm, index, index % channels)
                })
                .sum();
            self.store(op.output, index, sum);
        }
    }

    fn mixed_backward(&mut self, op: &Mixed, gradient: &MixedGradient) {
        let channels = op.shape.c as usize;
        for c in 0..channels {
            let total = (c..op.output.len).step_by(channels).map(|i| self.raw(gradient.output, i)).sum();
            self.put(gradient.total, c, total);
        }
        let sum = (0..channels).map(|c| self.at(gradient.total, c)).sum::<S::Scalar>();
        self.put(gradient.sum, 0, self.at(gradient.sum, 0) + sum);
        for (branch, gradients) in op.branches.iter().zip(&gradient.branches) {
            if !self.open(branch.gate) {
                if let Some(target) = gradients.identity {
                    self.withhold(target);
                }
                continue;
            }
            let input = Operand { data: branch.data, shape: op.shape, norm: branch.norm };
            let sums = Sums { total: gradient.total, products: gradients.products };
            self.reduce_gradient(gradient.output, &input, sums);
            let slope = self.at(gradients.weight, 0) + self.weight_slope(branch.norm, sums);
            self.put(gradients.weight, 0, slope);
            if let Some(target) = gradients.identity {
                let weight = self.at(branch.weight, 0);
                let slopes: Vec<_> =
                    (0..op.output.len).map(|i| weight * self.raw(gradient.output, i)).collect();
                self.deliver(target, &slopes);
            }
        }
    }
}

impl<S: Storage> Reference<S> {
    /// `sum(g * y)` from the sums over `xhat`.
    fn weight_slope(&self, norm: Option<Norm>, sums: Sums) -> S::Scalar {
        let gamma = norm.and_then(|norm| norm.gamma);
        let beta = norm.and_then(|norm| norm.beta);
        (0..sums.products.len)
            .map(|c| {
                let products = self.at(sums.products, c);
                gamma.map_or(products, |gamma| self.at(gamma, c) * products)
                    + beta.map_or(zero(), |beta| self.at(beta, c) * self.at(sums.total, c))
            })
            .sum()
    }
}
