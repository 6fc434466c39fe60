//! The loss: `kernels/cross_entropy.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{ABSENT, Placed, small};
use super::{CrossEntropy, CrossEntropyKernels, Cuda, Kernel};

/// Mirrors `CrossEntropy` of `kernels/cross_entropy.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    logits: u32,
    rows: u32,
    classes: u32,
    result: u32,
    gradient: u32,
    weight: f32,
    class_weights: u32,
}

impl CrossEntropyKernels for Cuda {
    fn cross_entropy(&mut self, op: &CrossEntropy) {
        let table = Parameters {
            logits: op.logits.place(),
            rows: small(op.rows),
            classes: small(op.classes),
            result: op.result.place(),
            gradient: op.gradient.place(),
            weight: op.weight as f32,
            class_weights: op.class_weights.map_or(ABSENT, Placed::place),
        };
        self.launch(Kernel::cross_entropy, [1, 1, 1], [1, 256], &table);
    }
}
