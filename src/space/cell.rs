//! A cell: inputs, preprocessed where the space says so, then nodes, each the sum of operations on earlier states (DARTS,
//! section 2.1). In the supernet each edge holds every candidate (figure 1b), in a derived network one operation (figure
//! 1d).

use super::Space;
use super::genotype::CellGenotype;
use super::layout::Form;
use super::operation::{Block, Operation};
use super::wiring::Wiring;
use crate::Result;
use crate::autograd::Window;
use crate::backend::{ConvolutionWindow, PoolKind};
use crate::nn::{
    Branch, ConvolutionBlock, ConvolutionNames, Graph, Incoming, Parameters, Passing, PointwiseBlock,
    PoolsBlock, SeparableBlock, Users,
};

/// What the cells of a type hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// The edges, node after node.
    pub edges: Vec<Held>,
    /// The states whose concatenation is the output.
    pub concat: Vec<usize>,
}

/// What an edge holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// The node that it enters.
    pub node: usize,
    /// The state that it leaves.
    pub from: usize,
    /// All its operations.
    pub operations: Vec<&'static Operation>,
    /// The place of the first one's mixing weight.
    pub mixing: usize,
    /// The place of the mixing weight of its auxiliary skip, where it has one. It may be that of an operation that is the same
    /// identity.
    pub auxiliary_skip: Option<usize>,
    /// The place of its own weight, where channels pass its operations by.
    pub weight: usize,
}

impl Contents {
    /// Every candidate on every edge of a type of cell whose mixing weights begin at `mixing`, and the weights of whose edges
    /// at `weight`; and the auxiliary skips of its edges, where these have some.
    pub fn all(
        space: &Space,
        wiring: &Wiring,
        mixing: usize,
        auxiliary_skips: &[usize],
        weight: usize,
    ) -> Self {
        let held = wiring.edges.iter().enumerate().map(|(index, edge)| Held {
            node: edge.node,
            from: edge.from,
            operations: edge.candidates.clone(),
            mixing: mixing + edge.row.start,
            auxiliary_skip: auxiliary_skips.get(index).copied(),
            weight: weight + index,
        });
        let (inputs, nodes) = (space.inputs(), wiring.nodes);
        Contents { inputs, nodes, edges: held.collect(), concat: space.concat(nodes) }
    }

    /// One operation on each edge.
    pub fn one(space: &Space, cell: &CellGenotype) -> Self {
        let held = cell.edges().enumerate().map(|(index, (node, edge))| Held {
            node,
            from: edge.from,
            operations: vec![edge.operation],
            mixing: index,
            auxiliary_skip: None,
            weight: index,
        });
        let (inputs, nodes) = (space.inputs(), cell.nodes.len());
        Contents { inputs, nodes, edges: held.collect(), concat: cell.concat.clone() }
    }
}

/// The sizes around a cell.
#[derive(Clone, Debug)]
pub struct CellShape {
    /// Channels of the outputs of the cells before that it reads, the earliest one first.
    pub inputs: Vec<usize>,
    /// Channels of each node.
    pub channels: usize,
    /// Whether this cell halves the resolution.
    pub reduction: bool,
    /// Whether the previous cell did.
    pub previous_reduction: bool,
    /// One of so many channels goes through the operations, and the others pass them by.
    pub partial: usize,
}

impl CellShape {
    /// The stride of the edges that leave a state.
    fn stride(&self, state: usize) -> usize {
        stride(self.reduction, self.inputs.len(), state)
    }

    /// Channels that go through the operations.
    fn computed(&self) -> usize {
        self.channels / self.partial
    }
}

/// The stride of the edges that leave a state of a cell with so many inputs that halves the resolution, or does not.
pub fn stride(reduction: bool, inputs: usize, state: usize) -> usize {
    if reduction && state < inputs { 2 } else { 1 }
}

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

struct DeclaredEdge {
    name: String,
    node: usize,
    from: usize,
    /// The place of its own weight.
    weight: usize,
    /// The place of its first candidate's mixing weight.
    first_mixing: usize,
    /// What it computes, each with the place of its mixing weight.
    operations: Vec<(usize, Declared)>,
}

