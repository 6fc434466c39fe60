//! Depthwise windows over images that lie zero-padded in scratch memory.
//!
//! One kernel gathers: each output is a weighted sum over a lattice of taps. It serves the forward pass
//! at any stride, and the input gradient, which at stride s falls into s*s lattices of outputs that
//! each see every s-th tap. The other kernel gives the gradient of the weights.

use super::memory::Area;
use super::simd::{Kernel, Vector};

/// Where the taps of a window lie, in elements.
#[derive(Clone, Copy)]
pub struct Taps {
    /// Taps in a column.
    pub rows: usize,
    /// Taps in a row.
    pub columns: usize,
    /// From a tap to the one below.
    pub row_step: usize,
    /// From a tap to its right neighbour.
    pub column_step: usize,
    /// The weights: a vector for each tap and channel block.
    pub weights: Area,
    /// From a weight to the one below.
    pub weight_row: usize,
    /// From a weight to its right neighbour.
    pub weight_column: usize,
}

/// Where a plane of vectors lies, in elements.
#[derive(Clone, Copy)]
pub struct Plane {
    /// The first vector.
    pub area: Area,
    /// Between rows.
    pub row_step: usize,
    /// Between vectors of a row.
    pub column_step: usize,
}

impl Plane {
    #[inline(always)]
    fn at(&self, row: usize, column: usize, first: usize) -> Area {
        self.area.from(row * self.row_step + column * self.column_step + first)
    }
}

/// `output = sum over taps of input * weight`, or added to the output.
#[derive(Clone, Copy)]
pub struct Depthwise {
    /// At the first tap of the first output; steps are those between outputs.
    pub input: Plane,
    /// The window.
    pub taps: Taps,
    /// The result.
    pub output: Plane,
    /// Rows of outputs.
    pub rows: usize,
    /// Vectors in a row of outputs.
    pub columns: usize,
    /// Vectors of channels.
    pub blocks: usize,
    /// Whether the result is added.
    pub accumulate: bool,
    /// What the cache should hold next; it is fetched while this computes.
    pub ahead: [Ahead; 2],
}

/// Memory that will be read or written soon.
#[derive(Clone, Copy)]
pub struct Ahead {
    /// From here on.
    pub area: Area,
    /// Elements.
    pub len: usize,
}

impl Ahead {
    /// Nothing.
    pub fn nothing(area: Area) -> Self {
        Ahead { area, len: 0 }
    }

    /// Fetches the next `lines` lines.
    #[inline(always)]
    fn fetch<V: Vector>(&mut self, lines: usize) {
        let lines = lines.min(self.len / 16);
        for line in 0..lines {
            V::prefetch(self.area, line * 16);
        }
        self.area = self.area.from(lines * 16);
        self.len -= lines * 16;
    }
}

impl Kernel for Depthwise {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let phases = phases::<V>(&self.taps, &self.input);
        // SAFETY: passed on: the areas cover all outputs and their taps.
        unsafe {
            match (self.taps.columns, phases) {
                (3, Some(phases)) => self.blocks::<V, 3, true>(phases),
                (3, None) => self.blocks::<V, 3, false>(1),
                (5, Some(phases)) => self.blocks::<V, 5, true>(phases),
                (5, None) => self.blocks::<V, 5, false>(1),
                _ => self.blocks::<V, 1, false>(1),
            }
        }
    }
}

/// Where taps are as far apart as every d-th vector of a row, the row falls into d interleaved rows in
/// each of which neighbours share what they read. Worth it where the registers hold it all.
#[inline(always)]
fn phases<V: Vector>(taps: &Taps, input: &Plane) -> Option<usize> {
    let whole = V::REGISTERS >= 32 && taps.column_step.is_multiple_of(input.column_step);
    whole.then(|| taps.column_step / input.column_step)
}

/// Every `phases`-th vector of a row.
#[inline(always)]
fn interleaved(plane: Plane, phases: usize) -> Plane {
    Plane { column_step: plane.column_step * phases, ..plane }
}

