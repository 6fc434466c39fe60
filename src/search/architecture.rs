//! The alphas of a search, on the host in f64, between the supernet's mixing weights and their optimiser.

use std::ops::Range;

use super::method::Method;
use crate::method::progress::Progress;
use crate::method::relaxation::{Sample, initial_alphas};
use crate::method::sampled::Draws;
use crate::random::{Stream, generator};
use crate::space::alphas::Decision;

/// The alphas, the sample that the supernet computes with, and the gradient. Vectors lie row after row; a row is an edge.
///
/// Where edges have weights, the betas that these come from stand behind the alphas, one for each edge: they are initialised
/// and optimised as the alphas are. Penalties, perturbations and the curvature know the alphas alone.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The table of each type of cell, one after another; then the betas.
    pub alphas: Vec<f64>,
    /// The gradient of a loss by them.
    pub gradient: Vec<f64>,
    /// What is done with them.
    pub method: Method,
    /// The mixing weights of the candidates.
    pub sample: Sample,
    /// The weight of each edge.
    pub edge_weights: Vec<f64>,
    /// The noise that disturbs the mixing weights of a sample.
    pub disturbance: Vec<f64>,
    /// The mixing weights before they were disturbed.
    undisturbed: Vec<f64>,
    /// What was decided of each edge without the alphas.
    pub decided: Vec<Decision>,
    /// What genotypes are drawn from, where each sample is one.
    pub draws: Option<Draws>,
    rows: Vec<Range<usize>>,
    /// The edges of each node.
    nodes: Vec<Range<usize>>,
}

impl Architecture {
    /// Alphas of zero for these rows, of which those of a node are a range.
    pub fn new(method: Method, rows: Vec<Range<usize>>, nodes: Vec<Range<usize>>) -> Self {
        let (count, edges) = (rows.last().map_or(0, |row| row.end), rows.len());
        let [alphas, gradient] = [(); 2].map(|()| vec![0.0; count + method.edge_weights.betas(edges)]);
        Architecture {
            alphas,
            gradient,
            method,
            sample: Sample::new(count),
            edge_weights: vec![1.0; edges],
            disturbance: vec![0.0; count],
            undisturbed: vec![0.0; count],
            decided: vec![Decision::Open; edges],
            draws: None,
            rows,
            nodes,
        }
    }

    /// Number of alphas; the rest of the vectors are betas.
    pub fn alpha_count(&self) -> usize {
        self.sample.weights.len()
    }

    /// Sets the alphas to their start for `seed`.
    pub fn restart(&mut self, seed: u64) {
        self.alphas = initial_alphas(self.alphas.len(), self.method.alpha_deviation, seed);
        self.decided.fill(Decision::Open);
    }

    /// Draws a new sample, whose random numbers are those of the stream.
    pub fn draw(&mut self, progress: Progress, stream: Stream) {
        if let Some(draws) = &self.draws {
            draws.draw(&mut generator(progress.seed, stream, progress.step), &mut self.decided);
        }
        self.sample.draw(&*self.method.relaxation, &self.rows, &self.alphas, progress, stream);
        self.weigh_edges();
    }

    /// Makes the sample anew, with the random numbers that it has.
    pub fn mix(&mut self, progress: Progress) {
        self.sample.mix(&*self.method.relaxation, &self.rows, &self.alphas, progress);
        self.weigh_edges();
    }

    /// Makes the weights of the edges from the betas.
    fn weigh_edges(&mut self) {
        let betas = &self.alphas[self.alpha_count()..];
        self.method.edge_weights.mix(&self.nodes, betas, &mut self.edge_weights);
        self.decide();
    }

    /// Takes a run of candidates out of the sample, and with all of those of an edge what passes them by.
    pub fn remove(&mut self, removed: Range<usize>) {
        for (row, weight) in self.rows.iter().zip(&mut self.edge_weights) {
            if removed.start <= row.start && row.end <= removed.end {
                *weight = 0.0;
            }
        }
        self.sample.weights[removed].fill(0.0);
    }

    /// Gives the edges that were decided without the alphas one candidate or none.
    fn decide(&mut self) {
        let Sample { weights, active, .. } = &mut self.sample;
        for ((row, decision), edge) in self.rows.iter().zip(&self.decided).zip(&mut self.edge_weights) {
            let chosen = match *decision {
                Decision::Open => continue,
                Decision::Chosen(place) => Some(row.start + place),
                Decision::Dropped => {
                    *edge = 0.0;
                    None
                }
            };
            weights[row.clone()].fill(0.0);
            active[row.clone()].fill(false);
            if let Some(place) = chosen {
                (weights[place], active[place]) = (1.0, true);
            }
        }
    }

