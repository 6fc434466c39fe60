//! What is done to each value on its way between memory and scratch: normalising and the ReLU when an
//! activation is read, forming an output gradient, delivering an input gradient; and the sums per channel that
//! are taken on the way.

use super::memory::{Area, Memory};
use super::simd::{Kernel, Vector};
use super::{Norm, Sums, Target, UnstoredGradient};

/// Vectors over `[pixels][channels]` that all hold the same channels: one block of channels, or, where
/// the channels are few and divide the lanes, everything, several pixels to a vector.
pub struct Block<V: Vector> {
    /// Channel of the first lane.
    pub first: usize,
    /// Number of vectors.
    pub count: usize,
    /// Whether a vector holds several pixels.
    flat: bool,
    channels: usize,
    lanes: usize,
    last_lanes: usize,
    mask: V::Mask,
    last: V::Mask,
}

impl<V: Vector> Block<V> {
    /// Whether pixels, `pitch` elements apart, are taken several to a vector.
    #[inline(always)]
    pub fn flat(channels: usize, pitch: usize) -> bool {
        channels == pitch && V::LANES.is_multiple_of(channels)
    }

    /// Number of blocks.
    #[inline(always)]
    pub fn number(channels: usize) -> usize {
        channels.div_ceil(V::LANES)
    }

    /// Block `index`; `flat` as [`Block::flat`] says for every area that takes part.
    #[inline(always)]
    pub fn new(index: usize, pixels: usize, channels: usize, flat: bool) -> Self {
        let first = index * V::LANES;
        let total = pixels * channels;
        let count = if flat { total.div_ceil(V::LANES) } else { pixels };
        let lanes = if flat { V::LANES } else { (channels - first).min(V::LANES) };
        let last_lanes = if flat { total - (count.max(1) - 1) * V::LANES } else { lanes };
        let (mask, last) = (V::mask(lanes), V::mask(last_lanes));
        Block { first, count, flat, channels, lanes, last_lanes, mask, last }
    }

    /// Where vector `index` lies if pixels are `pitch` apart.
    #[inline(always)]
    pub fn at(&self, index: usize, pitch: usize) -> usize {
        if self.flat { index * V::LANES } else { index * pitch + self.first }
    }

    /// The lanes of vector `index` that count.
    #[inline(always)]
    pub fn mask(&self, index: usize) -> V::Mask {
        if index + 1 == self.count { self.last } else { self.mask }
    }

    /// The first block asks for the other channels of its pixel too, so that memory is read in order.
    #[inline(always)]
    pub fn fetch_rest(&self, area: Area, at: usize) {
        if self.first == 0 && self.channels > V::LANES {
            for first in (V::LANES..self.channels).step_by(16) {
                V::prefetch(area, at + first);
            }
        }
    }

    /// Lanes that a sum over all vectors fills.
    #[inline(always)]
    pub fn lanes(&self) -> usize {
        if self.count == 1 { self.last_lanes } else { self.lanes }
    }

    /// A vector with zeros in the lanes that do not count.
    #[inline(always)]
    pub fn masked(&self, vector: V, mask: V::Mask) -> V {
        let mut values = [0f32; 16];
        let area = Area::of(&mut values);
        // SAFETY: `values` holds the largest vector.
        unsafe {
            vector.store_masked(area, 0, mask);
            V::load(area, 0)
        }
    }

    /// Per-channel numbers, as the lanes need them.
    ///
    /// # Safety
    /// `area` holds one number a channel.
    #[inline(always)]
    pub unsafe fn coefficients(&self, area: Area) -> V {
        // SAFETY: the caller's promise; the mask ends at the last channel.
        unsafe {
            if !self.flat || self.channels == V::LANES {
                return V::load_masked(area, self.first, self.mask);
            }
            let mut values = [0f32; 16];
            for (lane, value) in values.iter_mut().enumerate().take(V::LANES) {
                *value = area.get(lane % self.channels);
            }
            V::load(Area::of(&mut values), 0)
        }
    }
}

/// Copies rows of pixels, normalised and behind the ReLU where asked for.
#[derive(Clone, Copy)]
pub struct Activate {
    /// Raw values, contiguous within a row.
    pub source: Area,
    /// Elements between rows.
    pub source_row: usize,
    /// The copy.
    pub target: Area,
    /// Elements between rows.
    pub target_row: usize,
    /// Elements between pixels.
    pub target_pitch: usize,
    /// Rows.
    pub rows: usize,
    /// Pixels of a row.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
    /// `scale` and `shift`.
    pub affine: Option<(Area, Area)>,
    /// Whether negative values become zero.
    pub relu: bool,
}

/// Scale and shift of a norm.
pub fn affine(memory: Memory, norm: Option<Norm>) -> Option<(Area, Area)> {
    norm.map(|norm| (memory.span(norm.scale), memory.span(norm.shift)))
}

