//! What a search learns from: the images, in two halves.

use std::sync::Arc;

use crate::data::{Augmentation, Dataset, Images, Normalisation, halves};
use crate::plan::search::Plan;

/// What a search learns from.
pub(super) struct Data {
    pub images: Arc<Images>,
    pub normalisation: Normalisation,
    pub augmentation: Augmentation,
    pub classes: usize,
    /// The half that trains the weights.
    pub weight_half: Vec<u32>,
    /// The half that trains the alphas.
    pub alpha_half: Vec<u32>,
}

impl Data {
    /// Halves the training images.
    pub fn new(plan: &Plan, dataset: Dataset) -> Self {
        let (weight_half, alpha_half) = halves(dataset.train.count(), plan.seed);
        let (classes, augmentation) = (dataset.classes(), plan.augmentation(dataset.augmentation));
        let normalisation = dataset.normalisation();
        Data {
            images: Arc::new(dataset.train),
            normalisation,
            augmentation,
            classes,
            weight_half,
            alpha_half,
        }
    }
}
