//! What a search or a training shows while it runs.
//!
//! Read in this order:
//!
//! 1. [`progress`]: lines and a bar, for a search; `training_progress`: for a training.
//! 2. [`tensorboard`]: the same numbers for TensorBoard.

pub mod progress;
pub mod tensorboard;
mod training_progress;
