//! The CUDA backend: the kernels of `kernels/`, launched through cudarc.
//!
//! Read `geometry` (what a kernel takes by value), `context` (device, stream, kernels) and `memory` first; then the
//! operators, each in its file, beside the kernel of the same name.
//!
//! The two device memories are flat buffers; a kernel gets their addresses and a table of places by value. Results do
//! not depend on the order in which blocks run: partial sums are added in the order of the rows. Calls queue work and
//! return; reading waits. A dry run ([`Device::begin_dry_run`]) learns how much scratch the calls of a step take, so a step
//! allocates nothing, and the tape's replays are recorded as graphs, each of which is one launch.

mod augment;
mod bands;
mod bypass;
mod channel_slice;
mod channel_sums;
mod combine;
mod context;
mod convolution;
mod cross_entropy;
mod devices;
mod dropout;
mod geometry;
mod global_pool;
mod gradient_descent;
mod graph;
mod linear;
mod memory;
mod mixed;
mod node_sum;
mod normalised_pools;
mod pointwise;
mod pool;
mod separable;
mod stream;
mod vectors;

pub use devices::{devices, first};

use std::cell::{Cell, RefCell};

use bytemuck::Pod;

use super::gpu::Precision;
use super::*;
use crate::Result;
use combine::Waiting;
use context::{Context, KERNELS, Kernel, State};
use geometry::{MemoryPlace, small};
use graph::Graphs;
use memory::Memory;

/// Whether this binary holds CUDA kernels.
pub const BUILT: bool = true;

/// Threads of most blocks.
const THREADS: usize = 256;

/// What keeps gradients of about 1e-7 out of f16's subnormal numbers, and those of about 10 below its largest.
const LOSS_SCALE: f64 = 1024.0;

/// The backend that computes on an NVIDIA GPU.
pub struct Cuda {
    // Memory and graphs go before the context that they belong to.
    memory: Memory,
    graphs: Graphs,
    context: Context,
    waiting: RefCell<Waiting>,
    work: Cell<Work>,
    /// Of each kernel how often it was launched, or recorded into a graph.
    launched: [Cell<usize>; KERNELS.len()],
    /// What was done before the dry run that is under way.
    before: Work,
}

/// Opens the first GPU, for activations of this precision.
pub fn open(precision: Precision) -> Result<Cuda> {
    let context = Context::open(0, precision)?;
    let memory = Memory::new(&context, precision)?;
    Ok(Cuda {
        memory,
        graphs: Graphs::new(),
        context,
        waiting: RefCell::new(Waiting::new()),
        work: Cell::new(Work::default()),
        launched: [const { Cell::new(0) }; KERNELS.len()],
        before: Work::default(),
    })
}

/// What a backend has done so far.
pub fn work(cuda: &Cuda) -> Work {
    cuda.work.get()
}

/// Every kernel's name, and how often a backend has launched it so far or recorded it into a graph.
pub fn launched(cuda: &Cuda) -> impl Iterator<Item = (&'static str, usize)> {
    KERNELS.iter().zip(&cuda.launched).map(|(name, count)| (*name, count.get()))
}

impl Cuda {
    /// Queues a kernel of a call, behind the sums that wait. The places in `parameters` are those of operands, which the
    /// tape laid out within the memories, and of scratch that [`Memory::scratch`] gave.
    fn launch<P: Pod>(&self, kernel: Kernel, grid: [usize; 3], block: [u32; 2], parameters: &P) {
        if !matches!(kernel, Kernel::channel_sums) {
            self.settle();
        }
        self.send(kernel, grid, block, &self.memory.place(), parameters);
    }

    /// Queues a kernel. An empty grid is no work.
    fn send<P: Pod>(
        &self,
        kernel: Kernel,
        grid: [usize; 3],
        block: [u32; 2],
        place: &MemoryPlace,
        parameters: &P,
    ) {
        if grid.contains(&0) {
            return;
        }
        let Work { kernels, launches } = self.work.get();
        self.work.set(Work { kernels: kernels + 1, launches: launches + 1 });
        if self.context.active() {
            let launched = &self.launched[kernel as usize];
            launched.set(launched.get() + 1);
            let grid = grid.map(|side| u32::try_from(side).expect("a grid has fewer than 2^32 blocks"));
            // SAFETY: parameters mirror what the kernel declares (`tests/mirrors.rs` compares them); operands lie in
            // the memories by the contract of `Backend`, and kernels check their threads against the shapes.
            unsafe { self.context.launch(kernel, grid, block, place, parameters) };
        }
    }

