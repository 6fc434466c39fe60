//! The alphas of a search, on the host in f64, between the supernet's mixing weights and their optimiser.

use std::ops::Range;

use super::method::Method;
use crate::method::progress::Progress;
use crate::method::relaxation::{Sample, initial_alphas};
use crate::random::Stream;
use crate::space::alphas::Decision;

/// The alphas, the sample that the supernet computes with, and the gradient. Vectors lie row after row; a row is an edge.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The table of each type of cell, one after another.
    pub alphas: Vec<f64>,
    /// The gradient of a loss by them.
    pub gradient: Vec<f64>,
    /// What is done with them.
    pub method: Method,
    /// What the supernet computes with.
    pub sample: Sample,
    /// The noise that disturbs the mixing weights of a sample.
    pub disturbance: Vec<f64>,
    /// The mixing weights before they were disturbed.
    undisturbed: Vec<f64>,
    /// What was decided of each edge without the alphas.
    pub decided: Vec<Decision>,
    rows: Vec<Range<usize>>,
}

impl Architecture {
    /// Alphas of zero for these rows.
    pub fn new(method: Method, rows: Vec<Range<usize>>) -> Self {
        let count = rows.last().map_or(0, |row| row.end);
        let [alphas, gradient, disturbance, undisturbed] = [(); 4].map(|()| vec![0.0; count]);
        let (sample, decided) = (Sample::new(count), vec![Decision::Open; rows.len()]);
        Architecture { alphas, gradient, method, sample, disturbance, undisturbed, decided, rows }
    }

    /// Sets the alphas to their start for `seed`.
    pub fn restart(&mut self, seed: u64) {
        self.alphas = initial_alphas(self.alphas.len(), self.method.alpha_deviation, seed);
        self.decided.fill(Decision::Open);
    }

    /// Draws a new sample, whose random numbers are those of the stream.
    pub fn draw(&mut self, progress: Progress, stream: Stream) {
        self.sample.draw(&*self.method.relaxation, &self.rows, &self.alphas, progress, stream);
        self.decide();
    }

    /// Makes the sample anew, with the random numbers that it has.
    pub fn mix(&mut self, progress: Progress) {
        self.sample.mix(&*self.method.relaxation, &self.rows, &self.alphas, progress);
        self.decide();
    }

    /// Gives the edges that were decided without the alphas one candidate or none.
    fn decide(&mut self) {
        let Sample { weights, active, .. } = &mut self.sample;
        for (row, decision) in self.rows.iter().zip(&self.decided) {
            let chosen = match *decision {
                Decision::Open => continue,
                Decision::Chosen(place) => Some(row.start + place),
                Decision::Dropped => None,
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

    /// Leaves the gradient by the alphas at the last sample, of a loss whose gradient by the mixing weights is `slopes`.
    pub fn pull_back(&mut self, slopes: &[f64]) {
        let alphas_and_slopes = [&self.alphas[..], slopes];
        self.sample.pull_back(&*self.method.relaxation, &self.rows, alphas_and_slopes, &mut self.gradient);
        let decided =
            self.rows.iter().zip(&self.decided).filter(|(_, decision)| **decision != Decision::Open);
        decided.for_each(|(row, _)| self.gradient[row.clone()].fill(0.0));
    }

    /// Adds the gradients of the penalties.
    pub fn penalise(&mut self, progress: Progress) {
        for penalty in &self.method.penalties {
            penalty.add_gradient(&self.rows, &self.alphas, progress, &mut self.gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::method::penalty::Penalty;
    use crate::method::penalty::tests::Cubes;
    use crate::search::hypergradient::AlphaGradient;

    #[test]
    fn what_was_decided_of_an_edge_does_not_depend_on_its_alphas() {
        let mut architecture = Architecture::new(Method::darts(AlphaGradient::First), vec![0..3, 3..5, 5..7]);
        architecture.alphas = vec![0.5, -1.0, 2.0, 0.0, 1.0, 0.0, 0.0];
        architecture.decided = vec![Decision::Chosen(1), Decision::Dropped, Decision::Open];
        architecture.draw(Progress::default(), Stream::AlphaSample);
        assert_eq!(architecture.sample.weights, [0.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(architecture.sample.active, [false, true, false, false, false, true, true]);
        architecture.pull_back(&[1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 0.0]);
        assert_eq!(architecture.gradient, [0.0, 0.0, 0.0, 0.0, 0.0, 0.25, -0.25]);
        architecture.restart(0);
        architecture.draw(Progress::default(), Stream::AlphaSample);
        assert!(architecture.sample.active.iter().all(|&active| active));
    }

    #[test]
    fn penalties_are_added_to_the_gradient_of_the_loss() {
        let penalties: Vec<Arc<dyn Penalty>> = vec![Arc::new(Cubes(0.5)), Arc::new(Cubes(2.0))];
        let method = Method { penalties, ..Method::darts(AlphaGradient::First) };
        let mut architecture = Architecture::new(method, vec![0..2, 2..5]);
        architecture.alphas = vec![0.5, -1.0, 2.0, 0.0, 1.0];
        let progress = Progress { epoch: 1, ..Progress::default() };
        architecture.draw(progress, Stream::AlphaSample);
        architecture.pull_back(&[0.3, -0.2, 1.0, 0.0, -1.0]);
        let alone = architecture.gradient.clone();
        architecture.penalise(progress);
        let added: Vec<f64> = architecture.gradient.iter().zip(alone).map(|(all, own)| all - own).collect();
        let expected = [3.0 * 5.0 * 0.25, 0.0, 3.0 * 5.0 * 4.0, 0.0, 0.0];
        assert!(added.iter().zip(expected).all(|(ours, other)| (ours - other).abs() < 1e-12), "{added:?}");
    }
}
