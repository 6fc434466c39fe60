//! The vectors of x86-64.

use std::arch::x86_64::*;

use super::memory::Area;
use super::simd::{Kernel, Vector};

/// Methods that are one intrinsic each.
macro_rules! intrinsics {
    ($splat:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident, $max:ident, $load:ident, $store:ident) => {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: vectors of this type live only in functions compiled for them; see `Vector::call`.
            Self(unsafe { $splat(value) })
        }
        #[inline(always)]
        unsafe fn load(area: Area, at: usize) -> Self {
            // SAFETY: the caller's promise; checked by `pointer` in debug builds.
            Self(unsafe { $load(area.pointer(at, Self::LANES)) })
        }
        #[inline(always)]
        unsafe fn store(self, area: Area, at: usize) {
            // SAFETY: the caller's promise; checked by `pointer` in debug builds.
            unsafe { $store(area.pointer(at, Self::LANES), self.0) };
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: as for `splat`.
            Self(unsafe { $add(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            // SAFETY: as for `splat`.
            Self(unsafe { $sub(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            // SAFETY: as for `splat`.
            Self(unsafe { $mul(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            // SAFETY: as for `splat`.
            Self(unsafe { $mul_add(self.0, factor.0, term.0) })
        }
        #[inline(always)]
        fn prefetch(area: Area, at: usize) {
            // SAFETY: a prefetch of any address is harmless.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(area.address(at).cast()) };
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            // SAFETY: as for `splat`.
            Self(unsafe { $max(self.0, other.0) })
        }
    };
}

/// Eight numbers in a register of AVX2.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

/// The lanes of an [`Avx2`] that count. A full vector is stored plainly: masked stores are slow on some
/// processors.
#[derive(Clone, Copy)]
pub struct Avx2Mask {
    lanes: usize,
    bits: __m256i,
}

impl Vector for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type Mask = Avx2Mask;

    intrinsics!(
        _mm256_set1_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps
    );

    #[inline(always)]
    unsafe fn splat_pair(area: Area, at: usize) -> Self {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds. Bits are moved, whatever they mean.
        unsafe {
            let pair = area.pointer(at, 2).cast::<i64>().read_unaligned();
            Avx2(_mm256_castsi256_ps(_mm256_set1_epi64x(pair)))
        }
    }
    #[inline(always)]
    fn add_pairs(self, other: Self) -> Self {
        // SAFETY: as for `splat`. Sums of halves of either come in turns and are put in order.
        unsafe {
            let sums = _mm256_castps_pd(_mm256_hadd_ps(self.0, other.0));
            Avx2(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(sums)))
        }
    }
    #[inline(always)]
    fn mask(lanes: usize) -> Avx2Mask {
        // SAFETY: as for `splat`.
        let bits = unsafe {
            let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), numbers)
        };
        Avx2Mask { lanes, bits }
    }
    #[inline(always)]
    unsafe fn load_masked(area: Area, at: usize, mask: Avx2Mask) -> Self {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        Avx2(unsafe { _mm256_maskload_ps(area.pointer(at, mask.lanes), mask.bits) })
    }
    #[inline(always)]
    unsafe fn store_masked(self, area: Area, at: usize, mask: Avx2Mask) {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        unsafe {
            if mask.lanes == 8 {
                self.store(area, at);
            } else {
                _mm256_maskstore_ps(area.pointer(at, mask.lanes), mask.bits, self.0);
            }
        }
    }
    #[inline(always)]
    fn where_positive(self, sign: Self) -> Self {
        // SAFETY: as for `splat`.
        Avx2(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(sign.0, _mm256_setzero_ps())) })
    }
    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        // SAFETY: as for `splat`.
        Avx2(unsafe { _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_EQ_OQ>(left.0, right.0)) })
    }
    #[inline(always)]
    fn replace_where_greater(self, left: Self, right: Self, new: Self) -> Self {
        // SAFETY: as for `splat`.
        Avx2(unsafe { _mm256_blendv_ps(self.0, new.0, _mm256_cmp_ps::<_CMP_GT_OQ>(left.0, right.0)) })
    }
    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        unsafe fn compiled<K: Kernel>(kernel: K) {
            // SAFETY: the caller's promise.
            unsafe { kernel.run::<Avx2>() };
        }
        // SAFETY: the caller's promise.
        unsafe { compiled(kernel) };
    }
}

