//! Both pools of a state: `kernels/normalised_pools.cu`.

use bytemuck::{Pod, Zeroable};

use super::combine::Moments;
use super::geometry::{ABSENT, Placed, Reader, TargetPlace, gate};
use super::memory::Scratch;
use super::{
    Cuda, Kernel, NormalisedPools, NormalisedPoolsGradient, NormalisedPoolsKernels, Shape, Slot,
    UnstoredGradient, small,
};

/// Floats of shared memory: values of forward, windows of backward.
const VALUES: usize = 5120;
const WINDOWS: usize = 5120;
/// What the output gradients of both results sum.
const MAX_POOL_TERMS: usize = 20;
/// Bytes of each pixel that a block takes.
const SECTOR: usize = 32;
/// Lines of a block of which too few share those at its edges; less only where they do not fit.
const FEW_LINES: [usize; 2] = [8, 16];
/// Runs of channels that keep a block busy.
const RUNS: [usize; 2] = [256, 512];

/// A gradient or a raw result, and its factors in the output gradients of both results.
/// Mirrors `PoolTerm` of `kernels/normalised_pools.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PoolTerm {
    data: u32,
    factors: [u32; 2],
}

/// Mirrors `NormalisedPools` of `kernels/normalised_pools.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    stride: u32,
    packed: u32,
    lines: u32,
    columns: u32,
    reader: Reader,
    maximum: u32,
    average: u32,
    maximum_partial: u32,
    average_partial: u32,
    target: TargetPlace,
    gates: [u32; 2],
    constants: [u32; 2],
    count: u32,
    terms: [PoolTerm; MAX_POOL_TERMS],
}
const _: () = assert!(size_of::<Parameters>() == 32 + 16 + 12 + 16 + 8 + 8 + 12 + 12 * 20);

impl Parameters {
    /// Adds a term to output gradient `which`. A term that the other one has, too, is read once.
    fn add(&mut self, which: usize, data: Slot, factor: u32) {
        let (data, count) = (data.place(), self.count as usize);
        let shared = |term: &PoolTerm| term.data == data && term.factors[which] == ABSENT;
        let index = self.terms[..count].iter().position(shared).unwrap_or(count);
        assert!(
            index < MAX_POOL_TERMS,
            "the pools of a state flow into more places than the {MAX_POOL_TERMS} that the CUDA kernels take"
        );
        if index == count {
            self.terms[index] = PoolTerm { data, factors: [ABSENT; 2] };
            self.count += 1;
        }
        self.terms[index].factors[which] = factor;
    }

    fn sum(&mut self, which: usize, output_gradient: &UnstoredGradient) {
        self.add(which, output_gradient.raw, output_gradient.raw_factor.place());
        output_gradient.terms.iter().for_each(|term| self.add(which, term.gradient, term.factor.place()));
    }
}

/// Lines and columns of a block of images of these sides, of which `fits` says whether shared memory holds them: at least
/// `few` lines or `wanted` runs. Blocks of an image are equal, or one takes whole images.
fn part(
    height: usize,
    width: usize,
    few: usize,
    wanted: usize,
    fits: impl Fn(usize, usize) -> bool,
) -> (usize, usize) {
    let columns = (1..=width).rev().find(|&columns| fits(1, columns)).unwrap_or(1);
    // Two runs a pixel.
    let most = (1..=few.max(wanted / (2 * columns))).rev().find(|&lines| fits(lines, columns)).unwrap_or(1);
    let lines = if most >= height { most / height * height } else { height.div_ceil(height.div_ceil(most)) };
    (lines, columns)
}

/// The most positions that this many windows touch.
fn touched(windows: usize, stride: usize) -> usize {
    stride * (windows - 1) + 3
}

