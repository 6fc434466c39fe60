//! A node with partial channel connections. Both directions stream: a chunk stays in the first-level cache, in the order
//! of the edges, in which these are long vectors, and is shuffled once for all of them.

use std::ops::Range;

use super::memory::{Area, Carver, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::Units;
use super::stream::{Block, affine};
use super::{Bypass, BypassGradient, BypassKernels, BypassSource, Cpu};

/// Elements of a chunk.
const CHUNK: usize = 2048;

/// Pixels of a chunk.
fn chunk_pixels(op: &Bypass) -> usize {
    (CHUNK / op.shape.c as usize).max(1)
}

/// Cuts pixels into chunks.
fn chunks(op: &Bypass, pixels: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let step = chunk_pixels(op);
    pixels.clone().step_by(step).map(move |first| first..(first + step).min(pixels.end))
}

/// The pixels of a unit.
fn pixels(op: &Bypass, units: Units, unit: usize) -> Range<usize> {
    let (images, each) = (units.images(unit), op.shape.image_pixels());
    images.start * each..images.end * each
}

/// Scratch of a thread: a chunk, and two coefficients a channel.
fn scratch_len(op: &Bypass) -> usize {
    let channels = op.shape.c as usize;
    piece(chunk_pixels(op) * channels) + 2 * piece(channels)
}

impl BypassKernels for Cpu {
    fn bypass_forward(&mut self, op: &Bypass) {
        let (units, len) = (Units::new(op.shape.n as usize, op.shape.image_pixels()), scratch_len(op));
        let scratch = self.scratch.at_least(self.team.threads() * len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let (pixels, scratch) = (pixels(op, units, unit), scratch.part(member * len, len));
            // SAFETY: the set is available; members have scratch and units have pixels of their own.
            unsafe { instructions.run(Forward { op, pixels, memory, scratch }) };
        });
    }

    fn bypass_backward(&mut self, op: &Bypass, gradient: &BypassGradient) {
        let (units, len) = (Units::new(op.shape.n as usize, op.shape.image_pixels()), scratch_len(op));
        let (scratch, edges) = (self.scratch.at_least(self.team.threads() * len), op.sources.len());
        let sums = self.sums.at_least(units.count() * edges);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let (pixels, scratch) = (pixels(op, units, unit), scratch.part(member * len, len));
            let sums = sums.part(unit * edges, edges);
            // SAFETY: the set is available; members have scratch, units have pixels and sums of their own.
            unsafe { instructions.run(Backward { op, gradient, pixels, memory, scratch, sums }) };
        });
        for (edge, gradients) in gradient.sources.iter().enumerate() {
            let weight = memory.span(gradients.weight);
            // SAFETY: each unit left a sum an edge.
            unsafe {
                let sum: f64 = (0..units.count()).map(|unit| sums.get(unit * edges + edge)).sum();
                weight.set(0, (f64::from(weight.get(0)) + sum) as f32);
            }
        }
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a Bypass,
    pixels: Range<usize>,
    memory: Memory,
    scratch: Area,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (channels, each) = (self.op.shape.c as usize, self.op.group_channels());
        let mut carver = Carver::new(self.scratch);
        let sum = carver.take(chunk_pixels(self.op) * channels);
        let coefficients = [carver.take(channels), carver.take(channels)];
        for chunk in chunks(self.op, self.pixels.clone()) {
            // SAFETY: chunks lie in all slots, scratch holds one; no other unit has the pixels.
            unsafe {
                sum.slice_mut(0, chunk.len() * channels).fill(0.0);
                for source in &self.op.sources {
                    self.add::<V>(source, &chunk, sum, coefficients);
                }
                let mixed = self.memory.slot(self.op.mixed).slice(chunk.start * each, chunk.len() * each);
                let output = self.memory.slot(self.op.output);
                let output = output.slice_mut(chunk.start * channels, chunk.len() * channels);
                let sum = sum.slice_mut(0, chunk.len() * channels);
                let pixels = sum.chunks_exact_mut(channels).zip(mixed.chunks_exact(each));
                pixels.for_each(|(pixel, mixed)| pixel[..each].copy_from_slice(mixed));
                for (from, to) in sum.chunks_exact(channels).zip(output.chunks_exact_mut(channels)) {
                    for (group, from) in from.chunks_exact(each).enumerate() {
                        let to = to[group..].iter_mut().step_by(self.op.groups);
                        to.zip(from).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }
}

impl Forward<'_> {
    /// Adds what passes by on an edge to a chunk.
    #[inline(always)]
    unsafe fn add<V: Vector>(
        &self,
        source: &BypassSource,
        chunk: &Range<usize>,
        sum: Area,
        [scales, shifts]: [Area; 2],
    ) {
        let channels = self.op.shape.c as usize;
        let input = self.memory.slot(source.input.data).from(chunk.start * channels);
        let flat = Block::<V>::flat(channels, channels);
        // SAFETY: the pixels lie in the slot and in scratch, and norms hold a number a channel; masks end at the last channel.
        unsafe {
            let weight = self.memory.span(source.weight).get(0);
            let norm = affine(self.memory, source.input.norm);
            for c in 0..channels {
                scales.set(c, norm.map_or(weight, |(scale, _)| weight * scale.get(c)));
                shifts.set(c, norm.map_or(0.0, |(_, shift)| weight * shift.get(c)));
            }
            for index in 0..Block::<V>::number(channels) {
                let block = Block::<V>::new(index, chunk.len(), channels, flat);
                let (scale, shift) = (block.coefficients(scales), block.coefficients(shifts));
                for i in 0..block.count {
                    let (at, mask) = (block.at(i, channels), block.mask(i));
                    let value = V::load_masked(input, at, mask).mul_add(scale, shift);
                    value.add(V::load_masked(sum, at, mask)).store_masked(sum, at, mask);
                }
            }
        }
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a Bypass,
    gradient: &'a BypassGradient,
    pixels: Range<usize>,
    memory: Memory,
    scratch: Area,
    /// A sum for each edge.
    sums: Area<f64>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let channels = self.op.shape.c as usize;
        let mut carver = Carver::new(self.scratch);
        let slopes = carver.take(chunk_pixels(self.op) * channels);
        let passing = carver.take(channels);
        // SAFETY: chunks lie in all slots, scratch holds one; no other unit has the pixels or the sums.
        unsafe {
            self.sums.slice_mut(0, self.op.sources.len()).fill(0.0);
            for c in 0..channels {
                passing.set(c, if c < self.op.group_channels() { 0.0 } else { 1.0 });
            }
            for chunk in chunks(self.op, self.pixels.clone()) {
                self.shuffle_back(&chunk, slopes);
                for edge in 0..self.op.sources.len() {
                    self.edge::<V>(edge, &chunk, slopes, passing);
                }
            }
        }
    }
}

impl Backward<'_> {
    /// The gradient of a chunk in the order of the edges, with zeros for the channels that do not pass by; and that of the
    /// mixed operation.
    #[inline(always)]
    unsafe fn shuffle_back(&self, chunk: &Range<usize>, slopes: Area) {
        let (channels, each) = (self.op.shape.c as usize, self.op.group_channels());
        let (target, len) = (self.gradient.mixed, chunk.len() * channels);
        // SAFETY: the chunk lies in all slots and in scratch.
        unsafe {
            let gradient = self.memory.slot(self.gradient.output).slice(chunk.start * channels, len);
            let mixed = self.memory.slot(target.slot).slice_mut(chunk.start * each, chunk.len() * each);
            let slopes = slopes.slice_mut(0, len).chunks_exact_mut(channels);
            let pixels = gradient.chunks_exact(channels).zip(slopes).zip(mixed.chunks_exact_mut(each));
            for ((from, to), mixed) in pixels {
                for (group, to) in to.chunks_exact_mut(each).enumerate() {
                    let from = from[group..].iter().step_by(self.op.groups);
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
                for (mixed, slope) in mixed.iter_mut().zip(&mut to[..each]) {
                    target.deliver(mixed, std::mem::take(slope));
                }
            }
        }
    }

    /// The gradient of what passes by on an edge, and the sum for its weight.
    #[inline(always)]
    unsafe fn edge<V: Vector>(&self, edge: usize, chunk: &Range<usize>, slopes: Area, passing: Area) {
        let (channels, memory) = (self.op.shape.c as usize, self.memory);
        let (source, target) = (&self.op.sources[edge], self.gradient.sources[edge].input);
        let start = chunk.start * channels;
        let (input, to) = (memory.slot(source.input.data).from(start), memory.slot(target.slot).from(start));
        let flat = Block::<V>::flat(channels, channels);
        // SAFETY: the chunk lies in all slots and in scratch; masks end at the last channel.
        unsafe {
            let weight = V::splat(memory.span(source.weight).get(0));
            let mut products = V::zero();
            for index in 0..Block::<V>::number(channels) {
                let block = Block::<V>::new(index, chunk.len(), channels, flat);
                let (scale, shift) = match affine(memory, source.input.norm) {
                    Some((scale, shift)) => (block.coefficients(scale), block.coefficients(shift)),
                    None => (V::splat(1.0), V::zero()),
                };
                let passing = block.coefficients(passing);
                for i in 0..block.count {
                    let (at, mask) = (block.at(i, channels), block.mask(i));
                    let slope = V::load_masked(slopes, at, mask);
                    let value = V::load_masked(input, at, mask).mul_add(scale, shift);
                    // A channel that does not pass by counts for nothing, whatever is in it.
                    products = slope.mul_add(value.where_positive(passing), products);
                    let before = if target.accumulate { V::load_masked(to, at, mask) } else { V::zero() };
                    slope.mul_add(weight, before).store_masked(to, at, mask);
                }
            }
            products.add_to(self.sums.slice_mut(edge, 1), 0, V::LANES);
        }
    }
}