/// An operation with its weights.
enum Declared {
    /// An edge's skip connection at stride 1.
    Skip,
    /// What is beside it.
    Identity,
    FactorizedReduce(PointwiseBlock),
    Pool(PoolKind),
    Separable(Vec<SeparableBlock>),
    Convolutions(Vec<ConvolutionBlock>),
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

impl DeclaredEdge {
    fn declare(
        parameters: &mut Parameters,
        space: &Space,
        name: String,
        held: &Held,
        shape: &CellShape,
        form: Form,
    ) -> Self {
        let stride = shape.stride(held.from);
        let mut operations = Vec::with_capacity(held.operations.len());
        for (place, operation) in held.operations.iter().enumerate() {
            let name = match form {
                Form::Supernet => space.notation().candidate(&name, place),
                Form::Derived => name.clone(),
            };
            let widths = [shape.computed(); 2];
            let users = Users(vec![held.mixing + place]);
            let declared = match operation.block {
                Block::Zero => continue,
                Block::Identity if stride == 1 => Declared::Skip,
                Block::Identity => {
                    Declared::factorized_reduce(parameters, &name, widths, form.affine(), users)
                }
                Block::Pool(kind) => Declared::Pool(kind),
                Block::Separable { kernel, dilation, times } => {
                    let sequence = format!("{name}.op");
                    let block = |time: usize| {
                        let window = [kernel, dilation];
                        let (first, affine) = (MEMBERS * time, form.affine());
                        let channels = shape.computed();
                        let mut block =
                            SeparableBlock::declare(parameters, &sequence, first, window, channels, affine);
                        block.users = Some(users.clone());
                        block
                    };
                    Declared::Separable((0..times).map(block).collect())
                }
                Block::Convolution { windows } => {
                    // One convolution is a module with a sequence of its own, several are the sequence.
                    let sequence = if windows.len() == 1 { format!("{name}.op") } else { name };
                    Declared::convolutions(
                        parameters,
                        &sequence,
                        windows,
                        stride,
                        widths,
                        form.affine(),
                        users,
                    )
                }
            };
            operations.push((held.mixing + place, declared));
        }
        let candidates = held.mixing..held.mixing + held.operations.len();
        if let Some(place) = held.auxiliary_skip.filter(|place| !candidates.contains(place)) {
            let (name, widths) = (format!("{name}.auxiliary_op"), [shape.computed(); 2]);
            let users = Users(vec![place]);
            let skip = match stride {
                1 => Declared::Identity,
                _ => Declared::factorized_reduce(parameters, &name, widths, form.affine(), users),
            };
            operations.push((place, skip));
        }
        let Held { node, from, mixing: first_mixing, weight, .. } = *held;
        DeclaredEdge { name, node, from, weight, first_mixing, operations }
    }
}

impl Declared {
    /// A skip connection at stride 2.
    fn factorized_reduce(
        parameters: &mut Parameters,
        name: &str,
        widths: [usize; 2],
        affine: bool,
        users: Users,
    ) -> Self {
        let block = PointwiseBlock::halve_resolution(parameters, name, widths, affine);
        Declared::FactorizedReduce(PointwiseBlock { users: Some(users), ..block })
    }

    /// ReLU, convolutions and batch norm, the members of the sequence `name`.
    fn convolutions(
        parameters: &mut Parameters,
        name: &str,
        windows: &[[usize; 2]],
        stride: usize,
        widths: [usize; 2],
        affine: bool,
        users: Users,
    ) -> Self {
        let member = |index: usize| format!("{name}.{index}");
        let last = windows.len() - 1;
        let block = |(index, &kernel): (usize, &[usize; 2])| {
            let names = ConvolutionNames {
                relu: (index == 0).then(|| member(0)),
                convolution: member(index + 1),
                norm: (index == last).then(|| member(index + 2)),
            };
            let moves = |side: usize| if last == 0 || side > 1 { stride } else { 1 };
            let padding = kernel.map(|side| side / 2);
            let window = ConvolutionWindow { kernel, stride: kernel.map(moves), padding };
            let block = ConvolutionBlock::declare(parameters, names, window, widths, affine);
            ConvolutionBlock { users: Some(users.clone()), ..block }
        };
        Declared::Convolutions(windows.iter().enumerate().map(block).collect())
    }
}

/// Members of a sequence that a separable convolution takes: ReLU, depthwise and pointwise convolution, batch norm.
const MEMBERS: usize = 4;

/// Where a pool of a kind stands among the two of a state.
fn pool_place(kind: PoolKind) -> usize {
    match kind {
        PoolKind::Maximum => 0,
        PoolKind::Average => 1,
    }
}

/// The norms of a state's pools, if an edge that leaves it has any. A pool is the same on every edge that leaves the
/// state, so each of the two has one norm, which stands for those of all these edges. A pool that no edge has is not
/// computed.
fn declare_pools(
    parameters: &mut Parameters,
    edges: &[DeclaredEdge],
    state: usize,
    shape: &CellShape,
) -> Option<PoolsBlock> {
    let (mut names, mut users) = ([Vec::new(), Vec::new()], [Users::default(), Users::default()]);
    for edge in edges.iter().filter(|edge| edge.from == state) {
        let first = edge.first_mixing;
        for (mixing, operation) in &edge.operations {
            if let Declared::Pool(kind) = operation {
                names[pool_place(*kind)].push(format!("{}._ops.{}.1", edge.name, mixing - first));
                users[pool_place(*kind)].0.push(*mixing);
            }
        }
    }
    let any = names.iter().any(|names| !names.is_empty());
    any.then(|| PoolsBlock {
        norms: names.map(|names| parameters.norm(names, shape.computed(), false)),
        users,
    })
}

/// Which states the output of a cell depends on, and the last input where a node of them has no operation: its zeros have
/// the shape of that input.
fn live_states(contents: &Contents) -> Vec<bool> {
    let Contents { inputs, nodes, .. } = *contents;
    let computes = |edge: &&Held| edge.operations.iter().any(|operation| !operation.is_zero());
    let mut live = vec![false; inputs + nodes];
    contents.concat.iter().for_each(|&state| live[state] = true);
    // A node reads earlier states only, and edges stand node after node.
    for edge in contents.edges.iter().rev().filter(computes) {
        live[edge.from] |= live[inputs + edge.node];
    }
    let empty = |node: usize| !contents.edges.iter().filter(computes).any(|edge| edge.node == node);
    live[inputs - 1] |= (0..nodes).any(|node| live[inputs + node] && empty(node));
    live
}
