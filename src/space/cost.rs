//! What a derived network costs: weights, and multiply-adds for one image.

use super::genotype::Genotype;
use super::network::{Network, NetworkShape};
use crate::Result;
use crate::autograd::Window;
use crate::backend::{PoolKind, Shape};
use crate::nn::{
    ClassifierBlock, ConvolutionBlock, Graph, Incoming, NormBlock, PointwiseBlock, PoolsBlock, SeparableBlock,
};

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
        let (stack, parameters) = Network::declare(genotype, &NetworkShape { auxiliary: None, ..*shape });
        let mut counter = Counter { products: 0 };
        let features = stack.emit(&mut counter, &Shape { n: 1, ..shape.images })?;
        stack.classify(&mut counter, features.layers.last().map_or(&[][..], Vec::as_slice))?;
        Ok(Cost { weights: parameters.len(), multiply_adds: counter.products as u64 })
    }
}

/// Counts the products of what it reads; a value is its shape.
struct Counter {
    products: usize,
}

impl Counter {
    /// A result in which each value is the sum of so many products.
    fn result(&mut self, shape: Shape, terms: usize) -> Shape {
        self.products += shape.len() * terms;
        shape
    }
}

impl Graph for Counter {
    type Value = Shape;

    fn convolution(&mut self, input: &Shape, block: &ConvolutionBlock) -> Result<Shape> {
        let terms = block.window.taps() * input.c as usize;
        Ok(self.result(block.window.over(*input, block.channels).unwrap_or_default(), terms))
    }

    fn pointwise(&mut self, inputs: &[Shape], block: &PointwiseBlock) -> Result<Shape> {
        let terms = inputs.iter().map(|input| input.c as usize).sum();
        let first = inputs.first().copied().unwrap_or_default();
        Ok(self.result(first.strided(block.stride(), block.channels), terms))
    }

    fn separable(&mut self, sources: &[(Shape, Vec<&SeparableBlock>)], stride: usize) -> Result<Vec<Shape>> {
        let mut results = Vec::new();
        for (input, blocks) in sources {
            for block in blocks {
                let inner = self.result(input.strided(stride, block.channels), block.kernel * block.kernel);
                results.push(self.result(inner, block.channels));
            }
        }
        Ok(results)
    }

    fn pool(&mut self, _: &str, input: &Shape, _: PoolKind, window: Window) -> Result<Shape> {
        let Window { kernel, stride, padding } = window;
        Ok(input.windows(kernel, stride, padding, input.c as usize).unwrap_or_default())
    }

    fn normalised_pools(&mut self, input: &Shape, _: &PoolsBlock, stride: usize) -> Result<[Shape; 2]> {
        Ok([input.strided(stride, input.c as usize); 2])
    }

    fn channel_slice(&mut self, input: &Shape, channels: usize) -> Result<Shape> {
        Ok(input.strided(1, channels))
    }

    fn node(&mut self, _: &str, edges: &[Incoming<Shape>]) -> Result<Shape> {
        let mut branches = edges.iter().flat_map(|edge| &edge.branches);
        Ok(branches.next().map(|branch| branch.value).unwrap_or_default())
    }

    fn sum(&mut self, _: &str, values: &[Shape]) -> Result<Shape> {
        Ok(values.first().copied().unwrap_or_default())
    }

    fn zeros(&mut self, _: &str, alike: &Shape) -> Result<Shape> {
        Ok(*alike)
    }

    fn normalise(&mut self, input: &Shape, _: &NormBlock) -> Result<Shape> {
        Ok(*input)
    }

    fn classifier(&mut self, features: &[Shape], block: &ClassifierBlock) -> Result<Shape> {
        let inputs = features.iter().map(|feature| feature.c as usize).sum();
        Ok(self.result(Shape::new(1, 1, 1, block.classes), inputs))
    }
}
