//! An edge of a cell with the weights of its operations.

use super::Space;
use super::contents::Held;
use super::layout::Form;
use super::operation::Block;
use crate::backend::{ConvolutionWindow, PoolKind};
use crate::nn::{
    ConvolutionBlock, ConvolutionNames, Parameters, PointwiseBlock, PoolsBlock, SeparableBlock, Users,
};

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
    pub(super) fn stride(&self, state: usize) -> usize {
        stride(self.reduction, self.inputs.len(), state)
    }

    /// Channels that go through the operations.
    pub(super) fn computed(&self) -> usize {
        self.channels / self.partial
    }
}

/// The stride of the edges that leave a state of a cell with so many inputs that halves the resolution, or does not.
pub fn stride(reduction: bool, inputs: usize, state: usize) -> usize {
    if reduction && state < inputs { 2 } else { 1 }
}

pub(super) struct DeclaredEdge {
    pub name: String,
    pub node: usize,
    pub from: usize,
    /// The place of its own weight.
    pub weight: usize,
    /// The place of its first candidate's mixing weight.
    pub first_mixing: usize,
    /// What it computes, each with the place of its mixing weight.
    pub operations: Vec<(usize, Declared)>,
}

/// An operation with its weights.
pub(super) enum Declared {
    /// An edge's skip connection at stride 1.
    Skip,
    /// What is beside it.
    Identity,
    FactorizedReduce(PointwiseBlock),
    Pool(PoolKind),
    Separable(Vec<SeparableBlock>),
    Convolutions(Vec<ConvolutionBlock>),
}

impl DeclaredEdge {
    pub fn declare(
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
pub(super) fn pool_place(kind: PoolKind) -> usize {
    match kind {
        PoolKind::Maximum => 0,
        PoolKind::Average => 1,
    }
}

/// The norms of a state's pools, if an edge that leaves it has any. A pool is the same on every edge that leaves the
/// state, so each of the two has one norm, which stands for those of all these edges. A pool that no edge has is not
/// computed.
pub(super) fn declare_pools(
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
