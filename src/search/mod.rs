//! The bilevel optimisation of weights and alphas.

pub mod bilevel;

pub use bilevel::{BatchResult, BatchView, Bilevel, BilevelSettings};
