//! 1x1 convolution behind a ReLU over concatenated inputs, a strip of pixels at a time.
//!
//! At stride 1 a strip is a run of pixels of an image. At stride 2 it is a row of the input, which is
//! read by one of the two weight matrices: even rows by the first, odd rows by the second, whose window
//! is shifted by a pixel.

use std::ops::Range;

use super::gemm::Gemm;
use super::memory::{Area, Carver, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::{self, Measure, Units};
use super::stream::{Activate, Deliver, FormGradient, affine, target_area};
use super::weights::{combine_matrix, transpose};
use super::{Cpu, Gradients, Operand, Pointwise, PointwiseGradient, PointwiseKernels, VectorKernels};

/// Elements of a strip that leave room in the first-level cache.
const STRIP: usize = 4096;

#[derive(Clone, Copy)]
struct Geometry {
    stride: usize,
    in_h: usize,
    in_w: usize,
    out_w: usize,
    in_pixels: usize,
    out_pixels: usize,
    in_channels: usize,
    out_channels: usize,
    /// The most channels of one input.
    widest: usize,
    /// Pixels of the longest strip.
    strip: usize,
    strips: usize,
    units: Units,
}

/// A run of input pixels and the output pixels that read it.
#[derive(Clone, Copy)]
struct Strip {
    matrix: usize,
    /// First pixel within an image of the input, and their number.
    input: usize,
    inputs: usize,
    /// First pixel within an image of the output, and their number.
    output: usize,
    outputs: usize,
}

impl Geometry {
    fn new(op: &Pointwise) -> Self {
        let (shape, output) = (op.inputs[0].shape, op.output_shape);
        let widest = op.inputs.iter().map(|input| input.shape.c as usize).max().unwrap_or(1);
        let (in_h, in_w, stride) = (shape.h as usize, shape.w as usize, op.stride());
        let room = STRIP.div_ceil(widest.max(output.c as usize)).next_multiple_of(16);
        let strip = if stride == 1 { room.min(in_h * in_w) } else { in_w };
        Geometry {
            stride,
            in_h,
            in_w,
            out_w: output.w as usize,
            in_pixels: in_h * in_w,
            out_pixels: output.image_pixels(),
            in_channels: op.input_channels(),
            out_channels: output.c as usize,
            widest,
            strip,
            strips: if stride == 1 { (in_h * in_w).div_ceil(strip) } else { in_h },
            units: Units::new(shape.n as usize, shape.image_pixels()),
        }
    }

    fn strip(&self, index: usize) -> Strip {
        if self.stride == 1 {
            let first = index * self.strip;
            let count = self.strip.min(self.in_pixels - first);
            return Strip { matrix: 0, input: first, inputs: count, output: first, outputs: count };
        }
        let (matrix, row) = (index % self.stride, index / self.stride);
        let outputs = (self.in_w - matrix.min(self.in_w)).div_ceil(self.stride);
        let (input, output) = (index * self.in_w, row * self.out_w);
        Strip { matrix, input, inputs: self.in_w, output, outputs }
    }

    /// First output channel and number of output channels of a matrix.
    fn half(&self, matrix: usize) -> (usize, usize) {
        let first = self.out_channels / 2;
        match (self.stride, matrix) {
            (1, _) => (0, self.out_channels),
            (_, 0) => (0, first),
            _ => (first, self.out_channels - first),
        }
    }

    /// Elements of the matrices up to `matrix`.
    fn weights_before(&self, matrix: usize) -> usize {
        (0..matrix).map(|matrix| self.in_channels * self.half(matrix).1).sum()
    }

    /// Elements of all matrices.
    fn weights_len(&self) -> usize {
        self.in_channels * self.out_channels
    }

    /// Whether some outputs read beyond the image.
    fn ragged(&self) -> bool {
        !self.in_h.is_multiple_of(self.stride) || !self.in_w.is_multiple_of(self.stride)
    }
}

/// Activates a strip of one input into scratch, pixels `pitch` apart.
fn activate(
    memory: Memory,
    input: &Operand,
    first_pixel: usize,
    pixels: usize,
    target: Area,
    pitch: usize,
) -> Activate {
    let channels = input.shape.c as usize;
    Activate {
        source: memory.slot(input.data).part(first_pixel * channels, pixels * channels),
        source_row: 0,
        target,
        target_row: 0,
        target_pitch: pitch,
        rows: 1,
        columns: pixels,
        channels,
        affine: affine(memory, input.norm),
        relu: true,
    }
}

impl PointwiseKernels for Cpu {
    fn pointwise_forward(&mut self, op: &Pointwise) {
        if !self.memory().open(op.gate) {
            return;
        }
        let geometry = Geometry::new(op);
        let (units, channels) = (geometry.units, geometry.out_channels);
        let sums = self.sums.at_least(units.count() * 2 * channels);
        let scratch_len = piece(geometry.strip * geometry.in_channels) + piece(channels);
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
        let result = memory.span(op.statistics);
        // SAFETY: each unit left `[2][channels]`.
        unsafe { statistics::combine(sums, 2 * channels, units, geometry.out_pixels, result, channels) };
    }

    fn pointwise_backward(&mut self, op: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients) {
        let weights = wanted.of_weights();
        if !self.memory().open(op.gate) {
            gradient.inputs.iter().for_each(|&target| self.withhold(target));
            if weights {
                gradient.weights.iter().for_each(|&span| self.fill(span, 0.0));
            }
            return;
        }
        let geometry = Geometry::new(op);
        let units = geometry.units;
        let len = piece(geometry.weights_len());
        let transposed = self.prepared.at_least(len);
        let partials = self.partials.at_least(if weights { units.count() * len } else { 0 });
        let scratch_len =
            2 * piece(geometry.strip * geometry.widest) + piece(geometry.strip * geometry.out_channels);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        for (matrix, &span) in op.weights.iter().enumerate() {
            let to = transposed.from(geometry.weights_before(matrix));
            // SAFETY: a matrix is `[in_channels][columns]`.
            unsafe { transpose(memory.span(span), geometry.in_channels, geometry.half(matrix).1, to) };
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
            for (matrix, &span) in gradient.weights.iter().enumerate() {
                let from = partials.from(geometry.weights_before(matrix));
                // SAFETY: each unit left all matrices, one behind the other.
                unsafe { combine_matrix(from, units.count(), len, memory.span(span), span.len) };
            }
        }
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    op: &'a Pointwise,
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
        let channels = geometry.out_channels;
        let mut carver = Carver::new(self.scratch);
        let activated = carver.take(geometry.strip * geometry.in_channels);
        let pivot = carver.take(channels);
        // SAFETY: images lie in the slots; scratch covers what was carved.
        unsafe {
            for index in self.images.clone() {
                let len = geometry.out_pixels * channels;
                let output = self.memory.slot(self.op.output).part(index * len, len);
                if geometry.ragged() {
                    output.slice_mut(0, len).fill(0.0);
                }
                for strip in 0..geometry.strips {
                    self.strip::<V>(index, geometry.strip(strip), activated, output);
                }
                V::call(Measure {
                    data: output,
                    pixels: geometry.out_pixels,
                    channels,
                    pivot,
                    sums: self.sums,
                    first: index == self.images.start,
                });
            }
            statistics::finish(pivot, self.sums, channels, self.images.len() * geometry.out_pixels);
        }
    }
}

impl Forward<'_> {
    #[inline(always)]
    unsafe fn strip<V: Vector>(&self, index: usize, strip: Strip, activated: Area, output: Area) {
        let geometry = &self.geometry;
        let (first, columns) = geometry.half(strip.matrix);
        let weights = self.memory.span(self.op.weights[strip.matrix]);
        let all = geometry.in_channels;
        let mut before = 0;
        // SAFETY: strips lie in their images, and fit the scratch.
        unsafe {
            for input in &self.op.inputs {
                let pixel = index * geometry.in_pixels + strip.input;
                let target = activated.from(before);
                V::call(activate(self.memory, input, pixel, strip.inputs, target, all));
                before += input.shape.c as usize;
            }
            V::call(Gemm {
                rows: strip.outputs,
                columns,
                inner: all,
                a: activated.from(strip.matrix * all),
                a_row: geometry.stride * all,
                a_column: 1,
                b: weights,
                b_row: columns,
                c: output.from(strip.output * geometry.out_channels + first),
                c_row: geometry.out_channels,
                accumulate: false,
            });
        }
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    op: &'a Pointwise,
    gradient: &'a PointwiseGradient,
    geometry: Geometry,
    images: Range<usize>,
    memory: Memory,
    transposed: Area,
    scratch: Area,
    partials: Option<Area>,
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let mut carver = Carver::new(self.scratch);
        let activated = carver.take(geometry.strip * geometry.widest);
        let slopes = carver.take(geometry.strip * geometry.widest);
        let output_gradient = carver.take(geometry.strip * geometry.out_channels);
        // SAFETY: images lie in the slots; scratch covers what was carved.
        unsafe {
            if let Some(partials) = self.partials {
                partials.slice_mut(0, geometry.weights_len()).fill(0.0);
            }
            for index in self.images.clone() {
                for number in 0..geometry.strips {
                    let strip = geometry.strip(number);
                    V::call(FormGradient {
                        output_gradient: &self.gradient.output,
                        memory: self.memory,
                        pixel: index * geometry.out_pixels + strip.output,
                        pixels: strip.outputs,
                        channels: geometry.out_channels,
                        target: output_gradient,
                    });
                    self.strip::<V>(index, strip, activated, slopes, output_gradient);
                }
            }
        }
    }
}

