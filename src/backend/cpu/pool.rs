//! Maximum or average of square windows, an image at a time.
//!
//! The image is read once into scratch, by the same instructions in both directions, so that the backward pass
//! finds the maxima where the forward pass saw them. Averages are in a file of their own.

use std::ops::Range;

use super::averages::{self, Averages};
use super::memory::{Area, Carver, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::Units;
use super::stream::{Activate, Deliver, affine, target_area};
use super::{Cpu, Pool, PoolGradient, PoolKernels, PoolKind};

#[derive(Clone, Copy)]
struct Geometry {
    in_h: usize,
    in_w: usize,
    out_h: usize,
    out_w: usize,
    channels: usize,
    units: Units,
}

impl Geometry {
    fn new(op: &Pool) -> Self {
        let (input, output) = (op.input.shape, op.output_shape);
        Geometry {
            in_h: input.h as usize,
            in_w: input.w as usize,
            out_h: output.h as usize,
            out_w: output.w as usize,
            channels: output.c as usize,
            units: Units::new(input.n as usize, input.image_pixels()),
        }
    }

    fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.channels
    }

    fn out_len(&self) -> usize {
        self.out_h * self.out_w * self.channels
    }

    /// The image as the windows see it, in scratch.
    fn read(&self, op: &Pool, memory: Memory, image: usize, target: Area) -> Activate {
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
            relu: op.relu,
        }
    }
}

/// The window of an output pixel, for a block of channels.
#[derive(Clone)]
struct Window {
    rows: Range<usize>,
    columns: Range<usize>,
    /// Elements of a row of the image, and of a pixel.
    row: usize,
    channels: usize,
    /// First channel.
    first: usize,
    /// Where the block lies in the output.
    output: usize,
}

impl Window {
    #[inline(always)]
    fn new(op: &Pool, geometry: &Geometry, first: usize, pixel: usize) -> Self {
        let (row, column) = (pixel / geometry.out_w, pixel % geometry.out_w);
        Window {
            rows: op.window(row, geometry.in_h),
            columns: op.window(column, geometry.in_w),
            row: geometry.in_w * geometry.channels,
            channels: geometry.channels,
            first,
            output: pixel * geometry.channels + first,
        }
    }

    /// Where the block lies in a pixel of the image.
    #[inline(always)]
    fn at(&self, y: usize, x: usize) -> usize {
        y * self.row + x * self.channels + self.first
    }
}

impl PoolKernels for Cpu {
    fn pool_forward(&mut self, op: &Pool) {
        let geometry = Geometry::new(op);
        let scratch_len = piece(geometry.in_len()) + averages::scratch_len(op);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(geometry.units.count(), &|member, unit| {
            let images = geometry.units.images(unit);
            let scratch = scratch.part(member * scratch_len, scratch_len);
            // SAFETY: the set is available; members have scratch and units have images of their own.
            unsafe { instructions.run(Forward { op, geometry, images, memory, scratch }) };
        });
    }

    fn pool_backward(&mut self, op: &Pool, gradient: &PoolGradient) {
        let geometry = Geometry::new(op);
        let scratch_len = 2 * piece(geometry.in_len()) + averages::scratch_len(op);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(geometry.units.count(), &|member, unit| {
            let images = geometry.units.images(unit);
            let scratch = scratch.part(member * scratch_len, scratch_len);
            // SAFETY: the set is available; members have scratch and units have images of their own.
            unsafe { instructions.run(Backward { op, gradient, geometry, images, memory, scratch }) };
        });
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a Pool,
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    scratch: Area,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let mut carver = Carver::new(self.scratch);
        let values = carver.take(geometry.in_len());
        let averages = Averages::new(self.op, &mut carver);
        for index in self.images.clone() {
            let len = geometry.out_len();
            let output = self.memory.slot(self.op.output).part(index * len, len);
            // SAFETY: images lie in the slots; scratch covers what was carved; masks end at the last channel.
            unsafe {
                V::call(geometry.read(self.op, self.memory, index, values));
                if self.op.kind == PoolKind::Average {
                    averages.forward::<V>(values, output);
                    continue;
                }
                for first in (0..geometry.channels).step_by(V::LANES) {
                    let mask = V::mask((geometry.channels - first).min(V::LANES));
                    for pixel in 0..geometry.out_h * geometry.out_w {
                        let window = Window::new(self.op, geometry, first, pixel);
                        largest::<V>(&window, values, mask).store_masked(output, window.output, mask);
                    }
                }
            }
        }
    }
}

