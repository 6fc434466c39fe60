//! The alphas of a search, on the host in f64, between the supernet's mixing weights and their optimiser.

use std::ops::Range;

use super::relaxation::{Relaxation, Sample, initial_alphas};

/// The alphas, the sample that the supernet computes with, and the gradient. Vectors lie row after row; a row is an edge.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The alphas of the normal cells, then of the reduction cells: `[2][edges][candidates]`.
    pub alphas: Vec<f64>,
    /// The gradient of a loss by them.
    pub gradient: Vec<f64>,
    relaxation: Relaxation,
    rows: Vec<Range<usize>>,
    sample: Sample,
}

impl Architecture {
    /// Alphas of zero for these rows.
    pub fn new(relaxation: Relaxation, rows: Vec<Range<usize>>) -> Self {
        let count = rows.last().map_or(0, |row| row.end);
        let sample = Sample::new(count);
        Architecture { alphas: vec![0.0; count], gradient: vec![0.0; count], relaxation, rows, sample }
    }

    /// Sets the alphas to their start for `seed`.
    pub fn restart(&mut self, seed: u64) {
        self.alphas = initial_alphas(self.alphas.len(), seed);
    }

    /// Draws a new sample.
    pub fn sample(&mut self) -> &Sample {
        self.relaxation.sample(&self.rows, &self.alphas, &mut self.sample);
        &self.sample
    }

    /// Leaves the gradient by the alphas at the last sample, of a loss whose gradient by the mixing weights is `slopes`.
    pub fn pull_back(&mut self, slopes: &[f64]) {
        self.relaxation.pull_back(&self.rows, &self.sample, slopes, &mut self.gradient);
    }
}
