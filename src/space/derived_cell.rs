//! A cell of the derived network: two preprocessed inputs, then nodes, each the sum of two edges that hold one
//! operation (DARTS, section 2.4 and figure 4).

use super::cell::CellShape;
use super::genotype::{CellGenotype, EDGES_PER_NODE, INPUTS, Operation};
use crate::autograd::{Recorder, Value, Window};
use crate::backend::{Backend, PoolKind, Span};
use crate::nn::{Parameters, PointwiseBlock, SeparableBlock, Spans};
use crate::{Error, Result};

/// A declared cell.
pub struct DerivedCell {
    shape: CellShape,
    preprocess: [PointwiseBlock; INPUTS],
    edges: Vec<Edge>,
    concat: Vec<usize>,
    /// Which states reach the output; the others are declared, as in the official code, but not computed.
    live: Vec<bool>,
}

/// One edge: where it starts, and what it holds.
struct Edge {
    input: usize,
    operation: EdgeOperation,
}

/// What an edge holds, with its weights.
enum EdgeOperation {
    Pool(PoolKind),
    Identity,
    FactorizedReduce(PointwiseBlock),
    /// Both halves of sep_conv.
    Separable([SeparableBlock; 2]),
    Dilated(SeparableBlock),
}

/// The factors of drop path, `[branch][n]`, handed out to one edge after the other.
pub struct DropPath {
    images: usize,
    rest: Span,
}

impl DropPath {
    /// Factors for batches of so many images.
    pub fn new(factors: Span, images: usize) -> Self {
        DropPath { images, rest: factors }
    }

    fn next(&mut self) -> Span {
        let next = self.rest.part(0, self.images);
        self.rest = self.rest.part(self.images, self.rest.len - self.images);
        next
    }
}

impl DerivedCell {
    /// Declares the parameters of cell `prefix`.
    pub fn declare(
        parameters: &mut Parameters,
        prefix: &str,
        genotype: &CellGenotype,
        shape: CellShape,
    ) -> Result<Self> {
        let channels = shape.channels;
        let name = |i: usize| format!("{prefix}.preprocess{i}");
        let widths = [shape.before_previous, shape.previous].map(|inputs| [inputs, channels]);
        let first = if shape.previous_reduction {
            PointwiseBlock::halve_resolution(parameters, &name(0), widths[0], true)
        } else {
            PointwiseBlock::keep_resolution(parameters, &name(0), widths[0], true)
        };
        let second = PointwiseBlock::keep_resolution(parameters, &name(1), widths[1], true);
        let mut edges = Vec::new();
        for (index, &(operation, input)) in genotype.edges.iter().enumerate() {
            let prefix = format!("{prefix}._ops.{index}");
            let stride = shape.stride(input);
            let operation = EdgeOperation::declare(parameters, &prefix, operation, channels, stride)?;
            edges.push(Edge { input, operation });
        }
        let (concat, live) = (genotype.concat.clone(), live_states(genotype));
        Ok(DerivedCell { shape, preprocess: [first, second], edges, concat, live })
    }

    /// Whether the output depends on an input: 0 for the cell before the previous one, 1 for the previous one.
    pub fn reads(&self, input: usize) -> bool {
        self.live[input]
    }

    /// Number of edges that drop path may drop: those that are computed and hold more than an identity.
    pub fn droppable(&self) -> usize {
        let dropped = |edge: &&Edge| !matches!(edge.operation, EdgeOperation::Identity);
        let nodes = self.edges.chunks(EDGES_PER_NODE).zip(&self.live[INPUTS..]).filter(|(_, live)| **live);
        nodes.flat_map(|(edges, _)| edges).filter(dropped).count()
    }