    /// A thread for each of `len` results.
    fn launch_each<P: Pod>(&self, kernel: Kernel, len: usize, times: usize, parameters: &P) {
        self.launch(kernel, [len.div_ceil(THREADS), times, 1], [THREADS as u32, 1], parameters);
    }
}

/// How rows are cut into chunks whose partial sums are combined: by their number alone, never by the device.
#[derive(Clone, Copy)]
struct Chunks {
    rows: usize,
    each: usize,
}

impl Chunks {
    /// At most 256 chunks of at least 64 rows.
    fn of(rows: usize) -> Self {
        Chunks { rows, each: rows.div_ceil(256).max(64) }
    }

    fn count(self) -> usize {
        self.rows.div_ceil(self.each)
    }
}

/// Block and number of blocks over channels, where threads of a warp are neighbouring channels.
fn channel_block(channels: usize) -> ([u32; 2], usize) {
    if channels <= 16 { ([16, 16], 1) } else { ([32, 8], channels.div_ceil(32)) }
}

/// Width and height of a matrix product's tile for this many columns.
fn tile(columns: usize) -> [usize; 2] {
    let width = if columns <= 16 { 16 } else { 64 };
    [width, 4096 / width]
}

/// The kernel of the tile's width.
fn by_width(width: usize, narrow: Kernel, wide: Kernel) -> Kernel {
    if width == 16 { narrow } else { wide }
}

impl Backend for Cuda {}

impl Device for Cuda {
    const LIMITS: Limits = geometry::LIMITS;
    type Scalar = f32;

    fn loss_scale(&self) -> f64 {
        if self.memory.precision() == Precision::F16 { LOSS_SCALE } else { 1.0 }
    }

    fn begin_dry_run(&mut self) -> bool {
        self.settle();
        self.before = self.work.take();
        self.context.state = State::DryRun;
        self.memory.begin_dry_run();
        true
    }

    fn end_dry_run(&mut self) -> Work {
        self.settle();
        self.context.state = State::Running;
        self.work.replace(self.before)
    }

    fn demand(&self, activations: usize, state: usize) -> Result<usize> {
        self.memory.demand(activations, state)
    }

    fn spare(&self) -> Option<usize> {
        self.memory.spare(&self.context)
    }

    fn reserve(&mut self, activations: usize, state: usize) -> Result<()> {
        self.waiting.replace(Waiting::new());
        self.memory.release();
        self.graphs.clear();
        self.memory.reserve(&self.context, activations, state)?;
        self.status()
    }

    fn status(&self) -> Result<()> {
        self.context.status()
    }

    fn replay(&mut self, key: Replay, work: &mut dyn FnMut(&mut Self)) {
        self.replay_recorded(key, work);
    }

    fn augmenter(&mut self) -> Option<&mut dyn Augmenter> {
        Some(self)
    }

    fn activation_bytes(&self) -> usize {
        self.memory.precision().bytes()
    }

    fn write_activations(&mut self, slot: Slot, values: &[f32]) {
        self.settle();
        self.memory.write_activations(&self.context, slot, values);
    }

    fn read_activations(&self, slot: Slot, values: &mut [f32]) {
        self.settle();
        self.memory.read_activations(&self.context, slot, values);
    }

    fn write(&mut self, span: Span, values: &[f32]) {
        self.settle();
        self.memory.write(&self.context, span, values);
    }

    fn read(&self, span: Span, values: &mut [f32]) {
        self.settle();
        self.memory.read(&self.context, span, values);
    }

    fn write_labels(&mut self, labels: &[u32]) {
        self.memory.write_labels(&self.context, labels);
    }
}