/// The largest pixel of a window.
#[inline(always)]
unsafe fn largest<V: Vector>(window: &Window, values: Area, mask: V::Mask) -> V {
    let mut largest = V::splat(f32::NEG_INFINITY);
    for y in window.rows.clone() {
        for x in window.columns.clone() {
            // SAFETY: windows end at the image; the mask ends at the last channel.
            largest = largest.max(unsafe { V::load_masked(values, window.at(y, x), mask) });
        }
    }
    largest
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a Pool,
    gradient: &'a PoolGradient,
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    scratch: Area,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let (len, out_len) = (geometry.in_len(), geometry.out_len());
        let mut carver = Carver::new(self.scratch);
        let (values, total) = (carver.take(len), carver.take(len));
        let averages = Averages::new(self.op, &mut carver);
        let target = self.gradient.input;
        for index in self.images.clone() {
            let slopes = self.memory.slot(self.gradient.output).part(index * out_len, out_len);
            // SAFETY: images lie in the slots; scratch covers what was carved; no other unit has the image.
            unsafe {
                if self.op.relu || self.op.kind == PoolKind::Maximum {
                    V::call(geometry.read(self.op, self.memory, index, values));
                }
                match self.op.kind {
                    PoolKind::Maximum => self.give_maxima::<V>(values, total, slopes),
                    PoolKind::Average => averages.backward::<V>(slopes, total),
                }
                V::call(Deliver {
                    gradient: total,
                    gradient_row: 0,
                    activated: self.op.relu.then_some(values),
                    activated_row: 0,
                    pitch: geometry.channels,
                    rows: 1,
                    columns: geometry.in_h * geometry.in_w,
                    channels: geometry.channels,
                    target: target_area(self.memory, target, index * len, len),
                    accumulate: target.accumulate,
                    sums: None,
                });
            }
        }
    }
}

impl Backward<'_> {
    /// Gives each gradient of an image to the largest pixel of its window.
    #[inline(always)]
    unsafe fn give_maxima<V: Vector>(&self, values: Area, total: Area, slopes: Area) {
        let geometry = &self.geometry;
        // SAFETY: windows end at the image; masks end at the last channel.
        unsafe {
            total.slice_mut(0, geometry.in_len()).fill(0.0);
            for first in (0..geometry.channels).step_by(V::LANES) {
                let mask = V::mask((geometry.channels - first).min(V::LANES));
                for pixel in 0..geometry.out_h * geometry.out_w {
                    let window = Window::new(self.op, geometry, first, pixel);
                    let slope = V::load_masked(slopes, window.output, mask);
                    give::<V>(&window, values, total, slope, mask);
                }
            }
        }
    }
}

/// Gives a gradient to the first largest pixel of a window.
#[inline(always)]
unsafe fn give<V: Vector>(window: &Window, values: Area, total: Area, slope: V, mask: V::Mask) {
    let columns = window.columns.len();
    // SAFETY: windows end at the image; the mask ends at the last channel.
    unsafe {
        let mut largest = V::load_masked(values, window.at(window.rows.start, window.columns.start), mask);
        let mut best = V::zero();
        for (i, y) in window.rows.clone().enumerate() {
            for (j, x) in window.columns.clone().enumerate() {
                let value = V::load_masked(values, window.at(y, x), mask);
                let place = V::splat((i * columns + j) as f32);
                best = best.replace_where_greater(value, largest, place);
                largest = largest.replace_where_greater(value, largest, value);
            }
        }
        for (i, y) in window.rows.clone().enumerate() {
            for (j, x) in window.columns.clone().enumerate() {
                let own = slope.where_equal(best, V::splat((i * columns + j) as f32));
                let before = V::load_masked(total, window.at(y, x), mask);
                before.add(own).store_masked(total, window.at(y, x), mask);
            }
        }
    }
}
