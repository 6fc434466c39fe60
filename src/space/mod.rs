//! The search space, from what an edge may hold to the network that a search ends in.
//!
//! Read in this order:
//!
//! 1. [`genotype`]: the candidate operations, cells as lists of edges, and what makes one valid;
//!    [`literal`] is its textual form.
//! 2. [`alphas`]: the architecture parameters, one row for each edge of a cell.
//! 3. [`cell`]: a cell that holds every candidate on every edge.
//! 4. [`supernet`]: a stack of such cells.
//! 5. [`derivation`]: from alphas to a genotype.
//! 6. [`derived_cell`] and [`network`]: the network of a genotype; [`cost`]: its size.
//! 7. [`published`]: genotypes from the literature, by name; [`sampled`]: genotypes drawn at random.

pub mod alphas;
pub mod cell;
pub mod cost;
pub mod derivation;
pub mod derived_cell;
pub mod genotype;
pub mod literal;
pub mod network;
pub mod published;
pub mod sampled;
pub mod supernet;

pub use network::{Network, NetworkShape};
pub use supernet::{Supernet, SupernetShape};
