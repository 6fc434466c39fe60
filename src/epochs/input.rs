//! What a step is given: a batch that was painted, or what the device paints.

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

/// A batch, painted, or as the device paints it from the data set that it holds.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, T> {
    /// Images and classes.
    Painted(BatchView<'a, T>),
    /// Which images, how they are shown, and their classes.
    Placed(&'a [PlacedImage]),
}

impl<'a> From<&'a Batch> for Input<'a, f32> {
    fn from(batch: &'a Batch) -> Self {
        match &batch.placements[..] {
            [] => Input::Painted(BatchView { images: &batch.images, labels: &batch.labels }),
            placements => Input::Placed(placements),
        }
    }
}

impl<'a, T> From<BatchView<'a, T>> for Input<'a, T> {
    fn from(batch: BatchView<'a, T>) -> Self {
        Input::Painted(batch)
    }
}

impl<T: Scalar> Input<'_, T> {
    /// Number of images.
    pub fn count(&self) -> usize {
        match self {
            Input::Painted(batch) => batch.labels.len(),
            Input::Placed(placements) => placements.len(),
        }
    }

    /// The class of an image.
    pub fn label(&self, index: usize) -> usize {
        let label = match self {
            Input::Painted(batch) => batch.labels[index],
            Input::Placed(placements) => placements[index].label,
        };
        label as usize
    }

    /// Brings the batch into the device.
    pub(crate) fn load<B: Backend<Scalar = T>>(self, tape: &mut Tape<B>, images: Value) -> Result<()> {
        match self {
            Input::Placed(placements) => tape.paint_value(images, placements),
            Input::Painted(batch) => {
                tape.write_value(images, batch.images)?;
                tape.backend().write_labels(batch.labels);
                Ok(())
            }
        }
    }
}
