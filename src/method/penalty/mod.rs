//! Penalties on alphas: terms that only the loss of the alphas has, never that of the weights. Each has a weight, which may
//! change from epoch to epoch.
//!
//! To add one, write its file and its row in `PENALTIES`.

mod divergence;
mod log_sum_exp;
mod term;
mod zero_one;

use std::sync::Arc;

use super::schedule::Schedule;
use super::{Part, expected, named};
pub use term::Penalty;

/// The penalties by their names.
static PENALTIES: [Part<Arc<dyn Penalty>>; 3] = [
    Part { name: "zero-one", takes: "WEIGHT", make: |text| Some(Arc::new(zero_one::ZeroOne(weight(text)?))) },
    Part {
        name: "logsumexp",
        takes: "WEIGHT",
        make: |text| Some(Arc::new(log_sum_exp::LogSumExp(weight(text)?))),
    },
    Part { name: "kl", takes: "WEIGHT", make: |text| Some(Arc::new(divergence::Divergence(weight(text)?))) },
];

fn weight(text: &str) -> Option<Schedule> {
    Schedule::within(text, |weight| (0.0..=1e6).contains(&weight))
}

/// The penalties that a text names: `none`, or some with ` + ` between them.
///
/// # Errors
/// The text names something else; the sentence says what is expected.
pub fn penalties(text: &str) -> Result<Vec<Arc<dyn Penalty>>, String> {
    let sentence = |_| format!("none, {}, or several of these with + between them", expected(&PENALTIES));
    match text {
        "none" => Ok(Vec::new()),
        _ => {
            text.split(" + ").map(|term| named(&PENALTIES, term)).collect::<Result<_, _>>().map_err(sentence)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::ops::Range;

    use super::*;
    use crate::method::progress::Progress;

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
        for part in &PENALTIES {
            for weight in ["10", "1 to 50"] {
                check(&*named(&PENALTIES, &format!("{} {weight}", part.name)).unwrap());
            }
        }
    }

    #[test]
    fn a_text_names_some_or_none() {
        assert!(penalties("none").unwrap().is_empty());
        assert_eq!(penalties("zero-one 10 + logsumexp 0 to 50").unwrap().len(), 2);
        for text in ["", "zero-one", "zero-one -1", "logsumexp 1 +", "none + zero-one 1", "zero-one 1 2"] {
            let refused = penalties(text).unwrap_err();
            assert!(
                refused.starts_with("none, zero-one WEIGHT, logsumexp WEIGHT or kl WEIGHT, or several"),
                "{refused}"
            );
        }
    }
}
