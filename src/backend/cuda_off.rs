//! What stands in for the CUDA backend in a build without nvcc: the same interface, and a sentence that says what to do.

use super::Work;
use super::gpu::{Gpu, Precision};
use crate::{Error, Result};

/// Whether this binary holds CUDA kernels.
pub const BUILT: bool = false;

/// No value of this type is ever made; any backend will do.
pub type Cuda = super::cpu::Cpu;

fn absent() -> Error {
    Error::Device(
        "this binary holds no CUDA kernels; build it where nvcc is (see README.md), or use --device cpu"
            .into(),
    )
}

/// Opens the first GPU, for activations of this precision.
pub fn open(_: Precision) -> Result<Cuda> {
    Err(absent())
}

/// The GPU that [`open`] opens, or why it cannot.
pub fn first() -> Result<Gpu> {
    Err(absent())
}

/// Every GPU, or why there is none.
pub fn devices() -> Result<Vec<Gpu>> {
    Err(absent())
}

/// What a backend has done so far.
pub fn work(_: &Cuda) -> Work {
    Work::default()
}

/// Every kernel's name, and how often a backend has launched it: none is there.
pub fn launched(_: &Cuda) -> impl Iterator<Item = (&'static str, usize)> {
    std::iter::empty()
}
