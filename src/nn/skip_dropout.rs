//! Dropout of skip connections (P-DARTS: Chen, Xie, Wu, Tian, ICCV 2019, section 3.3): each element of what a skip connection
//! at stride 1 brings is dropped by a mask of its own.

use rand::Rng;

use crate::autograd::Recorder;
use crate::backend::{Backend, DROPOUT_KEY, DropoutMask, Scalar, Shape, Span, dropout_key};
use crate::random::{Stream, generator};

/// Where the masks of a recording come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masks {
    /// Each pass computes them from a key.
    Drawn,
    /// They are written from outside. For comparisons with the official code.
    Given,
}

/// The masks of a recording.
#[derive(Clone, Debug)]
pub struct SkipDropout {
    /// See [`DropoutMask::key`].
    pub key: Span,
    /// Where given masks lie, in the order of recording.
    pub given: Vec<Span>,
    masks: Masks,
    recorded: u32,
}

impl SkipDropout {
    /// No masks yet.
    pub fn new<B: Backend>(recorder: &mut Recorder<B>, masks: Masks) -> Self {
        SkipDropout { key: recorder.span(DROPOUT_KEY), given: Vec::new(), masks, recorded: 0 }
    }

    /// The next mask, for a value of this shape.
    pub fn next<B: Backend>(&mut self, recorder: &mut Recorder<B>, shape: Shape) -> DropoutMask {
        let given = (self.masks == Masks::Given).then(|| recorder.span(shape.len()));
        self.given.extend(given);
        self.recorded += 1;
        DropoutMask { key: self.key, number: self.recorded - 1, given }
    }
}

/// The key of a recording's masks, on its way to the device.
pub struct SkipDropoutKey(pub Option<Span>);

impl SkipDropoutKey {
    /// Writes the key that these random numbers give: an element is dropped with the probability `dropped`.
    pub fn draw<B: Backend>(&self, backend: &mut B, dropped: f64, address: (u64, Stream, u64)) {
        let (seed, stream, step) = address;
        let mut random = generator(seed, stream, step);
        self.write(backend, dropout_key(1.0 - dropped, [random.next_u32(), random.next_u32()]));
    }

    /// Writes a key that drops nothing.
    pub fn keep_all<B: Backend>(&self, backend: &mut B) {
        self.write(backend, dropout_key(1.0, [0; 2]));
    }

    fn write<B: Backend>(&self, backend: &mut B, key: [f64; DROPOUT_KEY]) {
        if let Some(span) = self.0 {
            backend.write(span, &key.map(B::Scalar::of));
        }
    }
}
