//! The operators that networks of cells are made of. A network is described once, in these terms, and read by several: to
//! record it on a tape, to export it, and to count what it costs.

use super::blocks::{
    ClassifierBlock, ConvolutionBlock, NormBlock, PointwiseBlock, PoolsBlock, SeparableBlock,
};
use crate::Result;
use crate::autograd::Window;
use crate::backend::PoolKind;

/// What an edge brings to its node.
#[derive(Clone, Debug)]
pub struct Incoming<V> {
    /// The results of its operations.
    pub branches: Vec<Branch<V>>,
    /// With partial channel connections, the state whose other channels pass the operations by.
    pub passing: Option<Passing<V>>,
}

/// What passes the operations of an edge by.
#[derive(Clone, Debug)]
pub struct Passing<V> {
    /// The state, of the node's shape. Its first channels, which the operations compute with, do not pass.
    pub value: V,
    /// The place of the edge's weight.
    pub weight: usize,
}

/// The result of an operation on an edge.
#[derive(Clone, Debug)]
pub struct Branch<V> {
    /// The result.
    pub value: V,
    /// The place of its mixing weight.
    pub mixing: usize,
    /// Whether the operation is an identity, which drop path never drops.
    pub identity: bool,
}

/// A reader of a network's description.
pub trait Graph {
    /// Images or feature maps.
    type Value: Clone;

    /// A dense convolution, with a ReLU in front of it and a batch norm behind it as the block says.
    fn convolution(&mut self, input: &Self::Value, block: &ConvolutionBlock) -> Result<Self::Value>;

    /// ReLU, 1x1 convolution over the inputs' concatenated channels, batch norm.
    fn pointwise(&mut self, inputs: &[Self::Value], block: &PointwiseBlock) -> Result<Self::Value>;

    /// Separable convolutions of sources of one shape, with all blocks that read each of them; the results in their
    /// order.
    fn separable(
        &mut self,
        sources: &[(Self::Value, Vec<&SeparableBlock>)],
        stride: usize,
    ) -> Result<Vec<Self::Value>>;

    /// Pooling of one kind, without batch norm.
    fn pool(
        &mut self,
        name: &str,
        input: &Self::Value,
        kind: PoolKind,
        window: Window,
    ) -> Result<Self::Value>;

    /// The maximum and the average of 3x3 neighbourhoods, each with a batch norm: the pools of a supernet.
    fn normalised_pools(
        &mut self,
        input: &Self::Value,
        block: &PoolsBlock,
        stride: usize,
    ) -> Result<[Self::Value; 2]>;

    /// A skip connection at stride 1: the value itself, of which a search may drop elements.
    fn skip(&mut self, value: &Self::Value) -> Result<Self::Value> {
        Ok(value.clone())
    }

    /// The first channels of a state, with which partial channel connections compute.
    fn channel_slice(&mut self, input: &Self::Value, channels: usize) -> Result<Self::Value>;

    /// The sum of what the edges bring to a node.
    fn node(&mut self, name: &str, edges: &[Incoming<Self::Value>]) -> Result<Self::Value>;

    /// The sum of values, none of which has a weight or is dropped.
    fn sum(&mut self, name: &str, values: &[Self::Value]) -> Result<Self::Value>;

    /// Zeros of the shape of a value: a node that no operation enters.
    fn zeros(&mut self, name: &str, alike: &Self::Value) -> Result<Self::Value>;

    /// Batch norm and ReLU of a value that has no batch norm of its own.
    fn normalise(&mut self, input: &Self::Value, block: &NormBlock) -> Result<Self::Value>;

    /// The output of a cell: its nodes. Readers take their channels as concatenated.
    fn output(&mut self, name: &str, nodes: Vec<Self::Value>) -> Vec<Self::Value> {
        let _ = name;
        nodes
    }

    /// The mean of each of the features' concatenated channels, and a linear layer: the logits.
    fn classifier(&mut self, features: &[Self::Value], block: &ClassifierBlock) -> Result<Self::Value>;
}
