//! What every search without gradients does.

use rand_chacha::ChaCha8Rng;

/// How a search finds its next candidate.
pub trait Strategy {
    /// An option for each choice.
    fn propose(&mut self, random: &mut ChaCha8Rng) -> Vec<usize>;

    /// Learns the score of what was proposed last; more is better.
    fn learn(&mut self, candidate: &[usize], score: f64);
}

/// A candidate and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The option of each choice.
    pub candidate: Vec<usize>,
    /// How it scored.
    pub score: f64,
}
