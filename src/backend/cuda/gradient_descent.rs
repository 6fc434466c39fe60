//! Gradient descent: `kernels/gradient_descent.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{Placed, small};
use super::vectors::fours;
use super::{Cuda, GradientDescent, GradientDescentKernels, Kernel};

/// Mirrors `GradientDescent` of `kernels/gradient_descent.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    len: u32,
    fours: u32,
    weights: u32,
    gradient: u32,
    momentum_buffer: u32,
    norm: u32,
    rate: f32,
    momentum: f32,
    decay: f32,
    nesterov: u32,
    limit: f64,
}
const _: () = assert!(size_of::<Parameters>() == 48);

impl GradientDescentKernels for Cuda {
    fn gradient_descent(&mut self, op: &GradientDescent) {
        let table = Parameters {
            len: small(op.weights.len),
            fours: fours(&[op.weights, op.gradient, op.momentum_buffer]),
            weights: op.weights.place(),
            gradient: op.gradient.place(),
            momentum_buffer: op.momentum_buffer.place(),
            norm: op.clip.map(|(norm, _)| norm).place(),
            rate: op.rate as f32,
            momentum: op.momentum as f32,
            decay: op.decay as f32,
            nesterov: op.nesterov.into(),
            limit: op.clip.map_or(0.0, |(_, limit)| limit),
        };
        self.launch_vector(Kernel::gradient_descent, op.weights.len, &table);
    }
}
