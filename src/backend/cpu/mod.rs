//! The vectorised, threaded backend.
//!
//! Read `simd` (vectors and how kernels are compiled for them), `memory` (what kernels see of it),
//! `team` (threads), `statistics` (the fixed work units) and `stream` (what happens to a value on
//! its way to and from scratch) first; then the operators, each in its file.
//!
//! Results are the same, byte for byte, whatever the number of threads: work units depend on the
//! geometry alone and their partial sums are combined in their order. They differ between instruction
//! sets by rounding. No call allocates once scratch memory has grown to what the largest operator needs.

// Arrays of vectors are registers: loops over them are unrolled, and read best with an index.
#![allow(clippy::needless_range_loop)]

mod batch_norm;
mod convolution;
mod depthwise;
mod gemm;
mod loss;
mod memory;
mod mixed;
mod node_sum;
mod normalised_pools;
mod optimizer;
mod pointwise;
mod pool;
mod separable;
mod separable_backward;
mod simd;
#[cfg(target_arch = "x86_64")]
mod simd_x86;
mod statistics;
mod stream;
mod team;
mod weights;

pub use simd::Instructions;

use super::*;
use crate::{Error, Result};
use memory::{Buffer, Memory};
use team::Team;

/// The backend that computes on the processor, in f32.
pub struct Cpu {
    instructions: Instructions,
    team: Team,
    activations: Buffer<f32>,
    state: Buffer<f32>,
    labels: Vec<u32>,
    /// For each thread: padded images and tiles.
    scratch: Buffer<f32>,
    /// Weights rearranged for a call.
    prepared: Buffer<f32>,
    /// For each work unit: gradients of weights.
    partials: Buffer<f32>,
    /// For each work unit: sums per channel.
    sums: Buffer<f64>,
}

impl Cpu {
    /// A backend without memory, on this many threads, 0 for all that the machine has, with the widest
    /// vectors that it has.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_instructions(threads, Instructions::detect())
    }

    /// The same with vectors of one's choice.
    pub fn with_instructions(threads: usize, instructions: Instructions) -> Result<Self> {
        if !instructions.available() {
            return Err(Error::Device(format!("this machine has no {}", instructions.name())));
        }
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Ok(Cpu {
            instructions,
            team: Team::new(threads)?,
            activations: Buffer::new(),
            state: Buffer::new(),
            labels: Vec::new(),
            scratch: Buffer::new(),
            prepared: Buffer::new(),
            partials: Buffer::new(),
            sums: Buffer::new(),
        })
    }

    /// Number of threads that compute.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The vectors in use.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    fn memory(&mut self) -> Memory {
        Memory { activations: self.activations.area(), state: self.state.area() }
    }

    /// What closed work leaves where it would deliver a gradient.
    fn withhold(&mut self, target: Target) {
        if !target.accumulate && self.memory().open(target.gate) {
            self.activations.as_mut_slice()[target.slot.range()].fill(0.0);
        }
    }
}

impl Backend for Cpu {
    type Scalar = f32;

    fn reserve(&mut self, activations: usize, state: usize) -> Result<()> {
        self.activations = Buffer::new();
        memory::check_available((activations + state) * size_of::<f32>())?;
        self.activations = Buffer::zeroed(activations)?;
        self.state = Buffer::zeroed(state)?;
        Ok(())
    }

    fn spare(&self) -> Option<usize> {
        let held = self.activations.as_slice().len() + self.state.as_slice().len();
        Some(crate::machine::available_memory()? + held * size_of::<f32>())
    }

    fn activation_bytes(&self) -> usize {
        size_of::<f32>()
    }

    fn write_activations(&mut self, slot: Slot, values: &[f32]) {
        self.activations.as_mut_slice()[slot.range()].copy_from_slice(values);
    }

    fn read_activations(&self, slot: Slot, values: &mut [f32]) {
        values.copy_from_slice(&self.activations.as_slice()[slot.range()]);
    }

