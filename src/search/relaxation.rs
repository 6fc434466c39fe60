//! The relaxation: from alphas to the mixing weights of the supernet, and from the gradient of a loss by these back to
//! its gradient by the alphas.
//!
//! The supernet knows mixing weights alone, so everything here is a few hundred numbers in f64 on the host. They lie in
//! one vector, row after row; a row is an edge and has a number for each of that edge's candidates.

use std::ops::Range;

use rand_distr::{Distribution, Normal};

use super::progress::Progress;
use crate::random::{Stream, generator};

/// Initial alphas are normal numbers of this deviation.
const DEVIATION: f32 = 1e-3;

/// How alphas become mixing weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relaxation {
    /// The softmax of each row (DARTS, equation 2): `m_k = exp(alpha_k) / sum_j exp(alpha_j)`.
    Softmax,
}

/// What a forward pass is given in place of the alphas. One sample serves all cells of a type, and all passes of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The mixing weights, in the order of the alphas.
    pub weights: Vec<f64>,
    /// Which branches are computed at all; the others have no gradient.
    pub active: Vec<bool>,
}

impl Sample {
    /// Room for the mixing weights of so many alphas; zeros, all active.
    pub fn new(alphas: usize) -> Self {
        Sample { weights: vec![0.0; alphas], active: vec![true; alphas] }
    }
}

impl Relaxation {
    /// Overwrites `sample` with that of these alphas. Whatever is random is addressed by seed and step.
    pub fn sample(self, rows: &[Range<usize>], alphas: &[f64], _: Progress, sample: &mut Sample) {
        for row in rows {
            match self {
                Relaxation::Softmax => softmax(&alphas[row.clone()], &mut sample.weights[row.clone()]),
            }
        }
    }

    /// The vector-Jacobian product at a sample: overwrites `gradient` with the gradient by the alphas, of a loss whose
    /// gradient by the mixing weights is `slopes`.
    pub fn pull_back(self, rows: &[Range<usize>], sample: &Sample, slopes: &[f64], gradient: &mut [f64]) {
        for row in rows.iter().cloned() {
            let (weights, slopes) = (&sample.weights[row.clone()], &slopes[row.clone()]);
            match self {
                Relaxation::Softmax => pull_back_softmax(weights, slopes, &mut gradient[row]),
            }
        }
    }
}

fn softmax(alphas: &[f64], weights: &mut [f64]) {
    // The largest is subtracted so that nothing overflows.
    let largest = alphas.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    weights.iter_mut().zip(alphas).for_each(|(weight, alpha)| *weight = (alpha - largest).exp());
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
}

/// `dL/dalpha_k = m_k * (dL/dm_k - sum_j m_j dL/dm_j)`.
fn pull_back_softmax(weights: &[f64], slopes: &[f64], gradient: &mut [f64]) {
    let mean: f64 = weights.iter().zip(slopes).map(|(weight, slope)| weight * slope).sum();
    for ((gradient, weight), slope) in gradient.iter_mut().zip(weights).zip(slopes) {
        *gradient = weight * (slope - mean);
    }
}

/// Initial alphas for a seed.
pub fn initial_alphas(count: usize, seed: u64) -> Vec<f64> {
    let mut random = generator(seed, Stream::Alphas, 0);
    let normal = Normal::new(0.0, DEVIATION).ok();
    (0..count).map(|_| normal.map_or(0.0, |normal| f64::from(normal.sample(&mut random)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// Rows of different lengths, one of a single candidate.
    const ROWS: [Range<usize>; 4] = [0..8, 8..10, 10..11, 11..16];

    fn numbers(stream: u64) -> Vec<f64> {
        let mut random = generator(stream, Stream::Test, 0);
        (0..16).map(|_| random.random_range(-2.0..2.0)).collect()
    }

    fn sampled(alphas: &[f64]) -> Sample {
        let mut sample = Sample::new(alphas.len());
        Relaxation::Softmax.sample(&ROWS, alphas, Progress::default(), &mut sample);
        sample
    }

    #[test]
    fn mixing_weights_of_a_row_are_shares() {
        let sample = sampled(&numbers(1));
        for row in ROWS {
            assert!((sample.weights[row].iter().sum::<f64>() - 1.0).abs() < 1e-15);
        }
        // exp(1) / (exp(1) + exp(2) + exp(3)) and so on.
        let mut weights = [0.0; 3];
        softmax(&[1.0, 2.0, 3.0], &mut weights);
        let expected = [0.09003057317038046, 0.24472847105479767, 0.6652409557748219];
        assert!(
            weights.iter().zip(expected).all(|(ours, torch)| (ours - torch).abs() < 1e-15),
            "{weights:?}"
        );
        softmax(&[1e308, 1e308, -1e308], &mut weights);
        assert_eq!(weights, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn the_pull_back_is_the_gradient_by_the_alphas() {
        let (alphas, slopes) = (numbers(1), numbers(2));
        let loss = |alphas: &[f64]| -> f64 {
            sampled(alphas).weights.iter().zip(&slopes).map(|(weight, slope)| weight * slope).sum()
        };
        let mut gradient = vec![f64::NAN; 16];
        Relaxation::Softmax.pull_back(&ROWS, &sampled(&alphas), &slopes, &mut gradient);
        for (index, ours) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = alphas.clone();
                moved[index] += by;
                loss(&moved)
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((ours - expected).abs() < 1e-9, "alpha {index}: {ours} instead of {expected}");
        }
        assert_eq!(gradient[10], 0.0, "a single candidate has nothing to choose");
    }

    #[test]
    fn initial_alphas_depend_on_the_seed_alone() {
        let alphas = initial_alphas(224, 5);
        assert_eq!(alphas, initial_alphas(224, 5));
        assert_ne!(alphas, initial_alphas(224, 6));
        let deviation = (alphas.iter().map(|alpha| alpha * alpha).sum::<f64>() / 224.0).sqrt();
        assert!((5e-4..2e-3).contains(&deviation), "{deviation}");
    }
}
