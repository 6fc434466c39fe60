//! Dropout of elements: `kernels/dropout.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{Placed, Reader, TargetPlace};
use super::{Cuda, Dropout, DropoutGradient, DropoutKernels, Kernel, small};

/// Mirrors `Dropout` of `kernels/dropout.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Reader,
    result: u32,
    elements: u32,
    channels: u32,
    key: u32,
    number: u32,
    given: u32,
    target: TargetPlace,
}
const _: () = assert!(size_of::<Parameters>() == 44);

fn parameters(op: &Dropout) -> Parameters {
    Parameters {
        input: Reader::from(&op.input),
        result: op.output.place(),
        elements: small(op.output.len),
        channels: op.input.shape.c,
        key: op.mask.key.place(),
        number: op.mask.number,
        given: op.mask.given.place(),
        ..Parameters::zeroed()
    }
}

impl DropoutKernels for Cuda {
    fn dropout_forward(&mut self, op: &Dropout) {
        self.launch_each(Kernel::dropout_forward, op.output.len, 1, &parameters(op));
    }

    fn dropout_backward(&mut self, op: &Dropout, gradient: &DropoutGradient) {
        let (result, target) = (gradient.output.place(), TargetPlace::from(gradient.input));
        let parameters = Parameters { result, target, ..parameters(op) };
        self.launch_each(Kernel::dropout_backward, op.output.len, 1, &parameters);
    }
}
