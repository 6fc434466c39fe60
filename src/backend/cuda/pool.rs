//! Pooling of one kind: `kernels/pool.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Cuda, Kernel, Pool, PoolGradient, PoolKernels, PoolKind, Shape, small};

/// Mirrors `Pool` of `kernels/pool.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: Shape,
    relu: u32,
    maximum: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
    reader: Reader,
    result: u32,
    places: u32,
    target: TargetPlace,
}
const _: () = assert!(size_of::<Parameters>() == 80);

fn parameters(op: &Pool) -> Parameters {
    Parameters {
        input: op.input.shape,
        output: op.output_shape,
        relu: u32::from(op.relu),
        maximum: u32::from(op.kind == PoolKind::Maximum),
        kernel: small(op.kernel),
        stride: small(op.stride),
        padding: small(op.padding),
        reader: Reader::from(&op.input),
        result: op.output.place(),
        ..Parameters::zeroed()
    }
}

impl PoolKernels for Cuda {
    fn pool_forward(&mut self, op: &Pool) {
        self.launch_each(Kernel::pool_forward, op.output_shape.len(), 1, &parameters(op));
    }

    fn pool_backward(&mut self, op: &Pool, gradient: &PoolGradient) {
        let maximum = op.kind == PoolKind::Maximum;
        let mut scratch = Scratch::default();
        let parameters = Parameters {
            places: scratch.take(if maximum { op.output_shape.len() } else { 0 }),
            result: gradient.output.place(),
            target: TargetPlace::from(gradient.input),
            ..parameters(op)
        };
        self.memory.scratch(&self.context, &scratch);
        if maximum {
            self.launch_each(Kernel::pool_places, op.output_shape.len(), 1, &parameters);
        }
        self.launch_each(Kernel::pool_input, op.input.shape.len(), 1, &parameters);
    }
}
