//! `c = a * b` or `c += a * b` for small matrices that lie in cache.
//!
//! A tile of R rows and N vectors of columns stays in registers while k runs. Elements of `a` are
//! broadcast, from any strides, so a transposed `a` costs nothing; rows of `b` are contiguous.

use super::memory::Area;
use super::simd::{Kernel, Vector};

/// Operands of a product. Strides count elements.
#[derive(Clone, Copy)]
pub struct Gemm {
    /// Rows of `a` and `c`.
    pub rows: usize,
    /// Columns of `b` and `c`.
    pub columns: usize,
    /// Columns of `a`, rows of `b`.
    pub inner: usize,
    /// The left factor.
    pub a: Area,
    /// Between its rows.
    pub a_row: usize,
    /// Between its columns.
    pub a_column: usize,
    /// The right factor.
    pub b: Area,
    /// Between its rows.
    pub b_row: usize,
    /// The result.
    pub c: Area,
    /// Between its rows.
    pub c_row: usize,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

impl Kernel for Gemm {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: passed on.
        unsafe { Sum { of: self, terms: 1, a_term: 0, b_term: 0 }.run::<V>() };
    }
}

/// The sum of so many products of one shape: what a patch of several rows of an image, or an image of several rows, comes
/// to.
#[derive(Clone, Copy)]
pub struct Sum {
    /// The first product.
    pub of: Gemm,
    /// Number of products.
    pub terms: usize,
    /// From the left factor of one to that of the next.
    pub a_term: usize,
    /// From the right factor of one to that of the next.
    pub b_term: usize,
}

impl Kernel for Sum {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let columns = self.of.columns;
        let mut column = 0;
        // SAFETY: the areas cover rows x columns x inner; panels stay below `columns`.
        unsafe {
            while V::REGISTERS >= 32 && columns - column >= 4 * V::LANES {
                self.panel::<V, 4, false>(column);
                column += 4 * V::LANES;
            }
            while columns - column >= 2 * V::LANES {
                self.panel::<V, 2, false>(column);
                column += 2 * V::LANES;
            }
            match columns - column {
                0 => {}
                rest if rest > V::LANES => self.panel::<V, 2, true>(column),
                rest if rest == V::LANES => self.panel::<V, 1, false>(column),
                _ => self.panel::<V, 1, true>(column),
            }
        }
    }
}

impl Sum {
    /// All rows of N vectors of columns; with TAIL only the lanes that are left of the last one.
    #[inline(always)]
    unsafe fn panel<V: Vector, const N: usize, const TAIL: bool>(&self, column: usize) {
        let (rows, mut row) = (self.of.rows, 0);
        // SAFETY: tiles stay below `rows`.
        unsafe {
            while N == 1 && V::REGISTERS >= 32 && rows - row >= 16 {
                self.stepped::<V, 16, N, TAIL>(row, column);
                row += 16;
            }
            while N <= 2 && (N == 1 || V::REGISTERS >= 32) && rows - row >= 8 {
                self.stepped::<V, 8, N, TAIL>(row, column);
                row += 8;
            }
            while rows - row >= 4 {
                self.stepped::<V, 4, N, TAIL>(row, column);
                row += 4;
            }
            while rows > row {
                self.tile::<V, 1, N, TAIL, 0>(row, column);
                row += 1;
            }
        }
    }

    /// A tile whose rows of `a` are a usual number of elements apart, which the compiler then knows: the addresses of all
    /// rows are one register and constants.
    #[inline(always)]
    unsafe fn stepped<V: Vector, const R: usize, const N: usize, const TAIL: bool>(
        &self,
        row: usize,
        column: usize,
    ) {
        // SAFETY: as in `panel`.
        unsafe {
            match self.of.a_row {
                1 => self.tile::<V, R, N, TAIL, 1>(row, column),
                8 if !TAIL => self.tile::<V, R, N, TAIL, 8>(row, column),
                16 if !TAIL => self.tile::<V, R, N, TAIL, 16>(row, column),
                32 if !TAIL => self.tile::<V, R, N, TAIL, 32>(row, column),
                64 if !TAIL => self.tile::<V, R, N, TAIL, 64>(row, column),
                _ => self.tile::<V, R, N, TAIL, 0>(row, column),
            }
        }
    }

    /// R rows and N vectors of columns; rows of `a` are STEP elements apart, if STEP is not 0.
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const N: usize, const TAIL: bool, const STEP: usize>(
        &self,
        row: usize,
        column: usize,
    ) {
        let Sum { of, terms, a_term, b_term } = self;
        let a_row = if STEP > 0 { STEP } else { of.a_row };
        let mask = V::mask(if TAIL { of.columns - column - (N - 1) * V::LANES } else { V::LANES });
        let c = of.c.from(row * of.c_row + column);
        let mut sums = [[V::zero(); N]; R];
        // SAFETY: row + R <= rows and column + N vectors (or the tail) <= columns, all inside the areas.
        unsafe {
            if of.accumulate {
                for r in 0..R {
                    for n in 0..N {
                        sums[r][n] = load(c, r * of.c_row + n * V::LANES, TAIL && n + 1 == N, mask);
                    }
                }
            }
            for term in 0..*terms {
                let (a, b) = (of.a.from(term * a_term + row * a_row), of.b.from(term * b_term + column));
                for k in 0..of.inner {
                    let mut right = [V::zero(); N];
                    for n in 0..N {
                        right[n] = load(b, k * of.b_row + n * V::LANES, TAIL && n + 1 == N, mask);
                    }
                    for r in 0..R {
                        let left = V::splat(a.get(r * a_row + k * of.a_column));
                        for n in 0..N {
                            sums[r][n] = left.mul_add(right[n], sums[r][n]);
                        }
                    }
                }
            }
            for r in 0..R {
                for n in 0..N {
                    let at = r * of.c_row + n * V::LANES;
                    if TAIL && n + 1 == N {
                        sums[r][n].store_masked(c, at, mask);
                    } else {
                        sums[r][n].store(c, at);
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<V: Vector>(area: Area, at: usize, tail: bool, mask: V::Mask) -> V {
    // SAFETY: the caller's promise: the vector, or the lanes of the mask, lie in the area.
    unsafe { if tail { V::load_masked(area, at, mask) } else { V::load(area, at) } }
}