impl Kernel for Activate {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let flat = Block::<V>::flat(self.channels, self.target_pitch);
        for index in 0..Block::<V>::number(self.channels) {
            let block = Block::<V>::new(index, self.columns, self.channels, flat);
            let floor = V::splat(if self.relu { 0.0 } else { f32::NEG_INFINITY });
            // SAFETY: rows x columns pixels lie in both areas; masks end at the last channel.
            unsafe {
                let (scale, shift) = match self.affine {
                    Some((scale, shift)) => (block.coefficients(scale), block.coefficients(shift)),
                    None => (V::splat(1.0), V::zero()),
                };
                for row in 0..self.rows {
                    let source = self.source.from(row * self.source_row);
                    let target = self.target.from(row * self.target_row);
                    for i in 0..block.count {
                        let mask = block.mask(i);
                        block.fetch_rest(source, block.at(i, self.channels));
                        let x = V::load_masked(source, block.at(i, self.channels), mask);
                        // In this order what is not a number stays so.
                        let y = floor.max(x.mul_add(scale, shift));
                        y.store_masked(target, block.at(i, self.target_pitch), mask);
                    }
                }
            }
        }
    }
}

/// Forms an [`UnstoredGradient`] for a run of pixels.
#[derive(Clone, Copy)]
pub struct FormGradient<'a> {
    /// What to form.
    pub output_gradient: &'a UnstoredGradient,
    /// Where its parts lie.
    pub memory: Memory,
    /// First pixel.
    pub pixel: usize,
    /// Number of pixels.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// The result: `[pixels][channels]`.
    pub target: Area,
}

impl Kernel for FormGradient<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let flat = Block::<V>::flat(self.channels, self.channels);
        for index in 0..Block::<V>::number(self.channels) {
            let block = Block::<V>::new(index, self.pixels, self.channels, flat);
            // SAFETY: the slots hold all pixels of the result, the target those of this run.
            unsafe {
                // The first term together with the raw value, then the others.
                let (first, rest) =
                    self.output_gradient.terms.split_at(self.output_gradient.terms.len().min(1));
                self.add_term(&block, first.first(), true);
                for term in rest {
                    self.add_term(&block, Some(term), false);
                }
            }
        }
    }
}

impl FormGradient<'_> {
    /// Adds a term to the target, or starts it with the part of the raw value.
    #[inline(always)]
    unsafe fn add_term<V: Vector>(&self, block: &Block<V>, term: Option<&super::Term>, start: bool) {
        let start_at = self.pixel * self.channels;
        let (memory, output_gradient) = (self.memory, self.output_gradient);
        let raw = memory.slot(output_gradient.raw).from(start_at);
        // SAFETY: as in `run`.
        unsafe {
            let raw_factor = block.coefficients(memory.span(output_gradient.raw_factor));
            let constant = block.coefficients(memory.span(output_gradient.constant));
            let (gradient, factor) = match term {
                Some(term) => {
                    let factor = block.coefficients(memory.span(term.factor));
                    (memory.slot(term.gradient).from(start_at), factor)
                }
                None => (raw, V::zero()),
            };
            for i in 0..block.count {
                let (at, mask) = (block.at(i, self.channels), block.mask(i));
                block.fetch_rest(gradient, at);
                let g = V::load_masked(gradient, at, mask);
                let before = if start {
                    block.fetch_rest(raw, at);
                    V::load_masked(raw, at, mask).mul_add(raw_factor, constant)
                } else {
                    V::load_masked(self.target, at, mask)
                };
                g.mul_add(factor, before).store_masked(self.target, at, mask);
            }
        }
    }
}

/// Gives an input gradient to its target: masked by the ReLU, added to what other consumers gave, and
/// summed for the batch norm where asked for.
#[derive(Clone, Copy)]
pub struct Deliver {
    /// The gradient.
    pub gradient: Area,
    /// Elements between its rows.
    pub gradient_row: usize,
    /// The activated input, whose sign is the mask, laid out with pixels as far apart as the gradient's.
    pub activated: Option<Area>,
    /// Elements between its rows.
    pub activated_row: usize,
    /// Elements between pixels of both.
    pub pitch: usize,
    /// Rows.
    pub rows: usize,
    /// Pixels of a row.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
    /// The target, from the first pixel on; contiguous.
    pub target: Area,
    /// Whether the gradient is added to it.
    pub accumulate: bool,
    /// Sums over what is now in the target.
    pub sums: Option<Reduction>,
}

/// Where `sum(g)` and `sum(g * xhat)` go, and what xhat is.
#[derive(Clone, Copy)]
pub struct Reduction {
    /// Raw values, from the first pixel on; contiguous.
    pub raw: Area,
    /// Mean and inverse deviation.
    pub norm: Option<(Area, Area)>,
    /// `[c]`, added to.
    pub total: Area<f64>,
    /// `[c]`, added to.
    pub products: Area<f64>,
}