/// Sixteen numbers in a register of AVX-512.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

/// The lanes of an [`Avx512`] that count.
#[derive(Clone, Copy)]
pub struct Avx512Mask {
    #[cfg(debug_assertions)]
    lanes: usize,
    bits: __mmask16,
}

impl Avx512Mask {
    #[inline(always)]
    fn check(self, area: Area, at: usize) -> *mut f32 {
        #[cfg(debug_assertions)]
        area.pointer(at, self.lanes);
        area.address(at)
    }
}

impl Vector for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type Mask = Avx512Mask;

    intrinsics!(
        _mm512_set1_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        _mm512_max_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps
    );

    #[inline(always)]
    unsafe fn splat_pair(area: Area, at: usize) -> Self {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds. Bits are moved, whatever they mean.
        unsafe {
            let pair = area.pointer(at, 2).cast::<i64>().read_unaligned();
            Avx512(_mm512_castsi512_ps(_mm512_set1_epi64(pair)))
        }
    }
    #[inline(always)]
    fn add_pairs(self, other: Self) -> Self {
        // SAFETY: as for `splat`. Lanes 16 and more are those of `other`.
        unsafe {
            let first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let second = _mm512_or_si512(first, _mm512_set1_epi32(1));
            let of = |places| _mm512_permutex2var_ps(self.0, places, other.0);
            Avx512(_mm512_add_ps(of(first), of(second)))
        }
    }
    #[inline(always)]
    fn mask(lanes: usize) -> Avx512Mask {
        Avx512Mask {
            #[cfg(debug_assertions)]
            lanes,
            bits: ((1u32 << lanes) - 1) as __mmask16,
        }
    }
    #[inline(always)]
    unsafe fn load_masked(area: Area, at: usize, mask: Avx512Mask) -> Self {
        // SAFETY: the caller's promise; checked in debug builds.
        Avx512(unsafe { _mm512_maskz_loadu_ps(mask.bits, mask.check(area, at)) })
    }
    #[inline(always)]
    unsafe fn store_masked(self, area: Area, at: usize, mask: Avx512Mask) {
        // SAFETY: the caller's promise; checked in debug builds.
        unsafe { _mm512_mask_storeu_ps(mask.check(area, at), mask.bits, self.0) };
    }
    #[inline(always)]
    fn where_positive(self, sign: Self) -> Self {
        // SAFETY: as for `splat`.
        Avx512(unsafe {
            let chosen = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(sign.0, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(chosen, self.0)
        })
    }
    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        // SAFETY: as for `splat`.
        Avx512(unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(left.0, right.0), self.0) })
    }
    #[inline(always)]
    fn replace_where_greater(self, left: Self, right: Self, new: Self) -> Self {
        // SAFETY: as for `splat`.
        Avx512(unsafe {
            _mm512_mask_mov_ps(self.0, _mm512_cmp_ps_mask::<_CMP_GT_OQ>(left.0, right.0), new.0)
        })
    }
    #[inline(always)]
    unsafe fn call<K: Kernel>(kernel: K) {
        #[target_feature(enable = "avx512f,avx2,fma")]
        #[inline(never)]
        unsafe fn compiled<K: Kernel>(kernel: K) {
            // SAFETY: the caller's promise.
            unsafe { kernel.run::<Avx512>() };
        }
        // SAFETY: the caller's promise.
        unsafe { compiled(kernel) };
    }
}
