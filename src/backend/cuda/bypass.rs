//! A node with partial channel connections: `kernels/bypass.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_INPUTS, Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Bypass, BypassGradient, BypassKernels, Cuda, Kernel, THREADS, small};

/// Elements of the smallest chunk of backward, and the most chunks.
const CHUNK: usize = 4096;
const MOST_CHUNKS: usize = 1024;

/// Mirrors `BypassSource` of `kernels/bypass.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Source {
    input: Reader,
    weight: u32,
    target: TargetPlace,
    gradient: u32,
}

/// Mirrors `Bypass` of `kernels/bypass.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    node: u32,
    mixed: u32,
    target: TargetPlace,
    pixels: u32,
    channels: u32,
    groups: u32,
    count: u32,
    each: u32,
    chunks: u32,
    partial: u32,
    sources: [Source; MAX_INPUTS],
}
const _: () = assert!(size_of::<Parameters>() == 44 + 28 * MAX_INPUTS);

fn parameters(op: &Bypass) -> Parameters {
    let count = op.sources.len();
    assert!(count <= MAX_INPUTS, "{count} edges pass a node by; the CUDA kernels take {MAX_INPUTS}");
    let mut parameters = Parameters {
        node: op.output.place(),
        mixed: op.mixed.place(),
        pixels: small(op.shape.pixels()),
        channels: op.shape.c,
        groups: small(op.groups),
        count: small(count),
        ..Parameters::zeroed()
    };
    for (place, source) in parameters.sources.iter_mut().zip(&op.sources) {
        (place.input, place.weight) = (Reader::from(&source.input), source.weight.place());
    }
    parameters
}

impl BypassKernels for Cuda {
    fn bypass_forward(&mut self, op: &Bypass) {
        self.launch_each(Kernel::bypass_forward, op.shape.len(), 1, &parameters(op));
    }

    fn bypass_backward(&mut self, op: &Bypass, gradient: &BypassGradient) {
        let (elements, edges) = (op.shape.len(), op.sources.len());
        let each = elements.div_ceil(MOST_CHUNKS).max(CHUNK);
        let chunks = elements.div_ceil(each);
        let mut scratch = Scratch::default();
        let mut parameters = Parameters {
            node: gradient.output.place(),
            target: TargetPlace::from(gradient.mixed),
            each: small(each),
            chunks: small(chunks),
            partial: scratch.take(edges * chunks),
            ..parameters(op)
        };
        for (place, gradients) in parameters.sources.iter_mut().zip(&gradient.sources) {
            (place.target, place.gradient) = (gradients.input.into(), gradients.weight.place());
        }
        self.memory.scratch(&self.context, &scratch);
        let block = [THREADS as u32, 1];
        self.launch(Kernel::bypass_backward, [chunks, edges + 1, 1], block, &parameters);
        self.launch(Kernel::bypass_finish, [edges, 1, 1], [32, 1], &parameters);
    }
}
