//! What a supernet computes with: the sample of the architecture, and what edges have beside their candidates.

use std::ops::Range;

use crate::method::relaxation::Sample;

/// The mixing weights of a supernet, and which branches are active. A branch is a candidate of an edge, or an auxiliary skip
/// that has a mixing weight of its own.
pub struct Mixture {
    /// The mixing weights: of each branch, what it weighs on its edge times what the edge weighs; and behind them the weights
    /// of the edges, where channels pass the candidates by.
    pub weights: Vec<f64>,
    /// Which branches are computed at all.
    pub active: Vec<bool>,
    /// The gradient that was pulled back last: by the weights of the candidates, and by those of the edges.
    pub slopes: [Vec<f64>; 2],
    /// What each branch weighs on its edge.
    branches: Vec<f64>,
    edge_weights: Vec<f64>,
    /// The edge of each branch.
    edges: Vec<usize>,
    /// The places to which the weight of an auxiliary skip is added.
    auxiliary_skips: Vec<usize>,
}

impl Mixture {
    /// Zeros for so many mixing weights of edges with these rows, all active.
    pub fn new(len: usize, rows: &[Range<usize>], auxiliary_skips: Vec<usize>) -> Self {
        let candidates = rows.last().map_or(0, |row| row.end);
        let of_rows = rows.iter().enumerate().flat_map(|(edge, row)| row.clone().map(move |_| edge));
        let own = auxiliary_skips.iter().enumerate().filter(|(_, place)| **place >= candidates);
        let edges: Vec<usize> = of_rows.chain(own.map(|(edge, _)| edge)).collect();
        Mixture {
            weights: vec![0.0; len],
            active: vec![true; edges.len()],
            slopes: [vec![0.0; candidates], vec![0.0; rows.len()]],
            branches: vec![0.0; edges.len()],
            edge_weights: vec![0.0; rows.len()],
            edges,
            auxiliary_skips,
        }
    }

    /// Takes the weights of a sample and of the edges; each auxiliary skip weighs `auxiliary_skip`, and is not computed where
    /// that is nothing.
    pub fn take(&mut self, sample: &Sample, edge_weights: &[f64], auxiliary_skip: f64) {
        let (branches, own_branches) = self.branches.split_at_mut(sample.weights.len());
        let (active, own_active) = self.active.split_at_mut(sample.active.len());
        branches.copy_from_slice(&sample.weights);
        active.copy_from_slice(&sample.active);
        own_branches.fill(0.0);
        own_active.fill(false);
        if auxiliary_skip != 0.0 {
            for &place in &self.auxiliary_skips {
                self.branches[place] += auxiliary_skip;
                self.active[place] = true;
            }
        }
        self.edge_weights.copy_from_slice(edge_weights);
        let (weights, passing) = self.weights.split_at_mut(self.branches.len());
        for ((weight, branch), &edge) in weights.iter_mut().zip(&self.branches).zip(&self.edges) {
            *weight = edge_weights[edge] * branch;
        }
        passing.iter_mut().zip(edge_weights).for_each(|(passing, weight)| *passing = *weight);
    }

    /// Pulls a gradient by the mixing weights back; leaves it in `slopes`.
    pub fn pull_back(&mut self, gradient: &[f64]) {
        let (of_branches, passing) = gradient.split_at(self.branches.len());
        let [by_candidate, by_edge] = &mut self.slopes;
        by_edge.fill(0.0);
        by_edge.iter_mut().zip(passing).for_each(|(slope, passing)| *slope = *passing);
        for ((slope, branch), &edge) in of_branches.iter().zip(&self.branches).zip(&self.edges) {
            by_edge[edge] += branch * slope;
        }
        for ((own, slope), &edge) in by_candidate.iter_mut().zip(of_branches).zip(&self.edges) {
            *own = self.edge_weights[edge] * slope;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auxiliary_skip_adds_its_weight_and_without_weight_is_none() {
        let sample = Sample { weights: vec![0.25, 0.75], active: vec![false, true], ..Sample::new(2) };
        let mut mixture = Mixture::new(3, &[0..1, 1..2], vec![0, 2]);
        mixture.take(&sample, &[1.0; 2], 0.5);
        assert_eq!((&mixture.weights[..], &mixture.active[..]), (&[0.75, 0.75, 0.5][..], &[true; 3][..]));
        mixture.take(&sample, &[1.0; 2], 0.0);
        assert_eq!(mixture.weights, [0.25, 0.75, 0.0]);
        assert_eq!(mixture.active, [false, true, false]);
    }

    /// Two edges of two candidates and of three; the second one's auxiliary skip has a weight of its own.
    fn mixture(candidates: [f64; 5], edges: [f64; 2], passing: bool) -> Mixture {
        let sample = Sample { weights: candidates.to_vec(), ..Sample::new(5) };
        let mut mixture = Mixture::new(if passing { 8 } else { 6 }, &[0..2, 2..5], vec![1, 5]);
        mixture.take(&sample, &edges, 0.5);
        mixture
    }

    #[test]
    fn edges_weigh_all_that_they_bring_and_what_passes() {
        let mixture = mixture([0.25, 0.75, 0.5, 0.0, 0.5], [2.0, 4.0], true);
        assert_eq!(mixture.weights, [0.5, 2.5, 2.0, 0.0, 2.0, 2.0, 2.0, 4.0]);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let (candidates, edges) = ([0.3, 0.7, 0.2, 0.5, 0.3], [0.6, 0.4]);
        for passing in [false, true] {
            let slope = |place: usize| 1.0 - 0.7 * place as f64;
            let loss = |mixture: &Mixture| -> f64 {
                mixture.weights.iter().enumerate().map(|(place, weight)| slope(place) * weight * weight).sum()
            };
            let mut here = mixture(candidates, edges, passing);
            let gradient = here.weights.iter().enumerate().map(|(place, weight)| 2.0 * slope(place) * weight);
            let gradient: Vec<f64> = gradient.collect();
            here.pull_back(&gradient);
            let near = |ours: f64, at: &dyn Fn(f64) -> f64| {
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((ours - difference).abs() < 1e-9, "{ours}, not {difference}");
            };
            for (place, &ours) in here.slopes[0].iter().enumerate() {
                near(ours, &|step| {
                    let mut moved = candidates;
                    moved[place] += step;
                    loss(&mixture(moved, edges, passing))
                });
            }
            for (edge, &ours) in here.slopes[1].iter().enumerate() {
                near(ours, &|step| {
                    let mut moved = edges;
                    moved[edge] += step;
                    loss(&mixture(candidates, moved, passing))
                });
            }
        }
    }
}
