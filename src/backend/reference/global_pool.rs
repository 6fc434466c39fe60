//! Global average pooling.

use super::convolution::pixels;
use super::*;

impl<S: Storage> GlobalPoolKernels for Reference<S> {
    fn global_pool_forward(&mut self, op: &GlobalPool) {
        let features = op.inputs.iter().map(|input| input.shape.c as usize).sum::<usize>();
        let mut first = 0;
        for input in &op.inputs {
            let [n, h, w, c] = sides(input.shape);
            for (image, channel) in pixels(n, c) {
                let sum: S::Scalar = (0..h * w)
                    .map(|p| self.value(input.data, input.norm, (image * h * w + p) * c + channel, channel))
                    .sum();
                let mean = sum / S::Scalar::of((h * w) as f64);
                self.store(op.output, image * features + first + channel, mean);
            }
            first += c;
        }
    }

    fn global_pool_backward(&mut self, op: &GlobalPool, gradient: &GlobalPoolGradient) {
        let features = op.inputs.iter().map(|input| input.shape.c as usize).sum::<usize>();
        let mut first = 0;
        for (input, &target) in op.inputs.iter().zip(&gradient.inputs) {
            let [_, h, w, c] = sides(input.shape);
            let area = S::Scalar::of((h * w) as f64);
            let slopes: Vec<_> = (0..input.shape.len())
                .map(|i| self.raw(gradient.output, i / (h * w * c) * features + first + i % c) / area)
                .collect();
            self.deliver(target, &slopes);
            first += c;
        }
    }
}
