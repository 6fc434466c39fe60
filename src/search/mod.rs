//! The bilevel optimisation of weights and alphas, and what surrounds it.
//!
//! Read in this order:
//!
//! 1. [`bilevel`]: one iteration, in first and second order. This is DARTS.
//! 2. [`mod@method`]: what the alphas are subject to, as a composition of the parts in [`crate::method`]; [`architecture`]
//!    holds them, and [`mixture`] is what the supernet computes with.
//! 3. [`adam`]: the optimiser of the alphas.
//! 4. [`hypergradient`]: what the second order adds.
//! 5. [`curvature`]: the largest eigenvalue of the validation loss's Hessian by the alphas, which [`lanczos`] finds.
//! 6. [`observer`]: what a search reports while it runs.
//! 7. [`session`]: epochs over a data set, in one stage or in several ([`stages`]).

pub mod adam;
pub mod architecture;
pub mod bilevel;
pub mod curvature;
mod data;
pub mod hypergradient;
pub mod lanczos;
pub mod method;
pub mod mixture;
pub mod observer;
mod record;
mod selecting;
pub mod session;
pub mod stages;

pub use bilevel::{Bilevel, BilevelSettings};
