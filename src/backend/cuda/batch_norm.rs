//! The sums of batch norm's backward: `kernels/batch_norm.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{GROUP, MAX_BRANCHES, Placed, small};
use super::memory::Scratch;
use super::{BatchNormReduce, Chunks, Cuda, Kernel, Norm, Slot, Span, channel_block};

pub(super) use super::combine::{Moments, Sum};

/// Gradients of one launch of `channel_sums`.
pub(super) const GROUPS: usize = 32;

/// A gradient and the values that pass under it together.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Group {
    pub gradient: u32,
    pub first: u32,
    pub count: u32,
    pub partial: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Standardised {
    data: u32,
    mean: u32,
    inverse_deviation: u32,
}

impl Standardised {
    /// A raw value as it is standardised, or as it is.
    pub fn new(data: Slot, norm: Option<Norm>) -> Self {
        Standardised {
            data: data.place(),
            mean: norm.map(|norm| norm.mean).place(),
            inverse_deviation: norm.map(|norm| norm.inverse_deviation).place(),
        }
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ChannelSums {
    pub rows: u32,
    pub channels: u32,
    pub rows_per_chunk: u32,
    pub groups: [Group; GROUPS],
    pub values: [Standardised; MAX_BRANCHES],
}
const _: () = assert!(size_of::<ChannelSums>() == 12 + 16 * 32 + 12 * 128);

impl Cuda {
    /// Sums of batch norm's backward, of at most [`GROUPS`] values of one shape.
    pub(super) fn reduce_gradients(&mut self, reduces: impl Iterator<Item = BatchNormReduce>) {
        let mut reduces = reduces.peekable();
        let Some(shape) = reduces.peek().map(|reduce| reduce.input.shape) else { return };
        let (channels, chunks) = (shape.c as usize, Chunks::of(shape.pixels()));
        let mut scratch = Scratch::default();
        let mut table = channel_sums(chunks, channels);
        let mut sums = [Sum::zeroed(); 2 * GROUPS];
        let mut count = 0;
        for reduce in reduces {
            let partial = scratch.take(chunks.count() * 2 * channels);
            table.groups[count] =
                Group { gradient: reduce.gradient.place(), first: small(count), count: 1, partial };
            table.values[count] = Standardised::new(reduce.input.data, reduce.input.norm);
            let strided = |part: usize, to: Span| Sum {
                source: partial + small(part * channels),
                step: small(2 * channels),
                ..Sum::all(0, chunks.count(), to)
            };
            sums[2 * count] = strided(0, reduce.sums.total);
            sums[2 * count + 1] = strided(1, reduce.sums.products);
            count += 1;
        }
        self.memory.scratch(&self.context, &scratch);
        self.sum_channels(&table, count);
        self.combine_sums(&sums[..2 * count]);
    }

    /// Leaves the groups' partial sums.
    pub(super) fn sum_channels(&mut self, table: &ChannelSums, groups: usize) {
        let (block, across) = channel_block(table.channels as usize);
        let chunks = table.rows.div_ceil(table.rows_per_chunk) as usize;
        self.launch(Kernel::channel_sums, [chunks, across, groups], block, table);
    }
}

/// A table without groups.
pub(super) fn channel_sums(chunks: Chunks, channels: usize) -> ChannelSums {
    ChannelSums {
        rows: small(chunks.rows),
        channels: small(channels),
        rows_per_chunk: small(chunks.each),
        ..ChannelSums::zeroed()
    }
}

/// Values of a group whose first is `first`, of `all`.
pub(super) fn group_len(first: usize, all: usize) -> usize {
    GROUP.min(all - first)
}
