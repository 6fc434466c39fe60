//! From the last feature maps to the loss: global average pooling, classifier, cross-entropy.
//!
//! These are small: plain loops, with sums in f64.

use super::{
    Cpu, CrossEntropy, GlobalPool, GlobalPoolGradient, Gradients, Linear, LinearGradient, Operand, Target,
};

impl Cpu {
    pub(super) fn average_pixels(&mut self, op: &GlobalPool) {
        let memory = self.memory();
        let images = op.inputs[0].shape.n as usize;
        let features = op.inputs.iter().map(|input| input.shape.c as usize).sum::<usize>();
        let sums = self.sums.at_least(images * features);
        self.team.each(images, &|_, image| {
            let mut first = 0;
            for input in &op.inputs {
                let channels = input.shape.c as usize;
                // SAFETY: each image has sums and features of its own.
                unsafe {
                    let sums = sums.slice_mut(image * features + first, channels);
                    let output = memory.slot(op.output).slice_mut(image * features + first, channels);
                    sum_pixels(memory.slot(input.data), input, image, sums);
                    for (c, (output, sum)) in output.iter_mut().zip(sums).enumerate() {
                        let mean = *sum / input.shape.image_pixels() as f64;
                        let [scale, shift] = input.norm.map_or([1.0, 0.0], |norm| {
                            [norm.scale, norm.shift].map(|span| f64::from(memory.span(span).get(c)))
                        });
                        *output = (scale * mean + shift) as f32;
                    }
                }
                first += channels;
            }
        });
    }

    pub(super) fn average_pixels_backward(&mut self, op: &GlobalPool, gradient: &GlobalPoolGradient) {
        let memory = self.memory();
        let images = op.inputs[0].shape.n as usize;
        let features = op.inputs.iter().map(|input| input.shape.c as usize).sum::<usize>();
        self.team.each(images, &|_, image| {
            let mut first = 0;
            for (input, target) in op.inputs.iter().zip(&gradient.inputs) {
                let (channels, pixels) = (input.shape.c as usize, input.shape.image_pixels());
                let len = pixels * channels;
                // SAFETY: each image has a part of the target of its own.
                let (slopes, to) = unsafe {
                    let slopes = memory.slot(gradient.output).slice(image * features + first, channels);
                    (slopes, memory.slot(target.slot).slice_mut(image * len, len))
                };
                for pixel in to.chunks_exact_mut(channels) {
                    for (to, slope) in pixel.iter_mut().zip(slopes) {
                        deliver(to, slope / pixels as f32, target);
                    }
                }
                first += channels;
            }
        });
    }

    pub(super) fn affine_map(&mut self, op: &Linear) {
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

    pub(super) fn affine_map_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
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
                    deliver(to, products.sum::<f64>() as f32, &gradient.input);
                }
            }
        });
    }

    pub(super) fn loss(&mut self, op: &CrossEntropy) {
        let memory = self.memory();
        let rows = op.rows as f64;
        let (mut loss, mut first, mut five) = (0.0, 0, 0);
        for row in 0..op.rows {
            // SAFETY: rows lie in the slots, which are disjoint.
            let (logits, slopes) = unsafe {
                let logits = memory.slot(op.logits).slice(row * op.classes, op.classes);
                (logits, memory.slot(op.gradient).slice_mut(row * op.classes, op.classes))
            };
            let label = self.labels[row] as usize;
            let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let power = |logit: f32| (f64::from(logit) - largest).exp();
            let sum: f64 = logits.iter().map(|&logit| power(logit)).sum();
            loss += sum.ln() + largest - f64::from(logits[label]);
            for (i, (slope, &logit)) in slopes.iter_mut().zip(logits).enumerate() {
                let target = if i == label { 1.0 } else { 0.0 };
                *slope = (op.weight * (power(logit) / sum - target) / rows) as f32;
            }
            let before = |i: usize| logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
            let rank = (0..op.classes).filter(|&i| before(i)).count();
            first += u32::from(rank < 1);
            five += u32::from(rank < 5);
        }
        let result = memory.span(op.result);
        // SAFETY: the result holds three numbers.
        unsafe {
            result.set(0, (loss / rows) as f32);
            result.set(1, first as f32);
            result.set(2, five as f32);
        }
    }
}

/// Sums each channel of an image.
///
/// # Safety
/// The image lies in the area and nobody writes it.
unsafe fn sum_pixels(data: super::memory::Area, input: &Operand, image: usize, sums: &mut [f64]) {
    let len = input.shape.image_pixels() * sums.len();
    sums.fill(0.0);
    // SAFETY: the caller's promise.
    let values = unsafe { data.slice(image * len, len) };
    for pixel in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += f64::from(x));
    }
}

fn deliver(to: &mut f32, value: f32, target: &Target) {
    *to = if target.accumulate { *to + value } else { value };
}
