//! Global average pooling: `kernels/global_pool.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_INPUTS, Placed, TargetPlace};
use super::pointwise::Concatenation;
use super::{Cuda, GlobalPool, GlobalPoolGradient, GlobalPoolKernels, Kernel, Shape};

/// Mirrors `GlobalPool` of `kernels/global_pool.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Shape,
    output: u32,
    inputs: Concatenation,
    targets: [TargetPlace; MAX_INPUTS],
}
const _: () = assert!(size_of::<Parameters>() == 20 + 280 + 136);

fn parameters(op: &GlobalPool, output: u32) -> Parameters {
    let input = op.inputs.first().map_or(Shape::default(), |input| input.shape);
    Parameters { input, output, inputs: Concatenation::from(&op.inputs[..]), ..Parameters::zeroed() }
}

impl GlobalPoolKernels for Cuda {
    fn global_pool_forward(&mut self, op: &GlobalPool) {
        self.launch_each(Kernel::global_pool_forward, op.output.len, 1, &parameters(op, op.output.place()));
    }

    fn global_pool_backward(&mut self, op: &GlobalPool, gradient: &GlobalPoolGradient) {
        let mut table = parameters(op, gradient.output.place());
        for (place, &target) in table.targets.iter_mut().zip(&gradient.inputs) {
            *place = TargetPlace::from(target);
        }
        let longest = op.inputs.iter().map(|input| input.shape.len()).max().unwrap_or_default();
        self.launch_each(Kernel::global_pool_backward, longest, op.inputs.len(), &table);
    }
}
