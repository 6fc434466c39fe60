//! What a device is beside its kernels: memories, replays, dry runs.

use super::{Gradients, ImageBytes, Mode, PlacedImage, Slot, Span};
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

/// A sequence of calls that is the same at every replay: what changes from step to step lies in the device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The tape's forward pass.
    Forward(Mode),
    /// Its backward pass.
    Backward(Gradients),
    /// The forward pass, then the backward pass.
    Both(Mode, Gradients),
}

/// What a dry run found: see [`Device::begin_dry_run`].
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

/// The most that one operator of a device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Values that are concatenated, and operators that read one value.
    pub operands: usize,
    /// Branches of a mixed operation, those of all edges of a node together.
    pub mixed: usize,
    /// Branches of a node sum.
    pub summed: usize,
    /// Side of the window of a separable convolution.
    pub window: usize,
}

impl Limits {
    /// Those of a device that takes what there is.
    pub const NONE: Limits =
        Limits { operands: usize::MAX, mixed: usize::MAX, summed: usize::MAX, window: usize::MAX };
}

/// The memories of a device, and how calls reach it.
pub trait Device {
    /// What one operator of it may have.
    const LIMITS: Limits = Limits::NONE;
    /// The accumulation type, in which host and device exchange values.
    type Scalar: Scalar;

    /// Begins a dry run, until [`Device::end_dry_run`]: calls compute nothing, what they read is undefined, and nothing is
    /// allocated. The device learns what the calls take beside the tape's memories, so that [`Device::reserve`]
    /// provides that too. False where there is nothing to learn; then there is no dry run.
    fn begin_dry_run(&mut self) -> bool {
        false
    }
    /// Ends a dry run.
    fn end_dry_run(&mut self) -> Work {
        Work::default()
    }
    /// Bytes that [`Device::reserve`] takes for this many elements.
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
}
