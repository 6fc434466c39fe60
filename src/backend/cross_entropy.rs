//! Cross-entropy with its gradient, and how many images were classified right.

use super::{Slot, Span};

/// See [`CrossEntropyKernels::cross_entropy`].
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// `[rows][classes]`.
    pub logits: Slot,
    /// Number of images.
    pub rows: usize,
    /// Number of classes.
    pub classes: usize,
    /// `[3]`: mean loss, images right at the first guess, images right within five.
    pub result: Span,
    /// `[rows][classes]`: gradient of `weight` times the mean loss by the logits.
    pub gradient: Slot,
    /// The share of this loss in what is minimised.
    pub weight: f64,
    /// `[classes]`: how often the loss of an image of each class counts; once where there are none.
    pub class_weights: Option<Span>,
}

/// The loss on a device.
pub trait CrossEntropyKernels {
    /// Mean over the batch of `-log softmax(logits)[label]`, each times the weight of its class, the number of images whose label is
    /// among the first one and the first five logits, and the gradient of `weight` times the loss by the logits.
    /// A logit equal to the label's own ranks before it only where its index is lower.
    fn cross_entropy(&mut self, operator: &CrossEntropy);
}
