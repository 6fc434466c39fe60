//! The regulariser of beta-DARTS (Ye, Li, Li, Chen, Fan and Ouyang, CVPR 2022, equation 11).

use std::ops::Range;

use super::term::Penalty;
use crate::method::progress::Progress;
use crate::method::schedule::Schedule;
use crate::space::weighing::softmax;

/// `weight * mean of log(sum of exp(alpha))`: the sum is over a row, and the mean over the rows of all types of cells. The
/// official code knows one type of cell; there it is the same.
#[derive(Debug)]
pub struct LogSumExp(pub Schedule);

impl Penalty for LogSumExp {
    fn value(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress) -> f64 {
        let term = |row: &Range<usize>| {
            let row = &alphas[row.clone()];
            // The largest is subtracted so that nothing overflows.
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            largest + row.iter().map(|alpha| (alpha - largest).exp()).sum::<f64>().ln()
        };
        self.0.at(progress) * rows.iter().map(term).sum::<f64>() / rows.len() as f64
    }

    fn add_gradient(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress, gradient: &mut [f64]) {
        let scale = self.0.at(progress) / rows.len() as f64;
        for row in rows.iter().cloned() {
            let alphas = &alphas[row.clone()];
            let shares = softmax(alphas.iter().copied());
            gradient[row].iter_mut().zip(shares).for_each(|(gradient, share)| *gradient += scale * share);
        }
    }
}
