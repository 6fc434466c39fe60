//! What one kernel must do for one call of an operator: each place that it reads or writes counts once, however often
//! the operands name it.

use std::collections::BTreeMap;

use darts::backend::{Norm, Operand, ResultGradient, Slot, Span, Target, UnstoredGradient};

/// Bytes of an element of the state memory and of the scratch memory.
const WIDE: usize = 4;

/// Bytes and floating-point operations. A multiply-add is two operations, a comparison none, and what lies outside an
/// image takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Bytes read and written.
    pub bytes: usize,
    /// Operations of matrix products.
    pub products: usize,
    /// All other operations.
    pub operations: usize,
}

/// First element of an operand, by memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Activation(usize),
    State(usize),
}

/// A place and how many elements of it count.
pub struct Piece(Place, usize);

impl From<Slot> for Piece {
    fn from(slot: Slot) -> Self {
        Piece(Place::Activation(slot.offset), slot.len)
    }
}

impl From<Span> for Piece {
    fn from(span: Span) -> Self {
        Piece(Place::State(span.offset), span.len)
    }
}

/// A call that is being put together.
#[derive(Default)]
pub struct Call {
    read: BTreeMap<Place, usize>,
    written: BTreeMap<Place, usize>,
    scratch: usize,
    stored: usize,
    /// See [`Work::products`].
    pub products: usize,
    /// See [`Work::operations`].
    pub operations: usize,
}

fn keep(places: &mut BTreeMap<Place, usize>, Piece(place, len): Piece) {
    let known = places.entry(place).or_default();
    *known = len.max(*known);
}

impl Call {
    /// Reads all of these.
    pub fn read<P: Into<Piece>>(&mut self, places: impl IntoIterator<Item = P>) {
        places.into_iter().for_each(|place| keep(&mut self.read, place.into()));
    }

    /// Reads some elements of an operand.
    pub fn read_some(&mut self, slot: Slot, elements: usize) {
        keep(&mut self.read, Piece(Place::Activation(slot.offset), elements));
    }

    /// Writes all of these.
    pub fn write<P: Into<Piece>>(&mut self, places: impl IntoIterator<Item = P>) {
        places.into_iter().for_each(|place| keep(&mut self.written, place.into()));
    }

    /// Reads or writes elements of the scratch memory.
    pub fn scratch(&mut self, elements: usize) {
        self.scratch += elements;
    }

    /// Reads or writes elements of the scratch memory that are stored as activations are.
    pub fn stored_scratch(&mut self, elements: usize) {
        self.stored += elements;
    }

    /// Reads some elements of a value as its readers see it.
    pub fn read_value(&mut self, value: &Operand, elements: usize) {
        self.read_some(value.data, elements);
        if let Some(norm) = value.norm {
            self.read([norm.scale, norm.shift]);
            self.operations += 2 * elements;
        }
    }

    /// Reads a value that is standardised, or taken as it is.
    pub fn read_standardised(&mut self, data: Slot, norm: Option<Norm>) {
        self.read([data]);
        if let Some(norm) = norm {
            self.read([norm.mean, norm.inverse_deviation]);
            self.operations += 2 * data.len;
        }
    }

    /// Reads a whole output gradient.
    pub fn read_unstored_gradient(&mut self, output_gradient: &UnstoredGradient) {
        self.read([output_gradient.raw]);
        self.read([output_gradient.raw_factor, output_gradient.constant]);
        self.read(output_gradient.terms.iter().map(|term| term.gradient));
        self.read(output_gradient.terms.iter().map(|term| term.factor));
        self.operations += 2 * (1 + output_gradient.terms.len()) * output_gradient.raw.len;
    }

    pub fn read_result_gradient(&mut self, gradient: &ResultGradient) {
        match gradient {
            ResultGradient::Stored(slot) => self.read([*slot]),
            ResultGradient::Unstored(gradient) => self.read_unstored_gradient(gradient),
        }
    }

    /// Writes an input gradient of which `fed` elements are not zero by construction.
    pub fn deliver(&mut self, target: Target, fed: usize) {
        if target.accumulate {
            self.read_some(target.slot, fed);
            keep(&mut self.written, Piece(Place::Activation(target.slot.offset), fed));
            self.operations += fed;
        } else {
            self.write([target.slot]);
        }
    }

    /// What it comes to where an activation takes `element` bytes.
    pub fn work(&self, element: usize) -> Work {
        let bytes = |(place, len): (&Place, &usize)| match place {
            Place::Activation(_) => len * element,
            Place::State(_) => len * WIDE,
        };
        let moved: usize = self.read.iter().chain(&self.written).map(bytes).sum();
        let scratch = WIDE * self.scratch + element * self.stored;
        Work { bytes: moved + scratch, products: self.products, operations: self.operations }
    }
}

#[test]
fn a_place_counts_once() {
    let mut call = Call::default();
    let slot = Slot { offset: 8, len: 10 };
    call.read([slot, slot]);
    call.read_some(slot, 4);
    call.read([Span { offset: 8, len: 3 }]);
    call.deliver(Target { slot, accumulate: true, gate: None }, 5);
    call.scratch(7);
    call.stored_scratch(6);
    assert_eq!(call.work(2).bytes, 10 * 2 + 3 * 4 + 5 * 2 + 7 * 4 + 6 * 2);
}