    /// Records the cell on the outputs of the two cells before; returns the nodes whose concatenated channels are its
    /// output.
    pub fn record<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        inputs: [&[Value]; INPUTS],
        drop_path: &mut Option<DropPath>,
    ) -> Result<Vec<Value>> {
        let mut results: Vec<Option<Value>> = vec![None; self.edges.len()];
        let mut states: Vec<Option<Value>> = Vec::new();
        for (state, &live) in self.live.iter().enumerate() {
            let value = match state.checked_sub(INPUTS) {
                _ if !live => None,
                None => Some(self.preprocess[state].record(recorder, spans, inputs[state], None)?),
                Some(node) => Some(self.add(recorder, node, &results, drop_path)?),
            };
            if let Some(value) = value {
                self.expand(recorder, spans, state, value, &mut results)?;
            }
            states.push(value);
        }
        Ok(self.concat.iter().filter_map(|&state| states[state]).collect())
    }

    /// The sum of a node's edges.
    fn add<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        node: usize,
        results: &[Option<Value>],
        drop_path: &mut Option<DropPath>,
    ) -> Result<Value> {
        let mut branches = Vec::with_capacity(EDGES_PER_NODE);
        let edges = self.edges.iter().zip(results).skip(node * EDGES_PER_NODE).take(EDGES_PER_NODE);
        for (edge, result) in edges {
            let identity = matches!(edge.operation, EdgeOperation::Identity);
            let factors = if identity { None } else { drop_path.as_mut().map(DropPath::next) };
            branches.extend(result.map(|value| (value, factors)));
        }
        recorder.node_sum(&branches)
    }

    /// Records what is on the edges that leave `state` for live nodes. Going by states lets the convolutions share
    /// one reading of the state, and equal pools be computed once.
    fn expand<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        state: usize,
        value: Value,
        results: &mut [Option<Value>],
    ) -> Result<()> {
        let stride = self.shape.stride(state);
        let leaves =
            |index: &usize| self.edges[*index].input == state && self.live[INPUTS + index / EDGES_PER_NODE];
        let leaving: Vec<usize> = (0..self.edges.len()).filter(leaves).collect();
        let mut pools: [Option<Value>; 2] = [None; 2];
        for &index in &leaving {
            results[index] = match &self.edges[index].operation {
                EdgeOperation::Pool(kind) => {
                    let shared = &mut pools[usize::from(*kind == PoolKind::Average)];
                    if shared.is_none() {
                        let window = Window { kernel: 3, stride, padding: 1 };
                        *shared = Some(recorder.pool(value, *kind, window, false)?);
                    }
                    *shared
                }
                EdgeOperation::Identity => Some(value),
                EdgeOperation::FactorizedReduce(block) => {
                    Some(block.record(recorder, spans, &[value], None)?)
                }
                EdgeOperation::Separable(_) | EdgeOperation::Dilated(_) => None,
            };
        }
        self.convolve(recorder, spans, value, stride, &leaving, results)
    }

    /// The convolutions on edges that leave one state: all that read the state are one operator, all second halves of
    /// sep_conv another.
    fn convolve<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        value: Value,
        stride: usize,
        leaving: &[usize],
        results: &mut [Option<Value>],
    ) -> Result<()> {
        let (mut edges, mut firsts) = (Vec::new(), Vec::new());
        for &index in leaving {
            match &self.edges[index].operation {
                EdgeOperation::Separable([first, _]) | EdgeOperation::Dilated(first) => {
                    edges.push(index);
                    firsts.push(first.parameters(spans, None));
                }
                _ => {}
            }
        }
        if edges.is_empty() {
            return Ok(());
        }
        let channels = self.shape.channels;
        let values = recorder.separable(&[(value, firsts)], stride, channels)?;
        let (mut unfinished, mut seconds) = (Vec::new(), Vec::new());
        for (index, value) in edges.into_iter().zip(values) {
            results[index] = Some(value);
            if let EdgeOperation::Separable([_, second]) = &self.edges[index].operation {
                unfinished.push(index);
                seconds.push((value, vec![second.parameters(spans, None)]));
            }
        }
        let values = recorder.separable(&seconds, 1, channels)?;
        unfinished.into_iter().zip(values).for_each(|(index, value)| results[index] = Some(value));
        Ok(())
    }
}

impl EdgeOperation {
    fn declare(
        parameters: &mut Parameters,
        prefix: &str,
        operation: Operation,
        channels: usize,
        stride: usize,
    ) -> Result<Self> {
        let name = format!("{prefix}.op");
        let mut block = |first: usize, kernel: usize, dilation: usize| {
            SeparableBlock::declare(parameters, &name, first, [kernel, dilation], channels, true)
        };
        Ok(match operation {
            Operation::MaxPool3x3 => EdgeOperation::Pool(PoolKind::Maximum),
            Operation::AveragePool3x3 => EdgeOperation::Pool(PoolKind::Average),
            Operation::SkipConnect if stride == 1 => EdgeOperation::Identity,
            Operation::SkipConnect => EdgeOperation::FactorizedReduce(PointwiseBlock::halve_resolution(
                parameters,
                prefix,
                [channels, channels],
                true,
            )),
            Operation::SepConv3x3 => EdgeOperation::Separable([0, 4].map(|first| block(first, 3, 1))),
            Operation::SepConv5x5 => EdgeOperation::Separable([0, 4].map(|first| block(first, 5, 1))),
            Operation::SepConv7x7 => EdgeOperation::Separable([0, 4].map(|first| block(first, 7, 1))),
            Operation::DilConv3x3 => EdgeOperation::Dilated(block(0, 3, 2)),
            Operation::DilConv5x5 => EdgeOperation::Dilated(block(0, 5, 2)),
            Operation::None | Operation::Conv7x1Conv1x7 => {
                return Err(Error::Genotype(format!(
                    "the operation {operation} can be shown, but not trained"
                )));
            }
        })
    }
}

/// Which states the output of a cell depends on.
fn live_states(genotype: &CellGenotype) -> Vec<bool> {
    let mut live = vec![false; INPUTS + genotype.nodes()];
    genotype.concat.iter().for_each(|&state| live[state] = true);
    for (node, edges) in genotype.edges.chunks(EDGES_PER_NODE).enumerate().rev() {
        if live[INPUTS + node] {
            edges.iter().for_each(|&(_, input)| live[input] = true);
        }
    }
    live
}
