//! Dense convolution: one product of matrices for each row of outputs and of taps.
//!
//! In a zero-padded image the taps of a row of the window are contiguous, so neighbouring outputs are
//! overlapping rows of one matrix, and nothing is rearranged. The input gradient adds to such rows, so it
//! takes a product for each tap, under which they do not overlap.

use std::ops::Range;

use super::gemm::Gemm;
use super::memory::{Area, Carver, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::{self, Measure, Units};
use super::stream::{Activate, Deliver, FormGradient, affine, target_area};
use super::weights::{combine_matrix, transpose};
use super::{
    Convolution, ConvolutionGradient, ConvolutionKernels, ConvolutionWindow, Cpu, Gradients, ResultGradient,
    VectorKernels,
};

#[derive(Clone, Copy)]
struct Geometry {
    in_h: usize,
    in_w: usize,
    in_channels: usize,
    out_h: usize,
    out_w: usize,
    out_channels: usize,
    window: ConvolutionWindow,
    /// Elements of a row of the padded image, and its rows.
    row: usize,
    rows: usize,
    units: Units,
}

impl Geometry {
    fn new(op: &Convolution) -> Self {
        let (input, output) = (op.input.shape, op.output_shape);
        // As far as the windows reach, and at least the image.
        let ConvolutionWindow { kernel, stride, padding } = op.window;
        let reach = |axis: usize, outputs: u32, inputs: u32| {
            let windows = (outputs as usize - 1) * stride[axis] + kernel[axis];
            windows.max(padding[axis] + inputs as usize)
        };
        Geometry {
            in_h: input.h as usize,
            in_w: input.w as usize,
            in_channels: input.c as usize,
            out_h: output.h as usize,
            out_w: output.w as usize,
            out_channels: output.c as usize,
            window: op.window,
            row: reach(1, output.w, input.w) * input.c as usize,
            rows: reach(0, output.h, input.h),
            units: Units::new(input.n as usize, input.image_pixels()),
        }
    }

    fn out_pixels(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Weights of one output channel under a row of taps.
    fn taps(&self) -> usize {
        self.window.kernel[1] * self.in_channels
    }

    /// Where the image begins in its padded copy.
    fn inset(&self) -> usize {
        self.window.padding[0] * self.row + self.window.padding[1] * self.in_channels
    }

    /// Elements of an image.
    fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.in_channels
    }

    /// Copies an image into the inside of its padded copy.
    fn pad(&self, op: &Convolution, memory: Memory, image: usize, target: Area) -> Activate {
        Activate {
            source: memory.slot(op.input.data).part(image * self.in_len(), self.in_len()),
            source_row: self.in_w * self.in_channels,
            target: target.from(self.inset()),
            target_row: self.row,
            target_pitch: self.in_channels,
            rows: self.in_h,
            columns: self.in_w,
            channels: self.in_channels,
            affine: affine(memory, op.input.norm),
            relu: op.relu,
        }
    }

    /// The inputs under row `tap` of the windows of a row of outputs.
    fn inputs(&self, padded: Area, row: usize, tap: usize) -> Area {
        padded.from((row * self.window.stride[0] + tap) * self.row)
    }
}

impl ConvolutionKernels for Cpu {
    fn convolution_forward(&mut self, op: &Convolution) {
        if !self.memory().open(op.gate) {
            return;
        }
        let geometry = Geometry::new(op);
        let (units, channels) = (geometry.units, geometry.out_channels);
        let sums = self.sums.at_least(units.count() * 2 * channels);
        let scratch_len = piece(geometry.rows * geometry.row) + piece(channels);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(units.count(), &|member, unit| {
            let forward = Forward {
                op,
                geometry,
                images: units.images(unit),
                memory,
                scratch: scratch.part(member * scratch_len, scratch_len),
                sums: sums.from(unit * 2 * channels),
            };
            // SAFETY: the set is available; members have scratch, units have images and sums of their own.
            unsafe { instructions.run(forward) };
        });
        if let Some(statistics) = op.statistics {
            let result = memory.span(statistics);
            // SAFETY: each unit left `[2][channels]`.
            unsafe {
                statistics::combine(sums, 2 * channels, units, geometry.out_pixels(), result, channels);
            }
        }
    }

    fn convolution_backward(&mut self, op: &Convolution, gradient: &ConvolutionGradient, wanted: Gradients) {
        let weights = wanted.of_weights();
        if !self.memory().open(op.gate) {
            gradient.input.iter().for_each(|&target| self.withhold(target));
            if weights {
                self.fill(gradient.weights, 0.0);
            }
            return;
        }
        let geometry = Geometry::new(op);
        let units = geometry.units;
        let len = piece(op.weights.len);
        let partials = self.partials.at_least(if weights { units.count() * len } else { 0 });
        let transposed = self.prepared.at_least(if gradient.input.is_some() { len } else { 0 });
        let scratch_len =
            2 * piece(geometry.rows * geometry.row) + piece(geometry.out_w * geometry.out_channels);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        if gradient.input.is_some() {
            let [rows, columns] = [geometry.in_channels, geometry.out_channels];
            for first in (0..op.weights.len).step_by(rows * columns) {
                // SAFETY: a tap is `[in_channels][out_channels]`.
                unsafe {
                    transpose(memory.span(op.weights).from(first), rows, columns, transposed.from(first))
                };
            }
        }
        self.team.each(units.count(), &|member, unit| {
            let backward = Backward {
                op,
                gradient,
                geometry,
                images: units.images(unit),
                memory,
                transposed,
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
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a Convolution,
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
        let (channels, taps) = (geometry.out_channels, geometry.taps());
        let mut carver = Carver::new(self.scratch);
        let padded = carver.take(geometry.rows * geometry.row);
        let pivot = carver.take(channels);
        let weights = self.memory.span(self.op.weights);
        // SAFETY: images lie in the slots; the padded image reaches as far as the windows.
        unsafe {
            padded.slice_mut(0, geometry.rows * geometry.row).fill(0.0);
            for index in self.images.clone() {
                V::call(geometry.pad(self.op, self.memory, index, padded));
                let len = geometry.out_pixels() * channels;
                let output = self.memory.slot(self.op.output).part(index * len, len);
                for row in 0..geometry.out_h {
                    for tap in 0..geometry.window.kernel[0] {
                        V::call(Gemm {
                            rows: geometry.out_w,
                            columns: channels,
                            inner: taps,
                            a: geometry.inputs(padded, row, tap),
                            a_row: geometry.window.stride[1] * geometry.in_channels,
                            a_column: 1,
                            b: weights.from(tap * taps * channels),
                            b_row: channels,
                            c: output.from(row * geometry.out_w * channels),
                            c_row: channels,
                            accumulate: tap > 0,
                        });
                    }
                }
                if self.op.statistics.is_some() {
                    V::call(Measure {
                        data: output,
                        pixels: geometry.out_pixels(),
                        channels,
                        pivot,
                        sums: self.sums,
                        first: index == self.images.start,
                    });
                }
            }
            if self.op.statistics.is_some() {
                statistics::finish(pivot, self.sums, channels, self.images.len() * geometry.out_pixels());
            }
        }
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a Convolution,
    gradient: &'a ConvolutionGradient,
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    /// `[tap][out_channels][in_channels]`, for the input gradient.
    transposed: Area,
    scratch: Area,
    partials: Option<Area>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let padded_len = geometry.rows * geometry.row;
        let mut carver = Carver::new(self.scratch);
        let (padded, slopes) = (carver.take(padded_len), carver.take(padded_len));
        let formed = carver.take(geometry.out_w * geometry.out_channels);
        // SAFETY: images lie in the slots; the padded image reaches as far as the windows.
        unsafe {
            padded.slice_mut(0, padded_len).fill(0.0);
            if let Some(partials) = self.partials {
                partials.slice_mut(0, self.op.weights.len).fill(0.0);
            }
            for index in self.images.clone() {
                V::call(geometry.pad(self.op, self.memory, index, padded));
                slopes.slice_mut(0, padded_len).fill(0.0);
                for row in 0..geometry.out_h {
                    let output_gradient = self.output_gradient::<V>(index, row, formed);
                    if let Some(partials) = self.partials {
                        self.weights::<V>(row, padded, output_gradient, partials);
                    }
                    if self.gradient.input.is_some() {
                        self.slopes::<V>(row, slopes, output_gradient);
                    }
                }
                self.deliver::<V>(index, padded, slopes);
            }
        }
    }
}

impl Backward<'_> {
    /// The gradient of a row of outputs, formed in scratch where it is not stored.
    #[inline(always)]
    unsafe fn output_gradient<V: Vector>(&self, index: usize, row: usize, formed: Area) -> Area {
        let geometry = &self.geometry;
        let (pixel, channels) = (index * geometry.out_pixels() + row * geometry.out_w, geometry.out_channels);
        match &self.gradient.output {
            ResultGradient::Stored(slot) => {
                self.memory.slot(*slot).part(pixel * channels, geometry.out_w * channels)
            }
            ResultGradient::Unstored(output_gradient) => {
                let (memory, pixels) = (self.memory, geometry.out_w);
                // SAFETY: the slots hold all pixels of the result, the scratch those of a row.
                unsafe {
                    V::call(FormGradient {
                        output_gradient,
                        memory,
                        pixel,
                        pixels,
                        channels,
                        target: formed,
                    });
                }
                formed
            }
        }
    }

    /// What a row of outputs adds to the gradient of the weights.
    #[inline(always)]
    unsafe fn weights<V: Vector>(&self, row: usize, padded: Area, output_gradient: Area, partials: Area) {
        let geometry = &self.geometry;
        let (channels, taps) = (geometry.out_channels, geometry.taps());
        for tap in 0..geometry.window.kernel[0] {
            // SAFETY: as in `run`.
            unsafe {
                V::call(Gemm {
                    rows: taps,
                    columns: channels,
                    inner: geometry.out_w,
                    a: geometry.inputs(padded, row, tap),
                    a_row: 1,
                    a_column: geometry.window.stride[1] * geometry.in_channels,
                    b: output_gradient,
                    b_row: channels,
                    c: partials.from(tap * taps * channels),
                    c_row: channels,
                    accumulate: true,
                });
            }
        }
    }

    /// What a row of outputs adds to the gradient of the padded image.
    #[inline(always)]
    unsafe fn slopes<V: Vector>(&self, row: usize, slopes: Area, output_gradient: Area) {
        let geometry = &self.geometry;
        let (kernel, channels) = (geometry.window.kernel[1], geometry.in_channels);
        for tap in 0..geometry.window.taps() {
            // SAFETY: as in `run`.
            unsafe {
                V::call(Gemm {
                    rows: geometry.out_w,
                    columns: channels,
                    inner: geometry.out_channels,
                    a: output_gradient,
                    a_row: geometry.out_channels,
                    a_column: 1,
                    b: self.transposed.from(tap * geometry.out_channels * channels),
                    b_row: channels,
                    c: geometry.inputs(slopes, row, tap / kernel).from(tap % kernel * channels),
                    c_row: geometry.window.stride[1] * channels,
                    accumulate: true,
                });
            }
        }
    }

    /// Gives an image its gradient, where it gets one.
    #[inline(always)]
    unsafe fn deliver<V: Vector>(&self, index: usize, padded: Area, slopes: Area) {
        let geometry = &self.geometry;
        let Some(target) = self.gradient.input else { return };
        // SAFETY: the inside of the padded image lies in scratch; no other unit has the image.
        unsafe {
            V::call(Deliver {
                gradient: slopes.from(geometry.inset()),
                gradient_row: geometry.row,
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
