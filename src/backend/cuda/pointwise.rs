//! 1x1 convolution: `kernels/pointwise.cu`.

use bytemuck::{Pod, Zeroable};

use super::combine::{Moments, Sum};
use super::geometry::{Factor, MAX_INPUTS, Placed, Reader, TargetPlace, UnstoredGradientPlace, gate};
use super::memory::Scratch;
use super::{
    Cuda, Gradients, Kernel, Operand, Pointwise, PointwiseGradient, PointwiseKernels, Precision, Shape, small,
};

/// Inputs whose channels follow each other, and where those of each start.
/// Mirrors `Concatenation` of `kernels/readers.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Concatenation {
    count: u32,
    readers: [Reader; MAX_INPUTS],
    first: [u32; MAX_INPUTS + 1],
}
const _: () = assert!(size_of::<Concatenation>() == 4 + 204 + 72);

impl From<&[Operand]> for Concatenation {
    fn from(inputs: &[Operand]) -> Self {
        let count = inputs.len();
        assert!(count <= MAX_INPUTS, "{count} concatenated inputs; the CUDA kernels take {MAX_INPUTS}");
        let mut concatenation = Concatenation { count: small(count), ..Concatenation::zeroed() };
        for (index, input) in inputs.iter().enumerate() {
            concatenation.readers[index] = Reader::from(input);
            concatenation.first[index + 1] = concatenation.first[index] + input.shape.c;
        }
        concatenation
    }
}

/// Mirrors `Pointwise` of `kernels/pointwise.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    stride: u32,
    packed: u32,
    rows_per_block: u32,
    factors: [Factor; 2],
    inputs: Concatenation,
    targets: [TargetPlace; MAX_INPUTS],
    output_gradient: UnstoredGradientPlace,
}
const _: () = assert!(size_of::<Parameters>() == 32 + 12 + 104 + 280 + 136 + 152);

/// Whether each of these is a multiple of the activations that a 16-byte access moves, so that kernels may use such.
pub(super) fn packed(precision: Precision, mut places: impl Iterator<Item = u32>) -> u32 {
    let pack = small(16 / precision.bytes());
    u32::from(places.all(|place| place % pack == 0))
}

/// Columns and rows of a block of a product over pixels with this many columns. The rows are one or two tiles of
/// `ForwardForms` in `kernels/matrix.cuh`.
pub(super) fn block(columns: usize) -> [usize; 2] {
    match columns {
        0..=16 => [16, 512],
        17..=32 => [32, 256],
        _ => [64, 256],
    }
}

/// Rows of each split of a sum over pixels: at least 64; at most 256 splits; and so few that their partial results are
/// at most a quarter of what is read, `row` bytes a row.
pub(super) fn rows_per_split(rows: usize, row: usize, results: usize) -> usize {
    let (read, partial) = (rows * row, results * size_of::<f32>());
    let splits = (read / (4 * partial).max(1)).clamp(1, 256);
    rows.div_ceil(splits).max(64)
}

fn parameters(op: &Pointwise) -> Parameters {
    let matrices = op.weights.len();
    assert!((1..=2).contains(&matrices), "a 1x1 convolution has one or two matrices, not {matrices}");
    let output = op.output_shape;
    let halves = if matrices == 1 { [output.c, 0] } else { [output.c / 2, output.c - output.c / 2] };
    let mut factors = [Factor::zeroed(); 2];
    for (index, weights) in op.weights.iter().enumerate() {
        factors[index] = Factor {
            weights: weights.place(),
            columns: halves[index],
            first: if index == 0 { 0 } else { halves[0] },
            shift: small(index),
            output: op.output.place(),
            gate: gate(op.gate),
            ..Factor::zeroed()
        };
    }
    Parameters {
        input: op.inputs.first().map_or(output, |input| input.shape),
        output,
        stride: small(op.stride()),
        factors,
        inputs: Concatenation::from(&op.inputs[..]),
        ..Parameters::zeroed()
    }
}

impl Parameters {
    /// The most columns of a matrix.
    fn widest(&self) -> usize {
        self.factors.iter().map(|factor| factor.columns as usize).max().unwrap_or_default()
    }

