//! The gradients of a dense convolution, an image at a time. Its output gradient is formed once.
//!
//! At stride 1 the input gradient is a convolution of the padded output gradient with the weights turned around. At other
//! strides windows of one row that do not overlap under a tap are added to the gradient of the padded image, a product for
//! each tap. The gradient of the weights is a sum of products over the rows of outputs, some rows at a time, which lie in
//! the first-level cache; where it fills vectors better, its transpose is summed.

use std::ops::Range;

use super::convolution::{Geometry, Patches, clear_frame};
use super::gemm::{Gemm, Sum};
use super::memory::{Area, Carver, Memory, piece};
use super::pairs;
use super::simd::{Kernel, Vector};
use super::stream::{Deliver, FormGradient, target_area};
use super::weights::{combine_matrix, transpose};
use super::{Convolution, ConvolutionGradient, Cpu, ResultGradient};

/// Elements of images and output gradients that leave room in the first-level cache.
const BAND: usize = 8192;

/// How the output gradient of an image lies in scratch, and what the input gradient is made with.
#[derive(Clone, Copy)]
struct Plan {
    /// Whether the input gradient is a convolution of the output gradient.
    direct: bool,
    /// Whether its weights are packed by pairs.
    paired: bool,
    /// Elements of a row of the output gradient, and its rows, with padding if it is direct.
    row: usize,
    rows: usize,
    /// Where the output gradient begins within the padding.
    inset: usize,
    /// Whether the gradient of the weights is summed as `[kernel rows][c_out][taps]`.
    transposed: bool,
}

impl Plan {
    fn new(geometry: &Geometry, lanes: usize, input: bool) -> Self {
        let ([rows, columns], channels) = (geometry.window.kernel, geometry.out_channels);
        let direct = input && geometry.window.stride == [1, 1];
        let vectors = |numbers: usize| numbers.next_multiple_of(lanes);
        let taps = geometry.taps();
        let transposed = vectors(taps) * channels < vectors(channels) * taps;
        if !direct {
            let row = geometry.out_w * channels;
            return Plan { direct, paired: false, row, rows: geometry.out_h, inset: 0, transposed };
        }
        let row = (geometry.in_w + columns - 1) * channels;
        let [above, before] =
            [0, 1].map(|axis| geometry.window.kernel[axis] - 1 - geometry.window.padding[axis]);
        Plan {
            direct,
            paired: pairs::suit(lanes, columns * channels, geometry.in_channels),
            row,
            rows: geometry.in_h + rows - 1,
            inset: above * row + before * channels,
            transposed,
        }
    }
}

