//! The weighted sum over the branches of a node.
//!
//! Both directions stream: a chunk of the node stays in the first-level cache while the branches pass.

use std::ops::Range;

use super::memory::{Area, Memory};
use super::simd::{Kernel, Vector};
use super::statistics::Units;
use super::stream::{self, Block, target_area};
use super::{Cpu, Mixed, MixedGradient, MixedKernels, Norm};

/// Elements of a chunk of the node in the forward pass.
const FORWARD_CHUNK: usize = 2048;
/// Elements of a chunk of the node's gradient in the backward pass.
const BACKWARD_CHUNK: usize = 4096;

/// Cuts a run of pixels into chunks of about this many elements.
fn chunks(pixels: Range<usize>, channels: usize, elements: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (elements / channels).max(1);
    pixels.clone().step_by(step).map(move |first| first..(first + step).min(pixels.end))
}

/// The open branches from `next` on, four at most, and their number; `next` then lies behind them.
#[inline(always)]
fn four_open(op: &Mixed, memory: Memory, next: &mut usize) -> ([usize; 4], usize) {
    let (mut found, mut count) = ([0; 4], 0);
    while count < 4 && *next < op.branches.len() {
        if memory.open(op.branches[*next].gate) {
            found[count] = *next;
            count += 1;
        }
        *next += 1;
    }
    (found, count)
}

/// The pixels of a unit.
fn pixels(op: &Mixed, units: Units, unit: usize) -> Range<usize> {
    let (images, pixels) = (units.images(unit), op.shape.image_pixels());
    images.start * pixels..images.end * pixels
}

impl MixedKernels for Cpu {
    fn mixed_forward(&mut self, op: &Mixed) {
        let (memory, instructions) = (self.memory(), self.instructions);
        let units = Units::new(op.shape.n as usize, op.shape.image_pixels());
        // SAFETY: the workspace holds `[branches + 1][channels]`.
        unsafe { coefficients(op, memory) };
        self.team.each(units.count(), &|_, unit| {
            // SAFETY: the set is available; units have pixels of their own.
            unsafe { instructions.run(Forward { op, pixels: pixels(op, units, unit), memory }) };
        });
    }

    fn mixed_backward(&mut self, op: &Mixed, gradient: &MixedGradient) {
        let (channels, branches) = (op.shape.c as usize, op.branches.len());
        let units = Units::new(op.shape.n as usize, op.shape.image_pixels());
        let step = (branches + 1) * channels;
        let sums = self.sums.at_least(units.count() * step);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|_, unit| {
            let (pixels, sums) = (pixels(op, units, unit), sums.part(unit * step, step));
            // SAFETY: the set is available; units have pixels and sums of their own.
            unsafe { instructions.run(Backward { op, gradient, pixels, memory, sums }) };
        });
        // SAFETY: each unit left `[branches + 1][channels]`.
        unsafe {
            stream::combine(sums, units.count(), step, memory.span(gradient.total), channels);
            let (total, sum) = (memory.span(gradient.total), memory.span(gradient.sum));
            let whole: f64 = (0..channels).map(|c| f64::from(total.get(c))).sum();
            sum.set(0, (f64::from(sum.get(0)) + whole) as f32);
            for (index, branch) in gradient.branches.iter().enumerate() {
                if !memory.open(op.branches[index].gate) {
                    continue;
                }
                let (from, to) = (sums.from((index + 1) * channels), memory.span(branch.products));
                stream::combine(from, units.count(), step, to, channels);
                let slope = weight_slope(memory, op.branches[index].norm, gradient.total, branch.products);
                let weight = memory.span(branch.weight);
                weight.set(0, (f64::from(weight.get(0)) + slope) as f32);
            }
        }
    }
}

/// Fills the workspace: `weight * scale` of each branch, then the sum of `weight * shift`.
unsafe fn coefficients(op: &Mixed, memory: Memory) {
    let (channels, workspace) = (op.shape.c as usize, memory.span(op.workspace));
    for c in 0..channels {
        let mut shift = 0.0;
        for (index, branch) in op.branches.iter().enumerate() {
            if !memory.open(branch.gate) {
                continue;
            }
            // SAFETY: the caller's promise; norms hold a number a channel.
            unsafe {
                let weight = memory.span(branch.weight).get(0);
                let scale = branch.norm.map_or(1.0, |norm| memory.span(norm.scale).get(c));
                let own = branch.norm.map_or(0.0, |norm| memory.span(norm.shift).get(c));
                workspace.set(index * channels + c, weight * scale);
                shift += f64::from(weight) * f64::from(own);
            }
        }
        // SAFETY: the caller's promise.
        unsafe { workspace.set(op.branches.len() * channels + c, shift as f32) };
    }
}

