//! What a device can compute: the kernel catalogue.
//!
//! [`Backend`] names every computation the engine may ask of a device, and its comments are the
//! specification. [`mod@reference`] follows them with plain loops in f32 or f64 and is the text to read
//! first; [`cpu`] is vectorised and threaded; [`cuda`] launches the kernels of `kernels/` on an NVIDIA GPU.
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
pub mod operands;
pub mod operators;
pub mod reference;

pub use operands::*;
pub use operators::*;

use crate::Result;

/// A number type that a device accumulates in and the host exchanges with it.
pub trait Scalar:
    num_traits::Float + std::iter::Sum + std::ops::AddAssign + std::fmt::Debug + Default + Send + Sync + 'static
{
    /// Nearest value.
    fn of(value: f64) -> Self;
    /// Exact value.
    fn wide(self) -> f64;
}

impl Scalar for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn wide(self) -> f64 {
        self
    }
}

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
    /// Those of weights, too.
    All,
}

impl Gradients {
    /// Whether those of weights are among them.
    pub fn of_weights(self) -> bool {
        self == Gradients::All
    }
}

/// A sequence of calls that is the same at every replay: what changes from step to step lies in the device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The tape's forward pass.
    Forward(Mode),
    /// Its backward pass.
    Backward(Gradients),
    /// Both, one after the other.
    Both(Mode, Gradients),
}

/// What a dry run found: see [`Backend::begin_dry_run`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Kernels that run on the device.
    pub kernels: usize,
    /// What the host launches: replays of recorded sequences, and kernels outside of them.
    pub launches: usize,
}

/// Augmentation on the device, of a data set in its memory; see [`PlacedImage`].
pub trait Augmenter {
    /// Copies a data set to the device, in place of the one before.
    fn upload(&mut self, images: &ImageBytes) -> Result<()>;
    /// Writes a batch of normalised images `[placement][row][column][channel]`, and sets its labels.
    fn augment(&mut self, output: Slot, placements: &[PlacedImage]);
}

/// Batch norm's epsilon (PyTorch's default).
pub const BATCH_NORM_EPSILON: f64 = 1e-5;
/// How far the running statistics move towards those of a batch (PyTorch's default).
pub const BATCH_NORM_MOMENTUM: f64 = 0.1;

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
/// A sum leaves closed branches out. Whoever records work gives it a gate that is closed wherever that of a value which it
/// reads is.
pub trait Backend {
    /// The accumulation type, in which host and device exchange values.
    type Scalar: Scalar;

    /// Begins a dry run, until [`Backend::end_dry_run`]: calls compute nothing, what they read is undefined, and nothing is
    /// allocated. The device learns what the calls take beside the tape's memories, so that [`Backend::reserve`]
    /// provides that too. False where there is nothing to learn; then there is no dry run.
    fn begin_dry_run(&mut self) -> bool {
        false
    }
    /// Ends a dry run.
    fn end_dry_run(&mut self) -> Work {
        Work::default()
    }
    /// Bytes that [`Backend::reserve`] takes for this many elements.
    ///
    /// # Errors
    /// They are more than the device can count.
    fn demand(&self, activations: usize, state: usize) -> Result<usize> {
        Ok(activations * self.activation_bytes() + state * size_of::<Self::Scalar>())
    }
    /// Bytes of memory that the device has to spare, with what this backend holds; none where it cannot tell.
    fn spare(&self) -> Option<usize> {
        None
    }
    /// The most values that one operator concatenates, and the most operators that read one value.
    fn most_operands(&self) -> usize {
        usize::MAX
    }
    /// What the gradient of the loss is multiplied by while gradients of activations are stored: a power of two.
    fn loss_scale(&self) -> f64 {
        1.0
    }
    /// Provides zeroed memory for this many elements, dropping what was there.
    fn reserve(&mut self, activations: usize, state: usize) -> Result<()>;
    /// The first failure of the device, after which no result counts. Calls that return no error leave it here.
    fn status(&self) -> Result<()> {
        Ok(())
    }
    /// Makes the calls of `work`, which are the same at every replay with this key until memory is reserved anew. A
    /// device may record them the first time and repeat the record from then on.
    fn replay(&mut self, key: Replay, work: &mut dyn FnMut(&mut Self)) {
        let _ = key;
        work(self);
    }
    /// Augmentation on the device; `None` where the host does it.
    fn augmenter(&mut self) -> Option<&mut dyn Augmenter> {
        None
    }
    /// Bytes an activation element takes.
    fn activation_bytes(&self) -> usize;
    /// Copies values to the device, rounding to its storage type.
    fn write_activations(&mut self, slot: Slot, values: &[Self::Scalar]);
    /// Copies values from the device.
    fn read_activations(&self, slot: Slot, values: &mut [Self::Scalar]);
    /// Copies state to the device.
    fn write(&mut self, span: Span, values: &[Self::Scalar]);
    /// Copies state from the device.
    fn read(&self, span: Span, values: &mut [Self::Scalar]);
    /// Sets the class of each image of the batch.
    fn write_labels(&mut self, labels: &[u32]);

    /// Dense convolution, behind a ReLU where asked for:
    /// `y[n,oh,ow,o] = sum_{i,j,c} x[n, oh*s+i-p, ow*s+j-p, c] * w[i,j,c,o]`, zero outside the image;
    /// then the [statistics](Convolution::statistics) of `y`.
    fn convolution_forward(&mut self, operator: &Convolution);
    /// The gradient of the weights and, where asked for, of the input, masked by the ReLU. The stem reads the
    /// images, which need none.
    fn convolution_backward(&mut self, operator: &Convolution, gradient: &ConvolutionGradient);