/// Mean and inverse deviation of a norm.
pub fn standard(memory: Memory, norm: Option<Norm>) -> Option<(Area, Area)> {
    norm.map(|norm| (memory.span(norm.mean), memory.span(norm.inverse_deviation)))
}

impl Kernel for Deliver {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let flat = Block::<V>::flat(self.channels, self.pitch);
        for index in 0..Block::<V>::number(self.channels) {
            let block = Block::<V>::new(index, self.columns, self.channels, flat);
            for row in 0..self.rows {
                let start = row * self.columns * self.channels;
                let target = self.target.from(start);
                let gradient = self.gradient.from(row * self.gradient_row);
                // SAFETY: rows x columns pixels lie in all areas; masks end at the last channel.
                unsafe {
                    for i in 0..block.count {
                        let (at, mask) = (block.at(i, self.channels), block.mask(i));
                        let from = block.at(i, self.pitch);
                        let mut g = V::load_masked(gradient, from, mask);
                        if let Some(activated) = self.activated {
                            let sign = activated.from(row * self.activated_row);
                            g = g.where_positive(V::load_masked(sign, from, mask));
                        }
                        if self.accumulate {
                            g = g.add(V::load_masked(target, at, mask));
                        }
                        g.store_masked(target, at, mask);
                    }
                }
            }
        }
        if let Some(sums) = self.sums {
            let pixels = self.rows * self.columns;
            // SAFETY: passed on; the sums are this unit's own.
            unsafe { V::call(Reduce { gradient: self.target, pixels, channels: self.channels, sums }) };
        }
    }
}

/// The two sums of batch norm's backward over a run of pixels.
#[derive(Clone, Copy)]
pub struct Reduce {
    /// `[pixels][channels]`.
    pub gradient: Area,
    /// Number of pixels.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// Raw values and results.
    pub sums: Reduction,
}

impl Kernel for Reduce {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let flat = Block::<V>::flat(self.channels, self.channels);
        for index in 0..Block::<V>::number(self.channels) {
            let block = Block::<V>::new(index, self.pixels, self.channels, flat);
            const U: usize = 4;
            let (mut totals, mut products) = ([V::zero(); U], [V::zero(); U]);
            // SAFETY: all pixels lie in both areas, every channel in the sums.
            unsafe {
                let (mean, deviation) = match self.sums.norm {
                    Some((mean, deviation)) => (block.coefficients(mean), block.coefficients(deviation)),
                    None => (V::zero(), V::splat(1.0)),
                };
                let mut i = 0;
                while i + U < block.count {
                    for u in 0..U {
                        let at = block.at(i + u, self.channels);
                        block.fetch_rest(self.sums.raw, at);
                        let g = V::load_masked(self.gradient, at, block.mask(0));
                        let x = V::load_masked(self.sums.raw, at, block.mask(0));
                        totals[u] = totals[u].add(g);
                        products[u] = g.mul_add(x.sub(mean), products[u]);
                    }
                    i += U;
                }
                while i < block.count {
                    let (at, mask) = (block.at(i, self.channels), block.mask(i));
                    let g = V::load_masked(self.gradient, at, mask);
                    let x = V::load_masked(self.sums.raw, at, mask);
                    totals[0] = totals[0].add(g);
                    products[0] = g.mul_add(x.sub(mean), products[0]);
                    i += 1;
                }
                let sum = |parts: [V; U]| parts[0].add(parts[1]).add(parts[2].add(parts[3]));
                let products = sum(products).mul(deviation);
                let into = |area: Area<f64>| area.slice_mut(0, self.channels);
                sum(totals).add_to(into(self.sums.total), block.first, block.lanes());
                products.add_to(into(self.sums.products), block.first, block.lanes());
            }
        }
    }
}

/// Writes per-channel sums that units took to their place: `result = sum over units`, in f64.
///
/// # Safety
/// `partials` holds `units` runs of `result.len` numbers, `step` apart.
pub unsafe fn combine(partials: Area<f64>, units: usize, step: usize, result: Area, len: usize) {
    for c in 0..len {
        // SAFETY: the caller's promise.
        unsafe {
            let sum: f64 = (0..units).map(|unit| partials.get(unit * step + c)).sum();
            result.set(c, sum as f32);
        }
    }
}

/// Writes both sums of batch norm's backward, `[2][c]` of each unit.
///
/// # Safety
/// As for [`combine`].
pub unsafe fn combine_sums(partials: Area<f64>, units: usize, step: usize, memory: Memory, sums: Sums) {
    let channels = sums.total.len;
    // SAFETY: the caller's promise.
    unsafe {
        combine(partials, units, step, memory.span(sums.total), channels);
        combine(partials.from(channels), units, step, memory.span(sums.products), channels);
    }
}

/// The part of a target from element `at` on.
pub fn target_area(memory: Memory, target: Target, at: usize, len: usize) -> Area {
    memory.slot(target.slot).part(at, len)
}