    fn write(&mut self, span: Span, values: &[f32]) {
        self.state.as_mut_slice()[span.range()].copy_from_slice(values);
    }

    fn read(&self, span: Span, values: &mut [f32]) {
        values.copy_from_slice(&self.state.as_slice()[span.range()]);
    }

    fn write_labels(&mut self, labels: &[u32]) {
        self.labels.clear();
        self.labels.extend_from_slice(labels);
    }

    fn convolution_forward(&mut self, operator: &Convolution) {
        self.convolve(operator);
    }

    fn convolution_backward(&mut self, operator: &Convolution, gradient: &ConvolutionGradient) {
        self.convolve_backward(operator, gradient);
    }

    fn separable_forward(&mut self, operator: &Separable) {
        self.separable(operator);
    }

    fn separable_backward(&mut self, operator: &Separable, gradient: &SeparableGradient, wanted: Gradients) {
        self.separable_gradients(operator, gradient, wanted);
    }

    fn pointwise_forward(&mut self, operator: &Pointwise) {
        self.pointwise(operator);
    }

    fn pointwise_backward(&mut self, operator: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients) {
        self.pointwise_gradients(operator, gradient, wanted);
    }

    fn normalised_pools_forward(&mut self, operator: &NormalisedPools) {
        self.pool(operator);
    }

    fn normalised_pools_backward(&mut self, operator: &NormalisedPools, gradient: &NormalisedPoolsGradient) {
        self.pool_gradient(operator, gradient);
    }

    fn pool_forward(&mut self, operator: &Pool) {
        self.pool_windows(operator);
    }

    fn pool_backward(&mut self, operator: &Pool, gradient: &PoolGradient) {
        self.pool_windows_gradient(operator, gradient);
    }

    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode) {
        let memory = self.memory();
        // SAFETY: `memory` is borrowed from `self` exclusively.
        norms.iter().for_each(|norm| unsafe { batch_norm::normalise(memory, norm, mode) });
    }

    fn batch_norm_reduce(&mut self, reduce: &BatchNormReduce) {
        self.reduce_gradient(reduce);
    }

    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient]) {
        let memory = self.memory();
        // SAFETY: `memory` is borrowed from `self` exclusively.
        gradients.iter().for_each(|gradient| unsafe { batch_norm::normalise_backward(memory, gradient) });
    }

    fn mixed_forward(&mut self, operator: &Mixed) {
        self.mix(operator);
    }

    fn mixed_backward(&mut self, operator: &Mixed, gradient: &MixedGradient) {
        self.mix_backward(operator, gradient);
    }

    fn node_sum_forward(&mut self, operator: &NodeSum) {
        self.join(operator);
    }

    fn node_sum_backward(&mut self, operator: &NodeSum, gradient: &NodeSumGradient) {
        self.join_gradients(operator, gradient);
    }

    fn global_pool_forward(&mut self, operator: &GlobalPool) {
        self.average_pixels(operator);
    }

    fn global_pool_backward(&mut self, operator: &GlobalPool, gradient: &GlobalPoolGradient) {
        self.average_pixels_backward(operator, gradient);
    }

    fn linear_forward(&mut self, operator: &Linear) {
        self.affine_map(operator);
    }

    fn linear_backward(&mut self, operator: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        self.affine_map_backward(operator, gradient, wanted);
    }

    fn cross_entropy(&mut self, operator: &CrossEntropy) {
        self.loss(operator);
    }

    fn fill(&mut self, span: Span, value: f64) {
        self.state.as_mut_slice()[span.range()].fill(value as f32);
    }

    fn copy(&mut self, target: Span, source: Span) {
        self.state.as_mut_slice().copy_within(source.range(), target.offset);
    }

    fn scaled_add(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span) {
        self.add_scaled(target, factor, divisor, source);
    }

    fn norm(&mut self, source: Span, result: Span) {
        self.euclidean_norm(source, result);
    }

    fn gradient_descent(&mut self, step: &GradientDescent) {
        self.descend(step);
    }
}
