//! Maximum and average of 3x3 neighbourhoods, an image at a time.
//!
//! The image is normalised once into scratch, by the same instructions in both directions, so that the
//! backward pass finds the maxima where the forward pass saw them.

use std::ops::Range;

use super::memory::{Area, Carver, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::{self, Measure, Units};
use super::stream::{Activate, Deliver, FormGradient, affine, target_area};
use super::{Cpu, NormalisedPools, NormalisedPoolsGradient, NormalisedPoolsKernels};

#[derive(Clone, Copy)]
struct Geometry {
    in_h: usize,
    in_w: usize,
    out_h: usize,
    out_w: usize,
    channels: usize,
    stride: usize,
    units: Units,
}

impl Geometry {
    fn new(op: &NormalisedPools) -> Self {
        let (input, output) = (op.input.shape, op.output_shape);
        Geometry {
            in_h: input.h as usize,
            in_w: input.w as usize,
            out_h: output.h as usize,
            out_w: output.w as usize,
            channels: output.c as usize,
            stride: op.stride,
            units: Units::new(input.n as usize, input.image_pixels()),
        }
    }

    fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.channels
    }

    fn out_len(&self) -> usize {
        self.out_h * self.out_w * self.channels
    }

    /// Rows and columns of the input in the window of an output.
    #[inline(always)]
    fn window(&self, row: usize, column: usize) -> (Range<usize>, Range<usize>) {
        let side = |centre: usize, side: usize| centre.saturating_sub(1)..(centre + 2).min(side);
        (side(row * self.stride, self.in_h), side(column * self.stride, self.in_w))
    }

    /// The image normalised into scratch.
    fn normalise(&self, op: &NormalisedPools, memory: Memory, image: usize, target: Area) -> Activate {
        Activate {
            source: memory.slot(op.input.data).part(image * self.in_len(), self.in_len()),
            source_row: 0,
            target,
            target_row: 0,
            target_pitch: self.channels,
            rows: 1,
            columns: self.in_h * self.in_w,
            channels: self.channels,
            affine: affine(memory, op.input.norm),
            relu: false,
        }
    }
}

impl NormalisedPoolsKernels for Cpu {
    fn normalised_pools_forward(&mut self, op: &NormalisedPools) {
        let open = [op.maximum_gate, op.average_gate].map(|gate| self.memory().open(gate));
        if open == [false; 2] {
            return;
        }
        let geometry = Geometry::new(op);
        let (units, channels) = (geometry.units, geometry.channels);
        let sums = self.sums.at_least(units.count() * 4 * channels);
        let scratch_len = piece(geometry.in_len()) + 2 * piece(channels);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let forward = Forward {
                op,
                open,
                geometry,
                images: units.images(unit),
                memory,
                scratch: scratch.part(member * scratch_len, scratch_len),
                sums: sums.from(unit * 4 * channels),
            };
            // SAFETY: the set is available; members have scratch, units have images and sums of their own.
            unsafe { instructions.run(forward) };
        });
        for (index, span) in [op.maximum_statistics, op.average_statistics].into_iter().enumerate() {
            if !open[index] {
                continue;
            }
            let (partials, result) = (sums.from(index * 2 * channels), memory.span(span));
            let pixels = geometry.out_h * geometry.out_w;
            // SAFETY: each unit left `[2][2][channels]`.
            unsafe { statistics::combine(partials, 4 * channels, units, pixels, result, channels) };
        }
    }

    fn normalised_pools_backward(&mut self, op: &NormalisedPools, gradient: &NormalisedPoolsGradient) {
        let open = [op.maximum_gate, op.average_gate].map(|gate| self.memory().open(gate));
        if open == [false; 2] {
            return self.withhold(gradient.input);
        }
        let geometry = Geometry::new(op);
        let units = geometry.units;
        let scratch_len = 2 * piece(geometry.in_len()) + 2 * piece(geometry.out_len());
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let backward = Backward {
                op,
                open,
                gradient,
                geometry,
                images: units.images(unit),
                memory,
                scratch: scratch.part(member * scratch_len, scratch_len),
            };
            // SAFETY: the set is available; members have scratch and units have images of their own.
            unsafe { instructions.run(backward) };
        });
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a NormalisedPools,
    /// Whether maximum and average are computed; one of them is.
    open: [bool; 2],
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    scratch: Area,
    sums: Area<f64>,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let channels = geometry.channels;
        let mut carver = Carver::new(self.scratch);
        let values = carver.take(geometry.in_len());
        let pivots = [carver.take(channels), carver.take(channels)];
        let pixels = geometry.out_h * geometry.out_w;
        // SAFETY: images lie in the slots; scratch covers what was carved.
        unsafe {
            for index in self.images.clone() {
                V::call(geometry.normalise(self.op, self.memory, index, values));
                let len = geometry.out_len();
                let results = [self.op.maximum, self.op.average]
                    .map(|slot| self.memory.slot(slot).part(index * len, len));
                for first in (0..channels).step_by(V::LANES) {
                    match self.open {
                        [true, true] => self.block::<V, true, true>(values, results, first),
                        [true, false] => self.block::<V, true, false>(values, results, first),
                        _ => self.block::<V, false, true>(values, results, first),
                    }
                }
                for (half, data) in results.into_iter().enumerate().filter(|(half, _)| self.open[*half]) {
                    V::call(Measure {
                        data,
                        pixels,
                        channels,
                        pivot: pivots[half],
                        sums: self.sums.from(half * 2 * channels),
                        first: index == self.images.start,
                    });
                }
            }
            for (half, pivot) in pivots.into_iter().enumerate().filter(|(half, _)| self.open[*half]) {
                let sums = self.sums.from(half * 2 * channels);
                statistics::finish(pivot, sums, channels, self.images.len() * pixels);
            }
        }
    }
}

