//! The bilevel optimisation of weights and alphas, and what surrounds it.
//!
//! Read in this order:
//!
//! 1. [`bilevel`]: one iteration, in first and second order. This is DARTS.
//! 2. [`method`]: what the alphas are subject to, as a composition of [`relaxation`], [`penalty`] and others;
//!    [`architecture`] holds them, [`progress`] is what their schedules depend on.
//! 3. [`adam`]: the optimiser of the alphas.
//! 4. [`hypergradient`]: what the second order adds.
//! 5. [`observer`]: what a search reports while it runs.
//! 6. [`session`]: epochs over a data set.

pub mod adam;
pub mod architecture;
pub mod bilevel;
pub mod hypergradient;
pub mod method;
pub mod observer;
pub mod penalty;
pub mod progress;
mod record;
pub mod relaxation;
pub mod session;

pub use bilevel::{Bilevel, BilevelSettings};
