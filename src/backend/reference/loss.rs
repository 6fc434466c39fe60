//! From the last feature maps to the loss: global average pooling, classifier, cross-entropy.

use super::*;

impl<S: Storage> Reference<S> {
    pub(super) fn average_pixels(&mut self, op: &GlobalPool) {
        let features = op.inputs.iter().map(|input| input.shape.c as usize).sum::<usize>();
        let mut first = 0;
        for input in &op.inputs {
            let [n, h, w, c] = sides(input.shape);
            for (image, channel) in convolution::pixels(n, c) {
                let sum: S::Scalar = (0..h * w)
                    .map(|p| self.value(input.data, input.norm, (image * h * w + p) * c + channel, channel))
                    .sum();
                let mean = sum / S::Scalar::of((h * w) as f64);
                self.store(op.output, image * features + first + channel, mean);
            }
            first += c;
        }
    }

    pub(super) fn average_pixels_backward(&mut self, op: &GlobalPool, gradient: &GlobalPoolGradient) {
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

    pub(super) fn affine_map(&mut self, op: &Linear) {
        for (row, output) in convolution::pixels(op.rows, op.outputs) {
            let sum: S::Scalar = (0..op.inputs)
                .map(|i| {
                    self.raw(op.input, row * op.inputs + i) * self.at(op.weights, i * op.outputs + output)
                })
                .sum();
            self.store(op.output, row * op.outputs + output, sum + self.at(op.bias, output));
        }
    }

    pub(super) fn affine_map_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        let slope = |this: &Self, row, output| this.raw(gradient.output, row * op.outputs + output);
        let input: Vec<_> = convolution::pixels(op.rows, op.inputs)
            .map(|(row, i)| {
                (0..op.outputs).map(|o| slope(self, row, o) * self.at(op.weights, i * op.outputs + o)).sum()
            })
            .collect();
        if wanted.of_weights() {
            for (i, o) in convolution::pixels(op.inputs, op.outputs) {
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

    pub(super) fn loss(&mut self, op: &CrossEntropy) {
        let rows = S::Scalar::of(op.rows as f64);
        let weight = S::Scalar::of(op.weight);
        let (mut loss, mut first, mut five) = (zero::<S::Scalar>(), 0, 0);
        for row in 0..op.rows {
            let logits: Vec<_> = (0..op.classes).map(|i| self.raw(op.logits, row * op.classes + i)).collect();
            let label = self.labels[row] as usize;
            let largest = logits.iter().copied().fold(S::Scalar::neg_infinity(), S::Scalar::max);
            let sum: S::Scalar = logits.iter().map(|&x| (x - largest).exp()).sum();
            loss += sum.ln() + largest - logits[label];
            for (i, &logit) in logits.iter().enumerate() {
                let target = S::Scalar::of(if i == label { 1.0 } else { 0.0 });
                let slope = weight * ((logit - largest).exp() / sum - target) / rows;
                self.store(op.gradient, row * op.classes + i, slope);
            }
            let before = |i: usize| logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
            let rank = (0..op.classes).filter(|&i| before(i)).count();
            first += usize::from(rank < 1);
            five += usize::from(rank < 5);
        }
        self.put(op.result, 0, loss / rows);
        self.put(op.result, 1, S::Scalar::of(first as f64));
        self.put(op.result, 2, S::Scalar::of(five as f64));
    }
}