impl Forward<'_> {
    /// All pixels of a block of channels.
    #[inline(always)]
    unsafe fn block<V: Vector, const MAXIMUM: bool, const AVERAGE: bool>(
        &self,
        values: Area,
        results: [Area; 2],
        first: usize,
    ) {
        let geometry = &self.geometry;
        let mask = V::mask((geometry.channels - first).min(V::LANES));
        for row in 0..geometry.out_h {
            for column in 0..geometry.out_w {
                let (rows, columns) = geometry.window(row, column);
                let share = V::splat(1.0 / (rows.len() * columns.len()) as f32);
                let (mut largest, mut sum) = (V::splat(f32::NEG_INFINITY), V::zero());
                // SAFETY: windows end at the image; the mask ends at the last channel.
                unsafe {
                    for y in rows {
                        for x in columns.clone() {
                            let at = (y * geometry.in_w + x) * geometry.channels + first;
                            let value = V::load_masked(values, at, mask);
                            largest = largest.max(value);
                            sum = sum.add(value);
                        }
                    }
                    let at = (row * geometry.out_w + column) * geometry.channels + first;
                    if MAXIMUM {
                        largest.store_masked(results[0], at, mask);
                    }
                    if AVERAGE {
                        sum.mul(share).store_masked(results[1], at, mask);
                    }
                }
            }
        }
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a NormalisedPools,
    /// Whether maximum and average are computed; one of them is.
    open: [bool; 2],
    gradient: &'a NormalisedPoolsGradient,
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    scratch: Area,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let (channels, len) = (geometry.channels, geometry.in_len());
        let mut carver = Carver::new(self.scratch);
        let (values, total) = (carver.take(len), carver.take(len));
        let slopes = [carver.take(geometry.out_len()), carver.take(geometry.out_len())];
        let pixels = geometry.out_h * geometry.out_w;
        let target = self.gradient.input;
        // SAFETY: images lie in the slots; scratch covers what was carved; no other unit has the image.
        unsafe {
            for index in self.images.clone() {
                V::call(geometry.normalise(self.op, self.memory, index, values));
                let gradients = [&self.gradient.maximum, &self.gradient.average];
                for (half, output_gradient) in
                    gradients.into_iter().enumerate().filter(|(half, _)| self.open[*half])
                {
                    V::call(FormGradient {
                        output_gradient,
                        memory: self.memory,
                        pixel: index * pixels,
                        pixels,
                        channels,
                        target: slopes[half],
                    });
                }
                total.slice_mut(0, len).fill(0.0);
                for first in (0..channels).step_by(V::LANES) {
                    match self.open {
                        [true, true] => self.block::<V, true, true>(values, slopes, total, first),
                        [true, false] => self.block::<V, true, false>(values, slopes, total, first),
                        _ => self.block::<V, false, true>(values, slopes, total, first),
                    }
                }
                V::call(Deliver {
                    gradient: total,
                    gradient_row: 0,
                    activated: None,
                    activated_row: 0,
                    pitch: channels,
                    rows: 1,
                    columns: geometry.in_h * geometry.in_w,
                    channels,
                    target: target_area(self.memory, target, index * len, len),
                    accumulate: target.accumulate,
                    sums: None,
                });
            }
        }
    }
}

impl Backward<'_> {
    /// All pixels of a block of channels.
    #[inline(always)]
    unsafe fn block<V: Vector, const MAXIMUM: bool, const AVERAGE: bool>(
        &self,
        values: Area,
        slopes: [Area; 2],
        total: Area,
        first: usize,
    ) {
        let geometry = &self.geometry;
        let mask = V::mask((geometry.channels - first).min(V::LANES));
        for row in 0..geometry.out_h {
            for column in 0..geometry.out_w {
                let (rows, columns) = geometry.window(row, column);
                let count = V::splat(1.0 / (rows.len() * columns.len()) as f32);
                let at = |y: usize, x: usize| (y * geometry.in_w + x) * geometry.channels + first;
                // SAFETY: windows end at the image; the mask ends at the last channel.
                unsafe {
                    let mut largest = V::load_masked(values, at(rows.start, columns.start), mask);
                    let mut place = V::zero();
                    let taps = if MAXIMUM { rows.clone() } else { 0..0 };
                    for (i, y) in taps.enumerate() {
                        for (j, x) in columns.clone().enumerate() {
                            let value = V::load_masked(values, at(y, x), mask);
                            place = place.replace_where_greater(value, largest, V::splat((3 * i + j) as f32));
                            largest = largest.replace_where_greater(value, largest, value);
                        }
                    }
                    let from = (row * geometry.out_w + column) * geometry.channels + first;
                    let slope = if MAXIMUM { V::load_masked(slopes[0], from, mask) } else { V::zero() };
                    let share = if AVERAGE { V::load_masked(slopes[1], from, mask) } else { V::zero() };
                    let share = share.mul(count);
                    for (i, y) in rows.enumerate() {
                        for (j, x) in columns.clone().enumerate() {
                            let mut sum = V::load_masked(total, at(y, x), mask);
                            if AVERAGE {
                                sum = sum.add(share);
                            }
                            if MAXIMUM {
                                sum = sum.add(slope.where_equal(place, V::splat((3 * i + j) as f32)));
                            }
                            sum.store_masked(total, at(y, x), mask);
                        }
                    }
                }
            }
        }
    }
}
