//! Whether a search fits the memory of its device, which is known before the first step.

use super::bilevel::{Bilevel, BilevelSettings};
use crate::backend::{Backend, ImageBytes, Shape, Work};
use crate::space::SupernetShape;
use crate::{Error, Result};

/// A search that has its memory.
pub struct Fitted<B: Backend> {
    /// Ready for its first step.
    pub bilevel: Bilevel<B>,
    /// What a step launches.
    pub work: Work,
    /// All memory that the search takes of the device, in bytes.
    pub peak_bytes: usize,
    /// Whether the device holds the data set and paints its batches.
    pub paints: bool,
}

/// Records a supernet and takes its memory. The device takes the data set too where it can paint and has the room.
///
/// # Errors
/// A search that does not fit: with the largest batch that does.
pub fn fit<B: Backend>(
    backend: B,
    shape: SupernetShape,
    settings: BilevelSettings,
    images: &ImageBytes,
    seed: u64,
) -> Result<Fitted<B>> {
    let mut bilevel = Bilevel::record(backend, shape, settings)?;
    let paints = bilevel.tape.backend().painter().is_some();
    for (paints, beside) in [(paints, images.pixels.len()), (false, 0)] {
        let (work, room) = room(&mut bilevel, paints, if paints { beside } else { 0 });
        match room {
            Ok(peak_bytes) => {
                bilevel.start(paints.then_some(images), seed)?;
                return Ok(Fitted { bilevel, work, peak_bytes, paints });
            }
            Err(_) if paints => continue,
            Err(error) => return Err(refusal(bilevel, settings, &error)),
        }
    }
    unreachable!("a search without the data set fits or is refused")
}

/// What a step launches, and the bytes that the search takes with so many beside it, or why it cannot have them.
fn room<B: Backend>(bilevel: &mut Bilevel<B>, paints: bool, beside: usize) -> (Work, Result<usize>) {
    let work = match bilevel.measure(paints) {
        Ok(work) => work,
        Err(error) => return (Work::default(), Err(error)),
    };
    let room = bilevel.tape.demand().and_then(|bytes| {
        let bytes = bytes + beside;
        match bilevel.tape.backend().spare() {
            Some(spare) if bytes > spare => Err(Error::Device(format!(
                "the search takes {} of memory, and the device has {} to spare",
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

/// Why a search does not fit, and the largest batch with which it does.
fn refusal<B: Backend>(bilevel: Bilevel<B>, settings: BilevelSettings, error: &Error) -> Error {
    let shape = bilevel.supernet.shape;
    let mut backend = bilevel.tape.into_backend();
    // More images take more memory.
    let (mut fits, mut fails) = (0, shape.images.n as usize);
    while fails - fits > 1 {
        let batch = fits + (fails - fits) / 2;
        let Shape { h, w, c, .. } = shape.images;
        let images = Shape::new(batch, h as usize, w as usize, c as usize);
        let mut smaller = match Bilevel::record(backend, SupernetShape { images, ..shape }, settings) {
            Ok(smaller) => smaller,
            Err(error) => return error,
        };
        let (_, room) = room(&mut smaller, false, 0);
        *(if room.is_ok() { &mut fits } else { &mut fails }) = batch;
        backend = smaller.tape.into_backend();
    }
    let advice = match fits {
        0 => "not even one image a batch fits: lower --init-channels or --cells".to_owned(),
        fits => format!("the largest --batch-size that fits is {fits}"),
    };
    let text = if let Error::Device(text) = error { text.clone() } else { error.to_string() };
    Error::Device(format!("{text}; {advice}"))
}
