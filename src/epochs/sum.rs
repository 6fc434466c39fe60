//! The results of batches, one by one and together.

use serde::{Deserialize, Serialize};

use crate::backend::Scalar;
use crate::{Error, Result};

/// The loss of a batch and how many of its images were guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchResult {
    /// Mean loss.
    pub loss: f64,
    /// Images whose class was the first guess.
    pub top1: f64,
    /// Images whose class was among the first five guesses.
    pub top5: f64,
}

impl BatchResult {
    /// The result of images by their logits and labels. A logit equal to the label's own ranks before it only where its
    /// index is lower.
    pub fn of<'a, T: Scalar>(images: impl Iterator<Item = (&'a [T], usize)>) -> Self {
        let (mut sum, mut count) = (BatchResult::default(), 0.0);
        for (row, label) in images {
            let row: Vec<f64> = row.iter().map(|x| x.wide()).collect();
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - largest).exp()).sum();
            let before = |i: usize| row[i] > row[label] || (row[i] == row[label] && i < label);
            let rank = (0..row.len()).filter(|&i| before(i)).count();
            sum.loss += total.ln() + largest - row[label];
            sum.top1 += f64::from(rank < 1);
            sum.top5 += f64::from(rank < 5);
            count += 1.0;
        }
        BatchResult { loss: sum.loss / count, ..sum }
    }
}

/// The results of several batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    loss: f64,
    /// Its name in the checkpoints of version 1.
    #[serde(rename = "first")]
    top1: f64,
    images: f64,
}

impl Sum {
    /// Adds the result of a batch of so many images.
    pub fn add(&mut self, result: BatchResult, images: usize) {
        self.loss += result.loss * images as f64;
        self.top1 += result.top1;
        self.images += images as f64;
    }

    /// Images so far.
    pub fn images(&self) -> f64 {
        self.images
    }

    /// Their mean loss.
    pub fn loss(&self) -> f64 {
        self.loss / self.images
    }

    /// The share of them whose class was the first guess.
    pub fn accuracy(&self) -> f64 {
        self.top1 / self.images
    }
}

/// Refuses a loss that is no longer a number; `what` says which.
pub fn check_finite(loss: f64, what: impl FnOnce() -> String) -> Result<()> {
    if loss.is_finite() {
        return Ok(());
    }
    let advice = "lower --weight-lr or --gradient-clip; where --precision is f16, bf16 holds larger values";
    Err(Error::Diverged(format!("{} is {loss}; {advice}", what())))
}
