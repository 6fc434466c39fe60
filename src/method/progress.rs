//! Where a search stands: all that schedules and random numbers of a method depend on.

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Determines all random numbers.
    pub seed: u64,
    /// The epoch that is under way, counted from 0.
    pub epoch: usize,
    /// Epochs of the search.
    pub epochs: usize,
    /// Finished steps of the search.
    pub step: u64,
}