/// `sum(g * y)` from the sums over xhat.
unsafe fn weight_slope(memory: Memory, norm: Option<Norm>, total: super::Span, products: super::Span) -> f64 {
    let learned = |span: Option<super::Span>, c, absent| {
        // SAFETY: gamma and beta hold a number a channel.
        span.map_or(absent, |span| f64::from(unsafe { memory.span(span).get(c) }))
    };
    (0..products.len)
        .map(|c| {
            let gamma = learned(norm.and_then(|norm| norm.gamma), c, 1.0);
            let beta = learned(norm.and_then(|norm| norm.beta), c, 0.0);
            // SAFETY: both spans hold a number a channel.
            let (total, products) = unsafe { (memory.span(total).get(c), memory.span(products).get(c)) };
            gamma * f64::from(products) + beta * f64::from(total)
        })
        .sum()
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a Mixed,
    pixels: Range<usize>,
    memory: Memory,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (channels, count) = (self.op.shape.c as usize, self.op.branches.len());
        for chunk in chunks(self.pixels.clone(), channels, FORWARD_CHUNK) {
            let (mut next, mut first) = (0, true);
            while first || next < count {
                let (four, found) = four_open(self.op, self.memory, &mut next);
                let [a, b, c, d] = four;
                // SAFETY: the pixels of the chunk lie in all slots.
                unsafe {
                    match found {
                        0 if first => self.add::<V, 0>(chunk.clone(), [], first),
                        0 => {}
                        1 => self.add::<V, 1>(chunk.clone(), [a], first),
                        2 => self.add::<V, 2>(chunk.clone(), [a, b], first),
                        3 => self.add::<V, 3>(chunk.clone(), [a, b, c], first),
                        _ => self.add::<V, 4>(chunk.clone(), [a, b, c, d], first),
                    }
                }
                first = false;
            }
        }
    }
}

impl Forward<'_> {
    /// Adds branches to a chunk of the node, the first of them to the shift.
    #[inline(always)]
    unsafe fn add<V: Vector, const N: usize>(&self, chunk: Range<usize>, branches: [usize; N], first: bool) {
        let (channels, start) = (self.op.shape.c as usize, chunk.start * self.op.shape.c as usize);
        let workspace = self.memory.span(self.op.workspace);
        let output = self.memory.slot(self.op.output).from(start);
        let flat = Block::<V>::flat(channels, channels);
        let mut inputs = [output; N];
        for k in 0..N {
            inputs[k] = self.memory.slot(self.op.branches[branches[k]].data).from(start);
        }
        for index in 0..Block::<V>::number(channels) {
            let block = Block::<V>::new(index, chunk.len(), channels, flat);
            // SAFETY: the pixels of the chunk lie in all slots; masks end at the last channel.
            unsafe {
                let mut factors = [V::zero(); N];
                for k in 0..N {
                    factors[k] = block.coefficients(workspace.from(branches[k] * channels));
                }
                let shift = block.coefficients(workspace.from(self.op.branches.len() * channels));
                for i in 0..block.count {
                    let (at, mask) = (block.at(i, channels), block.mask(i));
                    let mut sum = if first { shift } else { V::load_masked(output, at, mask) };
                    for k in 0..N {
                        block.fetch_rest(inputs[k], at);
                        sum = V::load_masked(inputs[k], at, mask).mul_add(factors[k], sum);
                    }
                    sum.store_masked(output, at, mask);
                }
            }
        }
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a Mixed,
    gradient: &'a MixedGradient,
    pixels: Range<usize>,
    memory: Memory,
    /// `[branches + 1][channels]`: total and products.
    sums: Area<f64>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (channels, memory) = (self.op.shape.c as usize, self.memory);
        let count = self.op.branches.len();
        // SAFETY: the pixels of chunks lie in all slots; no other unit has them.
        unsafe {
            self.sums.slice_mut(0, (count + 1) * channels).fill(0.0);
            for chunk in chunks(self.pixels.clone(), channels, BACKWARD_CHUNK) {
                let (mut next, mut first) = (0, true);
                while first || next < count {
                    let (four, found) = four_open(self.op, memory, &mut next);
                    let [a, b, c, d] = four;
                    match found {
                        0 if first => self.reduce::<V, 0>(&chunk, [], first),
                        0 => {}
                        1 => self.reduce::<V, 1>(&chunk, [a], first),
                        2 => self.reduce::<V, 2>(&chunk, [a, b], first),
                        3 => self.reduce::<V, 3>(&chunk, [a, b, c], first),
                        _ => self.reduce::<V, 4>(&chunk, [a, b, c, d], first),
                    }
                    first = false;
                }
                self.deliver::<V>(&chunk);
            }
        }
    }
}

