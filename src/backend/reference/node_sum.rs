//! The sum of a derived cell's node, with drop path.

use super::*;

impl<S: Storage> NodeSumKernels for Reference<S> {
    fn node_sum_forward(&mut self, op: &NodeSum) {
        for index in 0..op.output.len {
            let channel = index % op.shape.c as usize;
            let value = |branch: &NodeSumBranch| {
                let value = self.value(branch.input.data, branch.input.norm, index, channel);
                self.factor(op, branch, index) * value
            };
            let sum = op.branches.iter().map(value).sum();
            self.store(op.output, index, sum);
        }
    }

    fn node_sum_backward(&mut self, op: &NodeSum, gradient: &NodeSumGradient) {
        for (branch, gradients) in op.branches.iter().zip(&gradient.branches) {
            let slope = |index| self.factor(op, branch, index) * self.raw(gradient.output, index);
            let slopes: Vec<_> = (0..op.output.len).map(slope).collect();
            self.deliver(gradients.input, &slopes);
            if let Some(sums) = gradients.sums {
                self.reduce_gradient(gradients.input.slot, &branch.input, sums);
            }
        }
    }
}

impl<S: Storage> Reference<S> {
    /// What a branch is multiplied by at an element.
    fn factor(&self, op: &NodeSum, branch: &NodeSumBranch, index: usize) -> S::Scalar {
        let image = index / (op.shape.image_pixels() * op.shape.c as usize);
        branch.factors.map_or(S::Scalar::of(1.0), |factors| self.at(factors, image))
    }
}
