//! Recording a network on a tape.

use super::blocks::{
    ClassifierBlock, ConvolutionBlock, NormBlock, PointwiseBlock, PoolsBlock, SeparableBlock, Users,
};
use super::drop_path::DropPath;
use super::graph::{Branch, Graph, Incoming, Passing};
use super::parameters::{NormParts, Spans};
use super::skip_dropout::SkipDropout;
use crate::Result;
use crate::autograd::{MixingWeights, NormParameters, Recorder, Value, Weight, Window};
use crate::backend::{Backend, PoolKind, Span};

/// A recorder, where the parameters lie, and how nodes add up their branches.
pub struct Recording<'a, B: Backend> {
    /// The tape being recorded.
    pub recorder: &'a mut Recorder<B>,
    /// The flat vectors of the parameters.
    pub spans: &'a Spans,
    /// How nodes add up their branches.
    pub sums: NodeSums,
    /// The masks of skip connections, where elements of these are dropped.
    pub skip_dropout: Option<SkipDropout>,
}

/// How nodes add up their branches.
pub enum NodeSums {
    /// Weighted: in a search. With drop path, the sum of each edge has factors.
    Mixed(MixingWeights, Option<DropPath>),
    /// As they are: in a training. With drop path, each branch but an identity has factors.
    Plain(Option<DropPath>),
}

impl<B: Backend> Recording<'_, B> {
    /// The gate of work that these branches use.
    fn gate(&mut self, users: Option<&Users>) -> Option<Span> {
        match (&self.sums, users) {
            (NodeSums::Mixed(weights, _), Some(Users(users))) => self.recorder.gate(*weights, users),
            _ => None,
        }
    }

    /// A batch norm behind a gate.
    fn gated(&mut self, norm: NormParts, users: Option<&Users>) -> NormParameters {
        NormParameters { gate: self.gate(users), ..self.spans.norm(norm) }
    }
}

impl<B: Backend> Graph for Recording<'_, B> {
    type Value = Value;

    fn convolution(&mut self, input: &Value, block: &ConvolutionBlock) -> Result<Value> {
        let gate = self.gate(block.users.as_ref());
        self.recorder.convolution(*input, block.parameters(self.spans, gate))
    }

    fn pointwise(&mut self, inputs: &[Value], block: &PointwiseBlock) -> Result<Value> {
        let weights: Vec<Weight> = block.matrices.iter().map(|&part| self.spans.weight(part)).collect();
        let norm = self.gated(block.norm, block.users.as_ref());
        self.recorder.pointwise(inputs, &weights, block.channels, norm)
    }

    fn separable(&mut self, sources: &[(Value, Vec<&SeparableBlock>)], stride: usize) -> Result<Vec<Value>> {
        let channels = sources.iter().flat_map(|(_, blocks)| blocks).map(|block| block.channels).next();
        let mut parameters = |blocks: &[&SeparableBlock]| -> Vec<_> {
            let gated =
                blocks.iter().map(|block| block.parameters(self.spans, self.gate(block.users.as_ref())));
            gated.collect()
        };
        let sources: Vec<_> = sources.iter().map(|(value, blocks)| (*value, parameters(blocks))).collect();
        self.recorder.separable(&sources, stride, channels.unwrap_or_default())
    }

    fn pool(&mut self, _: &str, input: &Value, kind: PoolKind, window: Window) -> Result<Value> {
        self.recorder.pool(*input, kind, window, false)
    }

    fn normalised_pools(&mut self, input: &Value, block: &PoolsBlock, stride: usize) -> Result<[Value; 2]> {
        let norms = [0, 1].map(|pool| self.gated(block.norms[pool], Some(&block.users[pool])));
        Ok(self.recorder.normalised_pools(*input, stride, norms))
    }

    fn skip(&mut self, value: &Value) -> Result<Value> {
        let Some(skip_dropout) = &mut self.skip_dropout else { return Ok(*value) };
        let mask = skip_dropout.next(self.recorder, self.recorder.shape(*value));
        self.recorder.dropout(*value, mask)
    }

    fn channel_slice(&mut self, input: &Value, channels: usize) -> Result<Value> {
        self.recorder.channel_slice(*input, channels)
    }

    fn node(&mut self, _: &str, edges: &[Incoming<Value>]) -> Result<Value> {
        match &mut self.sums {
            NodeSums::Mixed(weights, None) => {
                let mixed = self.recorder.mixed(&weighted(edges), *weights)?;
                let passing: Vec<_> = edges.iter().filter_map(|edge| passing(edge, *weights)).collect();
                if passing.is_empty() { Ok(mixed) } else { self.recorder.bypass(mixed, &passing) }
            }
            NodeSums::Mixed(weights, Some(drop_path)) => {
                let mut sums = Vec::with_capacity(edges.len());
                for edge in edges {
                    let sum = self.recorder.mixed(&weighted(std::slice::from_ref(edge)), *weights)?;
                    sums.push((sum, Some(drop_path.of_next_term())));
                }
                self.recorder.node_sum(&sums)
            }
            NodeSums::Plain(drop_path) => {
                let factors = |branch: &Branch<Value>| {
                    if branch.identity { None } else { drop_path.as_mut().map(DropPath::of_next_term) }
                };
                let branches = edges.iter().flat_map(|edge| &edge.branches);
                let values = branches.clone().map(|branch| branch.value);
                let branches: Vec<_> = values.zip(branches.map(factors)).collect();
                self.recorder.node_sum(&branches)
            }
        }
    }

    fn sum(&mut self, _: &str, values: &[Value]) -> Result<Value> {
        self.recorder.node_sum(&values.iter().map(|&value| (value, None)).collect::<Vec<_>>())
    }

    fn zeros(&mut self, _: &str, alike: &Value) -> Result<Value> {
        // State that nobody writes is zero.
        let factors = self.recorder.span(self.recorder.shape(*alike).n as usize);
        self.recorder.node_sum(&[(*alike, Some(factors))])
    }

    fn normalise(&mut self, input: &Value, block: &NormBlock) -> Result<Value> {
        let normalised = self.recorder.normalise(*input, self.spans.norm(block.norm))?;
        let pixel = Window { kernel: 1, stride: 1, padding: 0 };
        self.recorder.pool(normalised, PoolKind::Average, pixel, true)
    }

    fn classifier(&mut self, features: &[Value], block: &ClassifierBlock) -> Result<Value> {
        let pooled = self.recorder.global_pool(features)?;
        self.recorder.linear(pooled, self.spans.weight(block.weights), self.spans.weight(block.bias))
    }
}

/// The branches of edges, each with the place of its mixing weight.
fn weighted(edges: &[Incoming<Value>]) -> Vec<(Value, usize)> {
    let branches = edges.iter().flat_map(|edge| &edge.branches);
    branches.map(|branch| (branch.value, branch.mixing)).collect()
}

/// What passes the branches of an edge by, with the weight of the edge.
fn passing(edge: &Incoming<Value>, weights: MixingWeights) -> Option<(Value, Weight)> {
    let Passing { value, weight } = *edge.passing.as_ref()?;
    let [own, gradient] = [weights.value, weights.gradient].map(|span| span.part(weight, 1));
    Some((value, Weight { value: own, gradient }))
}
