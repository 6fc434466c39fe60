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
}

impl Kernel for Depthwise {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let sliding = V::REGISTERS >= 32 && self.taps.column_step == self.input.column_step;
        // SAFETY: passed on: the areas cover all outputs and their taps.
        unsafe {
            match (self.taps.columns, sliding) {
                (3, true) => self.blocks::<V, 3, true>(),
                (3, false) => self.blocks::<V, 3, false>(),
                (5, true) => self.blocks::<V, 5, true>(),
                (5, false) => self.blocks::<V, 5, false>(),
                _ => self.blocks::<V, 1, false>(),
            }
        }
    }
}

impl Depthwise {
    #[inline(always)]
    unsafe fn blocks<V: Vector, const K: usize, const SLIDING: bool>(&self) {
        for block in 0..self.blocks {
            for row in 0..self.rows {
                let mut column = 0;
                // SAFETY: column + T <= columns.
                unsafe {
                    while self.columns - column >= 8 {
                        self.tile::<V, 8, K, SLIDING>(row, column, block * V::LANES);
                        column += 8;
                    }
                    while self.columns - column >= 4 {
                        self.tile::<V, 4, K, SLIDING>(row, column, block * V::LANES);
                        column += 4;
                    }
                    while self.columns > column {
                        self.tile::<V, 1, K, SLIDING>(row, column, block * V::LANES);
                        column += 1;
                    }
                }
            }
        }
    }

    /// T neighbours of a row. K taps of a row are taken at a time; K = 1 serves every other width.
    /// SLIDING: taps are as far apart as outputs, so that neighbours share what they read.
    #[inline(always)]
    unsafe fn tile<V: Vector, const T: usize, const K: usize, const SLIDING: bool>(
        &self,
        row: usize,
        column: usize,
        first: usize,
    ) {
        let (input, output) = (self.input.at(row, column, first), self.output.at(row, column, first));
        let (step, output_step) = (self.input.column_step, self.output.column_step);
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
        for block in 0..self.blocks {
            for i in 0..self.taps.rows {
                let mut j = 0;
                // SAFETY: passed on: the areas cover all outputs and their taps.
                unsafe {
                    match self.taps.columns {
                        3 => self.row_of_taps::<V, 4, 3>(block * V::LANES, i, 0),
                        5 => self.row_of_taps::<V, 2, 5>(block * V::LANES, i, 0),
                        columns => {
                            while j < columns {
                                self.row_of_taps::<V, 4, 1>(block * V::LANES, i, j);
                                j += 1;
                            }
                        }
                    }
                }
            }
        }
    }
}

impl DepthwiseGradient {
    /// K taps from (i, j), over all outputs, U at a time, each of which has sums of its own.
    #[inline(always)]
    unsafe fn row_of_taps<V: Vector, const U: usize, const K: usize>(
        &self,
        first: usize,
        i: usize,
        j: usize,
    ) {
        let taps = &self.taps;
        let offset = i * taps.row_step + j * taps.column_step + first;
        let mut sums = [[V::zero(); K]; U];
        let last = V::mask(self.last_lanes);
        // SAFETY: outputs below rows x columns and their taps lie in the areas.
        unsafe {
            for row in 0..self.rows {
                let mut column = 0;
                while self.columns - column > U {
                    let input = self.input.at(row, column, offset);
                    let slopes = self.slopes.at(row, column, first);
                    for u in 0..U {
                        let slope = V::load(slopes, u * self.slopes.column_step);
                        self.add_taps(&mut sums[u], slope, input.from(u * self.input.column_step));
                    }
                    column += U;
                }
                while column < self.columns {
                    let input = self.input.at(row, column, offset);
                    let slopes = self.slopes.at(row, column, first);
                    let slope = if column + 1 == self.columns {
                        V::load_masked(slopes, 0, last)
                    } else {
                        V::load(slopes, 0)
                    };
                    self.add_taps(&mut sums[0], slope, input);
                    column += 1;
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

    #[inline(always)]
    unsafe fn add_taps<V: Vector, const K: usize>(&self, sums: &mut [V; K], slope: V, input: Area) {
        for k in 0..K {
            // SAFETY: the caller's promise: the taps of an output lie in the area.
            let x = unsafe { V::load(input, k * self.taps.column_step) };
            sums[k] = x.mul_add(slope, sums[k]);
        }
    }
}
