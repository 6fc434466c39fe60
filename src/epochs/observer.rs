//! What a run tells, while it goes on, to whoever stores or shows it.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use crate::Result;

/// A kind of run: a search or a training.
pub trait Kind {
    /// The command that such a run is of, in a checkpoint and on the command line.
    const NAME: &'static str;
    /// What is known before the first step.
    type Facts;
    /// The outcome of an epoch: a line of `metrics.jsonl`.
    type Record: Serialize;
    /// What an epoch leaves.
    type Product;
}

/// Where a run stands after a step.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// The step in the epoch, counted from 1.
    pub step: usize,
    /// Steps in an epoch.
    pub steps: usize,
    /// The mean training loss of the epoch so far.
    pub train_loss: f64,
    /// The training accuracy of the epoch so far, as a fraction.
    pub train_accuracy: f64,
    /// Training images per second.
    pub images_per_second: f64,
    /// The expected time to the end of the run, in seconds.
    pub seconds_left: f64,
}

/// How long an epoch took: a line of `timings.jsonl`. Of an epoch that was interrupted, the time until its last
/// checkpoint counts, and that from there on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Training images per second.
    pub images_per_second: f64,
    /// The duration of the epoch.
    pub seconds: f64,
}

/// Follows a run. An error from an observer ends the run.
pub trait Observer<K: Kind> {
    /// Called once, before the first step.
    fn started(&mut self, facts: &K::Facts) -> Result<()>;
    /// Called after each step.
    fn step(&mut self, record: &StepRecord) -> Result<()>;
    /// Called after each epoch with what it leaves.
    fn epoch(&mut self, record: &K::Record, timing: &Timing, product: &K::Product) -> Result<()>;
    /// Called with the state of the run, after each epoch and whenever it is to be stored.
    fn checkpoint(&mut self, _: &Checkpoint) -> Result<()> {
        Ok(())
    }
}

/// Several observers, told in order.
pub struct Observers<'a, K: Kind>(pub Vec<&'a mut (dyn Observer<K> + Send)>);

impl<K: Kind> Observer<K> for Observers<'_, K> {
    fn started(&mut self, facts: &K::Facts) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.started(facts))
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.step(record))
    }

    fn epoch(&mut self, record: &K::Record, timing: &Timing, product: &K::Product) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.epoch(record, timing, product))
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.checkpoint(checkpoint))
    }
}
