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
        let mut column = 0;
        // SAFETY: the areas cover rows x columns x inner; panels stay below `columns`.
        unsafe {
            while V::REGISTERS >= 32 && self.columns - column >= 4 * V::LANES {
                self.panel::<V, 4, false>(column);
                column += 4 * V::LANES;
            }
            while self.columns - column >= 2 * V::LANES {
                self.panel::<V, 2, false>(column);
                column += 2 * V::LANES;
            }
            if self.columns - column >= V::LANES {
                self.panel::<V, 1, false>(column);
                column += V::LANES;
            }
            if self.columns > column {
                self.panel::<V, 1, true>(column);
            }
        }
    }
}

impl Gemm {
    /// All rows of N vectors of columns; with TAIL only the lanes that are left.
    #[inline(always)]
    unsafe fn panel<V: Vector, const N: usize, const TAIL: bool>(&self, column: usize) {
        let mut row = 0;
        // SAFETY: tiles stay below `rows`.
        unsafe {
            while N == 1 && V::REGISTERS >= 32 && self.rows - row >= 16 {
                self.tile::<V, 16, N, TAIL>(row, column);
                row += 16;
            }
            while N <= 2 && (N == 1 || V::REGISTERS >= 32) && self.rows - row >= 8 {
                self.tile::<V, 8, N, TAIL>(row, column);
                row += 8;
            }
            while self.rows - row >= 4 {
                self.tile::<V, 4, N, TAIL>(row, column);
                row += 4;
            }
            while self.rows > row {
                self.tile::<V, 1, N, TAIL>(row, column);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const N: usize, const TAIL: bool>(
        &self,
        row: usize,
        column: usize,
    ) {
        let mask = V::mask(if TAIL { self.columns - column } else { V::LANES });
        let (a, b) = (self.a.from(row * self.a_row), self.b.from(column));
        let c = self.c.from(row * self.c_row + column);
        let mut sums = [[V::zero(); N]; R];
        // SAFETY: row + R <= rows and column + N vectors (or the tail) <= columns, all inside the areas.
        unsafe {
            if self.accumulate {
                for r in 0..R {
                    for n in 0..N {
                        sums[r][n] = load::<V, TAIL>(c, r * self.c_row + n * V::LANES, mask);
                    }
                }
            }
            for k in 0..self.inner {
                let mut right = [V::zero(); N];
                for n in 0..N {
                    right[n] = load::<V, TAIL>(b, k * self.b_row + n * V::LANES, mask);
                }
                for r in 0..R {
                    let left = V::splat(a.get(r * self.a_row + k * self.a_column));
                    for n in 0..N {
                        sums[r][n] = left.mul_add(right[n], sums[r][n]);
                    }
                }
            }
            for r in 0..R {
                for n in 0..N {
                    let at = r * self.c_row + n * V::LANES;
                    if TAIL { sums[r][n].store_masked(c, at, mask) } else { sums[r][n].store(c, at) }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<V: Vector, const TAIL: bool>(area: Area, at: usize, mask: V::Mask) -> V {
    // SAFETY: the caller's promise: the vector, or the lanes of the mask, lie in the area.
    unsafe { if TAIL { V::load_masked(area, at, mask) } else { V::load(area, at) } }
}
