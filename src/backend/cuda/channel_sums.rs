//! Sums over the rows of raw values under a gradient: `kernels/channel_sums.cu`.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::combine::Sum;
use super::geometry::{MAX_BRANCHES, MAX_IDENTITIES, Placed, TargetPlace, gate, small};
use super::memory::Scratch;
use super::{
    BatchNormReduce, Chunks, Cuda, Kernel, MixedBranch, Norm, Shape, Slot, Span, Target, channel_block,
};

/// Gradients of one launch.
pub(super) const GROUPS: usize = 32;

/// A gradient and the values that pass under it together.
/// Mirrors `Group` of `kernels/channel_sums.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Group {
    gradient: u32,
    first: u16,
    count: u16,
    partial: u32,
    gate: u32,
}

impl Group {
    /// The values of the table that pass under a gradient, and where their parts go.
    pub fn new(gradient: Slot, values: Range<usize>, partial: u32, own: Option<Span>) -> Self {
        let [first, count] = [values.start, values.len()].map(|n| u16::try_from(n).expect("a small table"));
        Group { gradient: gradient.place(), first, count, partial, gate: gate(own) }
    }

    /// Partial sums of the group's gradient (part 0) or of its value `part - 1`.
    pub fn sum(&self, part: usize, chunks: Chunks, to: Span) -> Sum {
        let channels = small(to.len);
        Sum {
            source: self.partial + small(part) * channels,
            step: (u32::from(self.count) + 1) * channels,
            ..Sum::all(0, chunks.count(), to)
        }
    }
}

/// Mirrors `Standardised` of `kernels/channel_sums.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Standardised {
    data: u32,
    mean: u32,
    inverse_deviation: u32,
    gate: u32,
}

impl Standardised {
    /// A raw value as it is standardised, or as it is.
    pub fn new(data: Slot, norm: Option<Norm>, own: Option<Span>) -> Self {
        Standardised {
            data: data.place(),
            mean: norm.map(|norm| norm.mean).place(),
            inverse_deviation: norm.map(|norm| norm.inverse_deviation).place(),
            gate: gate(own),
        }
    }
}

/// Mirrors `Identity` of `kernels/channel_sums.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Identity {
    weight: u32,
    target: TargetPlace,
    gate: u32,
}

/// Mirrors `ChannelSums` of `kernels/channel_sums.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ChannelSums {
    rows: u32,
    channels: u32,
    rows_per_chunk: u32,
    pub packed: u32,
    pub groups: [Group; GROUPS],
    pub values: [Standardised; MAX_BRANCHES],
    identity_count: u32,
    identities: [Identity; MAX_IDENTITIES],
}
const _: () = assert!(size_of::<ChannelSums>() == 20 + 16 * 32 + 16 * 128 + 16 * 64);

impl ChannelSums {
    /// A table without groups, and its chunks of rows.
    pub fn new(shape: Shape) -> (Self, Chunks) {
        let chunks = Chunks::of(shape.pixels());
        let table = ChannelSums {
            rows: small(chunks.rows),
            channels: shape.c,
            rows_per_chunk: small(chunks.each),
            ..ChannelSums::zeroed()
        };
        (table, chunks)
    }

    /// Adds an identity among the branches of a node.
    pub fn add_identity(&mut self, branch: &MixedBranch, target: Target) {
        let count = self.identity_count as usize;
        assert!(
            count < MAX_IDENTITIES,
            "a node of more than {MAX_IDENTITIES} identities, which is what the CUDA kernels take"
        );
        let (weight, target) = (branch.weight.place(), TargetPlace::from(target));
        self.identities[count] = Identity { weight, target, gate: gate(branch.gate) };
        self.identity_count += 1;
    }
}

impl Cuda {
    /// Leaves the groups' partial sums.
    pub(super) fn sum_channels(&mut self, table: &ChannelSums, groups: usize) {
        let (_, across) = channel_block(table.channels as usize);
        let chunks = table.rows.div_ceil(table.rows_per_chunk) as usize;
        self.launch(Kernel::channel_sums, [chunks, across, groups], [256, 1], table);
    }

    /// Sums of batch norm's backward, of at most [`GROUPS`] values of one shape.
    pub(super) fn reduce_gradients(&mut self, reduces: impl Iterator<Item = BatchNormReduce>) {
        let mut reduces = reduces.peekable();
        let Some(shape) = reduces.peek().map(|reduce| reduce.input.shape) else { return };
        let (mut table, chunks) = ChannelSums::new(shape);
        let mut scratch = Scratch::default();
        let mut sums = [Sum::zeroed(); 2 * GROUPS];
        let mut count = 0;
        table.packed = 1;
        for reduce in reduces {
            let partial = scratch.take(chunks.count() * 2 * shape.c as usize);
            let group = Group::new(reduce.gradient, count..count + 1, partial, reduce.gate);
            table.groups[count] = group;
            table.values[count] = Standardised::new(reduce.input.data, reduce.input.norm, reduce.gate);
            table.packed &= self.packed(shape.c as usize, [reduce.gradient, reduce.input.data]);
            sums[2 * count] = group.sum(0, chunks, reduce.sums.total).behind(reduce.gate);
            sums[2 * count + 1] = group.sum(1, chunks, reduce.sums.products).behind(reduce.gate);
            count += 1;
        }
        self.memory.scratch(&self.context, &scratch);
        self.sum_channels(&table, count);
        self.combine_sums(&sums[..2 * count]);
    }
}
