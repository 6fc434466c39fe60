//! A replay that destroys what nobody may read any more, for tests on the reference: an operator that reads a slot whose
//! life it has not declared (see [`Operator::slots`](super::Operator::slots)) computes NaN.

use num_traits::Float;

use super::memory::Interval;
use super::tape::Tape;
use crate::backend::{Backend, Slot};

/// Which slots end when.
pub(super) struct Poison {
    /// By the number of an operator's call: forward operators counted up, then backward ones.
    ends: Vec<Vec<Slot>>,
    on: bool,
}

impl Poison {
    /// The ends of these lives; off.
    pub fn new(lives: &[Interval], offsets: &[usize]) -> Self {
        let mut ends = vec![Vec::new(); lives.iter().map(|life| life.last() + 1).max().unwrap_or(0)];
        for (life, &offset) in lives.iter().zip(offsets) {
            ends[life.last()].extend(life.slot(offset));
        }
        Poison { ends, on: false }
    }

    /// Destroys the slots that end with this call.
    pub fn after<B: Backend>(&self, call: usize, backend: &mut B) {
        if self.on {
            self.ends.get(call).into_iter().flatten().for_each(|&slot| destroy(slot, backend));
        }
    }
}

fn destroy<B: Backend>(slot: Slot, backend: &mut B) {
    backend.write_activations(slot, &vec![B::Scalar::nan(); slot.len]);
}

impl<B: Backend> Tape<B> {
    /// From now on replays write NaN over each slot as soon as its life is over, and over the whole memory at once: inputs
    /// are to be written anew. Not for a device that records its replays.
    pub fn poison(&mut self) {
        self.poison.on = true;
        destroy(Slot { offset: 0, len: self.activations }, &mut self.backend);
    }
}
