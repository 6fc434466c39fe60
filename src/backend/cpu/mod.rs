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

mod averages;
mod batch_norm;
mod bypass;
mod channel_slice;
mod convolution;
mod convolution_backward;
mod cross_entropy;
mod depthwise;
mod dropout;
mod gemm;
mod global_pool;
mod gradient_descent;
mod lattice;
mod linear;
mod memory;
mod mixed;
mod node_sum;
mod normalised_pools;
mod pairs;
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
mod vectors;
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

impl Backend for Cpu {}

impl Device for Cpu {
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
}

impl Target {
    /// Assigns or adds one element.
    fn deliver(&self, to: &mut f32, value: f32) {
        *to = if self.accumulate { *to + value } else { value };
    }
}
