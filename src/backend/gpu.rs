//! What is known of a GPU, whether or not this binary holds kernels.

use std::fmt;

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
