//! Pooling: `kernels/pool.cu`.

use bytemuck::{Pod, Zeroable};

use super::batch_norm::Moments;
use super::geometry::{CotangentPlace, Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Chunks, Cuda, Kernel, Pool, PoolGradient, Shape, channel_block, small};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    stride: u32,
    rows_per_chunk: u32,
    reader: Reader,
    maximum: u32,
    average: u32,
    maximum_partial: u32,
    average_partial: u32,
    maximum_gradient: u32,
    average_gradient: u32,
    places: u32,
    target: TargetPlace,
    maximum_cotangent: CotangentPlace,
    average_cotangent: CotangentPlace,
}
const _: () = assert!(size_of::<Parameters>() == 40 + 12 + 28 + 8 + 304);

fn parameters(op: &Pool) -> Parameters {
    Parameters {
        input: op.input.shape,
        output: op.output_shape,
        stride: small(op.stride),
        reader: Reader::from(&op.input),
        maximum: op.maximum.place(),
        average: op.average.place(),
        ..Parameters::zeroed()
    }
}

impl Cuda {
    pub(super) fn pool(&mut self, op: &Pool) {
        let channels = op.output_shape.c as usize;
        let chunks = Chunks::of(op.output_shape.pixels());
        let mut scratch = Scratch::default();
        let mut partial = || scratch.take(chunks.count() * 3 * channels);
        let (maximum_partial, average_partial) = (partial(), partial());
        self.memory.scratch(&self.context, &scratch);
        let parameters = Parameters {
            rows_per_chunk: small(chunks.each),
            maximum_partial,
            average_partial,
            ..parameters(op)
        };
        let (block, across) = channel_block(channels);
        self.launch(Kernel::pool_forward, [chunks.count(), across, 1], block, &parameters);
        let moments = |partial, statistics| Moments {
            partial,
            rows: small(chunks.rows),
            rows_per_block: small(chunks.each),
            channels: small(channels),
            statistics,
        };
        self.combine_moments(&[
            moments(maximum_partial, op.maximum_statistics.place()),
            moments(average_partial, op.average_statistics.place()),
        ]);
    }

    pub(super) fn pool_gradient(&mut self, op: &Pool, gradient: &PoolGradient) {
        let mut scratch = Scratch::default();
        let mut values = || scratch.take(op.output_shape.len());
        let parameters = Parameters {
            maximum_gradient: values(),
            average_gradient: values(),
            places: values(),
            target: TargetPlace::from(gradient.input),
            maximum_cotangent: CotangentPlace::from(&gradient.maximum),
            average_cotangent: CotangentPlace::from(&gradient.average),
            ..parameters(op)
        };
        self.memory.scratch(&self.context, &scratch);
        self.launch_each(Kernel::pool_windows, op.output_shape.len(), 1, &parameters);
        self.launch_each(Kernel::pool_input, op.input.shape.len(), 1, &parameters);
    }
}
