//! The softmax of alphas with Gumbel noise (Jang, Gu and Poole, ICLR 2017; Maddison, Mnih and Teh, ICLR 2017): a sample that
//! has a gradient.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::Open01;

use super::row::{Bounds, Relaxation, Row, pull_back_softmax};
use crate::method::progress::Progress;
use crate::method::schedule::Schedule;
use crate::space::weighing::softmax;

/// SNAS (Xie, Zheng, Liu and Lin, ICLR 2019), equation 5: `m = softmax((alpha + G) / temperature)`, with `G = -log(-log(u))`
/// for uniform numbers u.
#[derive(Debug)]
pub struct Soft {
    /// The lower, the nearer is a sample to one candidate.
    pub temperature: Schedule,
}

/// GDAS (Dong and Yang, CVPR 2019), equations 3 to 6: forward, the mixing weights are 1 for the largest share of [`Soft`] and
/// 0 for the others, which are not computed; backward, they are the shares.
#[derive(Debug)]
pub struct Hard {
    /// That of the shares.
    pub temperature: Schedule,
    /// Whether the gradient takes candidates that were not computed for ones, so that every alpha has a gradient: the
    /// official code does. Without, they have no part in it, as in the paper.
    pub ones: bool,
}

fn draw(random: &mut ChaCha8Rng, noise: &mut [f64]) {
    noise.fill_with(|| -(-random.sample::<f64, _>(Open01).ln()).ln());
}

fn share(alphas: &[f64], temperature: f64, row: &mut Row<'_>) {
    let values = alphas.iter().zip(row.noise).map(|(alpha, noise)| (alpha + noise) / temperature);
    row.soft.iter_mut().zip(softmax(values)).for_each(|(soft, share)| *soft = share);
}

impl Relaxation for Soft {
    fn bounds(&self) -> Bounds {
        Bounds::Simplex
    }

    fn draw(&self, random: &mut ChaCha8Rng, _: &[f64], noise: &mut [f64]) {
        draw(random, noise);
    }

    fn mix(&self, alphas: &[f64], progress: Progress, mut row: Row<'_>) {
        share(alphas, self.temperature.at(progress), &mut row);
        row.weights.copy_from_slice(row.soft);
    }

    fn pull_back(&self, _: &[f64], progress: Progress, row: Row<'_>, slopes: &[f64], gradient: &mut [f64]) {
        pull_back_softmax(1.0 / self.temperature.at(progress), row.soft, slopes, gradient);
    }
}

impl Relaxation for Hard {
    fn bounds(&self) -> Bounds {
        Bounds::OneHot
    }

    fn inactive_as_ones(&self) -> bool {
        self.ones
    }

    fn draw(&self, random: &mut ChaCha8Rng, _: &[f64], noise: &mut [f64]) {
        draw(random, noise);
    }

    fn mix(&self, alphas: &[f64], progress: Progress, mut row: Row<'_>) {
        share(alphas, self.temperature.at(progress), &mut row);
        row.weights.copy_from_slice(row.soft);
        self.bounds().project(row.weights);
        row.active.iter_mut().zip(row.weights).for_each(|(active, weight)| *active = *weight > 0.0);
    }

    fn pull_back(&self, _: &[f64], progress: Progress, row: Row<'_>, slopes: &[f64], gradient: &mut [f64]) {
        pull_back_softmax(1.0 / self.temperature.at(progress), row.soft, slopes, gradient);
    }
}
