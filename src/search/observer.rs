//! What a search reports while it runs.

use super::lanczos::Eigenvalue;
use crate::epochs::Phase;
pub use crate::epochs::{Observer, StepRecord, Timing};
use crate::method::guard::Remark;
use crate::plan::search::Plan;
use crate::space::alphas::Alphas;
use crate::space::genotype::Genotype;

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Weights of the supernet.
    pub weights: usize,
    /// Alphas of all types of cells.
    pub alphas: usize,
    /// Betas of all types of cells; 0 where edges have no weights.
    pub betas: usize,
    /// All memory that the search takes of the device, in bytes: known before the first step, and constant. On a GPU that is
    /// tensors, scratch, labels and the data set; on the processor the tensors.
    pub peak_bytes: usize,
    /// The device, in words.
    pub device: String,
    /// Threads at work.
    pub threads: usize,
    /// Images that train the weights.
    pub train_images: usize,
    /// Images that train the alphas.
    pub valid_images: usize,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// Kernels of a step; 0 where the device is the processor.
    pub kernels_per_step: usize,
    /// What the host launches in a step: recorded graphs, and kernels outside of them.
    pub launches_per_step: usize,
}

/// The outcome of an epoch: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The mean training loss.
    pub train_loss: f64,
    /// The training accuracy, as a fraction.
    pub train_accuracy: f64,
    /// The mean validation loss.
    pub valid_loss: f64,
    /// The validation accuracy, as a fraction.
    pub valid_accuracy: f64,
    /// For each type of cell, the mean entropy of its softmax rows, in nats.
    pub entropy: Vec<f64>,
    /// For each type of cell the weights of its edges; empty where they have none.
    pub edge_weights: Vec<Vec<f64>>,
    /// For each type of cell, the edges of the derived cell that hold the identity.
    pub skip_connections: Vec<usize>,
    /// The learning rate of the weights in this epoch.
    pub weight_lr: f64,
    /// The genotype derived after this epoch.
    pub genotype: Genotype,
    /// The largest eigenvalue of the validation loss's Hessian by the alphas, where it was measured.
    pub eigenvalue: Option<Eigenvalue>,
    /// For each type of cell, what a selection by perturbation decides after this epoch.
    pub selected: Vec<String>,
    /// What the guards say.
    pub guards: Vec<Remark>,
}

impl EpochRecord {
    /// The epoch whose genotype is the result of the search, if this is its last one.
    pub fn result(&self) -> usize {
        self.guards.iter().find_map(|remark| remark.result).unwrap_or(self.epoch)
    }
}

/// The search phase: each epoch ends with the current alphas.
#[derive(Clone, Copy, Debug)]
pub struct SearchPhase;

impl Phase for SearchPhase {
    type Plan = Plan;
    type Summary = Summary;
    type Record = EpochRecord;
    type Artifact = Alphas;
}

/// Records for the tests of modules that store and show them.
#[cfg(test)]
pub(crate) mod example {
    use super::*;

    pub fn timing(epoch: usize) -> Timing {
        Timing { epoch, images_per_second: 100.0, seconds: 3.0 }
    }

    pub fn record(epoch: usize, genotype: Genotype) -> EpochRecord {
        EpochRecord {
            epoch,
            train_loss: 1.5,
            train_accuracy: 0.5,
            valid_loss: 1.25,
            valid_accuracy: 0.625,
            entropy: vec![2.0; 2],
            edge_weights: Vec::new(),
            skip_connections: vec![1, 0],
            weight_lr: 0.025,
            genotype,
            eigenvalue: None,
            selected: Vec::new(),
            guards: Vec::new(),
        }
    }
}
