//! What a device can compute: the kernel catalogue.
//!
//! Each operator has a file with its operands, its specification and a trait of its kernels; a [`Backend`] is a [`Device`]
//! with the kernels of all operators. [`mod@reference`] follows the specifications with plain loops in f32 or f64 and is
//! the text to read first; [`cpu`] is vectorised and threaded; [`cuda`] launches the kernels of `kernels/` on an NVIDIA
//! GPU. Each of them has a file of the same name for each operator. Start with [`PoolKernels`].
//!
//! A device holds two memories. *Activations* (images, feature maps and their gradients, NHWC,
//! contiguous) are addressed by [`Slot`]s; *state* (weights, mixing weights, statistics, per-channel
//! coefficients, always in the accumulation type) by [`Span`]s. The tape decides at record time what
//! lies where, so no kernel allocates.

pub mod cpu;
// CUDA on or off: two modules with one interface; build.rs decides by whether there is an nvcc.
#[cfg(darts_cuda)]
pub mod cuda;
#[cfg(not(darts_cuda))]
#[path = "cuda_off.rs"]
pub mod cuda;
pub mod gpu;
pub mod reference;

mod batch_norm;
mod bypass;
mod channel_slice;
mod convolution;
mod cross_entropy;
mod device;
mod dropout;
mod global_pool;
mod gradient_descent;
mod linear;
mod mixed;
mod node_sum;
mod normalised_pools;
mod operands;
mod pointwise;
mod pool;
mod separable;
mod vectors;

pub use batch_norm::*;
pub use bypass::*;
pub use channel_slice::*;
pub use convolution::*;
pub use cross_entropy::*;
pub use device::*;
pub use dropout::*;
pub use global_pool::*;
pub use gradient_descent::*;
pub use linear::*;
pub use mixed::*;
pub use node_sum::*;
pub use normalised_pools::*;
pub use operands::*;
pub use pointwise::*;
pub use pool::*;
pub use separable::*;
pub use vectors::*;

/// Which batch statistics a forward pass uses and whether it moves the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; the running statistics move.
    Train,
    /// Statistics of the batch; the running statistics stay.
    TrainKeepRunning,
    /// The running statistics, which stay.
    Inference,
}

/// Which gradients a backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradients {
    /// Those of activations and of mixing weights: what the gradient of the alphas takes. Those of weights are undefined.
    Inputs,
    /// As [`Gradients::Inputs`], behind a forward pass in inference, where the statistics of batch norms are constants.
    InputsInInference,
    /// Those of weights, too.
    All,
}

impl Gradients {
    /// Whether those of weights are among them.
    pub fn of_weights(self) -> bool {
        self == Gradients::All
    }

    /// Whether the forward pass was one with running statistics.
    pub fn in_inference(self) -> bool {
        self == Gradients::InputsInInference
    }
}

/// The kernel catalogue. Unless a comment says "accumulated", results are assigned.
///
/// # Gates
/// Work may carry a gate, one element of state: 1 where the work is done, 0 where it is closed. Work without a gate is
/// always done. Devices read gates when they do the work, so a recorded sequence of calls serves whatever they say.
/// Closed work costs next to nothing and touches nothing, whatever lies in its operands, with these exceptions:
/// - the gradients of its weights, gamma and beta are zero, where they are asked for;
/// - an input gradient that it would assign is zero, unless the gate of that value is closed too: then nobody reads it;
/// - [`BatchNormTerm::factor`] of a closed consumer is zero.
///
/// A sum leaves closed branches out. Recorded work must have a gate that is closed wherever the gate of a value that it
/// reads is closed.
pub trait Backend:
    Device
    + ConvolutionKernels
    + SeparableKernels
    + PointwiseKernels
    + NormalisedPoolsKernels
    + PoolKernels
    + BatchNormKernels
    + MixedKernels
    + NodeSumKernels
    + ChannelSliceKernels
    + BypassKernels
    + DropoutKernels
    + GlobalPoolKernels
    + LinearKernels
    + CrossEntropyKernels
    + VectorKernels
    + GradientDescentKernels
{
}
