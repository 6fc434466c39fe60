//! What is known of a GPU, whether or not this binary holds kernels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What activations and their gradients are stored as; sums, weights and coefficients are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

    /// Bytes of a stored value.
    pub fn bytes(self) -> usize {
        if self == Precision::F32 { 4 } else { 2 }
    }
}

/// Its name in a plan.
impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
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
