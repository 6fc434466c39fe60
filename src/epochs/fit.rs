//! Whether a run fits the memory of its device, which is known before the first step.

use crate::autograd::Tape;
use crate::backend::{Backend, ImageBytes, Shape, Work};
use crate::{Error, Result};

/// What a run computes with, recorded, and without memory of the device before [`Fit::start`].
pub trait Fit: Sized {
    /// Where it runs.
    type Device: Backend;
    /// The tape.
    fn tape(&mut self) -> &mut Tape<Self::Device>;
    /// The shape of a batch.
    fn images(&self) -> Shape;
    /// The same for batches of another shape.
    fn with_images(self, images: Shape) -> Result<Self>;
    /// A dry run of all that the run does, with batches for training that the device paints or not: what it takes is
    /// known, and what a step launches is returned.
    fn measure(&mut self, painted_by_device: bool) -> Result<Work>;
    /// Takes the memory, and the data set where the device shall paint, and sets everything to its start for `seed`.
    fn start(&mut self, images: Option<&ImageBytes>, seed: u64) -> Result<()>;
}

/// What has its memory.
pub struct Fitted<F> {
    /// Ready for its first step.
    pub subject: F,
    /// What a step launches.
    pub work: Work,
    /// All memory that the run takes of the device, in bytes.
    pub peak_bytes: usize,
    /// Whether the device holds the data set and paints its batches.
    pub paints: bool,
}

/// Takes the memory of a run. The device takes the data set too where it can paint and has the room.
///
/// # Errors
/// A run that does not fit: with the largest batch that does.
pub fn fit<F: Fit>(mut subject: F, images: &ImageBytes, seed: u64) -> Result<Fitted<F>> {
    let paints = subject.tape().backend().painter().is_some();
    for (paints, beside) in [(paints, images.pixels.len()), (false, 0)] {
        let (work, room) = room(&mut subject, paints, if paints { beside } else { 0 });
        match room {
            Ok(peak_bytes) => {
                subject.start(paints.then_some(images), seed)?;
                return Ok(Fitted { subject, work, peak_bytes, paints });
            }
            Err(_) if paints => continue,
            Err(error) => return Err(refusal(subject, &error)),
        }
    }
    unreachable!("a run without the data set fits or is refused")
}

/// What a step launches, and the bytes that the run takes with so many beside it, or why it cannot have them.
fn room<F: Fit>(subject: &mut F, paints: bool, beside: usize) -> (Work, Result<usize>) {
    let work = match subject.measure(paints) {
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

/// Why a run does not fit, and the largest batch with which it does.
fn refusal<F: Fit>(subject: F, error: &Error) -> Error {
    let Shape { n, h, w, c } = subject.images();
    // More images take more memory.
    let (mut fits, mut fails) = (0, n as usize);
    let mut last = subject;
    while fails - fits > 1 {
        let batch = fits + (fails - fits) / 2;
        let images = Shape::new(batch, h as usize, w as usize, c as usize);
        let mut smaller = match last.with_images(images) {
            Ok(smaller) => smaller,
            Err(error) => return error,
        };
        let (_, room) = room(&mut smaller, false, 0);
        *(if room.is_ok() { &mut fits } else { &mut fails }) = batch;
        last = smaller;
    }
    let advice = match fits {
        0 => "not even one image a batch fits: lower --init-channels or --cells".to_owned(),
        fits => format!("the largest --batch-size that fits is {fits}"),
    };
    let text = if let Error::Device(text) = error { text.clone() } else { error.to_string() };
    Error::Device(format!("{text}; {advice}"))
}
