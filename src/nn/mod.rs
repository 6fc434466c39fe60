//! Parameters: their names, shapes, initial values and places in the flat vectors; and the composite
//! blocks of DARTS that own them.

pub mod blocks;
pub mod parameters;

pub use blocks::{PointwiseBlock, SeparableBlock};
pub use parameters::{Layout, Parameter, Parameters, Part, Running, Spans};
