//! A cell: inputs, preprocessed where the space says so, then nodes, each the sum of operations on earlier states (DARTS,
//! section 2.1). In the supernet each edge holds every candidate (figure 1b), in a derived network one operation (figure
//! 1d).

use super::Space;
use super::contents::{Contents, live_states};
use super::declared_edge::{CellShape, Declared, DeclaredEdge, declare_pools, pool_place};
use super::layout::Form;
use crate::Result;
use crate::autograd::Window;
use crate::backend::PoolKind;
use crate::nn::{Branch, Graph, Incoming, Parameters, Passing, PointwiseBlock, PoolsBlock, SeparableBlock};

/// A declared cell.
pub struct Cell {
    name: String,
    shape: CellShape,
    /// Of each input, where inputs are preprocessed.
    preprocess: Vec<PointwiseBlock>,
    edges: Vec<DeclaredEdge>,
    /// The pools of each state, in a supernet.
    pools: Vec<Option<PoolsBlock>>,
    concat: Vec<usize>,
    /// Which states reach the output; the others are declared, as in the official code, but not computed.
    live: Vec<bool>,
}

/// The results of an edge's operations, as far as they are computed.
type Results<V> = Vec<Vec<Option<V>>>;

/// What enters the nodes of a cell, as far as it is computed.
struct Entering<V> {
    results: Results<V>,
    /// What passes the operations by on the edges that leave each state.
    passing: Vec<Option<V>>,
}

impl Cell {
    /// Declares the parameters of cell `name`.
    pub fn declare(
        parameters: &mut Parameters,
        space: &Space,
        name: &str,
        contents: &Contents,
        shape: CellShape,
        form: Form,
    ) -> Self {
        let inputs = shape.inputs.iter().enumerate().filter(|_| space.preprocessed());
        let preprocess = inputs.map(|(input, &width)| {
            // The cell before the previous one, whose output has the resolution in front of a reduction.
            let declare = match input + 2 == contents.inputs && shape.previous_reduction {
                true => PointwiseBlock::halve_resolution,
                false => PointwiseBlock::keep_resolution,
            };
            declare(parameters, &format!("{name}.preprocess{input}"), [width, shape.channels], form.affine())
        });
        let preprocess = preprocess.collect();
        let mut edges = Vec::with_capacity(contents.edges.len());
        for (index, held) in contents.edges.iter().enumerate() {
            let name = space.notation().edge(name, form, index, [held.node + contents.inputs, held.from]);
            edges.push(DeclaredEdge::declare(parameters, space, name, held, &shape, form));
        }
        let pools = (0..contents.inputs + contents.nodes).map(|state| match form {
            Form::Supernet if space.pools_normalised() => declare_pools(parameters, &edges, state, &shape),
            Form::Supernet | Form::Derived => None,
        });
        let pools = pools.collect();
        Cell {
            name: name.to_owned(),
            shape,
            preprocess,
            pools,
            edges,
            concat: contents.concat.clone(),
            live: live_states(contents),
        }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.shape.inputs.len()
    }

    /// Whether the output depends on an input, counted from the earliest one.
    pub fn reads(&self, input: usize) -> bool {
        self.live[input]
    }

    /// Channels of the output.
    pub fn width(&self) -> usize {
        self.concat.len() * self.shape.channels
    }

    /// Number of branches that drop path may drop: those that are computed and are no identity.
    pub fn droppable(&self) -> usize {
        let live = self.edges.iter().filter(|edge| self.live[self.inputs() + edge.node]);
        let dropped =
            |(_, operation): &&(usize, Declared)| !matches!(operation, Declared::Skip | Declared::Identity);
        live.flat_map(|edge| &edge.operations).filter(dropped).count()
    }

    /// Describes the cell on the outputs of the cells before that it reads, the earliest one first; returns the nodes whose
    /// concatenated channels are its output.
    pub fn emit<G: Graph>(&self, graph: &mut G, inputs: &[&[G::Value]]) -> Result<Vec<G::Value>> {
        let results = self.edges.iter().map(|edge| vec![None; edge.operations.len()]).collect();
        let mut entering = Entering { results, passing: vec![None; self.live.len()] };
        let mut states: Vec<Option<G::Value>> = Vec::with_capacity(self.live.len());
        for (state, &live) in self.live.iter().enumerate() {
            let value = match state.checked_sub(self.inputs()) {
                _ if !live => None,
                None => Some(match self.preprocess.get(state) {
                    Some(block) => graph.pointwise(inputs[state], block)?,
                    // What is read without preprocessing is one value: a definition says so.
                    None => inputs[state][0].clone(),
                }),
                Some(node) => Some(self.add(graph, node, &states, &entering)?),
            };
            if let Some(value) = &value {
                self.leave(graph, state, value, &mut entering)?;
            }
            states.push(value);
        }
        let nodes = self.concat.iter().filter_map(|&state| states[state].clone()).collect();
        Ok(graph.output(&self.name, nodes))
    }

