//! What a run will take of memory and time, found out by a few of its steps.

use std::time::Instant;

use serde::Serialize;

use super::driver::Epochs;
use crate::Result;

/// The most steps that are measured, after one that is not.
const STEPS: usize = 5;

/// What a run will take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// All memory that the run takes of the device, in bytes.
    pub peak_bytes: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// The largest batch that the memory of the device and the number of images allow.
    pub largest_batch: usize,
    /// The duration of a step.
    pub seconds_per_step: f64,
    /// The duration of the evaluation at the end of an epoch.
    pub seconds_per_evaluation: f64,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// The duration of all epochs.
    pub seconds: f64,
}

impl Estimate {
    /// What two parts of a run take one after another: the memory of the larger and the speed of the slower one.
    pub fn and_then(self, next: Estimate) -> Estimate {
        let slower = if next.seconds_per_step > self.seconds_per_step { next } else { self };
        Estimate {
            peak_bytes: self.peak_bytes.max(next.peak_bytes),
            largest_batch: self.largest_batch.min(next.largest_batch),
            epochs: self.epochs + next.epochs,
            seconds: self.seconds + next.seconds,
            ..slower
        }
    }
}

/// How fast a run is, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The duration of a step.
    pub step: f64,
    /// The duration of the evaluation at the end of an epoch.
    pub evaluation: f64,
}

impl Pace {
    /// The duration of so many epochs of so many steps.
    pub fn seconds(&self, epochs: usize, steps: usize) -> f64 {
        epochs as f64 * (steps as f64 * self.step + self.evaluation)
    }
}

/// Measures some steps of an epoch, counted from 1, and some batches of the evaluation. The run is of no use afterwards.
///
/// # Errors
/// Whatever the run could not do.
pub fn measure(run: &mut impl Epochs, epoch: usize) -> Result<Pace> {
    run.start_epoch(epoch, 0);
    let step = median_of(run.steps_per_epoch(), || run.step().map(drop))?;
    run.start_evaluation();
    let batches = run.batches_per_evaluation();
    let batch = median_of(batches, || run.evaluate().map(drop))?;
    Ok(Pace { step, evaluation: batches as f64 * batch })
}

/// The median duration of some work in seconds, which can be done so often. The first time finds nothing in any cache: it
/// counts only where there is no other.
fn median_of(available: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut durations = Vec::with_capacity(STEPS + 1);
    for _ in 0..available.min(STEPS + 1) {
        let start = Instant::now();
        work()?;
        durations.push(start.elapsed().as_secs_f64());
    }
    Ok(median(durations))
}

/// The median of all durations but the first, or that one where there is no other; 0 of none.
fn median(mut durations: Vec<f64>) -> f64 {
    let first = usize::from(durations.len() > 1);
    let measured = &mut durations[first..];
    measured.sort_unstable_by(f64::total_cmp);
    measured.get(measured.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_time_is_that_of_all_steps_and_evaluations() {
        assert_eq!(Pace { step: 0.5, evaluation: 3.0 }.seconds(4, 10), 32.0);
    }

    #[test]
    fn the_first_duration_counts_only_alone() {
        let medians = [vec![], vec![7.0], vec![9.0, 2.0], vec![9.0, 3.0, 1.0, 2.0]].map(median);
        assert_eq!(medians, [0.0, 7.0, 2.0, 2.0]);
    }

    #[test]
    fn no_more_is_measured_than_there_is() {
        for (available, expected) in [(0, 0), (1, 1), (3, 3), (100, STEPS + 1)] {
            let mut done = 0;
            let count = || {
                done += 1;
                Ok(())
            };
            assert!(median_of(available, count).unwrap() >= 0.0);
            assert_eq!(done, expected);
        }
    }
}
