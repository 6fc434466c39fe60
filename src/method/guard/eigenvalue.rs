//! Whether the largest eigenvalue has grown: the rule of RobustDARTS, as its official code has it.
//!
//! After the third measurement and each later one, the mean of the last five (or of all, where there are fewer) belongs to
//! the epoch of the middle one of the five. The bound is reached where this mean is more than `growth` times the mean four
//! measurements earlier; the result is the epoch that the earlier mean belongs to, if that is not among the first fifth.

/// The window of a mean, in measurements.
const WINDOW: usize = 5;
/// How many measurements before the present mean the other one lies.
const APART: usize = 4;
/// How many measurements before the present one the result lies: to the middle of the window, and on to the other mean.
pub const EARLIER: usize = WINDOW / 2 + APART;
/// The fewest measurements of a mean.
const FEWEST: usize = 3;
/// The count of measurements, the last of these, and the last means.
pub(super) const MEMORY: usize = 1 + WINDOW + APART + 1;

/// How many epochs at the start have no result: a fifth.
pub fn early(epochs: usize) -> usize {
    epochs / 5
}

/// A measurement.
pub(super) struct Measurement {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Epochs of the search.
    pub epochs: usize,
    /// The eigenvalue.
    pub value: f64,
}

/// What was seen if a measurement reaches the bound.
pub(super) fn reached(
    growth: f64,
    every: usize,
    measurement: Measurement,
    memory: &mut [f64],
) -> Option<String> {
    let Measurement { epoch, epochs, value } = measurement;
    let [count, memory @ ..] = memory else { unreachable!("the count leads") };
    let (measured, means) = memory.split_at_mut(WINDOW);
    *count += 1.0;
    push(measured, value);
    let known = (*count as usize).min(WINDOW);
    if known < FEWEST {
        return None;
    }
    let mean = measured[WINDOW - known..].iter().sum::<f64>() / known as f64;
    push(means, mean);
    // Epochs counted from 0.
    let result = (epoch - 1).checked_sub(EARLIER * every)?;
    let (earlier, early) = (means[0], early(epochs));
    // A ratio says nothing where the earlier mean is not positive: there was no curvature that could have grown.
    (result >= early && earlier > 0.0 && mean / earlier > growth).then(|| {
        format!(
            "the largest eigenvalue of the validation loss's Hessian by the alphas is {:.2} times that of {} epochs \
             before, each the mean of {WINDOW} measurements",
            mean / earlier,
            APART * every
        )
    })
}

/// Drops the first number and appends one.
fn push(numbers: &mut [f64], number: f64) {
    numbers.rotate_left(1);
    numbers[numbers.len() - 1] = number;
}
