//! What a supernet computes with: the sample of the architecture, and what edges have beside their candidates.

use crate::method::relaxation::Sample;

/// The mixing weights of a supernet, and which branches are active.
pub struct Mixture {
    /// The mixing weights.
    pub weights: Vec<f64>,
    /// Which branches are computed at all.
    pub active: Vec<bool>,
    /// The places to which the weight of an auxiliary skip is added.
    auxiliary_skips: Vec<usize>,
}

impl Mixture {
    /// Zeros for so many mixing weights, all active.
    pub fn new(len: usize, auxiliary_skips: Vec<usize>) -> Self {
        Mixture { weights: vec![0.0; len], active: vec![true; len], auxiliary_skips }
    }

    /// Takes the weights of a sample; each auxiliary skip weighs `auxiliary_skip`, and is not computed where that is nothing.
    pub fn take(&mut self, sample: &Sample, auxiliary_skip: f64) {
        let (weights, own_weights) = self.weights.split_at_mut(sample.weights.len());
        let (active, own_active) = self.active.split_at_mut(sample.active.len());
        weights.copy_from_slice(&sample.weights);
        active.copy_from_slice(&sample.active);
        own_weights.fill(0.0);
        own_active.fill(false);
        if auxiliary_skip != 0.0 {
            for &place in &self.auxiliary_skips {
                self.weights[place] += auxiliary_skip;
                self.active[place] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_auxiliary_skip_adds_its_weight_and_without_weight_is_none() {
        let sample = Sample { weights: vec![0.25, 0.75], active: vec![false, true], ..Sample::new(2) };
        let mut mixture = Mixture::new(3, vec![0, 2]);
        mixture.take(&sample, 0.5);
        assert_eq!((&mixture.weights[..], &mixture.active[..]), (&[0.75, 0.75, 0.5][..], &[true; 3][..]));
        mixture.take(&sample, 0.0);
        assert_eq!(mixture.weights, [0.25, 0.75, 0.0]);
        assert_eq!(mixture.active, [false, true, false]);
    }
}
