//! Differentiable architecture search (DARTS; Liu, Simonyan, Yang, ICLR 2019) from first principles.
//!
//! Each module uses only the ones before it; read them in this order:
//!
//! 1. [`error`], [`random`], [`machine`], [`readable`], [`files`], [`tensor_file`], [`toml_text`] and [`terminal`]: what all others use.
//! 2. [`backend`]: what a device can compute, as one trait, with a plain and a fast implementation.
//! 3. [`autograd`]: the tape that records a network once and replays it forward and backward.
//! 4. [`nn`]: parameters, the blocks that own them, and the operators that a network is described in.
//! 5. [`space`]: candidate operations, cells, the supernet, genotypes and their derivation.
//! 6. [`data`]: images, their split into two halves, augmentation and batches.
//! 7. [`method`]: the parts that a search method is composed of.
//! 8. [`plan`]: everything that determines a search or a training, checked before any work starts.
//! 9. [`epochs`]: epochs of steps that can be interrupted and go on, the same for a search and a training.
//! 10. [`search`]: the bilevel optimisation of weights and alphas.
//! 11. [`baseline`]: searches without gradients, which it has to beat.
//! 12. [`train`]: the training of a derived network, and the model that it ends in.
//! 13. [`export`]: a model for other programs.
//! 14. [`store`]: run directories.
//! 15. [`benchmark`]: tables of spaces of which every architecture has been trained.
//! 16. [`watch`]: what a run shows while it goes on.
//! 17. [`draw`]: cells and curves as drawings.
//! 18. [`compare`]: several searches beside each other, and whether they differ by more than chance.
//! 19. [`report`]: the page of a run.
//! 20. [`cli`]: the command line.

pub mod autograd;
pub mod backend;
pub mod baseline;
pub mod benchmark;
pub mod cli;
pub mod compare;
pub mod data;
pub mod draw;
pub mod epochs;
pub mod error;
pub mod export;
pub mod files;
pub mod machine;
pub mod method;
pub mod nn;
pub mod plan;
pub mod random;
pub mod readable;
pub mod report;
pub mod search;
pub mod space;
pub mod store;
pub mod tensor_file;
pub mod terminal;
pub mod toml_text;
pub mod train;
pub mod watch;

pub use error::{Error, Result};
