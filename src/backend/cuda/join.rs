//! The sum of a derived cell's node: `kernels/join.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_JOINED, Placed, Reader, TargetPlace};
use super::{BatchNormReduce, Cuda, Join, JoinGradient, Kernel, small};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Branch {
    input: Reader,
    factors: u32,
    target: TargetPlace,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    node: u32,
    elements: u32,
    image_elements: u32,
    channels: u32,
    count: u32,
    branches: [Branch; MAX_JOINED],
}
const _: () = assert!(size_of::<Parameters>() == 20 + 24 * MAX_JOINED);

fn parameters(op: &Join) -> Parameters {
    let count = op.branches.len();
    assert!(count <= MAX_JOINED, "a node adds {count} branches; the CUDA kernels take {MAX_JOINED}");
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

impl Cuda {
    pub(super) fn join(&mut self, op: &Join) {
        self.launch_each(Kernel::join_forward, op.shape.len(), 1, &parameters(op));
    }

    pub(super) fn join_gradients(&mut self, op: &Join, gradient: &JoinGradient) {
        let mut parameters = Parameters { node: gradient.output.place(), ..parameters(op) };
        for (place, branch) in parameters.branches.iter_mut().zip(&gradient.branches) {
            place.target = TargetPlace::from(branch.input);
        }
        self.launch_each(Kernel::join_backward, op.shape.len(), 1, &parameters);
        let sums = op.branches.iter().zip(&gradient.branches).filter_map(|(branch, gradients)| {
            let sums = gradients.sums?;
            Some(BatchNormReduce { gradient: gradients.input.slot, input: branch.input, sums, gate: None })
        });
        self.reduce_gradients(sums);
    }
}