impl Backward<'_> {
    /// The inputs of a strip, and their weights.
    #[inline(always)]
    unsafe fn strip<V: Vector>(
        &self,
        index: usize,
        strip: Strip,
        activated: Area,
        slopes: Area,
        output_gradient: Area,
    ) {
        let geometry = &self.geometry;
        let (first, columns) = geometry.half(strip.matrix);
        let weights_before = geometry.weights_before(strip.matrix);
        let mut before = 0;
        for (input, &target) in self.op.inputs.iter().zip(&self.gradient.inputs) {
            let channels = input.shape.c as usize;
            let pixel = index * geometry.in_pixels + strip.input;
            let len = strip.inputs * channels;
            // SAFETY: strips lie in their images, and fit the scratch; no other unit has the image.
            unsafe {
                V::call(activate(self.memory, input, pixel, strip.inputs, activated, channels));
                // The shifted matrix reads nothing of an image one pixel wide.
                if let Some(partials) = self.partials.filter(|_| strip.outputs > 0) {
                    V::call(Gemm {
                        rows: channels,
                        columns,
                        inner: strip.outputs,
                        a: activated.from(strip.matrix * channels),
                        a_row: 1,
                        a_column: geometry.stride * channels,
                        b: output_gradient.from(first),
                        b_row: geometry.out_channels,
                        c: partials.from(weights_before + before * columns),
                        c_row: columns,
                        accumulate: true,
                    });
                }
                if geometry.stride > 1 {
                    // Pixels that nothing reads keep a gradient of zero.
                    slopes.slice_mut(0, len).fill(0.0);
                }
                V::call(Gemm {
                    rows: strip.outputs,
                    columns: channels,
                    inner: columns,
                    a: output_gradient.from(first),
                    a_row: geometry.out_channels,
                    a_column: 1,
                    b: self.transposed.from(weights_before + before),
                    b_row: geometry.in_channels,
                    c: slopes.from(strip.matrix * channels),
                    c_row: geometry.stride * channels,
                    accumulate: false,
                });
                V::call(Deliver {
                    gradient: slopes,
                    gradient_row: 0,
                    activated: Some(activated),
                    activated_row: 0,
                    pitch: channels,
                    rows: 1,
                    columns: strip.inputs,
                    channels,
                    target: target_area(self.memory, target, pixel * channels, len),
                    accumulate: target.accumulate,
                    sums: None,
                });
            }
            before += channels;
        }
    }
}