impl Depthwise {
    #[inline(always)]
    unsafe fn blocks<V: Vector, const K: usize, const SLIDING: bool>(&self, phases: usize) {
        let mut ahead = self.ahead;
        let lines = |ahead: &Ahead| (ahead.len / 16).div_ceil((self.blocks * self.rows * phases).max(1));
        let shares = [lines(&ahead[0]), lines(&ahead[1])];
        for block in 0..self.blocks {
            for row in 0..self.rows {
                for phase in 0..phases.min(self.columns) {
                    let first = block * V::LANES;
                    let input = Plane { area: self.input.at(row, phase, first), ..self.input };
                    let output = Plane { area: self.output.at(row, phase, first), ..self.output };
                    let (input, output) = (interleaved(input, phases), interleaved(output, phases));
                    let columns = (self.columns - phase).div_ceil(phases);
                    ahead[0].fetch::<V>(shares[0]);
                    ahead[1].fetch::<V>(shares[1]);
                    // SAFETY: every vector of the row is in one of the phases.
                    unsafe { self.row::<V, K, SLIDING>(input, output, columns, first) };
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn row<V: Vector, const K: usize, const SLIDING: bool>(
        &self,
        input: Plane,
        output: Plane,
        columns: usize,
        first: usize,
    ) {
        let mut column = 0;
        // SAFETY: column + T <= columns.
        unsafe {
            while columns - column >= 8 {
                self.tile::<V, 8, K, SLIDING>(input, output, column, first);
                column += 8;
            }
            while columns - column >= 4 {
                self.tile::<V, 4, K, SLIDING>(input, output, column, first);
                column += 4;
            }
            while columns > column {
                self.tile::<V, 1, K, SLIDING>(input, output, column, first);
                column += 1;
            }
        }
    }

    /// T neighbours of a row. K taps of a row are taken at a time; K = 1 serves every other width.
    /// SLIDING: taps are as far apart as outputs, so that neighbours share what they read.
    #[inline(always)]
    unsafe fn tile<V: Vector, const T: usize, const K: usize, const SLIDING: bool>(
        &self,
        input: Plane,
        output: Plane,
        column: usize,
        first: usize,
    ) {
        let (step, output_step) = (input.column_step, output.column_step);
        let (input, output) = (input.at(0, column, 0), output.at(0, column, 0));
        let mut sums = [V::zero(); T];
        // SAFETY: the areas cover T outputs from `column`, their taps, and the weights of `first`.
        unsafe {
            if self.accumulate {
                for t in 0..T {
                    sums[t] = V::load(output, t * output_step);
                }
            }
            for i in 0..self.taps.rows {
                let mut j = 0;
                while j < self.taps.columns {
                    let input = input.from(i * self.taps.row_step + j * self.taps.column_step);
                    let at = i * self.taps.weight_row + j * self.taps.weight_column + first;
                    let weights = self.weights::<V, K>(at);
                    if SLIDING {
                        slide::<V, T, K>(&mut sums, input, step, weights);
                    } else {
                        for t in 0..T {
                            for k in 0..K {
                                let x = V::load(input, t * step + k * self.taps.column_step);
                                sums[t] = x.mul_add(weights[k], sums[t]);
                            }
                        }
                    }
                    j += K;
                }
            }
            for t in 0..T {
                sums[t].store(output, t * output_step);
            }
        }
    }

    #[inline(always)]
    unsafe fn weights<V: Vector, const K: usize>(&self, at: usize) -> [V; K] {
        let mut weights = [V::zero(); K];
        for k in 0..K {
            // SAFETY: the weights of K taps of a row lie in the area.
            weights[k] = unsafe { V::load(self.taps.weights, at + k * self.taps.weight_column) };
        }
        weights
    }
}

/// Adds a row of K taps to T neighbours, reading each of the T + K - 1 inputs once.
#[inline(always)]
unsafe fn slide<V: Vector, const T: usize, const K: usize>(
    sums: &mut [V; T],
    input: Area,
    step: usize,
    weights: [V; K],
) {
    let mut inputs = [V::zero(); 16];
    for q in 0..T + K - 1 {
        // SAFETY: the caller's promise: the taps of T neighbours lie in the area.
        inputs[q] = unsafe { V::load(input, q * step) };
    }
    for k in 0..K {
        for t in 0..T {
            sums[t] = inputs[t + k].mul_add(weights[k], sums[t]);
        }
    }
}

/// Adds `sum over outputs of slope * input` to the gradient of each tap's weight.
#[derive(Clone, Copy)]
pub struct DepthwiseGradient {
    /// At the first tap of the first output; steps are those between outputs.
    pub input: Plane,
    /// The window, with the gradients in place of the weights.
    pub taps: Taps,
    /// Gradients of the outputs.
    pub slopes: Plane,
    /// Rows of outputs.
    pub rows: usize,
    /// Vectors in a row of outputs.
    pub columns: usize,
    /// Lanes that count in the last vector of a row.
    pub last_lanes: usize,
    /// Vectors of channels.
    pub blocks: usize,
}

impl Kernel for DepthwiseGradient {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let phases = phases::<V>(&self.taps, &self.input);
        for block in 0..self.blocks {
            let first = block * V::LANES;
            for i in 0..self.taps.rows {
                // SAFETY: passed on: the areas cover all outputs and their taps.
                unsafe {
                    match (self.taps.columns, phases) {
                        (3, Some(phases)) => self.taps::<V, 4, 3, true>(first, i, 0, phases),
                        (3, None) => self.taps::<V, 4, 3, false>(first, i, 0, 1),
                        (5, Some(phases)) => self.taps::<V, 4, 5, true>(first, i, 0, phases),
                        (5, None) => self.taps::<V, 2, 5, false>(first, i, 0, 1),
                        (columns, _) => {
                            for j in 0..columns {
                                self.taps::<V, 4, 1, false>(first, i, j, 1);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl DepthwiseGradient {
    /// K taps from (i, j) over all outputs, U at a time, each of which has sums of its own. SLIDING: see
    /// [`phases`].
    #[inline(always)]
    unsafe fn taps<V: Vector, const U: usize, const K: usize, const SLIDING: bool>(
        &self,
        first: usize,
        i: usize,
        j: usize,
        phases: usize,
    ) {
        let taps = &self.taps;
        let offset = i * taps.row_step + j * taps.column_step + first;
        let mut sums = [[V::zero(); K]; U];
        // SAFETY: outputs below rows x columns and their taps lie in the areas.
        unsafe {
            for row in 0..self.rows {
                for phase in 0..phases.min(self.columns) {
                    let input = Plane { area: self.input.at(row, phase, offset), ..self.input };
                    let slopes = Plane { area: self.slopes.at(row, phase, first), ..self.slopes };
                    let (input, slopes) = (interleaved(input, phases), interleaved(slopes, phases));
                    self.row::<V, U, K, SLIDING>(&mut sums, input, slopes, (phase, phases));
                }
            }
            for k in 0..K {
                let at = i * taps.weight_row + (j + k) * taps.weight_column + first;
                let mut sum = V::load(taps.weights, at);
                for u in 0..U {
                    sum = sum.add(sums[u][k]);
                }
                sum.store(taps.weights, at);
            }
        }
    }

    /// The vectors `phase`, `phase + phases`, ... of a row.
    #[inline(always)]
    unsafe fn row<V: Vector, const U: usize, const K: usize, const SLIDING: bool>(
        &self,
        sums: &mut [[V; K]; U],
        input: Plane,
        slopes: Plane,
        (phase, phases): (usize, usize),
    ) {
        let columns = (self.columns - phase).div_ceil(phases);
        let ragged = self.last_lanes < V::LANES && (self.columns - 1 - phase).is_multiple_of(phases);
        let last = V::mask(if ragged { self.last_lanes } else { V::LANES });
        let whole = if ragged { columns - 1 } else { columns };
        let mut column = 0;
        // SAFETY: the caller's promise; column + U <= columns.
        unsafe {
            while column + U <= whole {
                let (x, g) = (input.at(0, column, 0), slopes.at(0, column, 0));
                let mut inputs = [V::zero(); 16];
                if SLIDING {
                    for q in 0..U + K - 1 {
                        inputs[q] = V::load(x, q * input.column_step);
                    }
                }
                for u in 0..U {
                    let slope = V::load(g, u * slopes.column_step);
                    for k in 0..K {
                        let x = if SLIDING {
                            inputs[u + k]
                        } else {
                            V::load(x, u * input.column_step + k * self.taps.column_step)
                        };
                        sums[u][k] = x.mul_add(slope, sums[u][k]);
                    }
                }
                column += U;
            }
            while column < columns {
                let slope = if column + 1 == columns {
                    V::load_masked(slopes.at(0, column, 0), 0, last)
                } else {
                    V::load(slopes.at(0, column, 0), 0)
                };
                let x = input.at(0, column, 0);
                for k in 0..K {
                    let x = V::load(x, k * self.taps.column_step);
                    sums[0][k] = x.mul_add(slope, sums[0][k]);
                }
                column += 1;
            }
        }
    }
}
