//! Which of the recorded work a replay does. A search that samples branches closes the gates of the others (see
//! [`Backend`]); the recording stays as it is.

use super::mixed::MixingWeights;
use super::recorder::Recorder;
use super::tape::Tape;
use crate::backend::{Backend, Scalar, Span};
use crate::{Error, Result};

/// The gates of a run of branches.
#[derive(Clone, Copy, Debug)]
pub struct Gates {
    own: Span,
    /// Of work that several branches share, at the place of the first of them.
    shared: Span,
    /// Of work that no branch uses: never open.
    closed: Span,
}

impl Gates {
    /// The gate of a branch.
    pub fn own(self, branch: usize) -> Span {
        self.own.part(branch, 1)
    }

    /// The gates of `len` branches from `start` on.
    pub fn part(self, start: usize, len: usize) -> Gates {
        Gates { own: self.own.part(start, len), shared: self.shared.part(start, len), closed: self.closed }
    }
}

/// All gates of a tape.
#[derive(Default)]
pub(super) struct GateTable {
    /// `[2][branches]`: their own, then those of shared work; and one that is never open.
    span: Span,
    /// Of each shared gate the branches, of which one must be active for it to be open.
    users: Vec<Vec<usize>>,
}

impl GateTable {
    fn branches(&self) -> usize {
        self.users.len()
    }

    /// Number of gates.
    pub fn len(&self) -> usize {
        self.span.len
    }
}

impl<B: Backend> Recorder<B> {
    /// Reserves gates for this many branches, once in a recording. [`Tape::reserve`] opens all of them.
    pub fn gates(&mut self, branches: usize) -> Gates {
        assert!(self.gates.branches() == 0, "a recording has one set of gates");
        let span = self.span(2 * branches + 1);
        self.gates = GateTable { span, users: vec![Vec::new(); branches] };
        Gates {
            own: span.part(0, branches),
            shared: span.part(branches, branches),
            closed: span.part(2 * branches, 1),
        }
    }

    /// The gate of work whose result these branches of mixed operations take: open where one of them is active, so never
    /// if there is none. A branch belongs to at most one such group.
    pub fn gate(&mut self, weights: MixingWeights, branches: &[usize]) -> Option<Span> {
        let gates = weights.gates?;
        let Some(&first) = branches.iter().min() else { return Some(gates.closed) };
        if branches.len() == 1 {
            return Some(gates.own(first));
        }
        let before = gates.own.offset - self.gates.span.offset;
        self.gates.users[before + first] = branches.iter().map(|branch| before + branch).collect();
        Some(gates.shared.part(first, 1))
    }
}

impl<B: Backend> Tape<B> {
    /// Says which branches are active, one entry a gate that [`Recorder::gates`] reserved. The others are not computed,
    /// forward or backward, and their gradients are zero, until the gates are set again.
    ///
    /// # Errors
    /// There are more or fewer branches.
    pub fn set_active(&mut self, active: &[bool]) -> Result<()> {
        let branches = self.gates.branches();
        if active.len() != branches {
            let reason = format!("{} branches are active or not; {branches} have a gate", active.len());
            return Err(Error::Shape { operator: "gates", reason });
        }
        self.write_gates(|branch| active[branch]);
        Ok(())
    }

    pub(super) fn write_gates(&mut self, active: impl Fn(usize) -> bool) {
        let (own, shared) = self.gate_values.split_at_mut(self.gates.branches());
        for (branch, users) in self.gates.users.iter().enumerate() {
            let value = |open| if open { B::Scalar::of(1.0) } else { B::Scalar::default() };
            own[branch] = value(active(branch));
            shared[branch] = value(users.iter().any(|&user| active(user)));
        }
        self.backend.write(self.gates.span, &self.gate_values);
    }
}
