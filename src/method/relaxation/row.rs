//! What a relaxation does with the row of an edge, and what its mixing weights satisfy.

use std::fmt::Debug;

use rand_chacha::ChaCha8Rng;

use crate::method::progress::Progress;
use crate::space::weighing::Weighing;

/// How the alphas of a row become its mixing weights.
pub trait Relaxation: Debug + Send + Sync {
    /// What all mixing weights of it satisfy.
    fn bounds(&self) -> Bounds;
    /// Overwrites the noise of a row with the random numbers that a sample of it takes; without, there are none.
    fn draw(&self, random: &mut ChaCha8Rng, alphas: &[f64], noise: &mut [f64]) {
        let _ = (random, alphas, noise);
    }
    /// Overwrites the soft weights and the mixing weights of a row, of which the noise is given, and says which branches are not
    /// active; all are before.
    fn mix(&self, alphas: &[f64], progress: Progress, row: Row<'_>);
    /// The vector-Jacobian product at a sample: overwrites `gradient` with the gradient by the alphas, of a loss whose
    /// gradient by the mixing weights is `slopes`.
    fn pull_back(
        &self,
        alphas: &[f64],
        progress: Progress,
        row: Row<'_>,
        slopes: &[f64],
        gradient: &mut [f64],
    );
    /// Whether the gradient takes branches that are not active for ones; otherwise these have no part in it.
    fn inactive_as_ones(&self) -> bool {
        false
    }
    /// Whether mixing weights are samples of a Dirichlet distribution.
    fn is_dirichlet(&self) -> bool {
        false
    }
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

/// The part of a sample that belongs to a row.
pub struct Row<'a> {
    /// Its random numbers.
    pub noise: &'a [f64],
    /// Its shares before they became hard.
    pub soft: &'a mut [f64],
    /// Its mixing weights.
    pub weights: &'a mut [f64],
    /// Which of its branches are computed.
    pub active: &'a mut [bool],
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
pub(super) fn pull_back_softmax(scale: f64, weights: &[f64], slopes: &[f64], gradient: &mut [f64]) {
    let mean: f64 = weights.iter().zip(slopes).map(|(weight, slope)| weight * slope).sum();
    for ((gradient, weight), slope) in gradient.iter_mut().zip(weights).zip(slopes) {
        *gradient = scale * (weight * (slope - mean));
    }
}
