//! The softmax of each row.

use super::row::{Bounds, Relaxation, Row, pull_back_softmax};
use crate::method::progress::Progress;
use crate::space::weighing::softmax;

/// DARTS, equation 2: `m_k = exp(alpha_k) / sum_j exp(alpha_j)`.
#[derive(Debug)]
pub struct Softmax;

impl Relaxation for Softmax {
    fn bounds(&self) -> Bounds {
        Bounds::Simplex
    }

    fn mix(&self, alphas: &[f64], _: Progress, row: Row<'_>) {
        row.weights
            .iter_mut()
            .zip(softmax(alphas.iter().copied()))
            .for_each(|(weight, share)| *weight = share);
        row.soft.copy_from_slice(row.weights);
    }

    fn pull_back(&self, _: &[f64], _: Progress, row: Row<'_>, slopes: &[f64], gradient: &mut [f64]) {
        pull_back_softmax(1.0, row.soft, slopes, gradient);
    }
}
