//! The device of a run.

use crate::Result;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{self, Cuda};
use crate::backend::gpu::Precision;

/// A device that is ready to compute, and how a run introduces it.
pub struct OpenDevice<B> {
    /// The device.
    pub backend: B,
    /// Its name for a reader.
    pub name: String,
    /// Threads of the processor at work.
    pub threads: usize,
}

/// The processor with so many threads; 0 for all cores.
pub fn open_cpu(threads: usize) -> Result<OpenDevice<Cpu>> {
    let backend = Cpu::new(threads)?;
    let (name, threads) = (format!("CPU, {}", backend.instructions().name()), backend.threads());
    Ok(OpenDevice { backend, name, threads })
}

/// The first GPU, with activations of this precision.
pub fn open_gpu(precision: Precision) -> Result<OpenDevice<Cuda>> {
    let name = cuda::first()?.to_string();
    // One thread queues the work of the GPU.
    Ok(OpenDevice { backend: cuda::open(precision)?, name, threads: 1 })
}
