//! Gradient descent with momentum, in the chunks of [`vectors`](super::vectors).

use std::ops::Range;

use super::memory::Memory;
use super::simd::{Kernel, Vector};
use super::vectors::{chunk, chunks, read, write};
use super::{Cpu, GradientDescent, GradientDescentKernels};

impl GradientDescentKernels for Cpu {
    fn gradient_descent(&mut self, op: &GradientDescent) {
        let (memory, instructions) = (self.memory(), self.instructions);
        let clip = op.clip.map_or(1.0, |(norm, limit)| {
            // SAFETY: the norm is one number.
            (limit / (f64::from(unsafe { memory.span(norm).get(0) }) + 1e-6)).min(1.0)
        });
        self.team.each(chunks(op.weights.len), &|_, index| {
            let range = chunk(op.weights.len, index);
            // SAFETY: the set is available; chunks are disjoint, and so are the vectors.
            unsafe { instructions.run(Descend { op, clip: clip as f32, range, memory }) };
        });
    }
}

struct Descend<'a> {
    op: &'a GradientDescent,
    clip: f32,
    range: Range<usize>,
    memory: Memory,
}

impl Kernel for Descend<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Descend { op, clip, range, memory } = self;
        let [rate, momentum, decay] = [op.rate, op.momentum, op.decay].map(|x| x as f32);
        // SAFETY: the vectors are disjoint and no other thread has this range.
        let (weights, gradient, buffer) = unsafe {
            let gradient = read(memory, op.gradient, &range);
            (write(memory, op.weights, &range), gradient, write(memory, op.momentum_buffer, &range))
        };
        for ((weight, &gradient), buffer) in weights.iter_mut().zip(gradient).zip(buffer) {
            let gradient = clip * gradient + decay * *weight;
            *buffer = momentum * *buffer + gradient;
            *weight -= rate * if op.nesterov { gradient + momentum * *buffer } else { *buffer };
        }
    }
}
