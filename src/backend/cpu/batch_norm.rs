//! Batch norm: coefficients for its readers, and the sums and coefficients of its backward.

use super::memory::Memory;
use super::statistics::Units;
use super::stream::{self, Reduce, Reduction, standard};
use super::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, BatchNorm, BatchNormGradient, BatchNormKernels, BatchNormReduce,
    Cpu, Gradients, Mode,
};

impl BatchNormKernels for Cpu {
    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode) {
        let memory = self.memory();
        // SAFETY: `memory` is borrowed from `self` exclusively.
        norms.iter().for_each(|norm| unsafe { normalise(memory, norm, mode) });
    }

    fn batch_norm_reduce(&mut self, op: &BatchNormReduce) {
        if !self.memory().open(op.gate) {
            return;
        }
        let shape = op.input.shape;
        let units = Units::new(shape.n as usize, shape.image_pixels());
        let channels = shape.c as usize;
        let sums = self.sums.at_least(units.count() * 2 * channels);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|_, unit| {
            let sums = sums.part(unit * 2 * channels, 2 * channels);
            let len = shape.image_pixels() * channels;
            // SAFETY: the set is available; images lie in the slots, and units have sums of their own.
            unsafe {
                sums.slice_mut(0, 2 * channels).fill(0.0);
                for image in units.images(unit) {
                    instructions.run(Reduce {
                        gradient: memory.slot(op.gradient).part(image * len, len),
                        pixels: shape.image_pixels(),
                        channels,
                        sums: Reduction {
                            raw: memory.slot(op.input.data).part(image * len, len),
                            norm: standard(memory, op.input.norm),
                            total: sums,
                            products: sums.from(channels),
                        },
                    });
                }
            }
        });
        // SAFETY: each unit left `[2][channels]`.
        unsafe { stream::combine_sums(sums, units.count(), 2 * channels, memory, op.sums) };
    }

    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient], wanted: Gradients) {
        let memory = self.memory();
        // SAFETY: `memory` is borrowed from `self` exclusively.
        gradients.iter().for_each(|gradient| unsafe { normalise_backward(memory, gradient, wanted) });
    }
}

/// The coefficients of one batch norm.
///
/// # Safety
/// The spans lie in the memory, which no other thread touches.
unsafe fn normalise(memory: Memory, op: &BatchNorm, mode: Mode) {
    if !memory.open(op.gate) {
        return;
    }
    let channels = op.norm.mean.len;
    let unbiased = op.count as f64 / (op.count as f64 - 1.0).max(1.0);
    let statistics = memory.span(if mode == Mode::Inference { op.running } else { op.statistics });
    let running = memory.span(op.running);
    for c in 0..channels {
        // SAFETY: the caller's promise; spans hold a number a channel, statistics two.
        unsafe {
            let (mean, variance) = (statistics.get(c), statistics.get(channels + c));
            if mode == Mode::Train {
                let moved = |old: f32, new: f64| {
                    ((1.0 - BATCH_NORM_MOMENTUM) * f64::from(old) + BATCH_NORM_MOMENTUM * new) as f32
                };
                running.set(c, moved(running.get(c), f64::from(mean)));
                let variance = f64::from(variance) * unbiased;
                running.set(channels + c, moved(running.get(channels + c), variance));
            }
            let inverse_deviation = 1.0 / (f64::from(variance) + BATCH_NORM_EPSILON).sqrt();
            let gamma = op.norm.gamma.map_or(1.0, |gamma| f64::from(memory.span(gamma).get(c)));
            let beta = op.norm.beta.map_or(0.0, |beta| f64::from(memory.span(beta).get(c)));
            let scale = gamma * inverse_deviation;
            memory.span(op.norm.mean).set(c, mean);
            memory.span(op.norm.inverse_deviation).set(c, inverse_deviation as f32);
            memory.span(op.norm.scale).set(c, scale as f32);
            memory.span(op.norm.shift).set(c, (beta - scale * f64::from(mean)) as f32);
        }
    }
}

/// The coefficients of one gradient.
///
/// # Safety
/// The spans lie in the memory, which no other thread touches.
unsafe fn normalise_backward(memory: Memory, op: &BatchNormGradient, wanted: Gradients) {
    if !memory.open(op.gate) {
        for span in [op.gamma, op.beta].into_iter().flatten() {
            // SAFETY: the caller's promise.
            unsafe { memory.span(span).slice_mut(0, span.len).fill(0.0) };
        }
        return;
    }
    let count = op.count as f64;
    for c in 0..op.norm.mean.len {
        // SAFETY: the caller's promise; spans hold a number a channel.
        unsafe {
            let at = |span| f64::from(memory.span(span).get(c));
            let put = |span, value: f64| memory.span(span).set(c, value as f32);
            let scale = at(op.norm.scale);
            let (mut total, mut products) = (0.0, 0.0);
            for term in &op.terms {
                if !memory.open(term.gate) {
                    put(term.factor, 0.0);
                    continue;
                }
                let weight = term.weight.map_or(1.0, |weight| f64::from(memory.span(weight).get(0)));
                total += weight * at(term.sums.total);
                products += weight * at(term.sums.products);
                put(term.factor, scale * weight);
            }
            let (raw_factor, constant) = if wanted.in_inference() {
                (0.0, 0.0)
            } else {
                let raw_factor = -scale * products / count * at(op.norm.inverse_deviation);
                (raw_factor, -scale * total / count - raw_factor * at(op.norm.mean))
            };
            put(op.raw_factor, raw_factor);
            put(op.constant, constant);
            if let Some(gamma) = op.gamma {
                put(gamma, products);
            }
            if let Some(beta) = op.beta {
                put(beta, total);
            }
        }
    }
}
