//! What is known of a GPU, whether or not this binary holds kernels.

use std::fmt;

/// What activations and their gradients are stored as; sums, weights and coefficients are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// The upper half of an f32: its range, 8 bits of precision; tensor cores multiply.
    Bf16,
    /// IEEE 754 binary16: 11 bits of precision, from 6e-8 to 65504; tensor cores multiply.
    F16,
}

impl Precision {
    /// Bytes of a stored value.
    pub fn bytes(self) -> usize {
        if self == Precision::F32 { 4 } else { 2 }
    }
}

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
