//! The zero-one loss of FairDARTS (Chu, Zhou, Zhang and Li, ECCV 2020, equation 6).

use std::ops::Range;

use super::term::Penalty;
use crate::method::progress::Progress;
use crate::method::relaxation::{Bounds, Relaxation};
use crate::method::schedule::Schedule;
use crate::space::weighing::sigmoid;

/// `-weight * mean of (sigmoid(alpha) - 1/2)^2` over all alphas: each mixing weight is drawn to 0 or to 1.
#[derive(Debug)]
pub struct ZeroOne(pub Schedule);

impl Penalty for ZeroOne {
    fn value(&self, _: &[Range<usize>], alphas: &[f64], progress: Progress) -> f64 {
        let squares: f64 = alphas.iter().map(|&alpha| (sigmoid(alpha) - 0.5).powi(2)).sum();
        -self.0.at(progress) * squares / alphas.len() as f64
    }

    fn add_gradient(&self, _: &[Range<usize>], alphas: &[f64], progress: Progress, gradient: &mut [f64]) {
        let scale = -2.0 * self.0.at(progress) / alphas.len() as f64;
        for (gradient, &alpha) in gradient.iter_mut().zip(alphas) {
            let weight = sigmoid(alpha);
            *gradient += scale * (weight - 0.5) * weight * (1.0 - weight);
        }
    }

    fn suits(&self, relaxation: &dyn Relaxation) -> bool {
        relaxation.bounds() == Bounds::Box
    }

    fn meant_for(&self) -> &'static str {
        "sigmoid, the only one that zero-one drives to a decision"
    }
}
