//! Drop path (Larsson, Maire, Shakhnarovich, FractalNet, 2017): each term of a node's sum is multiplied by a factor for each
//! image, which is 0 where the term is dropped.

use rand::RngExt;

use crate::backend::{Backend, Scalar, Span};
use crate::random::{Stream, generator};

/// Where the factors lie, `[term][n]`, in the order in which nodes are recorded.
pub struct DropPath {
    images: usize,
    rest: Span,
}

impl DropPath {
    /// Factors for batches of so many images.
    pub fn new(factors: Span, images: usize) -> Self {
        DropPath { images, rest: factors }
    }

    /// The factors of the next term.
    pub fn of_next_term(&mut self) -> Span {
        let next = self.rest.part(0, self.images);
        self.rest = self.rest.part(self.images, self.rest.len - self.images);
        next
    }
}

/// The factors of a network, on their way to the device.
pub struct DropFactors<B: Backend> {
    span: Option<Span>,
    values: Vec<B::Scalar>,
    /// Whether those on the device are others than ones.
    dropping: bool,
}

impl<B: Backend> DropFactors<B> {
    /// Those at this place, where there are any; the device has none yet.
    pub fn new(span: Option<Span>) -> Self {
        let values = vec![B::Scalar::default(); span.map_or(0, |span| span.len)];
        DropFactors { span, values, dropping: true }
    }

    /// Writes ones, whatever the device has.
    pub fn start(&mut self, backend: &mut B) {
        self.dropping = true;
        self.keep_all(backend);
    }

    /// Writes the factors that these random numbers give: 0 with the probability `dropped`, else what makes up for that.
    pub fn draw(&mut self, backend: &mut B, dropped: f64, (seed, stream, step): (u64, Stream, u64)) {
        if dropped <= 0.0 {
            return self.keep_all(backend);
        }
        let Some(span) = self.span else { return };
        let mut random = generator(seed, stream, step);
        let kept = 1.0 - dropped;
        for factor in &mut self.values {
            *factor = B::Scalar::of(if random.random::<f64>() < kept { 1.0 / kept } else { 0.0 });
        }
        backend.write(span, &self.values);
        self.dropping = true;
    }

    /// Writes ones.
    pub fn keep_all(&mut self, backend: &mut B) {
        if let Some(span) = self.span.filter(|_| self.dropping) {
            backend.fill(span, 1.0);
        }
        self.dropping = false;
    }
}
