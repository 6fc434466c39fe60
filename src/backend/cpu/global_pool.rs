//! Global average pooling: plain loops, with sums in f64.

use super::memory::Area;
use super::{Cpu, GlobalPool, GlobalPoolGradient, GlobalPoolKernels, Operand};

impl GlobalPoolKernels for Cpu {
    fn global_pool_forward(&mut self, op: &GlobalPool) {
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

    fn global_pool_backward(&mut self, op: &GlobalPool, gradient: &GlobalPoolGradient) {
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
                        target.deliver(to, slope / pixels as f32);
                    }
                }
                first += channels;
            }
        });
    }
}

/// Sums each channel of an image.
///
/// # Safety
/// The image lies in the area and nobody writes it.
unsafe fn sum_pixels(data: Area, input: &Operand, image: usize, sums: &mut [f64]) {
    let len = input.shape.image_pixels() * sums.len();
    sums.fill(0.0);
    // SAFETY: the caller's promise.
    let values = unsafe { data.slice(image * len, len) };
    for pixel in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += f64::from(x));
    }
}
