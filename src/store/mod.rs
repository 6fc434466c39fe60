//! What a search or a training leaves behind: its run directory.
//!
//! Read in this order:
//!
//! 1. [`place`]: where a run directory is made, and how it is recognised; [`command`]: which command made it.
//! 2. [`pictures`], [`genotype`], [`alphas`] and [`classes`]: files of a run; [`checkpoints`]: the states that a run can go on from.
//! 3. [`run_directory`]: what all runs store; [`search_run`]: a search; [`training_run`]: a training.
//! 4. [`resumption`]: a run that goes on.
//! 5. [`history`]: a run directory read back.

pub mod alphas;
pub mod checkpoints;
pub mod classes;
pub mod command;
pub mod genotype;
pub mod history;
mod lines;
pub mod pictures;
pub mod place;
pub mod resumption;
pub mod run_directory;
pub mod search_run;
pub mod training_run;
