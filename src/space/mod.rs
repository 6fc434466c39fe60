//! The search space: candidate operations, cells, the supernet.

pub mod cell;
pub mod supernet;

pub use supernet::{Supernet, SupernetShape};
