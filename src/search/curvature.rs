//! The curvature of the validation loss in the alphas: the largest eigenvalue of its Hessian. Where it grows, the loss
//! changes much when the alphas become a genotype (Zela et al., Understanding and Robustifying DARTS, ICLR 2020, section 4).

use super::bilevel::Bilevel;
use super::lanczos::{Accuracy, Eigenvalue, largest_eigenvalue};
use crate::Result;
use crate::backend::{Backend, Gradients, Mode};
use crate::epochs::Input;
use crate::random::{Stream, generator};
use rand::RngExt;

/// How far the alphas move in each direction for a product with the Hessian (Euclidean distance). Between the kinks of ReLU
/// and maximum a short distance is best: on the golden net, in f64, 1e-4 gives the eigenvalue of double backward to 2e-8. A
/// supernet of common size has kinks within any distance, and what they add to an eigenvalue grows as the distance
/// shrinks. After 20 steps of the weights, supernets of 3 to 8 cells had at 0.1 the same eigenvalue as at 0.3, up to a
/// sixth, and at 1e-3 two to five times as much.
pub const DISTANCE: f64 = 0.1;
/// When the eigenvalue is good enough to compare epochs by it.
pub const ACCURACY: Accuracy = Accuracy { products: 30, change: 1e-3 };

impl<B: Backend> Bilevel<B> {
    /// The largest eigenvalue of the Hessian by the alphas of the loss on a batch plus half the decay of the alphas times
    /// their square, as the official code has it, at a sample of the stream for evaluations. Each product is a central
    /// difference of two gradients. Batch norms take the statistics of the batch; weights, running statistics and alphas
    /// are afterwards as before.
    pub fn curvature<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        distance: f64,
        accuracy: Accuracy,
    ) -> Result<Eigenvalue> {
        let batch = batch.into();
        let mut random = generator(self.progress.seed, Stream::Curvature, self.progress.step);
        let here = self.architecture.alphas[..self.architecture.alpha_count()].to_vec();
        let start: Vec<f64> = here.iter().map(|_| random.random_range(-1.0..1.0)).collect();
        self.draw(Stream::EvaluationSample);
        let eigenvalue = largest_eigenvalue(&start, accuracy, |direction, product| {
            product.fill(0.0);
            for side in [distance, -distance] {
                self.move_alphas(&here, side, direction);
                self.differentiate(batch, Mode::TrainKeepRunning, Gradients::Inputs)?;
                self.pull_back(self.supernet.mixing.gradient);
                let slopes = &self.architecture.gradient;
                product.iter_mut().zip(slopes).for_each(|(product, slope)| *product += slope / (2.0 * side));
            }
            self.tape.status()
        });
        self.move_alphas(&here, 0.0, &here);
        let eigenvalue = eigenvalue?;
        Ok(Eigenvalue { value: eigenvalue.value + self.adam.settings.decay, ..eigenvalue })
    }

    /// Puts the alphas so far from a place in a direction, and hands the supernet its sample anew.
    fn move_alphas(&mut self, from: &[f64], distance: f64, direction: &[f64]) {
        let moved = from.iter().zip(direction).map(|(from, direction)| from + distance * direction);
        self.architecture.alphas.iter_mut().zip(moved).for_each(|(alpha, moved)| *alpha = moved);
        self.architecture.mix(self.progress);
        self.load_sample();
    }
}
