//! The classifier: plain loops, with sums in f64.

use super::{Cpu, Gradients, Linear, LinearGradient, LinearKernels};

impl LinearKernels for Cpu {
    fn linear_forward(&mut self, op: &Linear) {
        let memory = self.memory();
        let sums = self.sums.at_least(op.rows * op.outputs);
        self.team.each(op.rows, &|_, row| {
            // SAFETY: each row has sums and outputs of its own.
            unsafe {
                let sums = sums.slice_mut(row * op.outputs, op.outputs);
                let bias = memory.span(op.bias).slice(0, op.outputs);
                sums.iter_mut().zip(bias).for_each(|(sum, &bias)| *sum = f64::from(bias));
                let inputs = memory.slot(op.input).slice(row * op.inputs, op.inputs);
                for (i, &x) in inputs.iter().enumerate() {
                    let weights = memory.span(op.weights).slice(i * op.outputs, op.outputs);
                    for (sum, &weight) in sums.iter_mut().zip(weights) {
                        *sum += f64::from(x) * f64::from(weight);
                    }
                }
                let output = memory.slot(op.output).slice_mut(row * op.outputs, op.outputs);
                output.iter_mut().zip(sums).for_each(|(output, sum)| *output = *sum as f32);
            }
        });
    }

    fn linear_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        let memory = self.memory();
        // SAFETY: no kernel runs while these are read.
        let slopes = unsafe { memory.slot(gradient.output).slice(0, op.rows * op.outputs) };
        if wanted.of_weights() {
            let sums = self.sums.at_least((op.inputs + 1) * op.outputs);
            self.team.each(op.inputs + 1, &|_, i| {
                // SAFETY: each input, and the bias behind the last, has sums and results of its own.
                unsafe {
                    let sums = sums.slice_mut(i * op.outputs, op.outputs);
                    sums.fill(0.0);
                    for (row, slopes) in slopes.chunks_exact(op.outputs).enumerate() {
                        let constant = i == op.inputs;
                        let x = if constant { 1.0 } else { memory.slot(op.input).get(row * op.inputs + i) };
                        for (sum, &slope) in sums.iter_mut().zip(slopes) {
                            *sum += f64::from(x) * f64::from(slope);
                        }
                    }
                    let result = match i == op.inputs {
                        true => memory.span(gradient.bias).slice_mut(0, op.outputs),
                        false => memory.span(gradient.weights).slice_mut(i * op.outputs, op.outputs),
                    };
                    result.iter_mut().zip(sums).for_each(|(result, sum)| *result = *sum as f32);
                }
            });
        }
        self.team.each(op.rows, &|_, row| {
            let slopes = &slopes[row * op.outputs..][..op.outputs];
            // SAFETY: each row has a part of the target of its own.
            unsafe {
                let to = memory.slot(gradient.input.slot).slice_mut(row * op.inputs, op.inputs);
                for (i, to) in to.iter_mut().enumerate() {
                    let weights = memory.span(op.weights).slice(i * op.outputs, op.outputs);
                    let products = slopes.iter().zip(weights).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    gradient.input.deliver(to, products.sum::<f64>() as f32);
                }
            }
        });
    }
}
