//! A cell of the supernet: two preprocessed inputs, then nodes, each the sum of a mixed operation on every
//! earlier state (DARTS, section 2.1 and figure 1).

use super::alphas::{CANDIDATES, edge};
use super::genotype::Operation;
use crate::Result;
use crate::autograd::{MixingWeights, Recorder, Value};
use crate::backend::Backend;
use crate::nn::parameters::NormParts;
use crate::nn::{Parameters, PointwiseBlock, SeparableBlock, Spans};

/// What a cell is made of.
#[derive(Clone, Copy, Debug)]
pub struct CellShape {
    /// Number of intermediate nodes.
    pub nodes: usize,
    /// Channels of the output of the cell before the previous one.
    pub before_previous: usize,
    /// Channels of the output of the previous cell.
    pub previous: usize,
    /// Channels of each node.
    pub channels: usize,
    /// Whether this cell halves the resolution.
    pub reduction: bool,
    /// Whether the previous cell did.
    pub previous_reduction: bool,
}

/// The convolutions of an edge, in the order of their recording.
const CONVOLUTIONS: [Operation; 4] =
    [Operation::SepConv3x3, Operation::SepConv5x5, Operation::DilConv3x3, Operation::DilConv5x5];

/// A declared cell.
pub struct Cell {
    shape: CellShape,
    preprocess: [PointwiseBlock; 2],
    edges: Vec<EdgeBlocks>,
    pools: Vec<[NormParts; 2]>,
}

/// The weights of one edge's candidates.
struct EdgeBlocks {
    factorized_reduce: Option<PointwiseBlock>,
    /// sep_conv_3x3 and sep_conv_5x5: both of their halves.
    separable: [[SeparableBlock; 2]; 2],
    /// dil_conv_3x3 and dil_conv_5x5.
    dilated: [SeparableBlock; 2],
}

impl Cell {
    /// Declares the parameters of cell `prefix`.
    pub fn declare(parameters: &mut Parameters, prefix: &str, shape: CellShape) -> Self {
        let channels = shape.channels;
        let name = |i: usize| format!("{prefix}.preprocess{i}");
        let first = if shape.previous_reduction {
            PointwiseBlock::halve_resolution(parameters, &name(0), [shape.before_previous, channels], false)
        } else {
            PointwiseBlock::keep_resolution(parameters, &name(0), [shape.before_previous, channels], false)
        };
        let second = PointwiseBlock::keep_resolution(parameters, &name(1), [shape.previous, channels], false);
        let mut declared = Vec::new();
        for node in 0..shape.nodes {
            for state in 0..2 + node {
                let prefix = format!("{prefix}._ops.{}._ops", edge(node, state));
                declared.push(EdgeBlocks::declare(parameters, &prefix, channels, shape.stride(state)));
            }
        }
        let pools = (0..shape.states_with_edges())
            .map(|state| {
                [Operation::MaxPool3x3, Operation::AveragePool3x3]
                    .map(|pool| declare_pool(parameters, prefix, shape, state, pool))
            })
            .collect();
        Cell { shape, preprocess: [first, second], edges: declared, pools }
    }