impl Cpu {
    /// The gradients of a convolution whose gate is open.
    pub(super) fn differentiate(&mut self, op: &Convolution, gradient: &ConvolutionGradient, weights: bool) {
        let geometry = Geometry::new(op);
        let plan = Plan::new(&geometry, self.instructions.lanes(), gradient.input.is_some());
        let turned = self.turn_weights(op, &geometry, plan, gradient.input.is_some());
        let (units, len) = (geometry.units, piece(op.weights.len));
        let partials = self.partials.at_least(if weights { units.count() * len } else { 0 });
        let scratch_len = 2 * piece(geometry.padded_len()) + piece(plan.rows * plan.row) + len;
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let backward = Backward {
                op,
                gradient,
                geometry,
                plan,
                images: units.images(unit),
                memory,
                turned,
                scratch: scratch.part(member * scratch_len, scratch_len),
                partials: weights.then(|| partials.part(unit * len, len)),
            };
            // SAFETY: the set is available; members have scratch, units have images and sums of their own.
            unsafe { instructions.run(backward) };
        });
        if weights {
            let result = memory.span(gradient.weights);
            // SAFETY: each unit left all weights.
            unsafe { combine_matrix(partials, units.count(), len, result, op.weights.len) };
        }
    }

    /// The weights as the input gradient reads them: each tap transposed; turned around, and packed, as the plan says.
    fn turn_weights(&mut self, op: &Convolution, geometry: &Geometry, plan: Plan, wanted: bool) -> Area {
        if !wanted {
            return self.prepared.area();
        }
        let (lanes, len) = (self.instructions.lanes(), piece(op.weights.len));
        let [inputs, outputs] = [geometry.in_channels, geometry.out_channels];
        let depth = op.weights.len / inputs;
        let packed_len = if plan.paired { pairs::len(lanes, depth) } else { 0 };
        let prepared = self.prepared.at_least(len + packed_len);
        let (weights, taps) = (self.memory().span(op.weights), op.window.taps());
        for tap in 0..taps {
            let to = if plan.direct { taps - 1 - tap } else { tap };
            let [from, to] = [tap, to].map(|tap| tap * inputs * outputs);
            // SAFETY: a tap is `[inputs][outputs]`.
            unsafe { transpose(weights.from(from), inputs, outputs, prepared.from(to)) };
        }
        if !plan.paired {
            return prepared;
        }
        let packed = prepared.from(len);
        // SAFETY: the turned weights are `[depth][inputs]`.
        unsafe { pairs::pack(lanes, depth, inputs, prepared, packed) };
        packed
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a Convolution,
    gradient: &'a ConvolutionGradient,
    geometry: Geometry,
    plan: Plan,
    images: Range<usize>,
    memory: Memory,
    /// `[tap][out_channels][in_channels]`, for the input gradient.
    turned: Area,
    scratch: Area,
    partials: Option<Area>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (geometry, plan) = (&self.geometry, &self.plan);
        let mut carver = Carver::new(self.scratch);
        let (padded, slopes) = (carver.take(geometry.padded_len()), carver.take(geometry.padded_len()));
        let (gradients, len) = (carver.take(plan.rows * plan.row), self.op.weights.len);
        // The partial result itself, or what it is transposed from.
        let sums = match self.partials {
            Some(partials) if !plan.transposed => partials,
            _ => carver.take(len),
        };
        // SAFETY: images lie in the slots; scratch covers what was carved.
        unsafe {
            geometry.clear_frame(padded);
            let sides = [geometry.out_h, geometry.out_w * geometry.out_channels];
            clear_frame(gradients, plan.rows, plan.row, plan.inset, sides);
            sums.slice_mut(0, len).fill(0.0);
            for index in self.images.clone() {
                if self.partials.is_some() || self.op.relu {
                    V::call(geometry.pad(self.op, self.memory, index, padded));
                }
                self.form::<V>(index, gradients);
                if self.partials.is_some() {
                    self.add_weights::<V>(padded, gradients.from(plan.inset), sums);
                }
                if self.gradient.input.is_some() {
                    self.add_inputs::<V>(gradients, slopes);
                    self.deliver::<V>(index, padded, slopes);
                }
            }
            if let Some(partials) = self.partials.filter(|_| plan.transposed) {
                let row = geometry.taps() * geometry.out_channels;
                for first in (0..len).step_by(row) {
                    let to = partials.from(first);
                    transpose(sums.from(first), geometry.out_channels, geometry.taps(), to);
                }
            }
        }
    }
}