    /// The sum of what enters a node. Where nothing but none does, zeros of the shape of the last input.
    fn add<G: Graph>(
        &self,
        graph: &mut G,
        node: usize,
        states: &[Option<G::Value>],
        entering: &Entering<G::Value>,
    ) -> Result<G::Value> {
        let Entering { results, passing } = entering;
        let edges = self.edges.iter().zip(results).filter(|(edge, _)| edge.node == node);
        let incoming = edges.map(|(edge, results)| {
            let branch = |((mixing, operation), result): (&(usize, Declared), &Option<G::Value>)| {
                let identity = matches!(operation, Declared::Skip | Declared::Identity);
                let value = result.clone().expect("the states before a node are expanded before it");
                Branch { value, mixing: *mixing, identity }
            };
            let passing = passing[edge.from].clone().map(|value| Passing { value, weight: edge.weight });
            Incoming { branches: edge.operations.iter().zip(results).map(branch).collect(), passing }
        });
        let (name, incoming) = (format!("{}.node{node}", self.name), incoming.collect::<Vec<_>>());
        if incoming.iter().any(|edge| !edge.branches.is_empty()) {
            return graph.node(&name, &incoming);
        }
        let last = self.inputs() - 1;
        let alike = states[last].clone().expect("the last input is live where a node has no operation");
        let alike = match self.shape.stride(last) {
            1 => alike,
            stride => {
                let window = Window::around(stride);
                graph.pool(&format!("{name}.alike"), &alike, PoolKind::Average, window)?
            }
        };
        graph.zeros(&name, &alike)
    }

    /// Describes what leaves `state` for live nodes.
    fn leave<G: Graph>(
        &self,
        graph: &mut G,
        state: usize,
        value: &G::Value,
        Entering { results, passing }: &mut Entering<G::Value>,
    ) -> Result<()> {
        if self.shape.partial == 1 || self.leaving(state).is_empty() {
            return self.expand(graph, state, value, results);
        }
        passing[state] = Some(match self.shape.stride(state) {
            1 => value.clone(),
            stride => {
                let square = Window { kernel: 2, stride, padding: 0 };
                graph.pool(&format!("{}.passing{state}", self.name), value, PoolKind::Maximum, square)?
            }
        });
        let computed = graph.channel_slice(value, self.shape.computed())?;
        self.expand(graph, state, &computed, results)
    }

    /// Describes what is on the edges that leave `state` for live nodes. Going by states, not by edges, lets the
    /// convolutions share one reading of the state, and equal pools be computed once.
    fn expand<G: Graph>(
        &self,
        graph: &mut G,
        state: usize,
        value: &G::Value,
        results: &mut Results<G::Value>,
    ) -> Result<()> {
        let stride = self.shape.stride(state);
        let mut pools: [Option<G::Value>; 2] = [None, None];
        for index in self.leaving(state) {
            let DeclaredEdge { name, operations, .. } = &self.edges[index];
            for ((_, operation), result) in operations.iter().zip(&mut results[index]) {
                *result = match operation {
                    Declared::Skip => Some(graph.skip(value)?),
                    Declared::Identity => Some(value.clone()),
                    Declared::FactorizedReduce(block) => {
                        Some(graph.pointwise(std::slice::from_ref(value), block)?)
                    }
                    Declared::Pool(kind) => {
                        let place = pool_place(*kind);
                        if pools[place].is_none() {
                            match &self.pools[state] {
                                Some(block) => {
                                    pools = graph.normalised_pools(value, block, stride)?.map(Some);
                                }
                                None => {
                                    pools[place] =
                                        Some(graph.pool(name, value, *kind, Window::around(stride))?)
                                }
                            }
                        }
                        pools[place].clone()
                    }
                    Declared::Separable(_) => None,
                    Declared::Convolutions(blocks) => {
                        let mut value = value.clone();
                        for block in blocks {
                            value = graph.convolution(&value, block)?;
                        }
                        Some(value)
                    }
                };
            }
        }
        self.convolve(graph, state, value, results)
    }

    /// The separable convolutions on edges that leave one state: all that read the state are one operator, and so are
    /// all that follow these.
    fn convolve<G: Graph>(
        &self,
        graph: &mut G,
        state: usize,
        value: &G::Value,
        results: &mut Results<G::Value>,
    ) -> Result<()> {
        let leaving = self.leaving(state);
        let convolutions: Vec<(usize, usize, &[SeparableBlock])> = (leaving.iter())
            .flat_map(|&index| {
                let operations = self.edges[index].operations.iter().enumerate();
                operations.filter_map(move |(place, (_, operation))| match operation {
                    Declared::Separable(blocks) => Some((index, place, &blocks[..])),
                    _ => None,
                })
            })
            .collect();
        if convolutions.is_empty() {
            return Ok(());
        }
        let first = convolutions.iter().map(|(_, _, blocks)| &blocks[0]).collect();
        let values = graph.separable(&[(value.clone(), first)], self.shape.stride(state))?;
        for ((index, place, _), value) in convolutions.iter().zip(values) {
            results[*index][*place] = Some(value);
        }
        let times = convolutions.iter().map(|(_, _, blocks)| blocks.len()).max().unwrap_or_default();
        for time in 1..times {
            let (mut places, mut sources) = (Vec::new(), Vec::new());
            for &(index, place, blocks) in &convolutions {
                if let (Some(block), Some(before)) = (blocks.get(time), results[index][place].clone()) {
                    places.push((index, place));
                    sources.push((before, vec![block]));
                }
            }
            let values = graph.separable(&sources, 1)?;
            places.into_iter().zip(values).for_each(|((index, place), value)| {
                results[index][place] = Some(value);
            });
        }
        Ok(())
    }

    /// The edges that leave a state for live nodes.
    fn leaving(&self, state: usize) -> Vec<usize> {
        let leaves = |edge: &DeclaredEdge| edge.from == state && self.live[self.inputs() + edge.node];
        (0..self.edges.len()).filter(|&index| leaves(&self.edges[index])).collect()
    }
}
