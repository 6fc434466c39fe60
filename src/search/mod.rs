//! The bilevel optimisation of weights and alphas, and what surrounds it.
//!
//! Read in this order:
//!
//! 1. [`bilevel`]: one iteration, in first and second order. This is DARTS.
//! 2. [`hypergradient`]: what the second order adds.
//! 3. [`plan`]: everything that determines a search, checked before any work starts.
//! 4. [`observer`]: what a search tells while it runs.
//! 5. [`run`]: epochs over a data set.

pub mod bilevel;
pub mod hypergradient;
pub mod observer;
pub mod plan;
mod record;
pub mod run;

pub use crate::epochs::{BatchView, Input};
pub use bilevel::{Bilevel, BilevelSettings};
