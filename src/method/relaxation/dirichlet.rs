//! Samples of a Dirichlet distribution, whose concentrations are learned.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

use super::row::{Bounds, Relaxation, Row};
use crate::method::progress::Progress;
use crate::method::special::beta_rate;

/// DrNAS (Chen, Wang, Cheng, Tang and Hsieh, ICLR 2021), section 2.2: `m ~ Dirichlet(c)` with `c = elu(alpha) + 1`.
///
/// The gradient follows the sample at its quantile (Jankowiak and Obermeyer, ICML 2018): with the rate `R_k` of
/// [`beta_rate`] at `x = m_k`, `a = c_k` and `b = sum(c) - c_k`, it is `dL/dc_k = R_k (dL/dm_k - sum_j m_j dL/dm_j)`. The
/// rate is exact; PyTorch's is off by up to 8e-4 of it.
#[derive(Debug)]
pub struct Dirichlet;

/// The concentration of an alpha, and its derivative.
pub fn concentration(alpha: f64) -> [f64; 2] {
    if alpha > 0.0 { [alpha + 1.0, 1.0] } else { [alpha.exp(); 2] }
}

impl Relaxation for Dirichlet {
    fn bounds(&self) -> Bounds {
        Bounds::Simplex
    }

    /// Overwrites the noise with the sample itself: the numbers that it takes depend on the alphas.
    fn draw(&self, random: &mut ChaCha8Rng, alphas: &[f64], noise: &mut [f64]) {
        for (number, &alpha) in noise.iter_mut().zip(alphas) {
            let [shape, _] = concentration(alpha);
            *number = Gamma::new(shape, 1.0).map_or(0.0, |gamma| gamma.sample(random));
        }
        let sum: f64 = noise.iter().sum();
        if noise.len() == 1 || sum == 0.0 {
            // All are too small for a number.
            return noise.fill(1.0 / noise.len() as f64);
        }
        let largest = 1.0 - f64::EPSILON / 2.0;
        noise.iter_mut().for_each(|number| *number = (*number / sum).clamp(f64::MIN_POSITIVE, largest));
    }

    fn mix(&self, _: &[f64], _: Progress, row: Row<'_>) {
        row.weights.copy_from_slice(row.noise);
        row.soft.copy_from_slice(row.noise);
    }

    fn pull_back(&self, alphas: &[f64], _: Progress, row: Row<'_>, slopes: &[f64], gradient: &mut [f64]) {
        let whole: f64 = alphas.iter().map(|&alpha| concentration(alpha)[0]).sum();
        let mean: f64 = row.soft.iter().zip(slopes).map(|(weight, slope)| weight * slope).sum();
        for (place, gradient) in gradient.iter_mut().enumerate() {
            let ([own, derivative], others) = (concentration(alphas[place]), alphas.len() - 1);
            let rate = if others == 0 { 0.0 } else { beta_rate(row.soft[place], own, whole - own) };
            *gradient = rate * (slopes[place] - mean) * derivative;
        }
    }

    fn is_dirichlet(&self) -> bool {
        true
    }
}
