//! Whether a run fits the memory of its device, which is known before the first step.

use crate::autograd::Tape;
use crate::backend::{Backend, Device as _, ImageBytes, Shape, Work};
use crate::data::AugmentedBy;
use crate::{Error, Result};

/// A recorded network with its optimisers. It takes memory of the device in [`Budget::start`] only.
pub trait Budget: Sized {
    /// Where it runs.
    type Device: Backend;
    /// The tape.
    fn tape(&mut self) -> &mut Tape<Self::Device>;
    /// The shape of a batch.
    fn images(&self) -> Shape;
    /// The same for batches of another shape.
    fn with_images(self, images: Shape) -> Result<Self>;
    /// A dry run of all that the run does, after which its demand is known; returns the launches of a step.
    fn dry_run(&mut self, augmented_by: AugmentedBy) -> Result<Work>;
    /// Takes the memory, uploads the images if the device augments them, and sets everything to its start for `seed`.
    fn start(&mut self, images: Option<&ImageBytes>, seed: u64) -> Result<()>;
}

/// A run that has its memory.
pub struct Ready<F> {
    /// Ready for its first step.
    pub subject: F,
    /// The launches of a step.
    pub work: Work,
    /// All memory that the run takes of the device, in bytes.
    pub peak_bytes: usize,
    /// Where its batches are augmented.
    pub augmented_by: AugmentedBy,
}

/// Takes the memory of a run. The data set is uploaded too if the device can augment and has the room.
///
/// # Errors
/// A run that does not fit: with the largest batch that does.
pub fn fit_memory<F: Budget>(mut subject: F, images: &ImageBytes, seed: u64) -> Result<Ready<F>> {
    if subject.tape().backend().augmenter().is_some()
        && let (work, Ok(peak_bytes)) = room(&mut subject, AugmentedBy::Device, images.pixels.len())
    {
        subject.start(Some(images), seed)?;
        return Ok(Ready { subject, work, peak_bytes, augmented_by: AugmentedBy::Device });
    }
    match room(&mut subject, AugmentedBy::Host, 0) {
        (work, Ok(peak_bytes)) => {
            subject.start(None, seed)?;
            Ok(Ready { subject, work, peak_bytes, augmented_by: AugmentedBy::Host })
        }
        (_, Err(error)) => Err(refusal(subject, &error)),
    }
}

/// The launches of a step, and the bytes that the run takes together with `beside` others, or why there is no room.
fn room<F: Budget>(subject: &mut F, augmented_by: AugmentedBy, beside: usize) -> (Work, Result<usize>) {
    let work = match subject.dry_run(augmented_by) {
        Ok(work) => work,
        Err(error) => return (Work::default(), Err(error)),
    };
    let room = subject.tape().demand().and_then(|bytes| {
        let bytes = bytes + beside;
        match subject.tape().backend().spare() {
            Some(spare) if bytes > spare => Err(Error::Device(format!(
                "the run takes {} of memory, and the device has {} to spare",
                gibibytes(bytes),
                gibibytes(spare)
            ))),
            _ => Ok(bytes),
        }
    });
    (work, room)
}

fn gibibytes(bytes: usize) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

/// The largest batch with which a run fits, up to `most`. The run has its memory, so its own batch fits.
///
/// # Errors
/// The network cannot be recorded for such a batch.
pub fn largest_batch<F: Budget>(subject: F, most: usize) -> Result<usize> {
    let own = subject.images().n as usize;
    largest_between(subject, own, most.max(own) + 1)
}

/// The largest batch that fits of those from one that fits to below one that does not.
fn largest_between<F: Budget>(mut subject: F, mut fits: usize, mut fails: usize) -> Result<usize> {
    let Shape { h, w, c, .. } = subject.images();
    // More images take more memory.
    while fails - fits > 1 {
        let batch = fits + (fails - fits) / 2;
        subject = subject.with_images(Shape::new(batch, h as usize, w as usize, c as usize))?;
        let (_, room) = room(&mut subject, AugmentedBy::Host, 0);
        *(if room.is_ok() { &mut fits } else { &mut fails }) = batch;
    }
    Ok(fits)
}

/// Why a run does not fit, and the largest batch with which it does.
fn refusal<F: Budget>(subject: F, error: &Error) -> Error {
    let fails = subject.images().n as usize;
    let fits = match largest_between(subject, 0, fails) {
        Ok(fits) => fits,
        Err(error) => return error,
    };
    let advice = match fits {
        0 => "not even one image a batch fits: lower --init-channels or --cells".to_owned(),
        fits => format!("the largest --batch-size that fits is {fits}"),
    };
    let text = if let Error::Device(text) = error { text.clone() } else { error.to_string() };
    Error::Device(format!("{text}; {advice}"))
}
