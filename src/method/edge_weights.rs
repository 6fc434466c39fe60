//! The weights of edges: what multiplies everything that an edge brings to its node, beside the mixing weights of its
//! candidates.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::space::weighing::softmax;

/// How the edges of a node are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeWeights {
    /// All by 1, as in DARTS.
    None,
    /// By the softmax of numbers that are learned as the alphas are, the betas, over the edges of a node (edge normalisation:
    /// Xu et al., PC-DARTS, ICLR 2020, equation 4).
    Softmax,
}

impl EdgeWeights {
    /// All of them.
    pub const ALL: [EdgeWeights; 2] = [EdgeWeights::None, EdgeWeights::Softmax];

    /// Betas of so many edges.
    pub fn betas(self, edges: usize) -> usize {
        match self {
            EdgeWeights::None => 0,
            EdgeWeights::Softmax => edges,
        }
    }

    /// Overwrites the weights of edges, of which those of a node are a range.
    pub fn mix(self, nodes: &[Range<usize>], betas: &[f64], weights: &mut [f64]) {
        match self {
            EdgeWeights::None => weights.fill(1.0),
            EdgeWeights::Softmax => {
                for node in nodes {
                    let shares = softmax(betas[node.clone()].iter().copied());
                    weights[node.clone()].iter_mut().zip(shares).for_each(|(weight, share)| *weight = share);
                }
            }
        }
    }

    /// The vector-Jacobian product at these weights: overwrites `gradient` with the gradient by the betas, of a loss whose
    /// gradient by the weights is `slopes`.
    pub fn pull_back(self, nodes: &[Range<usize>], weights: &[f64], slopes: &[f64], gradient: &mut [f64]) {
        if self == EdgeWeights::None {
            return;
        }
        for node in nodes {
            let [weights, slopes] = [weights, slopes].map(|values| &values[node.clone()]);
            let mean: f64 = weights.iter().zip(slopes).map(|(weight, slope)| weight * slope).sum();
            for ((gradient, weight), slope) in gradient[node.clone()].iter_mut().zip(weights).zip(slopes) {
                *gradient = weight * (slope - mean);
            }
        }
    }
}

/// Its name in a plan.
impl fmt::Display for EdgeWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [Range<usize>; 3] = [0..2, 2..5, 5..6];
    const BETAS: [f64; 6] = [0.3, -1.2, 0.7, 2.0, -0.4, 5.0];

    fn weights(betas: &[f64]) -> [f64; 6] {
        let mut weights = [f64::NAN; 6];
        EdgeWeights::Softmax.mix(&NODES, betas, &mut weights);
        weights
    }

    #[test]
    fn the_weights_of_a_node_are_shares() {
        for node in NODES {
            assert!((weights(&BETAS)[node].iter().sum::<f64>() - 1.0).abs() < 1e-15);
        }
        let mut ones = [f64::NAN; 6];
        EdgeWeights::None.mix(&NODES, &[], &mut ones);
        assert_eq!(ones, [1.0; 6]);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let slopes = [0.9, -2.0, 0.1, 1.5, -0.6, 0.8];
        let loss = |betas: &[f64]| -> f64 {
            weights(betas).iter().zip(slopes).map(|(weight, slope)| weight * slope).sum()
        };
        let mut gradient = [f64::NAN; 6];
        EdgeWeights::Softmax.pull_back(&NODES, &weights(&BETAS), &slopes, &mut gradient);
        for (edge, ours) in gradient.into_iter().enumerate() {
            let [above, below] = [1e-6, -1e-6].map(|step| {
                let mut betas = BETAS;
                betas[edge] += step;
                loss(&betas)
            });
            let difference = (above - below) / 2e-6;
            assert!((ours - difference).abs() < 1e-9, "{edge}: {ours}, not {difference}");
        }
    }
}
