//! From the last feature maps to the loss: `kernels/loss.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_INPUTS, Placed, TargetPlace, small};
use super::pointwise::Concatenation;
use super::{
    CrossEntropy, Cuda, GlobalPool, GlobalPoolGradient, Gradients, Kernel, Linear, LinearGradient, Shape,
};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PoolPlace {
    input: Shape,
    output: u32,
    inputs: Concatenation,
    targets: [TargetPlace; MAX_INPUTS],
}
const _: () = assert!(size_of::<PoolPlace>() == 20 + 280 + 136);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LinearPlace {
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
const _: () = assert!(size_of::<LinearPlace>() == 52);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LossPlace {
    logits: u32,
    rows: u32,
    classes: u32,
    result: u32,
    gradient: u32,
    weight: f32,
}

fn pool_place(op: &GlobalPool, output: u32) -> PoolPlace {
    let input = op.inputs.first().map_or(Shape::default(), |input| input.shape);
    PoolPlace { input, output, inputs: Concatenation::from(&op.inputs[..]), ..PoolPlace::zeroed() }
}

fn linear_place(op: &Linear) -> LinearPlace {
    LinearPlace {
        rows: small(op.rows),
        inputs: small(op.inputs),
        outputs: small(op.outputs),
        input: op.input.place(),
        weights: op.weights.place(),
        bias: op.bias.place(),
        output: op.output.place(),
        ..LinearPlace::zeroed()
    }
}

impl Cuda {
    pub(super) fn average_pixels(&mut self, op: &GlobalPool) {
        self.launch_each(Kernel::global_pool_forward, op.output.len, 1, &pool_place(op, op.output.place()));
    }

    pub(super) fn average_pixels_backward(&mut self, op: &GlobalPool, gradient: &GlobalPoolGradient) {
        let mut table = pool_place(op, gradient.output.place());
        for (place, &target) in table.targets.iter_mut().zip(&gradient.inputs) {
            *place = TargetPlace::from(target);
        }
        let longest = op.inputs.iter().map(|input| input.shape.len()).max().unwrap_or_default();
        self.launch_each(Kernel::global_pool_backward, longest, op.inputs.len(), &table);
    }

    pub(super) fn affine_map(&mut self, op: &Linear) {
        // A warp each.
        self.launch_each(Kernel::linear_forward, op.rows * op.outputs * 32, 1, &linear_place(op));
    }

    pub(super) fn affine_map_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        let table = LinearPlace {
            output_gradient: gradient.output.place(),
            weights_gradient: gradient.weights.place(),
            bias_gradient: gradient.bias.place(),
            with_weights: u32::from(wanted.of_weights()),
            target: TargetPlace::from(gradient.input),
            ..linear_place(op)
        };
        let of_weights = if wanted.of_weights() { op.inputs * op.outputs + op.outputs } else { 0 };
        self.launch_each(Kernel::linear_backward, op.rows * op.inputs + of_weights, 1, &table);
    }

    pub(super) fn loss(&mut self, op: &CrossEntropy) {
        let table = LossPlace {
            logits: op.logits.place(),
            rows: small(op.rows),
            classes: small(op.classes),
            result: op.result.place(),
            gradient: op.gradient.place(),
            weight: op.weight as f32,
        };
        self.launch(Kernel::cross_entropy, [1, 1, 1], [1, 256], &table);
    }
}
