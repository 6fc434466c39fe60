//! The bilevel optimisation of weights and alphas, and what surrounds it.
//!
//! Read in this order:
//!
//! 1. [`plan`]: everything that determines a search, checked before any work starts.
//! 2. [`observer`]: what a search tells while it runs.

pub mod observer;
pub mod plan;
pub mod run;