impl Backward<'_> {
    /// The input gradients of identities over a chunk.
    #[inline(always)]
    unsafe fn deliver<V: Vector>(&self, chunk: &Range<usize>) {
        let (channels, memory) = (self.op.shape.c as usize, self.memory);
        let (start, len) = (chunk.start * channels, chunk.len() * channels);
        let g = memory.slot(self.gradient.output).part(start, len);
        for (branch, gradient) in self.op.branches.iter().zip(&self.gradient.branches) {
            let Some(target) = gradient.identity else { continue };
            let to = target_area(memory, target, start, len);
            // SAFETY: the pixels of the chunk lie in all slots; no other unit has them.
            unsafe {
                if memory.open(branch.gate) {
                    scale::<V>(g, memory.span(branch.weight).get(0), to, len, target.accumulate);
                } else if !target.accumulate && memory.open(target.gate) {
                    to.slice_mut(0, len).fill(0.0);
                }
            }
        }
    }

    /// The products of branches over a chunk; with the first of them also the total.
    #[inline(always)]
    unsafe fn reduce<V: Vector, const N: usize>(
        &self,
        chunk: &Range<usize>,
        branches: [usize; N],
        first: bool,
    ) {
        let (channels, memory) = (self.op.shape.c as usize, self.memory);
        let start = chunk.start * channels;
        let g = memory.slot(self.gradient.output).from(start);
        let flat = Block::<V>::flat(channels, channels);
        let mut raw = [g; N];
        for k in 0..N {
            raw[k] = memory.slot(self.op.branches[branches[k]].data).from(start);
        }
        for index in 0..Block::<V>::number(channels) {
            let block = Block::<V>::new(index, chunk.len(), channels, flat);
            let (mut total, mut products) = (V::zero(), [V::zero(); N]);
            let (mut mean, mut deviation) = ([V::zero(); N], [V::splat(1.0); N]);
            // SAFETY: the pixels of the chunk lie in all slots; masks end at the last channel.
            unsafe {
                for k in 0..N {
                    if let Some(norm) = self.op.branches[branches[k]].norm {
                        mean[k] = block.coefficients(memory.span(norm.mean));
                        deviation[k] = block.coefficients(memory.span(norm.inverse_deviation));
                    }
                }
                for i in 0..block.count {
                    let (at, mask) = (block.at(i, channels), block.mask(i));
                    let slope = V::load_masked(g, at, mask);
                    total = total.add(slope);
                    for k in 0..N {
                        block.fetch_rest(raw[k], at);
                        let x = V::load_masked(raw[k], at, mask);
                        products[k] = slope.mul_add(x.sub(mean[k]), products[k]);
                    }
                }
                let into = |row: usize| self.sums.slice_mut(row * channels, channels);
                if first {
                    total.add_to(into(0), block.first, block.lanes());
                }
                for k in 0..N {
                    let product = products[k].mul(deviation[k]);
                    product.add_to(into(branches[k] + 1), block.first, block.lanes());
                }
            }
        }
    }
}

/// `target = weight * g`, or added to it.
#[inline(always)]
unsafe fn scale<V: Vector>(g: Area, weight: f32, target: Area, len: usize, accumulate: bool) {
    let weight = V::splat(weight);
    let mut at = 0;
    while at < len {
        let mask = V::mask((len - at).min(V::LANES));
        // SAFETY: the caller's promise: both areas hold `len` elements.
        unsafe {
            let before = if accumulate { V::load_masked(target, at, mask) } else { V::zero() };
            V::load_masked(g, at, mask).mul_add(weight, before).store_masked(target, at, mask);
        }
        at += V::LANES;
    }
}
