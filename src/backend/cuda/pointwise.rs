//! 1x1 convolution: `kernels/pointwise.cu`.

use bytemuck::{Pod, Zeroable};

use super::combine::{Moments, Sum};
use super::geometry::{CotangentPlace, Factor, MAX_INPUTS, Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Chunks, Cuda, Kernel, Operand, Pointwise, PointwiseGradient, Shape, by_width, small, tile};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    stride: u32,
    inputs: u32,
    rows_per_split: u32,
    first_columns: u32,
    factors: [Factor; 2],
    readers: [Reader; MAX_INPUTS],
    first: [u32; MAX_INPUTS + 1],
    targets: [TargetPlace; MAX_INPUTS],
    cotangent: CotangentPlace,
}
const _: () = assert!(size_of::<Parameters>() == 32 + 16 + 96 + 204 + 72 + 136 + 152);

/// Readers of concatenated inputs, and where the channels of each start.
pub(super) fn concatenated(inputs: &[Operand]) -> ([Reader; MAX_INPUTS], [u32; MAX_INPUTS + 1]) {
    let count = inputs.len();
    assert!(count <= MAX_INPUTS, "{count} concatenated inputs; the CUDA kernels take {MAX_INPUTS}");
    let (mut readers, mut first) = ([Reader::zeroed(); MAX_INPUTS], [0; MAX_INPUTS + 1]);
    for (index, input) in inputs.iter().enumerate() {
        readers[index] = Reader::from(input);
        first[index + 1] = first[index] + input.shape.c;
    }
    (readers, first)
}

fn parameters(op: &Pointwise) -> Parameters {
    let (readers, first) = concatenated(&op.inputs);
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
            ..Factor::zeroed()
        };
    }
    Parameters {
        input: op.inputs.first().map_or(output, |input| input.shape),
        output,
        stride: small(op.stride()),
        inputs: small(op.inputs.len()),
        first_columns: halves[0],
        factors,
        readers,
        first,
        ..Parameters::zeroed()
    }
}

impl Parameters {
    fn widest(&self) -> usize {
        self.factors.iter().map(|factor| factor.columns as usize).max().unwrap_or_default()
    }
}

impl Cuda {
    pub(super) fn pointwise(&mut self, op: &Pointwise) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let mut parameters = parameters(op);
        let [width, height] = tile(parameters.widest());
        let mut scratch = Scratch::default();
        let partial = scratch.take(rows.div_ceil(height) * 3 * columns);
        parameters.factors.iter_mut().for_each(|factor| factor.partial = partial);
        self.memory.scratch(&self.context, &scratch);
        let kernel = by_width(width, Kernel::pointwise_forward_16, Kernel::pointwise_forward_64);
        let across = parameters.widest().div_ceil(width);
        self.launch(kernel, [rows.div_ceil(height), across, op.weights.len()], [256, 1], &parameters);
        self.combine_moments(&[Moments {
            partial,
            rows: small(rows),
            rows_per_block: small(height),
            channels: small(columns),
            statistics: op.statistics.place(),
        }]);
    }

    pub(super) fn pointwise_gradients(
        &mut self,
        op: &Pointwise,
        gradient: &PointwiseGradient,
        weights: bool,
    ) {
        let mut parameters = parameters(op);
        parameters.cotangent = CotangentPlace::from(&gradient.cotangent);
        for (place, &target) in parameters.targets.iter_mut().zip(&gradient.inputs) {
            *place = TargetPlace::from(target);
        }
        let (rows, columns) = (parameters.input.pixels(), op.input_channels());
        let [width, height] = tile(columns);
        let kernel = by_width(width, Kernel::pointwise_input_16, Kernel::pointwise_input_64);
        self.launch(kernel, [rows.div_ceil(height), columns.div_ceil(width), 1], [256, 1], &parameters);
        if weights {
            self.pointwise_weight_gradients(op, gradient, parameters);
        }
    }

    fn pointwise_weight_gradients(
        &mut self,
        op: &Pointwise,
        gradient: &PointwiseGradient,
        mut parameters: Parameters,
    ) {
        let splits = Chunks::of(op.output_shape.pixels());
        parameters.rows_per_split = small(splits.each);
        let mut scratch = Scratch::default();
        for (factor, weights) in parameters.factors.iter_mut().zip(&op.weights) {
            factor.partial = scratch.take(splits.count() * weights.len);
        }
        self.memory.scratch(&self.context, &scratch);
        let (depth, widest) = (op.input_channels(), parameters.widest());
        let side = if depth.max(widest) <= 16 { 16 } else { 64 };
        let kernel = by_width(side, Kernel::pointwise_weights_16, Kernel::pointwise_weights_64);
        let tiles = depth.div_ceil(side) * widest.div_ceil(side);
        self.launch(kernel, [splits.count(), tiles, op.weights.len()], [256, 1], &parameters);
        let sums: [_; 2] = std::array::from_fn(|index| {
            let target = gradient.weights.get(index).copied().unwrap_or_default();
            Sum::all(parameters.factors[index].partial, splits.count(), target)
        });
        self.combine_sums(&sums[..op.weights.len()]);
    }
}
