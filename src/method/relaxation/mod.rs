//! The relaxation: from alphas to the mixing weights of the supernet, and from the gradient of a loss by these back to
//! its gradient by the alphas.
//!
//! The numbers lie in one vector, row after row; a row is an edge and has a number for each of that edge's candidates.
//! To add a relaxation, write its file and its row in [`RELAXATIONS`].

mod gumbel;
mod sigmoid;
mod softmax;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::progress::Progress;
use super::schedule::Schedule;
use super::{Part, named};
use crate::random::{Stream, generator};
use crate::space::weighing::Weighing;

/// How the alphas of a row become its mixing weights.
pub trait Relaxation: Debug + Send + Sync {
    /// What all mixing weights of it satisfy.
    fn bounds(&self) -> Bounds;
    /// Overwrites the noise of a row with the random numbers that a sample of it takes; without, there are none.
    fn draw(&self, random: &mut ChaCha8Rng, noise: &mut [f64]) {
        let _ = (random, noise);
    }
    /// Overwrites the soft weights, the mixing weights and the active branches of a row, of which the noise is given.
    fn mix(&self, alphas: &[f64], progress: Progress, row: Row<'_>);
    /// The vector-Jacobian product at a sample: overwrites `gradient` with the gradient by the alphas, of a loss whose
    /// gradient by the mixing weights is `slopes`.
    fn pull_back(&self, progress: Progress, row: Row<'_>, slopes: &[f64], gradient: &mut [f64]);
    /// What alphas weigh without noise; derivation, reports and curves go by that.
    fn weighing(&self) -> Weighing {
        Weighing::Softmax
    }
}

/// What all mixing weights of a relaxation satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// Those of a row are not negative, and their sum is 1.
    Simplex,
    /// Each is from 0 to 1.
    Box,
    /// One of a row is 1, and the others are 0.
    OneHot,
}

/// The relaxations by their names.
static RELAXATIONS: [Part<Arc<dyn Relaxation>>; 4] = [
    Part { name: "softmax", takes: "", make: |_| Some(Arc::new(softmax::Softmax)) },
    Part { name: "sigmoid", takes: "", make: |_| Some(Arc::new(sigmoid::Sigmoid)) },
    Part {
        name: "gumbel",
        takes: "TEMPERATURE",
        make: |text| Some(Arc::new(gumbel::Soft { temperature: temperature(text)? })),
    },
    Part {
        name: "gumbel-hard",
        takes: "TEMPERATURE",
        make: |text| Some(Arc::new(gumbel::Hard { temperature: temperature(text)? })),
    },
];

fn temperature(text: &str) -> Option<Schedule> {
    Schedule::within(text, |temperature| (1e-3..=1e6).contains(&temperature))
}

/// The relaxation that a text names.
///
/// # Errors
/// The text names none; the sentence says what is expected.
pub fn relaxation(text: &str) -> Result<Arc<dyn Relaxation>, String> {
    named(&RELAXATIONS, text)
}

/// What a forward pass is given in place of the alphas. One sample serves all cells of a type, and all passes of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Where the search stood.
    pub progress: Progress,
    /// The random numbers of the sample.
    pub noise: Vec<f64>,
    /// Shares from which hard mixing weights come; where these are soft, the same.
    pub soft: Vec<f64>,
    /// The mixing weights, in the order of the alphas.
    pub weights: Vec<f64>,
    /// Which branches are computed at all; the others have no gradient.
    pub active: Vec<bool>,
}

/// The part of a sample that belongs to a row.
pub struct Row<'a> {
    /// See [`Sample::noise`].
    pub noise: &'a [f64],
    /// See [`Sample::soft`].
    pub soft: &'a mut [f64],
    /// See [`Sample::weights`].
    pub weights: &'a mut [f64],
    /// See [`Sample::active`].
    pub active: &'a mut [bool],
}

impl Sample {
    /// Room for the mixing weights of so many alphas; zeros, all active.
    pub fn new(alphas: usize) -> Self {
        let zeros = vec![0.0; alphas];
        Sample {
            progress: Progress::default(),
            noise: zeros.clone(),
            soft: zeros.clone(),
            weights: zeros,
            active: vec![true; alphas],
        }
    }

    fn row(&mut self, row: Range<usize>) -> Row<'_> {
        Row {
            noise: &self.noise[row.clone()],
            soft: &mut self.soft[row.clone()],
            weights: &mut self.weights[row.clone()],
            active: &mut self.active[row],
        }
    }

    /// Draws the noise, which is addressed by seed, stream and step, and mixes.
    pub fn draw(
        &mut self,
        relaxation: &dyn Relaxation,
        rows: &[Range<usize>],
        alphas: &[f64],
        progress: Progress,
        stream: Stream,
    ) {
        let mut random = generator(progress.seed, stream, progress.step);
        rows.iter().for_each(|row| relaxation.draw(&mut random, &mut self.noise[row.clone()]));
        self.mix(relaxation, rows, alphas, progress);
    }

    /// Overwrites all but the noise.
    pub fn mix(
        &mut self,
        relaxation: &dyn Relaxation,
        rows: &[Range<usize>],
        alphas: &[f64],
        progress: Progress,
    ) {
        self.progress = progress;
        for row in rows {
            relaxation.mix(&alphas[row.clone()], progress, self.row(row.clone()));
        }
    }

    /// See [`Relaxation::pull_back`].
    pub fn pull_back(
        &mut self,
        relaxation: &dyn Relaxation,
        rows: &[Range<usize>],
        slopes: &[f64],
        gradient: &mut [f64],
    ) {
        for row in rows {
            let (progress, gradient) = (self.progress, &mut gradient[row.clone()]);
            relaxation.pull_back(progress, self.row(row.clone()), &slopes[row.clone()], gradient);
        }
    }
}

impl Bounds {
    /// Puts a row that was disturbed back within the bounds (SmoothDARTS, the official code): each weight into the range
    /// from 0 to 1 and, on the simplex, through their sum; where that is 0, the largest weight before becomes 1.
    pub fn project(self, row: &mut [f64]) {
        let mut largest = 0;
        for (place, weight) in row.iter().enumerate() {
            if *weight > row[largest] {
                largest = place;
            }
        }
        row.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
        match self {
            Bounds::Box => {}
            Bounds::Simplex => {
                if row.iter().all(|&weight| weight == 0.0) {
                    row[largest] = 1.0;
                }
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|weight| *weight /= sum);
            }
            Bounds::OneHot => {
                row.fill(0.0);
                row[largest] = 1.0;
            }
        }
    }
}

/// `scale * m_k * (dL/dm_k - sum_j m_j dL/dm_j)`: through a softmax with the results m, of its arguments times `scale`.
fn pull_back_softmax(scale: f64, weights: &[f64], slopes: &[f64], gradient: &mut [f64]) {
    let mean: f64 = weights.iter().zip(slopes).map(|(weight, slope)| weight * slope).sum();
    for ((gradient, weight), slope) in gradient.iter_mut().zip(weights).zip(slopes) {
        *gradient = scale * (weight * (slope - mean));
    }
}

/// Initial alphas for a seed: normal numbers of a deviation.
pub fn initial_alphas(count: usize, deviation: f64, seed: u64) -> Vec<f64> {
    let mut random = generator(seed, Stream::Alphas, 0);
    let normal = Normal::new(0.0, deviation as f32).ok();
    (0..count).map(|_| normal.map_or(0.0, |normal| f64::from(normal.sample(&mut random)))).collect()
}

#[cfg(test)]
mod tests;
