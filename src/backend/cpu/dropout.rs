//! Dropout of elements.

use std::ops::Range;

use super::memory::{Area, Memory};
use super::simd::{Kernel, Vector};
use super::statistics::Units;
use super::stream::{Block, affine};
use super::{Cpu, Dropout, DropoutGradient, DropoutKernels, DropoutMask, Keeper, Norm, Shape};

impl DropoutKernels for Cpu {
    fn dropout_forward(&mut self, op: &Dropout) {
        let memory = self.memory();
        let (source, target) = (memory.slot(op.input.data), memory.slot(op.output));
        self.drop_elements(op, op.input.norm, [source, target], false);
    }

    fn dropout_backward(&mut self, op: &Dropout, gradient: &DropoutGradient) {
        let memory = self.memory();
        let (source, target) = (memory.slot(gradient.output), memory.slot(gradient.input.slot));
        self.drop_elements(op, None, [source, target], gradient.input.accumulate);
    }
}

impl Cpu {
    /// Takes what is kept of a source to a target.
    fn drop_elements(&mut self, op: &Dropout, norm: Option<Norm>, areas: [Area; 2], accumulate: bool) {
        let shape = op.input.shape;
        let units = Units::new(shape.n as usize, shape.image_pixels());
        let (memory, instructions) = (self.memory(), self.instructions);
        let mask = Mask::new(memory, op.mask);
        self.team.each(units.count(), &|_, unit| {
            let images = units.images(unit);
            // SAFETY: the set is available; units have images of their own, which lie in both areas.
            unsafe { instructions.run(Take { norm, areas, accumulate, mask, shape, images, memory }) };
        });
    }
}

/// A mask in the memory of this machine.
#[derive(Clone, Copy)]
struct Mask {
    keeper: Keeper,
    factor: f32,
    given: Option<Area>,
}

impl Mask {
    fn new(memory: Memory, mask: DropoutMask) -> Self {
        let key = memory.span(mask.key);
        // SAFETY: a key has four elements.
        let [keeping, factor, first, second] = [0, 1, 2, 3].map(|place| unsafe { key.get(place) });
        let keeper = Keeper::new([keeping, first, second].map(f64::from), mask.number);
        Mask { keeper, factor, given: mask.given.map(|given| memory.span(given)) }
    }

    /// What the elements from `at` on are multiplied by.
    ///
    /// # Safety
    /// Those that `lanes` chooses are elements of the value.
    #[inline(always)]
    unsafe fn factors<V: Vector>(&self, at: usize, lanes: V::Mask) -> V {
        if let Some(given) = self.given {
            // SAFETY: the caller's promise; a given mask has a number for each element.
            return unsafe { V::load_masked(given, at, lanes) }.mul(V::splat(self.factor));
        }
        let mut factors = [0f32; 16];
        for (lane, factor) in factors.iter_mut().enumerate().take(V::LANES) {
            *factor = if self.keeper.keeps((at + lane) as u32) { self.factor } else { 0.0 };
        }
        // SAFETY: `factors` holds the largest vector.
        unsafe { V::load(Area::of(&mut factors), 0) }
    }
}

/// A work unit.
struct Take {
    norm: Option<Norm>,
    /// Source and target.
    areas: [Area; 2],
    /// Whether it is added to what the target has.
    accumulate: bool,
    mask: Mask,
    shape: Shape,
    images: Range<usize>,
    memory: Memory,
}

impl Kernel for Take {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (channels, [source, target]) = (self.shape.c as usize, self.areas);
        let image = self.shape.image_pixels();
        let (start, pixels) = (self.images.start * image * channels, self.images.len() * image);
        let flat = Block::<V>::flat(channels, channels);
        for index in 0..Block::<V>::number(channels) {
            let block = Block::<V>::new(index, pixels, channels, flat);
            // SAFETY: the pixels lie in both areas, and coefficients have an element a channel; masks end at the last channel.
            unsafe {
                let (scale, shift) = match affine(self.memory, self.norm) {
                    Some((scale, shift)) => (block.coefficients(scale), block.coefficients(shift)),
                    None => (V::splat(1.0), V::zero()),
                };
                for vector in 0..block.count {
                    let (at, lanes) = (start + block.at(vector, channels), block.mask(vector));
                    let value = V::load_masked(source, at, lanes).mul_add(scale, shift);
                    let before = if self.accumulate { V::load_masked(target, at, lanes) } else { V::zero() };
                    value.mul_add(self.mask.factors(at, lanes), before).store_masked(target, at, lanes);
                }
            }
        }
    }
}
