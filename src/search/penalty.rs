//! Penalties on alphas: terms that only the loss of the alphas has, never that of the weights.

use std::fmt::Debug;
use std::ops::Range;

use super::progress::Progress;

/// A term of the alphas' loss. The alphas lie row after row; a row is an edge.
pub trait Penalty: Debug + Send + Sync {
    /// The term.
    fn value(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress) -> f64;
    /// Adds its gradient by the alphas.
    fn add_gradient(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress, gradient: &mut [f64]);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `scale * (1 + epoch) * sum of alpha^3`, of the first candidate of each row.
    #[derive(Debug)]
    pub struct Cubes(pub f64);

    impl Penalty for Cubes {
        fn value(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress) -> f64 {
            let scale = self.0 * (1 + progress.epoch) as f64;
            rows.iter().map(|row| scale * alphas[row.start].powi(3)).sum()
        }

        fn add_gradient(
            &self,
            rows: &[Range<usize>],
            alphas: &[f64],
            progress: Progress,
            gradient: &mut [f64],
        ) {
            let scale = self.0 * (1 + progress.epoch) as f64;
            rows.iter().for_each(|row| gradient[row.start] += 3.0 * scale * alphas[row.start].powi(2));
        }
    }

    /// Checks that what a penalty adds is the gradient of its value, at alphas of which none is special.
    pub fn check(penalty: &dyn Penalty) {
        let rows = [0..3, 3..5, 5..6];
        let alphas = [0.3, -0.7, 1.1, 0.9, -0.2, 0.5];
        for epoch in [0, 7, 49] {
            let progress = Progress { epoch, epochs: 50, ..Progress::default() };
            let mut gradient = [2.0; 6];
            penalty.add_gradient(&rows, &alphas, progress, &mut gradient);
            for (index, ours) in gradient.into_iter().enumerate() {
                let moved = |by: f64| {
                    let mut moved = alphas;
                    moved[index] += by;
                    penalty.value(&rows, &moved, progress)
                };
                let expected = 2.0 + (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (ours - expected).abs() < 1e-6,
                    "{penalty:?}, epoch {epoch}, alpha {index}: {ours}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_values() {
        check(&Cubes(0.5));
    }
}
