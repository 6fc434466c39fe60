//! Dense convolution: a product of patches of the image with the weights.
//!
//! In a zero-padded image the taps of a row of the window are contiguous, so neighbouring outputs are overlapping rows of one
//! matrix, and nothing is rearranged: a row of outputs is the sum of a product for each row of the window. `gemm` keeps
//! it in registers while all taps run.

use std::ops::Range;

use super::gemm::{Gemm, Sum};
use super::memory::{Area, Carver, Memory, piece};
use super::pairs::{self, PairedSum};
use super::simd::{Kernel, Vector};
use super::statistics::{self, Measure, Units};
use super::stream::{Activate, affine};
use super::{
    Convolution, ConvolutionGradient, ConvolutionKernels, ConvolutionWindow, Cpu, Gradients, VectorKernels,
};

/// The shapes of a convolution, and of an image padded as far as its windows reach.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub in_h: usize,
    pub in_w: usize,
    pub in_channels: usize,
    pub out_h: usize,
    pub out_w: usize,
    pub out_channels: usize,
    pub window: ConvolutionWindow,
    /// Elements of a row of the padded image, and its rows.
    pub row: usize,
    pub rows: usize,
    pub units: Units,
}

impl Geometry {
    pub fn new(op: &Convolution) -> Self {
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

    pub fn out_pixels(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Elements of the padded image.
    pub fn padded_len(&self) -> usize {
        self.rows * self.row
    }

    /// Weights of one output channel under a row of taps.
    pub fn taps(&self) -> usize {
        self.window.kernel[1] * self.in_channels
    }

    /// Where the image begins in its padded copy.
    pub fn inset(&self) -> usize {
        self.window.padding[0] * self.row + self.window.padding[1] * self.in_channels
    }

    /// Elements of an image.
    pub fn in_len(&self) -> usize {
        self.in_h * self.in_w * self.in_channels
    }

    /// Elements of the padded image from an output to the next.
    pub fn step(&self) -> usize {
        self.window.stride[1] * self.in_channels
    }

    /// Elements of the padded image from a row of outputs to the next.
    pub fn row_step(&self) -> usize {
        self.window.stride[0] * self.row
    }

    /// Zeros around the image in its padded copy.
    ///
    /// # Safety
    /// The area holds the padded image.
    pub unsafe fn clear_frame(&self, padded: Area) {
        let sides = [self.in_h, self.in_w * self.in_channels];
        // SAFETY: the caller's promise.
        unsafe { clear_frame(padded, self.rows, self.row, self.inset(), sides) };
    }

    /// Copies an image into the inside of its padded copy.
    pub fn pad(&self, op: &Convolution, memory: Memory, image: usize, target: Area) -> Activate {
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
}

/// Zeros around an image in an area of `rows` rows: it begins at `inset`, and has so many rows of so many elements.
///
/// # Safety
/// The area holds rows x row elements, the image among them.
pub(super) unsafe fn clear_frame(area: Area, rows: usize, row: usize, inset: usize, [h, w]: [usize; 2]) {
    let clear = |first: usize, end: usize| {
        // SAFETY: the caller's promise.
        unsafe { area.slice_mut(first, end - first).fill(0.0) };
    };
    let mut end = 0;
    for first in (0..h).map(|line| inset + line * row) {
        clear(end, first);
        end = first + w;
    }
    clear(end, rows * row);
}

/// What a window makes of a padded image: `[rows][columns][channels]`.
#[derive(Clone, Copy)]
pub(super) struct Patches {
    /// Where the first window begins.
    pub image: Area,
    /// Elements of a row of the image.
    pub image_row: usize,
    /// Elements from a window to the next one in a row, and to the next row of windows.
    pub step: usize,
    pub row_step: usize,
    /// Rows of the window, and elements of each.
    pub taps: [usize; 2],
    /// The weights, as [`Weights`] has them.
    pub weights: Area,
    /// Whether they are packed by pairs.
    pub paired: bool,
    /// The result, contiguous.
    pub result: Area,
    pub rows: usize,
    pub columns: usize,
    pub channels: usize,
}

impl Kernel for Patches {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Patches { taps: [terms, inner], channels, .. } = self;
        // Where a row of windows ends as the next begins, all are one.
        let whole = self.row_step == self.columns * self.step;
        let (rows, columns) = if whole { (1, self.rows * self.columns) } else { (self.rows, self.columns) };
        for row in 0..rows {
            let (a, c) = (self.image.from(row * self.row_step), self.result.from(row * columns * channels));
            let (a_row, a_term) = (self.step, self.image_row);
            let of = Gemm {
                rows: columns,
                columns: channels,
                inner,
                a,
                a_row,
                a_column: 1,
                b: self.weights,
                b_row: channels,
                c,
                c_row: channels,
                accumulate: false,
            };
            let paired = PairedSum {
                rows: columns,
                columns: channels,
                inner,
                a,
                a_row,
                b: self.weights,
                c,
                c_row: channels,
                terms,
                a_term,
            };
            // SAFETY: the image reaches as far as the windows; the areas cover the geometry.
            unsafe {
                if self.paired {
                    V::call(paired);
                } else {
                    V::call(Sum { of, terms, a_term, b_term: inner * channels });
                }
            }
        }
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
        let scratch_len = piece(geometry.padded_len()) + piece(channels);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        let (lanes, rows) = (instructions.lanes(), op.window.kernel[0] * geometry.taps());
        let paired = pairs::suit(lanes, geometry.taps(), channels);
        let packed = self.prepared.at_least(if paired { pairs::len(lanes, rows) } else { 0 });
        let mut weights = memory.span(op.weights);
        if paired {
            // SAFETY: the weights are `[rows][channels]`.
            unsafe { pairs::pack(lanes, rows, channels, weights, packed) };
            weights = packed;
        }
        self.team.each(units.count(), &|member, unit| {
            let forward = Forward {
                op,
                geometry,
                images: units.images(unit),
                memory,
                weights,
                paired,
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
        if self.memory().open(op.gate) {
            return self.differentiate(op, gradient, wanted.of_weights());
        }
        gradient.input.iter().for_each(|&target| self.withhold(target));
        if wanted.of_weights() {
            self.fill(gradient.weights, 0.0);
        }
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a Convolution,
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    weights: Area,
    paired: bool,
    scratch: Area,
    sums: Area<f64>,
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let (channels, pixels) = (geometry.out_channels, geometry.out_pixels());
        let mut carver = Carver::new(self.scratch);
        let padded = carver.take(geometry.padded_len());
        let pivot = carver.take(channels);
        // SAFETY: images lie in the slots; the padded image reaches as far as the windows.
        unsafe {
            geometry.clear_frame(padded);
            for index in self.images.clone() {
                V::call(geometry.pad(self.op, self.memory, index, padded));
                let output =
                    self.memory.slot(self.op.output).part(index * pixels * channels, pixels * channels);
                V::call(Patches {
                    image: padded,
                    image_row: geometry.row,
                    step: geometry.step(),
                    row_step: geometry.row_step(),
                    taps: [geometry.window.kernel[0], geometry.taps()],
                    weights: self.weights,
                    paired: self.paired,
                    result: output,
                    rows: geometry.out_h,
                    columns: geometry.out_w,
                    channels,
                });
                if self.op.statistics.is_some() {
                    let first = index == self.images.start;
                    V::call(Measure { data: output, pixels, channels, pivot, sums: self.sums, first });
                }
            }
            if self.op.statistics.is_some() {
                statistics::finish(pivot, self.sums, channels, self.images.len() * pixels);
            }
        }
    }
}
