//! Dense convolution: `kernels/convolution.cu`.

use bytemuck::{Pod, Zeroable};

use super::combine::{Moments, Sum};
use super::geometry::{ABSENT, Factor, Placed, Reader, TargetPlace, UnstoredGradientPlace, gate};
use super::memory::Scratch;
use super::pointwise::{block, packed, rows_per_split};
use super::{
    Convolution, ConvolutionGradient, ConvolutionKernels, Cuda, Gradients, Kernel, Precision, Shape, small,
};

/// Mirrors `Convolution` of `kernels/convolution.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    rows_per_block: u32,
    relu: u32,
    packed: u32,
    packed_input: u32,
    factor: Factor,
    target: TargetPlace,
    output_gradient: UnstoredGradientPlace,
}
const _: () = assert!(size_of::<Parameters>() == 284);

fn parameters(op: &Convolution) -> Parameters {
    let factor = Factor {
        input: Reader::from(&op.input),
        weights: op.weights.place(),
        columns: op.output_shape.c,
        output: op.output.place(),
        gate: gate(op.gate),
        ..Factor::zeroed()
    };
    Parameters {
        input: op.input.shape,
        output: op.output_shape,
        kernel: op.window.kernel.map(small),
        stride: op.window.stride.map(small),
        padding: op.window.padding.map(small),
        relu: u32::from(op.relu),
        factor,
        ..Parameters::zeroed()
    }
}

impl Parameters {
    /// Says whether kernels may use 16-byte accesses, now that all operands are known.
    fn pack(&mut self, precision: Precision) {
        let of_output = [self.factor.output, self.factor.columns].into_iter();
        self.packed = packed(precision, of_output.chain(self.output_gradient.activations()));
        let of_input = [self.factor.input.data, self.input.c, self.target.data].into_iter();
        self.packed_input = packed(precision, of_input);
    }
}

impl ConvolutionKernels for Cuda {
    fn convolution_forward(&mut self, op: &Convolution) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let [width, height] = block(columns);
        let mut scratch = Scratch::default();
        let mut parameters = parameters(op);
        parameters.factor.partial = match op.statistics {
            Some(_) => scratch.take(rows.div_ceil(height) * 3 * columns),
            None => ABSENT,
        };
        parameters.rows_per_block = small(height);
        parameters.pack(self.memory.precision());
        self.memory.scratch(&self.context, &scratch);
        let grid = [rows.div_ceil(height), columns.div_ceil(width), 1];
        let kernel = match width {
            16 => Kernel::convolution_forward_16,
            32 => Kernel::convolution_forward_32,
            _ => Kernel::convolution_forward_64,
        };
        self.launch(kernel, grid, [256, 1], &parameters);
        if let Some(statistics) = op.statistics {
            self.combine_moments(&[Moments {
                partial: parameters.factor.partial,
                rows: small(rows),
                rows_per_block: small(height),
                channels: small(columns),
                statistics: statistics.place(),
                gate: parameters.factor.gate,
            }]);
        }
    }

    fn convolution_backward(&mut self, op: &Convolution, gradient: &ConvolutionGradient, wanted: Gradients) {
        let mut parameters = parameters(op);
        parameters.output_gradient = UnstoredGradientPlace::from(&gradient.output);
        if let Some(target) = gradient.input {
            parameters.target = TargetPlace::from(target);
        }
        parameters.pack(self.memory.precision());
        if wanted.of_weights() {
            self.convolution_weight_gradients(op, gradient, parameters);
        }
        if gradient.input.is_some() {
            let (rows, columns) = (op.input.shape.pixels(), op.input.shape.c as usize);
            let [width, height] = block(columns);
            let kernel = match width {
                16 => Kernel::convolution_input_16,
                32 => Kernel::convolution_input_32,
                _ => Kernel::convolution_input_64,
            };
            parameters.rows_per_block = small(height);
            let grid = [rows.div_ceil(height), columns.div_ceil(width), 1];
            self.launch(kernel, grid, [256, 1], &parameters);
        }
    }
}

impl Cuda {
    fn convolution_weight_gradients(
        &mut self,
        op: &Convolution,
        gradient: &ConvolutionGradient,
        mut parameters: Parameters,
    ) {
        let (rows, len, columns) = (op.output_shape.pixels(), op.weights.len, op.output_shape.c as usize);
        let read = op.input.shape.c as usize + parameters.output_gradient.activations().count() * columns;
        let each = rows_per_split(rows, read * self.memory.precision().bytes(), len);
        let splits = rows.div_ceil(each);
        parameters.rows_per_block = small(each);
        let mut scratch = Scratch::default();
        parameters.factor.partial = scratch.take(splits * len);
        self.memory.scratch(&self.context, &scratch);
        // As in convolution.cu.
        let (kernel, [tile_m, tile_n]) = match columns {
            0..=16 => (Kernel::convolution_weights_16, [64, 16]),
            _ => (Kernel::convolution_weights_64, [32, 64]),
        };
        let tiles = (len / columns).div_ceil(tile_m) * columns.div_ceil(tile_n);
        self.launch(kernel, [splits, tiles, 1], [256, 1], &parameters);
        let sum = Sum::all(parameters.factor.partial, splits, gradient.weights);
        self.combine_sums(&[sum.or_zero(op.gate)]);
    }
}
