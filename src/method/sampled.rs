//! Genotypes that a search draws at random (Li, Talwalkar, Random Search and Reproducibility for Neural Architecture Search,
//! UAI 2019, section 3).

use std::ops::Range;

use rand::{Rng, RngExt};

use crate::space::alphas::Decision;
use crate::space::{Keep, Space};

/// What is drawn from: the genotypes of a space. Drawing allocates nothing.
#[derive(Clone, Debug)]
pub struct Draws {
    /// Of each node its edges among those of all types of cells, and how many of them it keeps.
    nodes: Vec<(Range<usize>, usize)>,
    /// Of each edge the places of the candidates that a derivation may choose.
    candidates: Vec<Vec<usize>>,
}

impl Draws {
    /// Of supernets with cells of so many nodes.
    pub fn new(space: &Space, nodes: usize) -> Self {
        let (wirings, none_chosen) = (space.wirings(nodes), space.definition().none_chosen);
        let mut draws = Draws { nodes: Vec::new(), candidates: Vec::new() };
        for wiring in &wirings {
            for node in 0..wiring.nodes {
                let first = draws.candidates.len();
                draws.candidates.extend(wiring.entering(node).map(|edge| {
                    let places = 0..edge.candidates.len();
                    places.filter(|&place| none_chosen || !edge.candidates[place].is_zero()).collect()
                }));
                let edges = first..draws.candidates.len();
                let kept = match space.keep() {
                    Keep::Strongest(kept) => kept.min(edges.len()),
                    Keep::All => edges.len(),
                };
                draws.nodes.push((edges, kept));
            }
        }
        draws
    }

    /// Draws one: all have the same probability. It holds none, the candidate, only where a derivation may choose that.
    pub fn draw(&self, random: &mut impl Rng, decided: &mut [Decision]) {
        for (edges, kept) in &self.nodes {
            let mut wanted = *kept;
            for edge in edges.clone() {
                if random.random_range(edge..edges.end) - edge >= wanted {
                    decided[edge] = Decision::Dropped;
                    continue;
                }
                wanted -= 1;
                let candidates = &self.candidates[edge];
                decided[edge] = Decision::Chosen(candidates[random.random_range(0..candidates.len())]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    const DRAWS: u64 = 4000;

    /// Each share lies within five standard deviations of what uniform draws give.
    #[test]
    fn edges_and_candidates_are_drawn_uniformly() {
        let space = Space::darts();
        let wirings = space.wirings(4);
        let draws = Draws::new(&space, 4);
        let mut decided = vec![Decision::Open; 28];
        let (mut kept, mut held) = (vec![0u64; 28], [0u64; 8]);
        for step in 0..DRAWS {
            draws.draw(&mut generator(1, Stream::Test, step), &mut decided);
            for (edge, decision) in decided.iter().enumerate() {
                if let Decision::Chosen(place) = *decision {
                    kept[edge] += 1;
                    held[place] += 1;
                }
            }
            for (wiring, decided) in wirings.iter().zip(decided.chunks(14)) {
                let kept = |node: usize| {
                    let edges = wiring.edges.iter().zip(decided).filter(|(edge, _)| edge.node == node);
                    edges.filter(|(_, decision)| **decision != Decision::Dropped).count()
                };
                assert_eq!([0, 1, 2, 3].map(kept), [2; 4]);
            }
        }
        let within = |count: u64, draws: u64, share: f64| {
            let (mean, draws) = (draws as f64 * share, draws as f64);
            (count as f64 - mean).abs() <= 5.0 * (draws * share * (1.0 - share)).sqrt()
        };
        for (edge, count) in kept.iter().enumerate() {
            let share = 2.0 / (wirings[0].edges[edge % 14].node + 2) as f64;
            assert!(within(*count, DRAWS, share), "edge {edge}: {count}");
        }
        assert_eq!(held[0], 0, "none is never held");
        assert!(held[1..].iter().all(|&count| within(count, 16 * DRAWS, 1.0 / 7.0)), "{held:?}");
    }
}
