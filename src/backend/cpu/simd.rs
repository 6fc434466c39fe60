//! Vectors of f32 for three instruction sets, and the way into code compiled for one of them.
//!
//! A computation is a [`Kernel`]: a struct of its operands with one body, generic over [`Vector`].
//! [`Instructions::run`] enters the body through a function compiled for the instruction set, into which
//! everything is inlined. [`Vector::call`] does the same from inside, where a body should stay a function
//! of its own.

use super::memory::Area;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// What every machine has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F.
    Avx512,
}

impl Instructions {
    /// All of them, from the narrowest.
    pub const ALL: [Instructions; 3] = [Instructions::Portable, Instructions::Avx2, Instructions::Avx512];

    /// The widest that this machine has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|set| set.available()).unwrap_or(Instructions::Portable)
    }

    /// Whether this machine has it.
    pub fn available(self) -> bool {
        match self {
            Instructions::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Portable => "portable",
            Instructions::Avx2 => "AVX2",
            Instructions::Avx512 => "AVX-512",
        }
    }

    /// Numbers in a vector.
    pub fn lanes(self) -> usize {
        match self {
            Instructions::Portable => Portable::LANES,
            Instructions::Avx2 => 8,
            Instructions::Avx512 => 16,
        }
    }

    /// Runs a kernel compiled for this instruction set.
    ///
    /// # Safety
    /// The set is [available](Self::available), and the kernel's own conditions hold.
    pub(super) unsafe fn run<K: Kernel>(self, kernel: K) {
        match self {
            // SAFETY: the caller's promise.
            Instructions::Portable => unsafe { Portable::call(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            Instructions::Avx2 => unsafe { super::simd_x86::Avx2::call(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            Instructions::Avx512 => unsafe { super::simd_x86::Avx512::call(kernel) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("not available on this machine"),
        }
    }
}

/// A computation with its operands.
pub trait Kernel {
    /// The computation; to be marked `#[inline(always)]`.
    ///
    /// # Safety
    /// The areas that the kernel holds cover its geometry, and no other thread writes what it reads or
    /// touches what it writes.
    unsafe fn run<V: Vector>(self);
}

/// A vector of f32. All methods are inlined into a body entered through [`Instructions::run`].
pub trait Vector: Copy {
    /// Numbers in a vector.
    const LANES: usize;
    /// Vector registers of the machine: how many accumulators a kernel may keep.
    const REGISTERS: usize;
    /// Chooses the first lanes.
    type Mask: Copy;

    /// The first `lanes` lanes.
    fn mask(lanes: usize) -> Self::Mask;
    /// The same number in every lane.
    fn splat(value: f32) -> Self;
    /// Zeros.
    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }
    /// Elements `at` and `at + 1`, in turns.
    ///
    /// # Safety
    /// They lie in the area and no thread writes them.
    unsafe fn splat_pair(area: Area, at: usize) -> Self;
    /// The sums of neighbouring lanes of `self`, then those of `other`.
    fn add_pairs(self, other: Self) -> Self;
    /// `LANES` numbers.
    ///
    /// # Safety
    /// They lie in the area and no thread writes them.
    unsafe fn load(area: Area, at: usize) -> Self;
    /// The numbers of the mask, and zeros.
    ///
    /// # Safety
    /// Those in the mask lie in the area and no thread writes them.
    unsafe fn load_masked(area: Area, at: usize, mask: Self::Mask) -> Self;
    /// Stores all lanes.
    ///
    /// # Safety
    /// They lie in the area and no other thread touches them.
    unsafe fn store(self, area: Area, at: usize);
    /// Stores the lanes of the mask.
    ///
    /// # Safety
    /// They lie in the area and no other thread touches them.
    unsafe fn store_masked(self, area: Area, at: usize, mask: Self::Mask);
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// `self * factor + term`.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// The larger; `other` where one is not a number.
    fn max(self, other: Self) -> Self;
    /// `self` where `sign` is above zero, else 0.
    fn where_positive(self, sign: Self) -> Self;
    /// `self` where `left == right`, else 0.
    fn where_equal(self, left: Self, right: Self) -> Self;
    /// `new` where `left > right`, else `self`.
    fn replace_where_greater(self, left: Self, right: Self, new: Self) -> Self;
    /// Asks for the line of the cache that holds element `at`, if there is one, for later.
    fn prefetch(area: Area, at: usize);
    /// Runs a kernel as a function of its own.
    ///
    /// # Safety
    /// The machine has the instructions, and the kernel's own conditions hold.
    unsafe fn call<K: Kernel>(kernel: K);

    /// Adds the lanes, each in f64, to `sums[(first + lane) % sums.len()]`.
    ///
    /// # Safety
    /// The machine has the instructions.
    #[inline(always)]
    unsafe fn add_to(self, sums: &mut [f64], first: usize, lanes: usize) {
        let mut values = [0f32; 16];
        let mut channel = first % sums.len();
        // SAFETY: `values` holds the largest vector.
        unsafe { self.store(Area::of(&mut values), 0) };
        for &value in &values[..lanes] {
            sums[channel] += f64::from(value);
            channel += 1;
            if channel == sums.len() {
                channel = 0;
            }
        }
    }
}

/// Eight numbers, which a compiler keeps in registers of whatever width there is.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Portable([f32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Vector for Portable {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type Mask = usize;

    #[inline(always)]
    fn mask(lanes: usize) -> usize {
        lanes
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; 8])
    }
    #[inline(always)]
    unsafe fn splat_pair(area: Area, at: usize) -> Self {
        // SAFETY: the caller's promise.
        let pair = unsafe { [area.get(at), area.get(at + 1)] };
        Portable(std::array::from_fn(|lane| pair[lane % 2]))
    }
    #[inline(always)]
    fn add_pairs(self, other: Self) -> Self {
        let sum = |half: &[f32; 8], lane: usize| half[2 * lane] + half[2 * lane + 1];
        Portable(std::array::from_fn(
            |lane| {
                if lane < 4 { sum(&self.0, lane) } else { sum(&other.0, lane - 4) }
            },
        ))
    }
    #[inline(always)]
    unsafe fn load(area: Area, at: usize) -> Self {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        Portable(unsafe { area.pointer(at, 8).cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn load_masked(area: Area, at: usize, mask: usize) -> Self {
        if mask == 8 {
            // SAFETY: the caller's promise.
            return unsafe { Self::load(area, at) };
        }
        let mut values = [0.0; 8];
        for (lane, value) in values.iter_mut().enumerate().take(mask) {
            // SAFETY: the caller's promise.
            *value = unsafe { area.get(at + lane) };
        }
        Portable(values)
    }
    #[inline(always)]
    unsafe fn store(self, area: Area, at: usize) {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        unsafe { area.pointer(at, 8).cast::<[f32; 8]>().write_unaligned(self.0) };
    }
    #[inline(always)]
    unsafe fn store_masked(self, area: Area, at: usize, mask: usize) {
        if mask == 8 {
            // SAFETY: the caller's promise.
            return unsafe { self.store(area, at) };
        }
        for (lane, &value) in self.0.iter().enumerate().take(mask) {
            // SAFETY: the caller's promise.
            unsafe { area.set(at + lane, value) };
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul(factor).add(term)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn where_positive(self, sign: Self) -> Self {
        self.zip(sign, |value, sign| if sign > 0.0 { value } else { 0.0 })
    }
    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        Portable(std::array::from_fn(|lane| if left.0[lane] == right.0[lane] { self.0[lane] } else { 0.0 }))
    }
    #[inline(always)]
    fn replace_where_greater(self, left: Self, right: Self, new: Self) -> Self {
        Portable(std::array::from_fn(
            |lane| {
                if left.0[lane] > right.0[lane] { new.0[lane] } else { self.0[lane] }
            },
        ))
    }
    #[inline(always)]
    fn prefetch(_: Area, _: usize) {}
    #[inline(never)]
    unsafe fn call<K: Kernel>(kernel: K) {
        // SAFETY: the caller's promise.
        unsafe { kernel.run::<Self>() };
    }
}
