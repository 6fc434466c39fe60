//! What is known of a GPU, whether or not this binary holds kernels.

use std::fmt;

use crate::{Error, Result};

/// A GPU.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// The name that its maker gave it.
    pub name: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Bytes of memory.
    pub memory: usize,
    /// The code that this binary holds for it, in words, if any.
    pub code: Option<&'static str>,
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.capability;
        write!(f, "{}, compute capability {major}.{minor}", self.name)
    }
}

/// The first of these GPUs, where the binary can use it.
pub(super) fn first_usable(gpus: Vec<Gpu>) -> Result<Gpu> {
    let none = "the CUDA driver finds no GPU; use --device cpu";
    let gpu = gpus.into_iter().next().ok_or_else(|| Error::Device(none.into()))?;
    if gpu.code.is_none() {
        let advice = "this binary holds no code for it; build it with its capability in DARTS_CUDA_ARCHS";
        return Err(Error::Device(format!("{gpu}: {advice}")));
    }
    Ok(gpu)
}
