//! The bilevel optimisation of weights and alphas, and what surrounds it.
//!
//! Read in this order:
//!
//! 1. [`bilevel`]: one iteration, in first and second order. This is DARTS.
//! 2. [`architecture`] and [`relaxation`]: the alphas, and how they become the mixing weights of the supernet.
//! 3. [`adam`]: the optimiser of the alphas.
//! 4. [`hypergradient`]: what the second order adds.
//! 5. [`observer`]: what a search tells while it runs.
//! 6. [`session`]: epochs over a data set.

pub mod adam;
pub mod architecture;
pub mod bilevel;
pub mod hypergradient;
pub mod observer;
mod record;
pub mod relaxation;
pub mod session;

pub use bilevel::{Bilevel, BilevelSettings};
