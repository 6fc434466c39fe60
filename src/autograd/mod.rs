//! The tape: a network is recorded once and replayed, forward and backward, for every batch.
//!
//! Shapes never change within a run, so everything is decided when the recording ends: the order of
//! operators, where each value and gradient lies in memory, and who adds to which gradient first.
//! A step then only calls kernels. Read [`recorder`] and [`tape`] first, then one operator, for example
//! [`pool`].

pub mod batch_norm;
pub mod bypass;
pub mod channel_slice;
pub mod convolution;
pub mod cross_entropy;
pub mod dropout;
pub mod gates;
pub mod global_pool;
pub mod linear;
pub mod loss_scale;
pub mod memory;
pub mod mixed;
pub mod node_sum;
pub mod normalise;
pub mod normalised_pools;
pub mod pointwise;
mod poison;
pub mod pool;
pub mod recorder;
pub mod separable;
pub mod tape;

pub use batch_norm::NormParameters;
pub use convolution::ConvolutionParameters;
pub use cross_entropy::Loss;
pub use gates::Gates;
pub use mixed::MixingWeights;
pub use pool::Window;
pub use recorder::{Operator, Phase, Recorder, Value, Weight};
pub use separable::SeparableParameters;
pub use tape::{OperatorTime, Tape, dry_run};
