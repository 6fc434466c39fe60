//! Perturbations: what disturbs the mixing weights in a step of the weights, so that these suit a neighbourhood of the
//! mixing weights. A step of the alphas knows nothing of it.

use std::ops::Range;

use rand::RngExt;

use super::progress::Progress;
use super::relaxation::Bounds;
use super::schedule::Schedule;
use super::{Part, named};
use crate::random::{Stream, generator};

/// What disturbs the mixing weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Perturbation {
    /// Nothing.
    Identity,
    /// SDARTS-RS (Chen and Hsieh, ICML 2020, equation 6): uniform noise of at most this size, then back within the bounds.
    Random(Schedule),
    /// SDARTS-ADV (equation 7, the official code): from such noise, [`ASCENT_STEPS`] steps up the loss of the training batch
    /// in inference, each back within this distance of the undisturbed weights, then within the bounds. Where the loss is
    /// not higher then, the weights stay undisturbed.
    Adversarial(Schedule),
}

/// How many steps an attack takes.
pub const ASCENT_STEPS: usize = 7;

/// The perturbations by their names.
static PERTURBATIONS: [Part<Perturbation>; 3] = [
    Part { name: "none", takes: "", make: |_| Some(Perturbation::Identity) },
    Part { name: "random", takes: "SIZE", make: |text| size(text).map(Perturbation::Random) },
    Part { name: "adversarial", takes: "SIZE", make: |text| size(text).map(Perturbation::Adversarial) },
];

fn size(text: &str) -> Option<Schedule> {
    Schedule::within(text, |size| (0.0..=1.0).contains(&size))
}

/// The perturbation that a text names.
///
/// # Errors
/// The text names none; the sentence says what is expected.
pub fn perturbation(text: &str) -> Result<Perturbation, String> {
    named(&PERTURBATIONS, text)
}

impl Perturbation {
    /// How far a weight is disturbed at most, before it comes back within the bounds.
    fn size(self, progress: Progress) -> Option<f64> {
        match self {
            Perturbation::Identity => None,
            Perturbation::Random(size) | Perturbation::Adversarial(size) => Some(size.at(progress)),
        }
    }

    /// Overwrites the noise of a step: a number for each mixing weight.
    pub fn draw(self, progress: Progress, noise: &mut [f64]) {
        let Some(size) = self.size(progress) else { return };
        let mut random = generator(progress.seed, Stream::Perturbation, progress.step);
        noise.fill_with(|| size * random.random_range(-1.0..=1.0));
    }

    /// Disturbs mixing weights by this noise, row after row.
    pub fn disturb(self, bounds: Bounds, rows: &[Range<usize>], noise: &[f64], weights: &mut [f64]) {
        if self == Perturbation::Identity {
            return;
        }
        weights.iter_mut().zip(noise).for_each(|(weight, noise)| *weight += noise);
        rows.iter().for_each(|row| bounds.project(&mut weights[row.clone()]));
    }

    /// A step of an attack: along the signs of the gradient by the weights, near the undisturbed weights. On the simplex a
    /// row may end farther away than the size, as the division by its sum comes last.
    pub fn ascend(
        self,
        bounds: Bounds,
        rows: &[Range<usize>],
        progress: Progress,
        [undisturbed, slopes]: [&[f64]; 2],
        weights: &mut [f64],
    ) {
        let Some(size) = self.size(progress) else { return };
        let step = 2.0 * size / ASCENT_STEPS as f64;
        for ((weight, slope), start) in weights.iter_mut().zip(slopes).zip(undisturbed) {
            let sign = if *slope == 0.0 { 0.0 } else { slope.signum() };
            *weight = start + (*weight + step * sign - start).clamp(-size, size);
        }
        rows.iter().for_each(|row| bounds.project(&mut weights[row.clone()]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Range<usize>; 2] = [0..3, 3..5];

    fn disturbed(text: &str, bounds: Bounds, step: u64) -> [f64; 5] {
        let mut weights = [0.5, 0.3, 0.2, 0.9, 0.1];
        let progress = Progress { seed: 3, epoch: 1, epochs: 2, step };
        let (perturbation, mut noise) = (perturbation(text).unwrap(), [0.0; 5]);
        perturbation.draw(progress, &mut noise);
        perturbation.disturb(bounds, &ROWS, &noise, &mut weights);
        weights
    }

    #[test]
    fn noise_is_as_large_as_the_schedule_says_and_depends_on_seed_and_step() {
        let still = disturbed("none", Bounds::Box, 7);
        assert_eq!(still, [0.5, 0.3, 0.2, 0.9, 0.1]);
        assert_eq!(disturbed("random 0.1 to 0", Bounds::Box, 7), disturbed("random 0.05", Bounds::Box, 7));
        assert_ne!(disturbed("random 0.05", Bounds::Box, 7), disturbed("random 0.05", Bounds::Box, 8));
        let most = |size: &str| {
            let far = |step| {
                let near = disturbed(size, Bounds::Box, step).into_iter().zip(still);
                near.map(|(weight, before)| (weight - before).abs()).fold(0.0, f64::max)
            };
            (0..200).map(far).fold(0.0, f64::max)
        };
        assert!((0.045..=0.05 + 1e-15).contains(&most("random 0.05")));
        for step in 0..200 {
            let weights = disturbed("random 1", Bounds::Simplex, step);
            for row in ROWS {
                assert!(weights[row.clone()].iter().all(|weight| (0.0..=1.0).contains(weight)));
                assert!((weights[row].iter().sum::<f64>() - 1.0).abs() < 1e-15);
            }
        }
    }
}
