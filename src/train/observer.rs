//! What a training reports while it runs.

use serde::{Deserialize, Serialize};

use super::model::Model;
use crate::epochs::Phase;
pub use crate::epochs::{Observer, StepRecord, Timing};
use crate::plan::train::Plan;

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Weights of the network, without those of the auxiliary head.
    pub weights: usize,
    /// Weights of the auxiliary head.
    pub auxiliary_weights: usize,
    /// All memory that the training takes of the device, in bytes: known before the first step, and constant. On a GPU that
    /// is tensors, scratch, labels and the data set; on the processor the tensors.
    pub peak_bytes: usize,
    /// The device, in words.
    pub device: String,
    /// Threads at work.
    pub threads: usize,
    /// Images to train on.
    pub train_images: usize,
    /// Images to measure on.
    pub test_images: usize,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// Whether a class has so many of the training images that the accuracy says little of the others.
    pub uneven: bool,
}

/// The outcome of an epoch: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The mean of what was minimised.
    pub train_loss: f64,
    /// The training accuracy, as a fraction.
    pub train_accuracy: f64,
    /// The mean loss on the test images.
    pub test_loss: f64,
    /// The accuracy on the test images, as a fraction.
    pub test_accuracy: f64,
    /// The mean of the classes' accuracies on the test images, where they have unlike numbers of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_balanced_accuracy: Option<f64>,
    /// Whether no epoch before had this accuracy on the test images.
    pub best: bool,
    /// The learning rate in this epoch.
    pub weight_lr: f64,
    /// The probability of drop path in this epoch.
    pub drop_path: f64,
}

/// The training phase: each epoch ends with the current model.
#[derive(Clone, Copy, Debug)]
pub struct TrainingPhase;

impl Phase for TrainingPhase {
    type Plan = Plan;
    type Summary = Summary;
    type Record = EpochRecord;
    type Artifact = Model;
}
