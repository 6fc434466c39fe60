//! The relaxation: from alphas to the mixing weights of the supernet, and from the gradient of a loss by these back to
//! its gradient by the alphas.
//!
//! The numbers lie in one vector, row after row; a row is an edge and has a number for each of that edge's candidates.
//! To add a relaxation, write its file and its row in `RELAXATIONS`.

mod dirichlet;
mod gumbel;
mod row;
mod sigmoid;
mod softmax;

use std::ops::Range;
use std::sync::Arc;

use rand_distr::{Distribution, Normal};

use super::progress::Progress;
use super::schedule::Schedule;
use super::{Part, named};
use crate::random::{Stream, generator};
pub use dirichlet::concentration;
pub use row::{Bounds, Relaxation, Row};

/// The relaxations by their names.
static RELAXATIONS: [Part<Arc<dyn Relaxation>>; 6] = [
    Part { name: "softmax", takes: "", make: |_| Some(Arc::new(softmax::Softmax)) },
    Part { name: "dirichlet", takes: "", make: |_| Some(Arc::new(dirichlet::Dirichlet)) },
    Part { name: "sigmoid", takes: "", make: |_| Some(Arc::new(sigmoid::Sigmoid)) },
    Part {
        name: "gumbel",
        takes: "TEMPERATURE",
        make: |text| Some(Arc::new(gumbel::Soft { temperature: temperature(text)? })),
    },
    Part {
        name: "gumbel-hard",
        takes: "TEMPERATURE",
        make: |text| Some(Arc::new(gumbel::Hard { temperature: temperature(text)?, ones: true })),
    },
    Part {
        name: "gumbel-hard-clean",
        takes: "TEMPERATURE",
        make: |text| Some(Arc::new(gumbel::Hard { temperature: temperature(text)?, ones: false })),
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
        for row in rows {
            relaxation.draw(&mut random, &alphas[row.clone()], &mut self.noise[row.clone()]);
        }
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
        self.active.fill(true);
        for row in rows {
            relaxation.mix(&alphas[row.clone()], progress, self.row(row.clone()));
        }
    }

    /// See [`Relaxation::pull_back`]. The alphas are those of the sample.
    pub fn pull_back(
        &mut self,
        relaxation: &dyn Relaxation,
        rows: &[Range<usize>],
        [alphas, slopes]: [&[f64]; 2],
        gradient: &mut [f64],
    ) {
        for row in rows {
            let (progress, gradient) = (self.progress, &mut gradient[row.clone()]);
            let [alphas, slopes] = [alphas, slopes].map(|values| &values[row.clone()]);
            relaxation.pull_back(alphas, progress, self.row(row.clone()), slopes, gradient);
        }
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
