//! The input of a step: a batch of the host, or what the device makes one of.

use crate::Result;
use crate::autograd::{Tape, Value};
use crate::backend::{Backend, PlacedImage, Scalar};
use crate::data::Batch;

/// Images `[n][h][w][c]` and their classes.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a, T> {
    /// Pixels.
    pub images: &'a [T],
    /// Classes.
    pub labels: &'a [u32],
}

/// A batch, by where its images are augmented.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, T> {
    /// Images that the host has augmented, and their classes.
    Host(BatchView<'a, T>),
    /// Which images of the data set the device augments, how, and their classes.
    Device(&'a [PlacedImage]),
}

impl<'a> From<&'a Batch> for Input<'a, f32> {
    fn from(batch: &'a Batch) -> Self {
        match &batch.placements[..] {
            [] => Input::Host(BatchView { images: &batch.images, labels: &batch.labels }),
            placements => Input::Device(placements),
        }
    }
}

impl<'a, T> From<BatchView<'a, T>> for Input<'a, T> {
    fn from(batch: BatchView<'a, T>) -> Self {
        Input::Host(batch)
    }
}

impl<T: Scalar> Input<'_, T> {
    /// Number of images.
    pub fn count(&self) -> usize {
        match self {
            Input::Host(batch) => batch.labels.len(),
            Input::Device(placements) => placements.len(),
        }
    }

    /// The class of an image.
    pub fn label(&self, index: usize) -> usize {
        let label = match self {
            Input::Host(batch) => batch.labels[index],
            Input::Device(placements) => placements[index].label,
        };
        label as usize
    }

    /// Brings the batch into the device.
    pub(crate) fn load<B: Backend<Scalar = T>>(self, tape: &mut Tape<B>, images: Value) -> Result<()> {
        match self {
            Input::Device(placements) => tape.augment_value(images, placements),
            Input::Host(batch) => {
                tape.write_value(images, batch.images)?;
                tape.backend().write_labels(batch.labels);
                Ok(())
            }
        }
    }
}
