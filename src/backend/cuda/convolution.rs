//! Dense convolution: `kernels/convolution.cu`.

use bytemuck::{Pod, Zeroable};

use super::combine::{Moments, Sum};
use super::geometry::{CotangentPlace, Factor, Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Chunks, Convolution, ConvolutionGradient, Cuda, Kernel, Shape, by_width, small, tile};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    kernel: u32,
    stride: u32,
    padding: u32,
    rows_per_split: u32,
    relu: u32,
    factor: Factor,
    target: TargetPlace,
    cotangent: CotangentPlace,
}
const _: () = assert!(size_of::<Parameters>() == 260);

fn parameters(op: &Convolution) -> Parameters {
    let factor = Factor {
        input: Reader::from(&op.input),
        weights: op.weights.place(),
        columns: op.output_shape.c,
        output: op.output.place(),
        ..Factor::zeroed()
    };
    Parameters {
        input: op.input.shape,
        output: op.output_shape,
        kernel: small(op.kernel),
        stride: small(op.stride),
        padding: small(op.padding),
        relu: u32::from(op.relu),
        factor,
        ..Parameters::zeroed()
    }
}

impl Cuda {
    pub(super) fn convolve(&mut self, op: &Convolution) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let [width, height] = tile(columns);
        let mut scratch = Scratch::default();
        let mut parameters = parameters(op);
        parameters.factor.partial = scratch.take(rows.div_ceil(height) * 3 * columns);
        self.memory.scratch(&self.context, &scratch);
        let kernel = by_width(width, Kernel::convolution_forward_16, Kernel::convolution_forward_64);
        self.launch(kernel, [rows.div_ceil(height), columns.div_ceil(width), 1], [256, 1], &parameters);
        self.combine_moments(&[Moments {
            partial: parameters.factor.partial,
            rows: small(rows),
            rows_per_block: small(height),
            channels: small(columns),
            statistics: op.statistics.place(),
        }]);
    }

    pub(super) fn convolve_backward(&mut self, op: &Convolution, gradient: &ConvolutionGradient) {
        let (len, columns) = (op.weights.len, op.output_shape.c as usize);
        let splits = Chunks::of(op.output_shape.pixels());
        let mut scratch = Scratch::default();
        let mut parameters = parameters(op);
        parameters.factor.partial = scratch.take(splits.count() * len);
        parameters.rows_per_split = small(splits.each);
        parameters.cotangent = CotangentPlace::from(&gradient.cotangent);
        self.memory.scratch(&self.context, &scratch);
        let tiles = (len / columns).div_ceil(64) * columns.div_ceil(64);
        self.launch(Kernel::convolution_weights, [splits.count(), tiles, 1], [256, 1], &parameters);
        self.combine_sums(&[Sum::all(parameters.factor.partial, splits.count(), gradient.weights)]);
        if let Some(target) = gradient.input {
            parameters.target = TargetPlace::from(target);
            self.launch_each(Kernel::convolution_input, op.input.shape.len(), 1, &parameters);
        }
    }
}
