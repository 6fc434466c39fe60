//! The first channels of a value.

use std::ops::Range;

use super::memory::Memory;
use super::simd::{Kernel, Vector};
use super::statistics::Units;
use super::stream::affine;
use super::{ChannelSlice, ChannelSliceGradient, ChannelSliceKernels, Cpu};

/// The pixels of a unit's images.
fn pixels(op: &ChannelSlice, units: Units, unit: usize) -> Range<usize> {
    let (images, each) = (units.images(unit), op.output_shape.image_pixels());
    images.start * each..images.end * each
}

fn units(op: &ChannelSlice) -> Units {
    Units::new(op.output_shape.n as usize, op.output_shape.image_pixels())
}

impl ChannelSliceKernels for Cpu {
    fn channel_slice_forward(&mut self, op: &ChannelSlice) {
        let (units, memory, instructions) = (units(op), self.memory(), self.instructions);
        self.team.each(units.count(), &|_, unit| {
            let pixels = pixels(op, units, unit);
            // SAFETY: the set is available; units have pixels of their own.
            unsafe { instructions.run(Forward { op, pixels, memory }) };
        });
    }

    fn channel_slice_backward(&mut self, op: &ChannelSlice, gradient: &ChannelSliceGradient) {
        let (units, memory, instructions) = (units(op), self.memory(), self.instructions);
        self.team.each(units.count(), &|_, unit| {
            let pixels = pixels(op, units, unit);
            // SAFETY: the set is available; units have pixels of their own.
            unsafe { instructions.run(Backward { op, gradient, pixels, memory }) };
        });
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a ChannelSlice,
    pixels: Range<usize>,
    memory: Memory,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (all, channels) = (self.op.input.shape.c as usize, self.op.output_shape.c as usize);
        let (input, output) = (self.memory.slot(self.op.input.data), self.memory.slot(self.op.output));
        for first in (0..channels).step_by(V::LANES) {
            let mask = V::mask((channels - first).min(V::LANES));
            // SAFETY: pixels lie in both slots, and coefficients have an element a channel; masks end at the last channel.
            unsafe {
                let (scale, shift) = match affine(self.memory, self.op.input.norm) {
                    Some((scale, shift)) => {
                        (V::load_masked(scale, first, mask), V::load_masked(shift, first, mask))
                    }
                    None => (V::splat(1.0), V::zero()),
                };
                for pixel in self.pixels.clone() {
                    let value = V::load_masked(input, pixel * all + first, mask).mul_add(scale, shift);
                    value.store_masked(output, pixel * channels + first, mask);
                }
            }
        }
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a ChannelSlice,
    gradient: &'a ChannelSliceGradient,
    pixels: Range<usize>,
    memory: Memory,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (all, channels) = (self.op.input.shape.c as usize, self.op.output_shape.c as usize);
        let gradient = self.memory.slot(self.gradient.output);
        let (target, accumulate) =
            (self.memory.slot(self.gradient.input.slot), self.gradient.input.accumulate);
        for first in (0..channels).step_by(V::LANES) {
            let mask = V::mask((channels - first).min(V::LANES));
            for pixel in self.pixels.clone() {
                let at = pixel * all + first;
                // SAFETY: pixels lie in both slots, and no other unit has them; masks end at the last channel.
                unsafe {
                    let before = if accumulate { V::load_masked(target, at, mask) } else { V::zero() };
                    let own = V::load_masked(gradient, pixel * channels + first, mask);
                    own.add(before).store_masked(target, at, mask);
                }
            }
        }
        if accumulate {
            return;
        }
        for pixel in self.pixels {
            let rest = all - channels;
            // SAFETY: pixels lie in the slot, and no other unit has them.
            unsafe { target.slice_mut(pixel * all + channels, rest).fill(0.0) };
        }
    }
}