    /// Draws what disturbs the mixing weights of the sample in a step of the weights.
    pub fn draw_disturbance(&mut self) {
        self.method.perturbation.draw(self.sample.progress, &mut self.disturbance);
    }

    /// Disturbs the mixing weights of the sample.
    pub fn disturb(&mut self) {
        let Method { relaxation, perturbation, .. } = &self.method;
        self.undisturbed.copy_from_slice(&self.sample.weights);
        perturbation.disturb(relaxation.bounds(), &self.rows, &self.disturbance, &mut self.sample.weights);
        self.decide();
    }

    /// A step of an attack on the mixing weights of the sample, where `slopes` is the gradient by them.
    pub fn ascend(&mut self, slopes: &[f64]) {
        let (Method { relaxation, perturbation, .. }, Sample { weights, progress, .. }) =
            (&self.method, &mut self.sample);
        perturbation.ascend(relaxation.bounds(), &self.rows, *progress, [&self.undisturbed, slopes], weights);
        self.decide();
    }

    /// Makes the mixing weights of the sample what they were before they were disturbed.
    pub fn restore(&mut self) {
        self.sample.weights.copy_from_slice(&self.undisturbed);
    }

    /// Overwrites the gradient by the mixing weights of branches that the sample leaves out with what it were if they were
    /// ones, where the relaxation takes them so. `sum` gives the sum of the gradient of an edge's node.
    pub fn complete(&self, slopes: &mut [f64], sum: impl Fn(usize) -> f64) {
        for (edge, row) in self.rows.iter().enumerate() {
            if self.decided[edge] != Decision::Open {
                continue;
            }
            let (active, sum) = (&self.sample.active[row.clone()], sum(edge));
            let left_out = slopes[row.clone()].iter_mut().zip(active).filter(|(_, active)| !**active);
            left_out.for_each(|(slope, _)| *slope = sum);
        }
    }

    /// Leaves the gradient by the alphas and betas at the last sample, of a loss whose gradients by the mixing weights of the
    /// sample and by the weights of the edges are these.
    pub fn pull_back(&mut self, by_weights: &[f64], by_edges: &[f64]) {
        let (alphas, betas) = self.gradient.split_at_mut(self.sample.weights.len());
        let Method { relaxation, edge_weights, .. } = &self.method;
        self.sample.pull_back(&**relaxation, &self.rows, [&self.alphas, by_weights], alphas);
        edge_weights.pull_back(&self.nodes, &self.edge_weights, by_edges, betas);
        let decided =
            self.rows.iter().zip(&self.decided).filter(|(_, decision)| **decision != Decision::Open);
        decided.for_each(|(row, _)| alphas[row.clone()].fill(0.0));
    }

