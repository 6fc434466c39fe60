//! Products with so few columns that two rows of the right factor fill a vector: each lane sums every second product of its
//! column, and neighbouring lanes are added at the end. So all lanes are at work where there are half as many columns.

use super::memory::Area;
use super::simd::{Kernel, Vector};

/// Whether a product with so many columns, so deep, is taken by pairs in vectors of so many lanes.
pub fn suit(lanes: usize, inner: usize, columns: usize) -> bool {
    2 * columns <= lanes && inner.is_multiple_of(2)
}

/// Elements that [`pack`] takes for so many rows.
pub fn len(lanes: usize, rows: usize) -> usize {
    rows / 2 * lanes
}

/// Packs a matrix `[rows][columns]` by pairs of rows: `[rows / 2][lanes / 2][2]`, with zeros behind the columns.
///
/// # Safety
/// The areas hold these elements; the rows are even, and the columns at most half the lanes.
pub unsafe fn pack(lanes: usize, rows: usize, columns: usize, source: Area, target: Area) {
    for (row, column) in (0..rows).flat_map(|row| (0..lanes / 2).map(move |column| (row, column))) {
        // SAFETY: the caller's promise.
        unsafe {
            let value = if column < columns { source.get(row * columns + column) } else { 0.0 };
            target.set(row / 2 * lanes + 2 * column + row % 2, value);
        }
    }
}

/// The sum of products `c = a * b`. Strides count elements.
#[derive(Clone, Copy)]
pub struct PairedSum {
    /// Rows of `a` and `c`.
    pub rows: usize,
    /// Columns of `b` and `c`.
    pub columns: usize,
    /// Columns of `a`, rows of `b`, of one product.
    pub inner: usize,
    /// The left factor, whose columns lie side by side.
    pub a: Area,
    /// Between its rows.
    pub a_row: usize,
    /// The right factors one behind the other, as [`pack`] leaves them.
    pub b: Area,
    /// The result.
    pub c: Area,
    /// Between its rows.
    pub c_row: usize,
    /// Number of products.
    pub terms: usize,
    /// From the left factor of one to that of the next.
    pub a_term: usize,
}

impl Kernel for PairedSum {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let mut row = 0;
        // SAFETY: the areas cover rows x columns x inner; tiles stay below `rows`.
        unsafe {
            while V::REGISTERS >= 32 && self.rows - row >= 16 {
                self.stepped::<V, 16>(row);
                row += 16;
            }
            while self.rows - row >= 8 {
                self.stepped::<V, 8>(row);
                row += 8;
            }
            while self.rows - row >= 2 {
                self.tile::<V, 2, 0>(row);
                row += 2;
            }
            if self.rows > row {
                self.tile::<V, 1, 0>(row);
            }
        }
    }
}

impl PairedSum {
    /// A tile whose rows of `a` are a usual number of elements apart, as in `gemm`.
    #[inline(always)]
    unsafe fn stepped<V: Vector, const R: usize>(&self, row: usize) {
        // SAFETY: as in `run`.
        unsafe {
            match self.a_row {
                8 => self.tile::<V, R, 8>(row),
                16 => self.tile::<V, R, 16>(row),
                _ => self.tile::<V, R, 0>(row),
            }
        }
    }

    /// R rows; those of `a` are STEP elements apart, if STEP is not 0.
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const STEP: usize>(&self, row: usize) {
        let a_row = if STEP > 0 { STEP } else { self.a_row };
        let mut sums = [V::zero(); R];
        // SAFETY: row + R <= rows, all inside the areas.
        unsafe {
            for term in 0..self.terms {
                let a = self.a.from(term * self.a_term + row * a_row);
                let b = self.b.from(len(V::LANES, term * self.inner));
                for pair in 0..self.inner / 2 {
                    let right = V::load(b, pair * V::LANES);
                    for r in 0..R {
                        sums[r] = V::splat_pair(a, r * a_row + 2 * pair).mul_add(right, sums[r]);
                    }
                }
            }
            let c = self.c.from(row * self.c_row);
            if self.columns == V::LANES / 2 && self.c_row == self.columns && R > 1 {
                for r in (0..R).step_by(2) {
                    sums[r].add_pairs(sums[r + 1]).store(c, r * self.c_row);
                }
                return;
            }
            let mask = V::mask(self.columns);
            for r in 0..R {
                sums[r].add_pairs(sums[r]).store_masked(c, r * self.c_row, mask);
            }
        }
    }
}