    /// Records the cell on the outputs of the two cells before; returns its nodes, whose concatenated
    /// channels are its output.
    pub fn record<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        weights: MixingWeights,
        inputs: [&[Value]; 2],
    ) -> Result<Vec<Value>> {
        let mut branches: Vec<Vec<(Value, usize)>> = vec![Vec::new(); self.shape.nodes];
        for (state, input) in inputs.into_iter().enumerate() {
            let value = self.preprocess[state].record(recorder, spans, input, None)?;
            self.expand(recorder, spans, weights, state, value, &mut branches)?;
        }
        let mut nodes = Vec::new();
        for node in 0..self.shape.nodes {
            let value = recorder.mixed(&branches[node], weights)?;
            self.expand(recorder, spans, weights, 2 + node, value, &mut branches)?;
            nodes.push(value);
        }
        Ok(nodes)
    }

    /// Records every candidate on every edge that leaves `state`, and hands the results to the nodes where
    /// the edges end. Going by states, not by edges, lets all of them share one reading of the state.
    fn expand<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        weights: MixingWeights,
        state: usize,
        value: Value,
        branches: &mut [Vec<(Value, usize)>],
    ) -> Result<()> {
        if state >= self.shape.states_with_edges() {
            return Ok(());
        }
        let stride = self.shape.stride(state);
        let nodes: Vec<usize> = self.shape.nodes_after(state).collect();
        let mut hand = |node: usize, operation: Operation, value: Value| {
            branches[node].push((value, branch(node, state, operation)));
        };
        let mut norms = self.pools[state].map(|norm| spans.norm(norm));
        for (norm, pool) in norms.iter_mut().zip([Operation::MaxPool3x3, Operation::AveragePool3x3]) {
            let users: Vec<usize> = nodes.iter().map(|&node| branch(node, state, pool)).collect();
            norm.gate = recorder.gate(weights, &users);
        }
        let [maximum, average] = recorder.normalised_pools(value, stride, norms);
        for &node in &nodes {
            hand(node, Operation::MaxPool3x3, maximum);
            hand(node, Operation::AveragePool3x3, average);
            let skip = match &self.edges[edge(node, state)].factorized_reduce {
                Some(block) => {
                    let gate = recorder.gate(weights, &[branch(node, state, Operation::SkipConnect)]);
                    block.record(recorder, spans, &[value], gate)?
                }
                None => value,
            };
            hand(node, Operation::SkipConnect, skip);
        }
        let convolutions = self.record_convolutions(recorder, spans, weights, value, state, &nodes)?;
        for (&node, values) in nodes.iter().zip(convolutions.chunks(4)) {
            values.iter().zip(CONVOLUTIONS).for_each(|(&value, operation)| hand(node, operation, value));
        }
        Ok(())
    }

    /// The four convolutions of each edge from `state` to `nodes`. All that read the state are one operator,
    /// all second halves of sep_conv another.
    fn record_convolutions<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        weights: MixingWeights,
        value: Value,
        state: usize,
        nodes: &[usize],
    ) -> Result<Vec<Value>> {
        let (channels, stride) = (self.shape.channels, self.shape.stride(state));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for &node in nodes {
            let edge = &self.edges[edge(node, state)];
            let gates =
                CONVOLUTIONS.map(|operation| recorder.gate(weights, &[branch(node, state, operation)]));
            let [small, large] = [edge.separable[0], edge.separable[1]];
            let firsts = [small[0], large[0], edge.dilated[0], edge.dilated[1]];
            first.extend(firsts.iter().zip(gates).map(|(block, gate)| block.parameters(spans, gate)));
            second.push([small[1].parameters(spans, gates[0]), large[1].parameters(spans, gates[1])]);
        }
        let first = recorder.separable(&[(value, first)], stride, channels)?;
        let seconds: Vec<_> = second
            .into_iter()
            .zip(first.chunks(4))
            .flat_map(|(halves, values)| [0, 1].map(|i| (values[i], vec![halves[i]])))
            .collect();
        let second = recorder.separable(&seconds, 1, channels)?;
        let join = |(first, second): (&[Value], &[Value])| [second[0], second[1], first[2], first[3]];
        Ok(first.chunks(4).zip(second.chunks(2)).flat_map(join).collect())
    }
}

/// The index of a branch among the mixing weights.
fn branch(node: usize, state: usize, operation: Operation) -> usize {
    edge(node, state) * CANDIDATES + operation as usize
}

impl CellShape {
    /// The stride of the edges that leave a state.
    pub(super) fn stride(&self, state: usize) -> usize {
        if self.reduction && state < 2 { 2 } else { 1 }
    }

    /// The last node has no edge that leaves it.
    fn states_with_edges(&self) -> usize {
        2 + self.nodes - 1
    }

    /// The nodes that a state has an edge to.
    fn nodes_after(&self, state: usize) -> std::ops::Range<usize> {
        state.saturating_sub(1)..self.nodes
    }
}

impl EdgeBlocks {
    fn declare(parameters: &mut Parameters, prefix: &str, channels: usize, stride: usize) -> Self {
        let factorized_reduce = (stride == 2).then(|| {
            let name = format!("{prefix}.{}", Operation::SkipConnect as usize);
            PointwiseBlock::halve_resolution(parameters, &name, [channels, channels], false)
        });
        let mut block = |operation: Operation, first: usize, kernel: usize, dilation: usize| {
            let name = format!("{prefix}.{}.op", operation as usize);
            SeparableBlock::declare(parameters, &name, first, [kernel, dilation], channels, false)
        };
        let separable = [(Operation::SepConv3x3, 3), (Operation::SepConv5x5, 5)]
            .map(|(o, kernel)| [0, 4].map(|first| block(o, first, kernel, 1)));
        let dilated = [(Operation::DilConv3x3, 3), (Operation::DilConv5x5, 5)]
            .map(|(o, kernel)| block(o, 0, kernel, 2));
        EdgeBlocks { factorized_reduce, separable, dilated }
    }
}

/// A state's pool has one batch norm, which stands for those of all edges that leave the state.
fn declare_pool(
    parameters: &mut Parameters,
    prefix: &str,
    shape: CellShape,
    state: usize,
    pool: Operation,
) -> NormParts {
    let name = |node| format!("{prefix}._ops.{}._ops.{}.1", edge(node, state), pool as usize);
    parameters.norm(shape.nodes_after(state).map(name).collect(), shape.channels, false)
}
