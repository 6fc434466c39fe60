//! What a derived network costs: weights, and multiply-adds for one image.

use super::genotype::Genotype;
use super::network::{Network, NetworkShape};
use crate::Result;
use crate::backend::Shape;
use crate::nn::Layout;

/// The cost of a network without its auxiliary head, as the literature counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Number of weights, those of batch norms among them.
    pub weights: usize,
    /// Products of convolutions and of the classifier for one image.
    pub multiply_adds: u64,
}

impl Cost {
    /// The cost of the network of a genotype.
    pub fn of(genotype: &Genotype, shape: &NetworkShape) -> Result<Cost> {
        let parameters = Network::parameters(genotype, &NetworkShape { auxiliary: None, ..*shape })?;
        let mut cost = Cost { weights: parameters.len(), multiply_adds: 0 };
        for parameter in parameters.iter() {
            // A weight of a convolution takes part in every pixel of its result, and every layer of a cell has the
            // resolution of the cell, but for the preprocessing, which has that of the cell before.
            let pixels = match parameter.name.split('.').collect::<Vec<_>>()[..] {
                ["cells", cell, "_ops", ..] => resolution(shape, cell.parse::<usize>().map_or(0, |i| i + 1)),
                ["cells", cell, ..] => resolution(shape, cell.parse().unwrap_or(0)),
                ["stem", ..] => resolution(shape, 0),
                _ => 1,
            };
            if !matches!(parameter.layout, Layout::Vector { .. }) {
                cost.multiply_adds += (parameter.part.len * pixels) as u64;
            }
        }
        Ok(cost)
    }
}

/// Pixels of a feature map behind so many cells.
fn resolution(shape: &NetworkShape, cells: usize) -> usize {
    let image = Shape { n: 1, ..shape.images };
    let halve = |maps: Shape, _| maps.strided(2, 1);
    (0..cells).filter(|&index| shape.is_reduction(index)).fold(image, halve).image_pixels()
}
