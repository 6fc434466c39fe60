//! What a kernel takes by value: mirrors of structs of the kernels, which `tests/mirrors.rs` compares
//! field by field.

use bytemuck::{Pod, Zeroable};

use super::super::{Limits, Operand, ResultGradient, Shape, Slot, Span, Target, UnstoredGradient};

/// The place of what is not there.
pub const ABSENT: u32 = u32::MAX;
/// The highest bit of a gate, which is free for another truth.
const MARK: u32 = 1 << 31;
/// Terms of an output gradient.
pub const MAX_TERMS: usize = 17;
/// Inputs of a 1x1 convolution.
pub const MAX_INPUTS: usize = 17;
/// Matrix products of one launch.
pub const MAX_FACTORS: usize = 18;
/// Branches of a node.
pub const MAX_BRANCHES: usize = 128;
/// Identities among them.
pub const MAX_IDENTITIES: usize = 64;
/// Branches of a derived cell's node.
pub const MAX_SUMMED: usize = 24;
/// Side of the largest window.
pub const MAX_WINDOW: usize = 7;
/// What these allow.
pub const LIMITS: Limits = Limits {
    operands: if MAX_INPUTS < MAX_TERMS { MAX_INPUTS } else { MAX_TERMS },
    mixed: MAX_BRANCHES,
    summed: MAX_SUMMED,
    window: MAX_WINDOW,
};

/// The device's memories, as addresses.
/// Mirrors `Memory` of `kernels/geometry.cuh`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MemoryPlace {
    pub activations: u64,
    pub state: u64,
    pub scratch: u64,
    pub labels: u64,
}
const _: () = assert!(size_of::<MemoryPlace>() == 32);

/// The data set, and the placements of a batch, as addresses.
/// Mirrors `Images` of `kernels/augment.cu`.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub struct ImagePlace {
    pub pixels: u64,
    pub constants: u64,
    pub placements: u64,
    pub shape: Shape,
}
const _: () = assert!(size_of::<ImagePlace>() == 40);
const _: () = assert!(size_of::<Shape>() == 16);

/// An index as kernels count: `reserve` has checked that every place has one.
pub fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a place in device memory fits 32 bits, as reserve checked")
}

/// Something with a place in one of the memories.
pub trait Placed {
    /// Its first element.
    fn place(self) -> u32;
}

impl Placed for Slot {
    fn place(self) -> u32 {
        small(self.offset)
    }
}

impl Placed for Span {
    fn place(self) -> u32 {
        small(self.offset)
    }
}

impl<T: Placed> Placed for Option<T> {
    fn place(self) -> u32 {
        self.map_or(ABSENT, Placed::place)
    }
}

/// A gate, or that there is none.
pub fn gate(gate: Option<Span>) -> u32 {
    let gate = gate.map_or(0, |gate| small(gate.offset + 1));
    assert!(gate & MARK == 0, "a gate lies beyond the first 2^31 elements of the state");
    gate
}

/// A gate with a mark where something else is true.
pub fn marked(mark: bool, gate: u32) -> u32 {
    if mark { gate | MARK } else { gate }
}

/// An activation as its readers see it.
/// Mirrors `Reader` of `kernels/geometry.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Reader {
    pub data: u32,
    pub scale: u32,
    pub shift: u32,
}
const _: () = assert!(size_of::<Reader>() == 12);

impl From<&Operand> for Reader {
    fn from(operand: &Operand) -> Self {
        let norm = operand.norm;
        Reader {
            data: operand.data.place(),
            scale: norm.map(|norm| norm.scale).place(),
            shift: norm.map(|norm| norm.shift).place(),
        }
    }
}

/// The gradient of a raw value in front of a batch norm.
/// Mirrors `UnstoredGradient` of `kernels/geometry.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct UnstoredGradientPlace {
    count: u32,
    raw: u32,
    raw_factor: u32,
    constant: u32,
    gradient: [u32; MAX_TERMS],
    factor: [u32; MAX_TERMS],
}
const _: () = assert!(size_of::<UnstoredGradientPlace>() == 152);

impl From<&UnstoredGradient> for UnstoredGradientPlace {
    fn from(output_gradient: &UnstoredGradient) -> Self {
        let count = output_gradient.terms.len();
        assert!(count <= MAX_TERMS, "a value flows into {count} places; the CUDA kernels take {MAX_TERMS}");
        let mut place = UnstoredGradientPlace {
            count: small(count),
            raw: output_gradient.raw.place(),
            raw_factor: output_gradient.raw_factor.place(),
            constant: output_gradient.constant.place(),
            ..UnstoredGradientPlace::zeroed()
        };
        for (index, term) in output_gradient.terms.iter().enumerate() {
            place.gradient[index] = term.gradient.place();
            place.factor[index] = term.factor.place();
        }
        place
    }
}

impl From<&ResultGradient> for UnstoredGradientPlace {
    fn from(gradient: &ResultGradient) -> Self {
        match gradient {
            // Itself, as it is stored.
            ResultGradient::Stored(slot) => UnstoredGradientPlace {
                raw: slot.place(),
                raw_factor: ABSENT,
                constant: ABSENT,
                ..UnstoredGradientPlace::zeroed()
            },
            ResultGradient::Unstored(gradient) => gradient.into(),
        }
    }
}

impl UnstoredGradientPlace {
    /// Where the activations lie that it reads.
    pub fn activations(&self) -> impl Iterator<Item = u32> {
        self.gradient[..self.count as usize].iter().copied().chain([self.raw])
    }
}

/// Where an input gradient goes; the gate has a mark where it is added to.
/// Mirrors `Target` of `kernels/geometry.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct TargetPlace {
    pub data: u32,
    gate: u32,
}
const _: () = assert!(size_of::<TargetPlace>() == 8);

impl From<Target> for TargetPlace {
    fn from(target: Target) -> Self {
        TargetPlace { data: target.slot.place(), gate: marked(target.accumulate, gate(target.gate)) }
    }
}

/// One matrix product of a launch.
/// Mirrors `Factor` of `kernels/geometry.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Factor {
    pub input: Reader,
    pub kernel: u32,
    pub dilation: u32,
    pub depthwise: u32,
    pub weights: u32,
    pub columns: u32,
    pub first: u32,
    pub shift: u32,
    pub output: u32,
    pub partial: u32,
    pub gate: u32,
}
const _: () = assert!(size_of::<Factor>() == 52);
