//! Mean and variance per channel, taken from each result while it is in cache.
//!
//! Squares are summed around a pivot near the mean, so that nothing cancels; each work unit keeps its
//! sums in f64, and the units' means and squares are combined in their order (Chan, Golub, LeVeque).

use std::ops::Range;

use super::memory::Area;
use super::simd::{Kernel, Vector};
use super::stream::Block;

/// A fixed division of a batch into work units. It depends on the geometry alone, which makes every sum
/// independent of the number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    images: usize,
    each: usize,
}

impl Units {
    /// Units of at least 512 pixels where the batch allows, and no more than 64.
    pub fn new(images: usize, image_pixels: usize) -> Self {
        let enough = 512usize.div_ceil(image_pixels.max(1));
        Units { images, each: enough.max(images.div_ceil(64)) }
    }

    /// Number of units.
    pub fn count(self) -> usize {
        self.images.div_ceil(self.each)
    }

    /// The images of a unit.
    pub fn images(self, unit: usize) -> Range<usize> {
        unit * self.each..((unit + 1) * self.each).min(self.images)
    }
}

/// Adds a run of pixels to a unit's sums around the pivot.
#[derive(Clone, Copy)]
pub struct Measure {
    /// `[pixels][channels]`.
    pub data: Area,
    /// Number of pixels.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// `[c]`; set by the first run of a unit.
    pub pivot: Area,
    /// `[2][c]`: sums of `x - pivot` and of its square; zeroed by the first run.
    pub sums: Area<f64>,
    /// Whether this is the unit's first run.
    pub first: bool,
}

/// Pixels whose mean is the pivot.
const SAMPLES: usize = 16;

impl Kernel for Measure {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let flat = Block::<V>::flat(self.channels, self.channels);
        // SAFETY: the data cover pixels x channels, pivot and sums the channels.
        unsafe {
            if self.first {
                self.choose_pivot();
            }
            for index in 0..Block::<V>::number(self.channels) {
                let block = Block::<V>::new(index, self.pixels, self.channels, flat);
                self.add_block(&block);
            }
        }
    }
}

impl Measure {
    #[inline(always)]
    unsafe fn choose_pivot(&self) {
        let samples = SAMPLES.min(self.pixels);
        // SAFETY: sampled pixels are below `pixels`.
        unsafe {
            let pivot = self.pivot.slice_mut(0, self.channels);
            pivot.fill(0.0);
            for sample in 0..samples {
                let pixel = sample * self.pixels / samples;
                let values = self.data.slice(pixel * self.channels, self.channels);
                pivot.iter_mut().zip(values).for_each(|(pivot, value)| *pivot += value);
            }
            pivot.iter_mut().for_each(|pivot| *pivot /= samples as f32);
            self.sums.slice_mut(0, 2 * self.channels).fill(0.0);
        }
    }

    #[inline(always)]
    unsafe fn add_block<V: Vector>(&self, block: &Block<V>) {
        const U: usize = 4;
        let (mut sums, mut squares) = ([V::zero(); U], [V::zero(); U]);
        // SAFETY: vectors below `count` lie in the data; masks end at the last channel.
        unsafe {
            let pivot = block.coefficients(self.pivot);
            let at = |i| block.at(i, self.channels);
            let mut i = 0;
            while i + U < block.count {
                for u in 0..U {
                    let x = V::load_masked(self.data, at(i + u), block.mask(0));
                    let x = x.sub(pivot);
                    sums[u] = sums[u].add(x);
                    squares[u] = x.mul_add(x, squares[u]);
                }
                i += U;
            }
            while i < block.count {
                let mask = block.mask(i);
                // Lanes beyond the mask must not count: there the pivot stands in for the value.
                let x = V::load_masked(self.data, at(i), mask).sub(block.masked(pivot, mask));
                sums[0] = sums[0].add(x);
                squares[0] = x.mul_add(x, squares[0]);
                i += 1;
            }
            let total = |parts: [V; U]| parts[0].add(parts[1]).add(parts[2].add(parts[3]));
            let into = |half: usize| self.sums.slice_mut(half * self.channels, self.channels);
            total(sums).add_to(into(0), block.first, block.lanes());
            total(squares).add_to(into(1), block.first, block.lanes());
        }
    }
}

/// Turns a unit's sums around the pivot into mean and sum of squared deviations.
///
/// # Safety
/// Pivot and sums cover the channels.
pub unsafe fn finish(pivot: Area, sums: Area<f64>, channels: usize, pixels: usize) {
    let count = pixels as f64;
    // SAFETY: the caller's promise.
    unsafe {
        for c in 0..channels {
            let (sum, squares) = (sums.get(c), sums.get(channels + c));
            sums.set(c, f64::from(pivot.get(c)) + sum / count);
            sums.set(channels + c, (squares - sum * sum / count).max(0.0));
        }
    }
}

/// Combines what [`finish`] left of each unit into the mean and the biased variance, `[2][c]`.
///
/// # Safety
/// `partials` holds `[2][c]` for each unit, `step` apart; `result` holds `[2][c]`.
pub unsafe fn combine(
    partials: Area<f64>,
    step: usize,
    units: Units,
    image_pixels: usize,
    result: Area,
    channels: usize,
) {
    for c in 0..channels {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for unit in 0..units.count() {
            let more = (units.images(unit).len() * image_pixels) as f64;
            // SAFETY: the caller's promise.
            let [other, others] =
                unsafe { [partials.get(unit * step + c), partials.get(unit * step + channels + c)] };
            let (delta, share) = (other - mean, more / (count + more));
            mean += delta * share;
            squares += others + delta * delta * count * share;
            count += more;
        }
        // SAFETY: the caller's promise.
        unsafe {
            result.set(c, mean as f32);
            result.set(channels + c, (squares / count) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_cover_the_batch_in_order() {
        for (images, pixels) in [(1, 1), (5, 1), (64, 1024), (64, 64), (64, 1), (1000, 64), (65, 2000)] {
            let units = Units::new(images, pixels);
            assert!(units.count() <= 64);
            let all: Vec<_> = (0..units.count()).flat_map(|unit| units.images(unit)).collect();
            assert_eq!(all, (0..images).collect::<Vec<_>>());
        }
    }
}