    /// Says whether kernels may use 16-byte accesses, now that all operands are known.
    fn pack(&mut self, precision: Precision) {
        let inputs = &self.inputs;
        let of_inputs = inputs.readers.iter().map(|reader| reader.data).chain(inputs.first);
        let of_targets = self.targets.iter().map(|target| target.data);
        let of_factors = self.factors.iter().flat_map(|factor| [factor.output, factor.first, factor.columns]);
        let places = of_inputs.chain(of_targets).chain(of_factors).chain(self.output_gradient.activations());
        self.packed = packed(precision, places);
    }
}

impl PointwiseKernels for Cuda {
    fn pointwise_forward(&mut self, op: &Pointwise) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let mut parameters = parameters(op);
        parameters.pack(self.memory.precision());
        let [width, height] = block(parameters.widest());
        parameters.rows_per_block = small(height);
        let mut scratch = Scratch::default();
        let partial = scratch.take(rows.div_ceil(height) * 3 * columns);
        parameters.factors.iter_mut().for_each(|factor| factor.partial = partial);
        self.memory.scratch(&self.context, &scratch);
        let kernel = match width {
            16 => Kernel::pointwise_forward_16,
            32 => Kernel::pointwise_forward_32,
            _ => Kernel::pointwise_forward_64,
        };
        let grid = [rows.div_ceil(height), parameters.widest().div_ceil(width), op.weights.len()];
        self.launch(kernel, grid, [256, 1], &parameters);
        self.combine_moments(&[Moments {
            partial,
            rows: small(rows),
            rows_per_block: small(height),
            channels: small(columns),
            statistics: op.statistics.place(),
            gate: gate(op.gate),
        }]);
    }

    fn pointwise_backward(&mut self, op: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients) {
        let mut parameters = parameters(op);
        parameters.output_gradient = UnstoredGradientPlace::from(&gradient.output);
        for (place, &target) in parameters.targets.iter_mut().zip(&gradient.inputs) {
            *place = TargetPlace::from(target);
        }
        parameters.pack(self.memory.precision());
        let kernel = match parameters.widest() {
            17..=32 => Kernel::pointwise_input_32,
            _ => Kernel::pointwise_input_64,
        };
        // At stride 2 each matrix feeds the pixels of one parity; two parities get zeros, unless something is there.
        let zeros = op.stride() == 2 && gradient.inputs.iter().any(|target| !target.accumulate);
        let classes = op.weights.len() + if zeros { 2 } else { 0 };
        let rows = op.output_shape.pixels();
        parameters.rows_per_block = 256;
        self.launch(kernel, [rows.div_ceil(256), 1, classes], [512, 1], &parameters);
        if wanted.of_weights() {
            self.pointwise_weight_gradients(op, gradient, parameters);
        }
    }
}

impl Cuda {
    fn pointwise_weight_gradients(
        &mut self,
        op: &Pointwise,
        gradient: &PointwiseGradient,
        mut parameters: Parameters,
    ) {
        let (rows, depth, widest) = (op.output_shape.pixels(), op.input_channels(), parameters.widest());
        let read = depth + (gradient.output.terms.len() + 1) * widest;
        let each = rows_per_split(rows, read * self.memory.precision().bytes(), depth * widest);
        let splits = rows.div_ceil(each);
        parameters.rows_per_block = small(each);
        let mut scratch = Scratch::default();
        for (factor, weights) in parameters.factors.iter_mut().zip(&op.weights) {
            factor.partial = scratch.take(splits * weights.len);
        }
        self.memory.scratch(&self.context, &scratch);
        // As in pointwise.cu.
        let (kernel, [tile_m, tile_n], threads) = match widest {
            0..=16 => (Kernel::pointwise_weights_16, [64, 16], 256),
            17..=32 => (Kernel::pointwise_weights_32, [128, 32], 256),
            _ => (Kernel::pointwise_weights_64, [256, 64], 512),
        };
        let tiles = depth.div_ceil(tile_m) * widest.div_ceil(tile_n);
        self.launch(kernel, [splits, tiles, op.weights.len()], [threads, 1], &parameters);
        let sums: [_; 2] = std::array::from_fn(|index| {
            let target = gradient.weights.get(index).copied().unwrap_or_default();
            Sum::all(parameters.factors[index].partial, splits, target).or_zero(op.gate)
        });
        self.combine_sums(&sums[..op.weights.len()]);
    }
}