impl NormalisedPoolsKernels for Cuda {
    fn normalised_pools_forward(&mut self, op: &NormalisedPools) {
        let (input, output, channels) = (op.input.shape, op.output_shape, op.output_shape.c as usize);
        let (height, width) = (output.h as usize, output.w as usize);
        let fits = |lines, columns| {
            touched(lines, op.stride) * touched(columns, op.stride).min(input.w as usize) * self.slice()
                <= VALUES
        };
        let (lines, columns) = part(height, width, FEW_LINES[0], RUNS[0], fits);
        let blocks = (output.n as usize * height).div_ceil(lines);
        let mut scratch = Scratch::default();
        let mut partial = || scratch.take(blocks * 3 * channels);
        let parameters = Parameters {
            packed: self.packed(channels, [op.input.data, op.maximum, op.average]),
            lines: small(lines),
            columns: small(columns),
            maximum: op.maximum.place(),
            average: op.average.place(),
            maximum_partial: partial(),
            average_partial: partial(),
            ..self.pool_parameters(op)
        };
        self.memory.scratch(&self.context, &scratch);
        let grid = [blocks, channels.div_ceil(self.slice()), 1];
        self.launch(Kernel::normalised_pools_forward, grid, [256, 1], &parameters);
        let moments = |partial, statistics, gate| Moments {
            partial,
            rows: small(output.pixels()),
            rows_per_block: small(lines * width),
            channels: small(channels),
            statistics,
            gate,
        };
        self.combine_moments(&[
            moments(parameters.maximum_partial, op.maximum_statistics.place(), parameters.gates[0]),
            moments(parameters.average_partial, op.average_statistics.place(), parameters.gates[1]),
        ]);
    }

    fn normalised_pools_backward(&mut self, op: &NormalisedPools, gradient: &NormalisedPoolsGradient) {
        let (input, output, slice) = (op.input.shape, op.output_shape, self.slice());
        let (height, width, channels) = (input.h as usize, input.w as usize, input.c as usize);
        // The most windows that touch this many positions; each image may add one where the stride does not divide it.
        let windows = |positions: usize, side: usize| match op.stride {
            1 => positions + 2,
            stride => (positions + 1) / stride + 2 + positions / side,
        };
        let fits = |lines, columns| {
            let columns_of_windows = windows(columns, width).min(output.w as usize);
            let values = (lines + 4) * (columns + 4).min(width) * slice;
            windows(lines, height) * columns_of_windows * slice <= WINDOWS && values <= 2 * WINDOWS
        };
        let (lines, columns) = part(height, width, FEW_LINES[1], RUNS[1], fits);
        let output_gradients = [&gradient.maximum, &gradient.average];
        let read = output_gradients.into_iter().flat_map(|output_gradient| {
            output_gradient.terms.iter().map(|term| term.gradient).chain([output_gradient.raw])
        });
        let mut parameters = Parameters {
            packed: self.packed(channels, read.chain([op.input.data, gradient.input.slot])),
            lines: small(lines),
            columns: small(columns),
            target: TargetPlace::from(gradient.input),
            constants: output_gradients.map(|output_gradient| output_gradient.constant.place()),
            ..self.pool_parameters(op)
        };
        output_gradients
            .into_iter()
            .enumerate()
            .for_each(|(which, output_gradient)| parameters.sum(which, output_gradient));
        let grid = [(input.n as usize * height).div_ceil(lines), channels.div_ceil(slice), 1];
        self.launch(Kernel::normalised_pools_backward, grid, [512, 1], &parameters);
    }
}

impl Cuda {
    fn pool_parameters(&self, op: &NormalisedPools) -> Parameters {
        Parameters {
            input: op.input.shape,
            output: op.output_shape,
            stride: small(op.stride),
            reader: Reader::from(&op.input),
            gates: [gate(op.maximum_gate), gate(op.average_gate)],
            ..Parameters::zeroed()
        }
    }

    /// Channels of a block.
    fn slice(&self) -> usize {
        SECTOR / self.memory.precision().bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn blocks_of_an_image_are_equal_and_small_images_share_one() {
        let fits = |lines, columns| (lines + 2) * columns <= 320;
        assert_eq!(part(32, 32, 8, 256, fits), (8, 32));
        assert_eq!(part(33, 32, 8, 256, fits), (7, 32));
        assert_eq!(part(4, 4, 8, 256, fits), (32, 4));
        assert_eq!(part(3, 400, 8, 256, fits), (1, 106));
    }
}
