//! The evaluation phase: a derived network is trained from scratch and becomes a model (DARTS, section 3.2).
//!
//! Read in this order:
//!
//! 1. [`trainer`]: one step.
//! 2. [`model`]: what a training ends in, as a file; [`classifier`]: a model in use.
//! 3. [`observer`]: what a training reports while it runs.
//! 4. [`session`]: epochs over a data set.

pub mod classifier;
pub mod model;
pub mod observer;
pub mod session;
pub mod trainer;

pub use classifier::Classifier;
pub use model::Model;
pub use trainer::{Trainer, TrainerSettings};
