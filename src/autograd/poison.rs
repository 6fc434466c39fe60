//! A replay that destroys what nobody may use, for tests on the reference: an operator that uses a slot beyond the life
//! which it has declared (see [`Operator::slots`](super::Operator::slots)) computes NaN, or loses its result.

use num_traits::Float;

use super::memory::{Interval, Moments};
use super::recorder::each_slot;
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
    lives: Vec<Interval>,
    /// The numbers of all slots, as [`each_slot`] shows them.
    order: Vec<usize>,
    /// By the moment of the call; none while nothing is destroyed.
    calls: Vec<Call>,
    moments: Moments,
}

impl Poison {
    /// Nothing is destroyed yet.
    pub fn new(moments: Moments, lives: Vec<Interval>, order: Vec<usize>) -> Self {
        Poison { lives, order, calls: Vec::new(), moments }
    }

    /// Makes an operator's call; destroys before it the slots that begin, and after it those that end.
    pub fn around<B: Backend>(&self, moment: usize, backend: &mut B, call: impl FnOnce(&mut B)) {
        let Some(Call { begin, end }) = self.calls.get(moment) else { return call(backend) };
        destroy(begin, backend);
        call(backend);
        destroy(end, backend);
    }
}

fn destroy<B: Backend>(slots: &[Slot], backend: &mut B) {
    for &slot in slots {
        backend.write_activations(slot, &vec![B::Scalar::nan(); slot.len]);
    }
}

impl<B: Backend> Tape<B> {
    /// From now on replays fill slots with NaN before their life begins and as soon as it is over. Slots no longer share
    /// memory, so nothing lies where one was. Not for a device that records its replays.
    ///
    /// The memory must be reserved after this.
    pub fn poison(&mut self) {
        let Poison { lives, order, calls, moments } = &mut self.poison;
        self.activations = 0;
        calls.resize(moments.end() + 1, Call::default());
        let place = |life: &Interval| {
            let slot = life.slot(self.activations)?;
            self.activations += slot.len;
            let [first, last] = life.range();
            calls[first].begin.push(slot);
            calls[last].end.push(slot);
            Some(slot)
        };
        let places: Vec<Option<Slot>> = lives.iter().map(place).collect();
        let mut order = order.iter();
        each_slot(&mut self.operators, &mut self.values, &mut |slot| {
            let &id = order.next().expect("a recording shows its slots in one order");
            *slot = places[id].unwrap_or(*slot);
        });
    }
}
