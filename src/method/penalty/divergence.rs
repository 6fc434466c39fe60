//! The regulariser of DrNAS (Chen, Wang, Cheng, Tang and Hsieh, ICLR 2021, equation 8).

use std::ops::Range;

use super::term::Penalty;
use crate::method::progress::Progress;
use crate::method::relaxation::{Relaxation, concentration};
use crate::method::schedule::Schedule;
use crate::method::special::{digamma, ln_gamma, trigamma};

/// `weight * sum of KL(Dirichlet(c) || Dirichlet(1))` over the rows of all types of cells: the concentrations are drawn to
/// where every mixture is as likely.
#[derive(Debug)]
pub struct Divergence(pub Schedule);

impl Penalty for Divergence {
    fn value(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress) -> f64 {
        let term = |row: &Range<usize>| {
            let own = || alphas[row.clone()].iter().map(|&alpha| concentration(alpha)[0]);
            let whole: f64 = own().sum();
            let each: f64 = own().map(|c| (c - 1.0) * (digamma(c) - digamma(whole)) - ln_gamma(c)).sum();
            ln_gamma(whole) - ln_gamma(row.len() as f64) + each
        };
        self.0.at(progress) * rows.iter().map(term).sum::<f64>()
    }

    fn add_gradient(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress, gradient: &mut [f64]) {
        let scale = self.0.at(progress);
        for row in rows.iter().cloned() {
            let own = alphas[row.clone()].iter().map(|&alpha| concentration(alpha));
            let whole: f64 = own.clone().map(|[c, _]| c).sum();
            let shared = (whole - row.len() as f64) * trigamma(whole);
            for (gradient, [c, derivative]) in gradient[row].iter_mut().zip(own) {
                *gradient += scale * ((c - 1.0) * trigamma(c) - shared) * derivative;
            }
        }
    }

    fn suits(&self, relaxation: &dyn Relaxation) -> bool {
        relaxation.is_dirichlet()
    }

    fn meant_for(&self) -> &'static str {
        "dirichlet, the only one whose samples have the distribution that kl compares"
    }
}
