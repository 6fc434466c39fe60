//! The bilevel optimisation of weights and alphas, and what surrounds it.
//!
//! Read in this order:
//!
//! 1. [`bilevel`]: one iteration, in first and second order. This is DARTS.
//! 2. [`plan`]: everything that determines a search, checked before any work starts.
//! 3. [`observer`]: what a search tells while it runs.
//! 4. [`schedule`]: the learning rate of the weights.
//! 5. [`run`]: epochs over a data set.

pub mod bilevel;
pub mod observer;
pub mod plan;
pub mod run;
pub mod schedule;

pub use bilevel::{BatchResult, BatchView, Bilevel, BilevelSettings};
