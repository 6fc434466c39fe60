//! The sum of a derived cell's node, with drop path. Both directions stream: a chunk of the node stays in the
//! first-level cache while the branches pass.

use std::ops::Range;

use super::memory::{Area, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::Units;
use super::stream::{self, Block, Reduce, Reduction, standard, target_area};
use super::{Cpu, NodeSum, NodeSumBranch, NodeSumGradient, NodeSumKernels};

/// Elements of a chunk.
const CHUNK: usize = 2048;

/// Cuts an image into runs of pixels of about [`CHUNK`] elements: first pixel and number of pixels.
fn chunks(op: &NodeSum, image: usize) -> impl Iterator<Item = (usize, usize)> {
    let (pixels, step) = (op.shape.image_pixels(), (CHUNK / op.shape.c as usize).max(1));
    (0..pixels).step_by(step).map(move |first| (image * pixels + first, step.min(pixels - first)))
}

/// What an image of a branch is multiplied by.
///
/// # Safety
/// The factors hold a number an image, which no one writes.
#[inline(always)]
unsafe fn factor(memory: Memory, branch: &NodeSumBranch, image: usize) -> f32 {
    // SAFETY: the caller's promise.
    branch.factors.map_or(1.0, |factors| unsafe { memory.span(factors).get(image) })
}

impl NodeSumKernels for Cpu {
    fn node_sum_forward(&mut self, op: &NodeSum) {
        let units = Units::new(op.shape.n as usize, op.shape.image_pixels());
        let scratch_len = 2 * piece(op.shape.c as usize);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let (images, scratch) = (units.images(unit), scratch.part(member * scratch_len, scratch_len));
            // SAFETY: the set is available; members have scratch and units have images of their own.
            unsafe { instructions.run(Forward { op, images, memory, scratch }) };
        });
    }

    fn node_sum_backward(&mut self, op: &NodeSum, gradient: &NodeSumGradient) {
        let channels = op.shape.c as usize;
        let units = Units::new(op.shape.n as usize, op.shape.image_pixels());
        let step = op.branches.len() * 2 * channels;
        let sums = self.sums.at_least(units.count() * step);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|_, unit| {
            let (images, sums) = (units.images(unit), sums.part(unit * step, step));
            // SAFETY: the set is available; units have images and sums of their own.
            unsafe { instructions.run(Backward { op, gradient, images, memory, sums }) };
        });
        for (index, branch) in gradient.branches.iter().enumerate() {
            if let Some(result) = branch.sums {
                let partials = sums.from(index * 2 * channels);
                // SAFETY: each unit left `[2][channels]` of each branch.
                unsafe { stream::combine_sums(partials, units.count(), step, memory, result) };
            }
        }
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a NodeSum,
    images: Range<usize>,
    memory: Memory,
    scratch: Area,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for image in self.images.clone() {
            for chunk in chunks(self.op, image) {
                for (index, branch) in self.op.branches.iter().enumerate() {
                    // SAFETY: chunks lie in all slots; no other unit has the image.
                    unsafe { self.add::<V>(branch, image, chunk, index > 0) };
                }
            }
        }
    }
}

impl Forward<'_> {
    /// Adds a branch to a chunk of the node, or starts it with the branch.
    #[inline(always)]
    unsafe fn add<V: Vector>(
        &self,
        branch: &NodeSumBranch,
        image: usize,
        (first, pixels): (usize, usize),
        accumulate: bool,
    ) {
        let channels = self.op.shape.c as usize;
        let input = self.memory.slot(branch.input.data).from(first * channels);
        let output = self.memory.slot(self.op.output).from(first * channels);
        let flat = Block::<V>::flat(channels, channels);
        // SAFETY: the pixels lie in all slots; masks end at the last channel.
        unsafe {
            let [scale, shift] = self.coefficients(branch, image);
            for index in 0..Block::<V>::number(channels) {
                let block = Block::<V>::new(index, pixels, channels, flat);
                let (scale, shift) = (block.coefficients(scale), block.coefficients(shift));
                for i in 0..block.count {
                    let (at, mask) = (block.at(i, channels), block.mask(i));
                    block.fetch_rest(input, at);
                    let value = V::load_masked(input, at, mask).mul_add(scale, shift);
                    let before = if accumulate { V::load_masked(output, at, mask) } else { V::zero() };
                    value.add(before).store_masked(output, at, mask);
                }
            }
        }
    }

    /// Factor times scale and factor times shift of an image of a branch, `[c]` each.
    #[inline(always)]
    unsafe fn coefficients(&self, branch: &NodeSumBranch, image: usize) -> [Area; 2] {
        let channels = self.op.shape.c as usize;
        let (memory, norm) = (self.memory, branch.input.norm);
        let results = [self.scratch, self.scratch.from(piece(channels))];
        // SAFETY: scratch holds two pieces of `c`; norms hold a number a channel.
        unsafe {
            let factor = factor(memory, branch, image);
            for c in 0..channels {
                let scale = norm.map_or(1.0, |norm| memory.span(norm.scale).get(c));
                let shift = norm.map_or(0.0, |norm| memory.span(norm.shift).get(c));
                results[0].set(c, factor * scale);
                results[1].set(c, factor * shift);
            }
        }
        results
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a NodeSum,
    gradient: &'a NodeSumGradient,
    images: Range<usize>,
    memory: Memory,
    /// `[branches][2][channels]`: totals and products.
    sums: Area<f64>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.op.shape.c as usize;
        // SAFETY: chunks lie in all slots; no other unit has the images or the sums.
        unsafe {
            self.sums.slice_mut(0, self.op.branches.len() * 2 * channels).fill(0.0);
            for image in self.images.clone() {
                for chunk in chunks(self.op, image) {
                    for index in 0..self.op.branches.len() {
                        self.branch::<V>(index, image, chunk);
                    }
                }
            }
        }
    }
}

impl Backward<'_> {
    /// The gradient of a chunk of a branch, and its sums.
    #[inline(always)]
    unsafe fn branch<V: Vector>(&self, index: usize, image: usize, (first, pixels): (usize, usize)) {
        let (channels, memory) = (self.op.shape.c as usize, self.memory);
        let (branch, gradient) = (&self.op.branches[index], &self.gradient.branches[index]);
        let (start, len) = (first * channels, pixels * channels);
        let (g, accumulate) = (memory.slot(self.gradient.output).from(start), gradient.input.accumulate);
        let target = target_area(memory, gradient.input, start, len);
        // SAFETY: the chunk lies in all slots; masks end at its end.
        unsafe {
            let factor = V::splat(factor(memory, branch, image));
            for at in (0..len).step_by(V::LANES) {
                let mask = V::mask((len - at).min(V::LANES));
                let before = if accumulate { V::load_masked(target, at, mask) } else { V::zero() };
                V::load_masked(g, at, mask).mul_add(factor, before).store_masked(target, at, mask);
            }
            if gradient.sums.is_some() {
                let sums = self.sums.from(index * 2 * channels);
                V::call(Reduce {
                    gradient: target,
                    pixels,
                    channels,
                    sums: Reduction {
                        raw: memory.slot(branch.input.data).from(start),
                        norm: standard(memory, branch.input.norm),
                        total: sums,
                        products: sums.from(channels),
                    },
                });
            }
        }
    }
}
