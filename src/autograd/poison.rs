//! A replay that destroys what nobody may use, for tests on the reference: an operator that uses a slot beyond the life
//! which it has declared (see [`Operator::slots`](super::Operator::slots)) computes NaN, or loses its result.

use num_traits::Float;

use super::memory::{Interval, Moments};
use super::tape::Tape;
use crate::backend::{Backend, Slot};

/// Which slots begin and end with a call.
#[derive(Clone, Default)]
struct Call {
    begin: Vec<Slot>,
    end: Vec<Slot>,
}

/// The lives of all slots.
pub(super) struct Poison {
    /// By the moment of the call.
    calls: Vec<Call>,
    on: bool,
}

impl Poison {
    /// These lives; off.
    pub fn new(moments: Moments, lives: &[Interval], offsets: &[usize]) -> Self {
        let mut calls = vec![Call::default(); moments.end() + 1];
        for (life, &offset) in lives.iter().zip(offsets) {
            let [first, last] = life.range();
            calls[first].begin.extend(life.slot(offset));
            calls[last].end.extend(life.slot(offset));
        }
        Poison { calls, on: false }
    }

    /// Makes an operator's call; destroys before it the slots that begin, and after it those that end.
    pub fn around<B: Backend>(&self, moment: usize, backend: &mut B, call: impl FnOnce(&mut B)) {
        let Call { begin, end } = &self.calls[moment];
        self.destroy(begin, backend);
        call(backend);
        self.destroy(end, backend);
    }

    fn destroy<B: Backend>(&self, slots: &[Slot], backend: &mut B) {
        for &slot in slots.iter().filter(|_| self.on) {
            backend.write_activations(slot, &vec![B::Scalar::nan(); slot.len]);
        }
    }
}

impl<B: Backend> Tape<B> {
    /// From now on replays fill slots with NaN before their life begins and as soon as it is over. Not for a device that
    /// records its replays.
    pub fn poison(&mut self) {
        self.poison.on = true;
    }
}
