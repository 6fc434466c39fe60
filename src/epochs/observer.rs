//! What a run reports to its observers, which store it or show it.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use crate::Result;
use crate::plan::PlanTable;

/// A phase of DARTS: a search, or the training of the network that it found.
pub trait Phase {
    /// The plan of its runs.
    type Plan: PlanTable;
    /// Sizes that are known before the first step.
    type Summary;
    /// The outcome of an epoch: a line of `metrics.jsonl`.
    type Record: Serialize;
    /// The result of an epoch: alphas or a model.
    type Artifact;
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
    /// The expected time to the end of the run, evaluations included, in seconds.
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
pub trait Observer<P: Phase> {
    /// Called once, before the first step.
    fn started(&mut self, summary: &P::Summary) -> Result<()>;
    /// Called after each step.
    fn step(&mut self, _: &StepRecord) -> Result<()> {
        Ok(())
    }
    /// Called after each epoch with its result.
    fn epoch(&mut self, record: &P::Record, timing: &Timing, artifact: &P::Artifact) -> Result<()>;
    /// Called with the state of the run, after each epoch and whenever the driver stores it.
    fn checkpoint(&mut self, _: &Checkpoint) -> Result<()> {
        Ok(())
    }
}

/// Several observers, called in order.
pub struct Observers<'a, P: Phase>(pub Vec<&'a mut (dyn Observer<P> + Send)>);

impl<P: Phase> Observer<P> for Observers<'_, P> {
    fn started(&mut self, summary: &P::Summary) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.started(summary))
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.step(record))
    }

    fn epoch(&mut self, record: &P::Record, timing: &Timing, artifact: &P::Artifact) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.epoch(record, timing, artifact))
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.checkpoint(checkpoint))
    }
}
