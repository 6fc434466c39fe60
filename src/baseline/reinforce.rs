//! REINFORCE (Williams, 1992) with a table of logits as the policy: each option of each choice has one, and candidates are
//! drawn from their softmax. The settings are those of the authors of NAS-Bench-201.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::strategy::Strategy;
use crate::search::adam::{Adam, AdamSettings};
use crate::space::weighing::softmax;

/// Adam with PyTorch's decay rates.
const ADAM: AdamSettings = AdamSettings { rate: 0.01, betas: (0.9, 0.999), decay: 0.0 };
/// The standard deviation of the first logits.
const DEVIATION: f64 = 1e-3;
/// The share of the past in the mean of the scores.
const MOMENTUM: f64 = 0.9;

/// REINFORCE.
pub struct Reinforce {
    options: Vec<usize>,
    /// Choice after choice.
    logits: Vec<f64>,
    adam: Adam,
    baseline: Baseline,
}

impl Reinforce {
    /// Over choices with so many options each.
    pub fn new(options: Vec<usize>, random: &mut ChaCha8Rng) -> Self {
        let count = options.iter().sum();
        let logits = (0..count).map(|_| DEVIATION * random.sample::<f64, _>(StandardNormal)).collect();
        Reinforce { options, logits, adam: Adam::new(count, ADAM), baseline: Baseline::default() }
    }

    /// The probabilities of each choice's options.
    fn policy(&self) -> impl Iterator<Item = Vec<f64>> {
        self.options.iter().scan(0, |start, &count| {
            let row = &self.logits[*start..*start + count];
            *start += count;
            Some(softmax(row.iter().copied()).collect())
        })
    }
}

impl Strategy for Reinforce {
    fn propose(&mut self, random: &mut ChaCha8Rng) -> Vec<usize> {
        let draw = |probabilities: Vec<f64>| {
            let mut left: f64 = random.random();
            // Rounding may leave a little of the last one.
            let last = probabilities.len() - 1;
            let drawn = probabilities.into_iter().position(|probability| {
                left -= probability;
                left < 0.0
            });
            drawn.unwrap_or(last)
        };
        self.policy().map(draw).collect()
    }

    /// A step of Adam along the gradient of `-log p(candidate) (score - baseline)`.
    fn learn(&mut self, candidate: &[usize], score: f64) {
        let advantage = score - self.baseline.with(score);
        let rows = self.policy().zip(candidate).flat_map(|(row, &chosen)| {
            let slope = move |(option, probability): (usize, f64)| {
                (probability - f64::from(u8::from(option == chosen))) * advantage
            };
            row.into_iter().enumerate().map(slope).collect::<Vec<_>>()
        });
        let gradient: Vec<f64> = rows.collect();
        self.adam.step(&mut self.logits, &gradient);
    }
}

/// The mean of the scores, the latest of which counts most.
#[derive(Default)]
struct Baseline {
    sum: f64,
    weight: f64,
}

impl Baseline {
    /// The mean after another score.
    fn with(&mut self, score: f64) -> f64 {
        self.sum = MOMENTUM * self.sum + (1.0 - MOMENTUM) * score;
        self.weight = MOMENTUM * self.weight + (1.0 - MOMENTUM);
        self.sum / self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    fn start(options: &[usize]) -> Reinforce {
        Reinforce::new(options.to_vec(), &mut generator(0, Stream::Test, 0))
    }

    /// The first score is its own baseline, so that nothing moves. The second one, 2 after 1, is compared with
    /// (0.9 * 0.1 * 1 + 0.1 * 2) / (0.9 * 0.1 + 0.1) = 29/19, and is better.
    #[test]
    fn the_baseline_contains_the_score_that_it_is_compared_with() {
        let mut baseline = Baseline::default();
        assert!((baseline.with(1.0) - 1.0).abs() < 1e-15);
        assert!((baseline.with(2.0) - 29.0 / 19.0).abs() < 1e-15);
        let mut search = start(&[2, 3]);
        let before = search.logits.clone();
        search.learn(&[1, 2], 40.0);
        assert_eq!(search.logits, before);
        search.learn(&[1, 2], 50.0);
        for (place, (after, before)) in search.logits.iter().zip(&before).enumerate() {
            assert_eq!(
                after > before,
                [1, 4].contains(&place),
                "logit {place} moved from {before} to {after}"
            );
        }
    }

    /// The gradient of -log softmax(logits)[chosen], by differences.
    #[test]
    fn the_policy_moves_along_the_gradient() {
        let mut search = start(&[4]);
        search.logits = vec![0.3, -0.2, 0.9, 0.0];
        let loss = |logits: &[f64]| -softmax(logits.iter().copied()).nth(2).unwrap().ln();
        let numeric: Vec<f64> = (0..4)
            .map(|place| {
                let [mut above, mut below] = [search.logits.clone(), search.logits.clone()];
                above[place] += 1e-6;
                below[place] -= 1e-6;
                (loss(&above) - loss(&below)) / 2e-6
            })
            .collect();
        search.baseline = Baseline { sum: -1.0 / (1.0 - MOMENTUM), weight: 1.0 };
        // Adam's first moment after one step is a tenth of the gradient, here of the advantage 1 - 0 = 1.
        search.baseline.sum = -(1.0 - MOMENTUM) / MOMENTUM;
        search.learn(&[2], 1.0);
        for (moment, slope) in search.adam.first.iter().zip(&numeric) {
            assert!((moment - 0.1 * slope).abs() < 1e-9, "{:?} and {numeric:?}", search.adam.first);
        }
    }

    #[test]
    fn it_learns_what_scores() {
        let mut search = start(&[3, 3]);
        for step in 0..2000 {
            let candidate = search.propose(&mut generator(1, Stream::Test, step));
            let score = f64::from(u8::from(candidate[0] == 2)) - f64::from(u8::from(candidate[1] == 0));
            search.learn(&candidate, score);
        }
        let policy: Vec<_> = search.policy().collect();
        assert!(policy[0][2] > 0.9 && policy[1][0] < 0.05, "{policy:?}");
    }
}