impl Backward<'_> {
    /// The output gradient of an image, in its padding.
    #[inline(always)]
    unsafe fn form<V: Vector>(&self, index: usize, gradients: Area) {
        let (geometry, plan) = (&self.geometry, &self.plan);
        let (pixels, channels) = (geometry.out_w, geometry.out_channels);
        for row in 0..geometry.out_h {
            let pixel = (index * geometry.out_h + row) * pixels;
            let target = gradients.from(plan.inset + row * plan.row);
            // SAFETY: the slots hold all pixels of the result, the scratch those of an image.
            unsafe {
                match &self.gradient.output {
                    ResultGradient::Stored(slot) => {
                        let source = self.memory.slot(*slot).slice(pixel * channels, pixels * channels);
                        target.slice_mut(0, pixels * channels).copy_from_slice(source);
                    }
                    ResultGradient::Unstored(output_gradient) => {
                        let memory = self.memory;
                        V::call(FormGradient { output_gradient, memory, pixel, pixels, channels, target });
                    }
                }
            }
        }
    }

    /// What an image adds to the gradient of the weights.
    #[inline(always)]
    unsafe fn add_weights<V: Vector>(&self, padded: Area, gradients: Area, sums: Area) {
        let (geometry, plan) = (&self.geometry, &self.plan);
        let (channels, taps) = (geometry.out_channels, geometry.taps());
        let band = (BAND / (geometry.row_step() + plan.row)).max(1);
        for first in (0..geometry.out_h).step_by(band) {
            for tap in 0..geometry.window.kernel[0] {
                let patches = padded.from(first * geometry.row_step() + tap * geometry.row);
                let gradients = gradients.from(first * plan.row);
                let straight = Gemm {
                    rows: taps,
                    columns: channels,
                    inner: geometry.out_w,
                    a: patches,
                    a_row: 1,
                    a_column: geometry.step(),
                    b: gradients,
                    b_row: channels,
                    c: sums.from(tap * taps * channels),
                    c_row: channels,
                    accumulate: true,
                };
                let across = Gemm {
                    rows: channels,
                    columns: taps,
                    a: gradients,
                    a_column: channels,
                    b: patches,
                    b_row: geometry.step(),
                    c_row: taps,
                    ..straight
                };
                let terms = band.min(geometry.out_h - first);
                let (a_term, b_term) = (geometry.row_step(), plan.row);
                // SAFETY: as in `run`.
                unsafe {
                    if plan.transposed {
                        V::call(Sum { of: across, terms, a_term: b_term, b_term: a_term });
                    } else {
                        V::call(Sum { of: straight, terms, a_term, b_term });
                    }
                }
            }
        }
    }

    /// The gradient of the image; if it is not direct, of its padded copy.
    #[inline(always)]
    unsafe fn add_inputs<V: Vector>(&self, gradients: Area, slopes: Area) {
        let (geometry, plan) = (&self.geometry, &self.plan);
        let ([rows, columns], channels) = (geometry.window.kernel, geometry.in_channels);
        // SAFETY: as in `run`.
        unsafe {
            if plan.direct {
                return V::call(Patches {
                    image: gradients,
                    image_row: plan.row,
                    step: geometry.out_channels,
                    row_step: plan.row,
                    taps: [rows, columns * geometry.out_channels],
                    weights: self.turned,
                    paired: plan.paired,
                    result: slopes,
                    rows: geometry.in_h,
                    columns: geometry.in_w,
                    channels,
                });
            }
            slopes.slice_mut(0, geometry.padded_len()).fill(0.0);
            for row in 0..geometry.out_h {
                for tap in 0..rows * columns {
                    let above = row * geometry.row_step() + tap / columns * geometry.row;
                    V::call(Gemm {
                        rows: geometry.out_w,
                        columns: channels,
                        inner: geometry.out_channels,
                        a: gradients.from(row * plan.row),
                        a_row: geometry.out_channels,
                        a_column: 1,
                        b: self.turned.from(tap * geometry.out_channels * channels),
                        b_row: channels,
                        c: slopes.from(above + tap % columns * channels),
                        c_row: geometry.step(),
                        accumulate: true,
                    });
                }
            }
        }
    }

    /// Gives an image its gradient.
    #[inline(always)]
    unsafe fn deliver<V: Vector>(&self, index: usize, padded: Area, slopes: Area) {
        let geometry = &self.geometry;
        let Some(target) = self.gradient.input else { return };
        let (gradient, gradient_row) = match self.plan.direct {
            true => (slopes, geometry.in_w * geometry.in_channels),
            false => (slopes.from(geometry.inset()), geometry.row),
        };
        // SAFETY: the gradient lies in scratch; no other unit has the image.
        unsafe {
            V::call(Deliver {
                gradient,
                gradient_row,
                activated: self.op.relu.then(|| padded.from(geometry.inset())),
                activated_row: geometry.row,
                pitch: geometry.in_channels,
                rows: geometry.in_h,
                columns: geometry.in_w,
                channels: geometry.in_channels,
                target: target_area(self.memory, target, index * geometry.in_len(), geometry.in_len()),
                accumulate: target.accumulate,
                sums: None,
            });
        }
    }
}
