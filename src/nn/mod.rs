//! Parameters: their names, shapes, initial values and places in the flat vectors; and the composite
//! blocks of DARTS that own them.
//!
//! A network is written once, in terms of a [`Graph`]; [`recording`] is the one that makes it computable.

pub mod blocks;
pub mod drop_path;
pub mod graph;
pub mod parameters;
pub mod recording;
pub mod skip_dropout;

pub use blocks::{
    ClassifierBlock, ConvolutionBlock, ConvolutionNames, NormBlock, PointwiseBlock, PoolsBlock,
    SeparableBlock, Users,
};
pub use drop_path::{DropFactors, DropPath};
pub use graph::{Branch, Graph, Incoming, Passing};
pub use parameters::{Layout, Parameter, Parameters, Part, Running, Spans};
pub use recording::{NodeSums, Recording};
pub use skip_dropout::{Masks, SkipDropout, SkipDropoutKey};