    /// Depthwise separable convolutions, each branch of each source:
    /// `d = depthwise(relu(x))`, `y[p,o] = sum_c d[p,c] * pointwise[c,o]`, and the statistics of `y`.
    /// Padding is `dilation*(kernel-1)/2`. `d` is not kept.
    fn separable_forward(&mut self, operator: &Separable);
    /// Gradients of [`Backend::separable_forward`]: of the weights (where wanted), and of each
    /// source's input, summed over its branches and masked by the ReLU. Where the source asks for
    /// sums, those of its batch norm's backward: `total = sum(g)`, `products = sum(g * xhat)`.
    fn separable_backward(&mut self, operator: &Separable, gradient: &SeparableGradient, wanted: Gradients);

    /// `relu`, then a 1x1 convolution over the inputs' concatenated channels, and the statistics of
    /// the result. With two weight matrices (FactorizedReduce) each gives half of the output channels
    /// at stride 2, the second from the input shifted by one pixel in both directions; pixels beyond
    /// the image are zero.
    fn pointwise_forward(&mut self, operator: &Pointwise);
    /// Gradients of [`Backend::pointwise_forward`]: of the weights (where wanted) and of each input.
    fn pointwise_backward(&mut self, operator: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients);

    /// Maximum and average of 3x3 neighbourhoods, padding 1, and the statistics of both. Pixels
    /// outside the image count for neither.
    fn normalised_pools_forward(&mut self, operator: &NormalisedPools);
    /// The input gradient of both; the maximum sends its gradient to the first largest pixel.
    fn normalised_pools_backward(&mut self, operator: &NormalisedPools, gradient: &NormalisedPoolsGradient);

    /// The maximum or the average of square windows, behind a ReLU where asked for. Pixels outside the image
    /// count for neither. The result has no batch norm.
    fn pool_forward(&mut self, operator: &Pool);
    /// The input gradient, masked by the ReLU; a maximum sends its gradient to the first largest pixel.
    fn pool_backward(&mut self, operator: &Pool, gradient: &PoolGradient);

    /// From the batch statistics (or, in inference, the running ones) to what readers apply:
    /// `inverse_deviation = 1/sqrt(variance + epsilon)`, `scale = gamma * inverse_deviation`,
    /// `shift = beta - scale * mean`. Running variances are unbiased.
    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode);
    /// `total = sum(g)` and `products = sum(g * xhat)` per channel, for a normalised value with
    /// several consumers.
    fn batch_norm_reduce(&mut self, reduce: &BatchNormReduce);
    /// From those sums to the coefficients of the [`UnstoredGradient`]: with `S1 = sum_t w_t total_t`,
    /// `S2 = sum_t w_t products_t` over n values per channel, `factor_t = scale * w_t`,
    /// `raw_factor = -scale * S2/n * inverse_deviation`, `constant = -scale * S1/n - raw_factor * mean`;
    /// also `dgamma = S2`, `dbeta = S1`.
    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient]);

    /// The weighted sum over the branches of all edges of a node:
    /// `y = sum_k weight_k * (scale_k * x_k + shift_k)`.
    fn mixed_forward(&mut self, operator: &Mixed);
    /// One pass over the node's gradient g and all branches: `total = sum(g)`,
    /// `products_k = sum(g * xhat_k)` (of x itself where it is not normalised), the gradient of each
    /// weight `sum_c(gamma * products_k + beta * total)` (accumulated), and for identity branches
    /// the input gradient `weight_k * g`.
    fn mixed_backward(&mut self, operator: &Mixed, gradient: &MixedGradient);

    /// The sum of a derived cell's node, with drop path: `y[n] = sum_k factors_k[n] * (scale_k * x_k[n] + shift_k)`
    /// for each image n.
    fn node_sum_forward(&mut self, operator: &NodeSum);
    /// `factors_k[n] * g[n]` for each branch, in their order. Where a branch asks for sums, those of its batch
    /// norm's backward: `total = sum(g)`, `products = sum(g * xhat)` of its gradient.
    fn node_sum_backward(&mut self, operator: &NodeSum, gradient: &NodeSumGradient);

    /// The mean over all pixels of each channel, the inputs' channels concatenated: `[n][c]`.
    fn global_pool_forward(&mut self, operator: &GlobalPool);
    /// `g[n,c] / (h*w)` for every pixel of every input.
    fn global_pool_backward(&mut self, operator: &GlobalPool, gradient: &GlobalPoolGradient);

    /// `y = x * weights + bias`.
    fn linear_forward(&mut self, operator: &Linear);
    /// Gradients of input, weights and bias (the latter two where wanted).
    fn linear_backward(&mut self, operator: &Linear, gradient: &LinearGradient, wanted: Gradients);

    /// Mean over the batch of `-log softmax(logits)[label]`, the number of images whose label is
    /// among the first one and the first five logits, and the gradient of `weight` times the loss by the logits.
    /// A logit equal to the label's own ranks before it only where its index is lower.
    fn cross_entropy(&mut self, operator: &CrossEntropy);

    /// Sets every element.
    fn fill(&mut self, span: Span, value: f64);
    /// `target = source`.
    fn copy(&mut self, target: Span, source: Span);
    /// `target += factor * source`, or `factor / divisor * source` with a divisor on the device.
    fn scaled_add(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span);
    /// The Euclidean norm.
    fn norm(&mut self, source: Span, result: Span);
    /// Gradient descent with momentum, as PyTorch: `g' = clip * g + decay * w`,
    /// `m = momentum * m + g'`, `w -= rate * m`, where `clip = min(1, limit / (norm + 1e-6))`.
    fn gradient_descent(&mut self, step: &GradientDescent);
}
