//! What alphas weigh: how the numbers of an edge are compared when a genotype is derived, and shown.

use serde::{Deserialize, Serialize};

/// How the alphas of an edge become the weights of its candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighing {
    /// The softmax: the weights are shares of 1.
    #[default]
    Softmax,
    /// The sigmoid of each: the weights are from 0 to 1 and do not depend on each other.
    Sigmoid,
}

impl Weighing {
    /// Whether it is the default, which files leave out.
    pub(super) fn is_softmax(&self) -> bool {
        *self == Weighing::Softmax
    }

    /// The weights of an edge's candidates.
    pub fn weights(self, row: &[f64]) -> Vec<f64> {
        match self {
            Weighing::Softmax => softmax(row.iter().copied()).collect(),
            Weighing::Sigmoid => row.iter().copied().map(sigmoid).collect(),
        }
    }

    /// The weights as shares of 1.
    pub fn shares(self, row: &[f64]) -> Vec<f64> {
        let mut weights = self.weights(row);
        if self == Weighing::Sigmoid {
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        weights
    }
}

/// `exp(x_k) / sum_j exp(x_j)`.
pub fn softmax(values: impl Iterator<Item = f64> + Clone) -> impl Iterator<Item = f64> {
    // The largest is subtracted so that nothing overflows.
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.clone().map(|value| (value - largest).exp()).sum();
    values.map(move |value| (value - largest).exp() / sum)
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(value: f64) -> f64 {
    // exp of a large number would overflow.
    let small = (-value.abs()).exp();
    if value < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_and_sigmoid_do_not_overflow() {
        // exp(1) / (exp(1) + exp(2) + exp(3)) and so on.
        let weights = Weighing::Softmax.weights(&[1.0, 2.0, 3.0]);
        let expected = [0.09003057317038046, 0.24472847105479767, 0.6652409557748219];
        assert!(
            weights.iter().zip(expected).all(|(ours, torch)| (ours - torch).abs() < 1e-15),
            "{weights:?}"
        );
        assert_eq!(Weighing::Softmax.weights(&[1e308, 1e308, -1e308]), [0.5, 0.5, 0.0]);
        assert_eq!(Weighing::Sigmoid.weights(&[-1e308, 0.0, 1e308]), [0.0, 0.5, 1.0]);
        assert!((sigmoid(-1.0) + sigmoid(1.0) - 1.0).abs() < 1e-16);
    }

    #[test]
    fn shares_add_up_to_one() {
        let row = [0.3, -1.0, 2.0];
        assert_eq!(Weighing::Softmax.shares(&row), Weighing::Softmax.weights(&row));
        assert!((Weighing::Sigmoid.shares(&row).iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert_eq!(Weighing::Sigmoid.shares(&[0.0; 4]), [0.25; 4]);
    }
}
