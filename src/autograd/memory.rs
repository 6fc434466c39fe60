//! Where slots lie: those that never live at the same time may share memory.

use crate::backend::Slot;

/// Where slots seem to lie that have no place yet: beyond all memory, so that their use fails.
const UNPLACED: usize = 1 << 48;

/// The number of a slot, by which it is known until it has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotId(pub usize);

impl SlotId {
    /// The number of a slot without a place.
    pub fn of(slot: Slot) -> Self {
        SlotId(
            slot.offset.checked_sub(UNPLACED).expect("each field of an operator is shown, and placed, once"),
        )
    }

    /// The slot of this number and length, still without a place.
    pub fn unplaced(self, len: usize) -> Slot {
        Slot { offset: UNPLACED + self.0, len }
    }
}

/// The moments of a replay, in their order: inputs are written, operators called forward, gradients of outputs written,
/// operators called backward, and results read.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Number of operators.
    pub operators: usize,
}

impl Moments {
    /// Inputs are written.
    pub fn start(self) -> usize {
        0
    }

    /// An operator's forward.
    pub fn forward(self, operator: usize) -> usize {
        1 + operator
    }

    /// Gradients of outputs are written.
    pub fn middle(self) -> usize {
        1 + self.operators
    }

    /// An operator's backward.
    pub fn backward(self, operator: usize) -> usize {
        2 * self.operators + 1 - operator
    }

    /// Results are read.
    pub fn end(self) -> usize {
        2 * self.operators + 2
    }
}

/// The life of a slot, in [`Moments`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    first: usize,
    last: usize,
    len: usize,
}

impl Interval {
    /// Extends the life to include `time`.
    pub fn touch(&mut self, time: usize, len: usize) {
        if self.len == 0 {
            *self = Interval { first: time, last: time, len };
        }
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }

    /// When it is used first, and last.
    pub fn range(&self) -> [usize; 2] {
        [self.first, self.last]
    }

    /// The slot that lives so long, if any use was declared.
    pub fn slot(&self, offset: usize) -> Option<Slot> {
        (self.len > 0).then_some(Slot { offset, len: self.len })
    }

    fn meets(&self, other: &Interval) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Slots start on a cache line.
const ALIGNMENT: usize = 16;

/// Offsets for all intervals and the total size. Largest first, each at the lowest place that no
/// contemporary takes: within a few per cent of the least possible on supernets.
pub fn place(intervals: &[Interval]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..intervals.len()).filter(|&i| intervals[i].len > 0).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(intervals[i].len), intervals[i].first, i));
    let mut offsets = vec![0; intervals.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    let mut total = 0;
    for index in order {
        let mut offset = 0;
        // `placed` is kept in the order of offsets.
        for &other in placed.iter().filter(|&&other| intervals[other].meets(&intervals[index])) {
            if offset + intervals[index].len <= offsets[other] {
                break;
            }
            offset = offset.max((offsets[other] + intervals[other].len).next_multiple_of(ALIGNMENT));
        }
        offsets[index] = offset;
        total = total.max(offset + intervals[index].len);
        let position = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(position, index);
    }
    (offsets, total.next_multiple_of(ALIGNMENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};
    use rand::RngExt;

    /// The most that is alive at once: no layout can do with less.
    fn least_possible(intervals: &[Interval]) -> usize {
        let end = intervals.iter().map(|i| i.last).max().unwrap_or(0);
        let alive = |time| move |i: &&Interval| i.len > 0 && i.first <= time && time <= i.last;
        (0..=end).map(|time| intervals.iter().filter(alive(time)).map(|i| i.len).sum()).max().unwrap_or(0)
    }

    #[test]
    fn contemporaries_never_overlap_and_little_is_wasted() {
        let mut random = generator(3, Stream::Test, 0);
        let intervals: Vec<Interval> = (0..300)
            .map(|_| {
                let first = random.random_range(0..200);
                Interval {
                    first,
                    last: first + random.random_range(0..60),
                    len: 16 * random.random_range(1..50),
                }
            })
            .collect();
        let (offsets, total) = place(&intervals);
        for (i, a) in intervals.iter().enumerate() {
            for (j, b) in intervals.iter().enumerate().skip(i + 1) {
                let apart = offsets[i] + a.len <= offsets[j] || offsets[j] + b.len <= offsets[i];
                assert!(apart || !a.meets(b), "slots {i} and {j} overlap");
            }
        }
        let least = least_possible(&intervals);
        assert!(
            total >= least && total * 100 <= least * 115,
            "{total} elements where {least} are alive at once"
        );
    }

    #[test]
    fn untouched_slots_take_no_memory() {
        assert_eq!(place(&[Interval::default(), Interval::default()]).1, 0);
    }
}
