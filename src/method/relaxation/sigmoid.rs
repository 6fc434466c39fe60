//! The sigmoid of each alpha.

use super::row::{Bounds, Relaxation, Row};
use crate::method::progress::Progress;
use crate::space::weighing::{Weighing, sigmoid};

/// FairDARTS (Chu, Zhou, Zhang and Li, ECCV 2020), equation 3: `m_k = 1 / (1 + exp(-alpha_k))`. The candidates of an edge do
/// not compete.
#[derive(Debug)]
pub struct Sigmoid;

impl Relaxation for Sigmoid {
    fn bounds(&self) -> Bounds {
        Bounds::Box
    }

    fn mix(&self, alphas: &[f64], _: Progress, row: Row<'_>) {
        row.weights.iter_mut().zip(alphas).for_each(|(weight, &alpha)| *weight = sigmoid(alpha));
        row.soft.copy_from_slice(row.weights);
    }

    fn pull_back(&self, _: &[f64], _: Progress, row: Row<'_>, slopes: &[f64], gradient: &mut [f64]) {
        for ((gradient, weight), slope) in gradient.iter_mut().zip(row.soft).zip(slopes) {
            *gradient = *weight * (1.0 - *weight) * slope;
        }
    }

    fn weighing(&self) -> Weighing {
        Weighing::Sigmoid
    }
}
