//! The classifier: `kernels/linear.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{Placed, TargetPlace, small};
use super::{Cuda, Gradients, Kernel, Linear, LinearGradient, LinearKernels};

/// Mirrors `Linear` of `kernels/linear.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    rows: u32,
    inputs: u32,
    outputs: u32,
    input: u32,
    weights: u32,
    bias: u32,
    output: u32,
    output_gradient: u32,
    weights_gradient: u32,
    bias_gradient: u32,
    with_weights: u32,
    target: TargetPlace,
}
const _: () = assert!(size_of::<Parameters>() == 52);

fn parameters(op: &Linear) -> Parameters {
    Parameters {
        rows: small(op.rows),
        inputs: small(op.inputs),
        outputs: small(op.outputs),
        input: op.input.place(),
        weights: op.weights.place(),
        bias: op.bias.place(),
        output: op.output.place(),
        ..Parameters::zeroed()
    }
}

impl LinearKernels for Cuda {
    fn linear_forward(&mut self, op: &Linear) {
        // A warp each.
        self.launch_each(Kernel::linear_forward, op.rows * op.outputs * 32, 1, &parameters(op));
    }

    fn linear_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        let table = Parameters {
            output_gradient: gradient.output.place(),
            weights_gradient: gradient.weights.place(),
            bias_gradient: gradient.bias.place(),
            with_weights: u32::from(wanted.of_weights()),
            target: TargetPlace::from(gradient.input),
            ..parameters(op)
        };
        let of_weights = if wanted.of_weights() { op.inputs * op.outputs + op.outputs } else { 0 };
        self.launch_each(Kernel::linear_backward, op.rows * op.inputs + of_weights, 1, &table);
    }
}