    /// Adds the gradients of the penalties.
    pub fn penalise(&mut self, progress: Progress) {
        let count = self.alpha_count();
        let (alphas, gradient) = (&self.alphas[..count], &mut self.gradient[..count]);
        for penalty in &self.method.penalties {
            penalty.add_gradient(&self.rows, alphas, progress, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::method::edge_weights::EdgeWeights;
    use crate::method::penalty::Penalty;
    use crate::method::penalty::tests::Cubes;
    use crate::search::hypergradient::AlphaGradient;

    /// All edges enter one node.
    fn of(method: Method, rows: Vec<Range<usize>>) -> Architecture {
        let node = 0..rows.len();
        Architecture::new(method, rows, vec![node])
    }

    #[test]
    fn what_was_decided_of_an_edge_does_not_depend_on_its_alphas() {
        let mut architecture = of(Method::darts(AlphaGradient::First), vec![0..3, 3..5, 5..7]);
        architecture.alphas = vec![0.5, -1.0, 2.0, 0.0, 1.0, 0.0, 0.0];
        architecture.decided = vec![Decision::Chosen(1), Decision::Dropped, Decision::Open];
        architecture.draw(Progress::default(), Stream::AlphaSample);
        assert_eq!(architecture.sample.weights, [0.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(architecture.sample.active, [false, true, false, false, false, true, true]);
        architecture.pull_back(&[1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 0.0], &[0.0; 3]);
        assert_eq!(architecture.gradient, [0.0, 0.0, 0.0, 0.0, 0.0, 0.25, -0.25]);
        architecture.restart(0);
        architecture.draw(Progress::default(), Stream::AlphaSample);
        assert!(architecture.sample.active.iter().all(|&active| active));
    }

    #[test]
    fn penalties_are_added_to_the_gradient_of_the_loss() {
        let penalties: Vec<Arc<dyn Penalty>> = vec![Arc::new(Cubes(0.5)), Arc::new(Cubes(2.0))];
        let method = Method { penalties, ..Method::darts(AlphaGradient::First) };
        let mut architecture = of(method, vec![0..2, 2..5]);
        architecture.alphas = vec![0.5, -1.0, 2.0, 0.0, 1.0];
        let progress = Progress { epoch: 1, ..Progress::default() };
        architecture.draw(progress, Stream::AlphaSample);
        architecture.pull_back(&[0.3, -0.2, 1.0, 0.0, -1.0], &[0.0; 2]);
        let alone = architecture.gradient.clone();
        architecture.penalise(progress);
        let added: Vec<f64> = architecture.gradient.iter().zip(alone).map(|(all, own)| all - own).collect();
        let expected = [3.0 * 5.0 * 0.25, 0.0, 3.0 * 5.0 * 4.0, 0.0, 0.0];
        assert!(added.iter().zip(expected).all(|(ours, other)| (ours - other).abs() < 1e-12), "{added:?}");
    }

    /// Two nodes of two edges and of one, which have weights.
    fn weighed() -> Architecture {
        let method = Method { edge_weights: EdgeWeights::Softmax, ..Method::darts(AlphaGradient::First) };
        let mut architecture = Architecture::new(method, vec![0..2, 2..5, 5..7], vec![0..2, 2..3]);
        architecture.alphas = vec![0.5, -1.0, 2.0, 0.0, 1.0, 0.25, -0.5, 0.75, -0.25, 3.0];
        architecture
    }

    #[test]
    fn gradients_by_alphas_and_betas_are_those_of_differences() {
        let mut architecture = weighed();
        let slopes = |values: &[f64]| -> Vec<f64> {
            values.iter().enumerate().map(|(place, value)| (1.0 + place as f64) * value).collect()
        };
        architecture.mix(Progress::default());
        let [by_weights, by_edges] =
            [&architecture.sample.weights, &architecture.edge_weights].map(|values| slopes(values));
        architecture.pull_back(&by_weights, &by_edges);
        // Half the sum of weighed squares has these slopes.
        let loss = |architecture: &Architecture| -> f64 {
            let half = |values: &[f64]| -> f64 {
                values.iter().zip(slopes(values)).map(|(value, slope)| 0.5 * value * slope).sum()
            };
            half(&architecture.sample.weights) + half(&architecture.edge_weights)
        };
        for (place, ours) in architecture.gradient.iter().enumerate() {
            let moved = |step: f64| {
                let mut other = architecture.clone();
                other.alphas[place] += step;
                other.mix(Progress::default());
                loss(&other)
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((ours - difference).abs() < 1e-8, "{place}: {ours}, not {difference}");
        }
    }

    #[test]
    fn an_edge_that_is_no_part_of_the_cell_weighs_nothing() {
        let mut architecture = weighed();
        architecture.decided = vec![Decision::Dropped, Decision::Chosen(1), Decision::Open];
        architecture.mix(Progress::default());
        assert_eq!((architecture.edge_weights[0], architecture.edge_weights[2]), (0.0, 1.0));
        assert!(architecture.edge_weights[1] > 0.0);
        architecture.pull_back(&[1.0; 7], &[1.0; 3]);
        assert_eq!(architecture.gradient[7], 0.0, "the beta of what is dropped stays");
        architecture.decided.fill(Decision::Open);
        architecture.mix(Progress::default());
        architecture.remove(2..4);
        assert!(architecture.edge_weights.iter().all(|&weight| weight > 0.0));
        architecture.remove(2..5);
        assert_eq!((&architecture.sample.weights[2..5], architecture.edge_weights[1]), (&[0.0; 3][..], 0.0));
        assert!(architecture.edge_weights[0] > 0.0 && architecture.sample.weights[0] > 0.0);
    }

    #[test]
    fn penalties_know_nothing_of_betas() {
        let penalties: Vec<Arc<dyn Penalty>> = vec![Arc::new(Cubes(1.0))];
        let mut architecture = weighed();
        architecture.method.penalties = penalties;
        architecture.penalise(Progress { epoch: 1, ..Progress::default() });
        assert_eq!(architecture.gradient[7..], [0.0; 3]);
        assert!(architecture.gradient[0] != 0.0);
    }
}
