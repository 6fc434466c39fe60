//! The classifier: an affine map.

use super::convolution::pixels;
use super::*;

impl<S: Storage> LinearKernels for Reference<S> {
    fn linear_forward(&mut self, op: &Linear) {
        for (row, output) in pixels(op.rows, op.outputs) {
            let sum: S::Scalar = (0..op.inputs)
                .map(|i| {
                    self.raw(op.input, row * op.inputs + i) * self.at(op.weights, i * op.outputs + output)
                })
                .sum();
            self.store(op.output, row * op.outputs + output, sum + self.at(op.bias, output));
        }
    }

    fn linear_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        let slope = |this: &Self, row, output| this.raw(gradient.output, row * op.outputs + output);
        let input: Vec<_> = pixels(op.rows, op.inputs)
            .map(|(row, i)| {
                (0..op.outputs).map(|o| slope(self, row, o) * self.at(op.weights, i * op.outputs + o)).sum()
            })
            .collect();
        if wanted.of_weights() {
            for (i, o) in pixels(op.inputs, op.outputs) {
                let sum = (0..op.rows)
                    .map(|row| slope(self, row, o) * self.raw(op.input, row * op.inputs + i))
                    .sum();
                self.put(gradient.weights, i * op.outputs + o, sum);
            }
            for o in 0..op.outputs {
                let sum = (0..op.rows).map(|row| slope(self, row, o)).sum();
                self.put(gradient.bias, o, sum);
            }
        }
        self.deliver(gradient.input, &input);
    }
}
