//! The sum of a derived cell's node: `kernels/node_sum.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_SUMMED, Placed, Reader, TargetPlace};
use super::{BatchNormReduce, Cuda, Kernel, NodeSum, NodeSumGradient, NodeSumKernels, small};

/// Mirrors `NodeSumBranch` of `kernels/node_sum.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Branch {
    input: Reader,
    factors: u32,
    target: TargetPlace,
}

/// Mirrors `NodeSum` of `kernels/node_sum.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    node: u32,
    elements: u32,
    image_elements: u32,
    channels: u32,
    count: u32,
    branches: [Branch; MAX_SUMMED],
}
const _: () = assert!(size_of::<Parameters>() == 20 + 24 * MAX_SUMMED);

fn parameters(op: &NodeSum) -> Parameters {
    let count = op.branches.len();
    assert!(count <= MAX_SUMMED, "a node adds {count} branches; the CUDA kernels take {MAX_SUMMED}");
    let mut parameters = Parameters {
        node: op.output.place(),
        elements: small(op.shape.len()),
        image_elements: small(op.shape.image_pixels() * op.shape.c as usize),
        channels: op.shape.c,
        count: small(count),
        ..Parameters::zeroed()
    };
    for (place, branch) in parameters.branches.iter_mut().zip(&op.branches) {
        (place.input, place.factors) = (Reader::from(&branch.input), branch.factors.place());
    }
    parameters
}

impl NodeSumKernels for Cuda {
    fn node_sum_forward(&mut self, op: &NodeSum) {
        self.launch_each(Kernel::node_sum_forward, op.shape.len(), 1, &parameters(op));
    }

    fn node_sum_backward(&mut self, op: &NodeSum, gradient: &NodeSumGradient) {
        let mut parameters = Parameters { node: gradient.output.place(), ..parameters(op) };
        for (place, branch) in parameters.branches.iter_mut().zip(&gradient.branches) {
            place.target = TargetPlace::from(branch.input);
        }
        self.launch_each(Kernel::node_sum_backward, op.shape.len(), 1, &parameters);
        let sums = op.branches.iter().zip(&gradient.branches).filter_map(|(branch, gradients)| {
            let sums = gradients.sums?;
            Some(BatchNormReduce { gradient: gradients.input.slot, input: branch.input, sums, gate: None })
        });
        self.reduce_gradients(sums);
    }
}
