//! Batch norm and the second stages of all reductions: `kernels/batch_norm.cu` and `kernels/combine.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{GROUP, MAX_BRANCHES, Placed, small};
use super::memory::Scratch;
use super::{BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, BatchNorm, BatchNormGradient, BatchNormReduce, Mode};
use super::{Chunks, Cuda, Kernel, Norm, Slot, Span, channel_block};

/// Norms of one launch.
const NORMS: usize = 64;
/// Gradients of norms of one launch, and their terms.
const GRADIENTS: usize = 32;
const TERMS: usize = 128;
/// Gradients of one launch of `channel_sums`.
pub(super) const GROUPS: usize = 32;
/// Sums of one launch of `combine_sums`.
pub(super) const SUMS: usize = MAX_BRANCHES + 1;

/// Partial sums of blocks, and where their sum goes.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Sum {
    pub source: u32,
    pub count: u32,
    pub step: u32,
    pub destination: u32,
    pub len: u32,
}

impl Sum {
    /// `count` partial results shaped as the destination.
    pub fn all(source: u32, count: usize, destination: Span) -> Self {
        let len = small(destination.len);
        Sum { source, count: small(count), step: len, destination: destination.place(), len }
    }
}

/// Means and squared deviations of blocks of rows, and where mean and variance go.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Moments {
    pub partial: u32,
    pub rows: u32,
    pub rows_per_block: u32,
    pub channels: u32,
    pub statistics: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NormPlace {
    statistics: u32,
    running: u32,
    mean: u32,
    inverse_deviation: u32,
    scale: u32,
    shift: u32,
    gamma: u32,
    beta: u32,
    channels: u32,
    count: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Forward {
    mode: u32,
    momentum: f32,
    epsilon: f32,
    norms: [NormPlace; NORMS],
}
const _: () = assert!(size_of::<Forward>() == 12 + 40 * 64);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GradientPlace {
    mean: u32,
    inverse_deviation: u32,
    scale: u32,
    slope: u32,
    offset: u32,
    gamma: u32,
    beta: u32,
    channels: u32,
    count: u32,
    first: u32,
    terms: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TermPlace {
    total: u32,
    products: u32,
    weight: u32,
    factor: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Backward {
    gradients: [GradientPlace; GRADIENTS],
    terms: [TermPlace; TERMS],
}
const _: () = assert!(size_of::<Backward>() == 44 * 32 + 16 * 128);

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

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SumTable([Sum; SUMS]);
const _: () = assert!(size_of::<SumTable>() == 20 * 129);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MomentTable([Moments; NORMS]);
const _: () = assert!(size_of::<MomentTable>() == 20 * 64);

impl Cuda {
    /// Adds partial sums in their order.
    pub(super) fn combine_sums(&mut self, sums: &[Sum]) {
        for sums in sums.chunks(SUMS) {
            let mut table = SumTable::zeroed();
            table.0[..sums.len()].copy_from_slice(sums);
            let longest = sums.iter().map(|sum| sum.len as usize).max().unwrap_or_default();
            self.launch_each(Kernel::combine_sums, longest, sums.len(), &table);
        }
    }

    /// Mean and variance from those of blocks of rows.
    pub(super) fn combine_moments(&mut self, moments: &[Moments]) {
        for moments in moments.chunks(NORMS) {
            let mut table = MomentTable::zeroed();
            table.0[..moments.len()].copy_from_slice(moments);
            let widest = moments.iter().map(|entry| entry.channels as usize).max().unwrap_or_default();
            let grid = [widest.div_ceil(32), moments.len(), 1];
            self.launch(Kernel::combine_moments, grid, [32, 8], &table);
        }
    }

    pub(super) fn normalise(&mut self, norms: &[BatchNorm], mode: Mode) {
        for norms in norms.chunks(NORMS) {
            let mut table = Forward {
                mode: mode as u32,
                momentum: BATCH_NORM_MOMENTUM as f32,
                epsilon: BATCH_NORM_EPSILON as f32,
                norms: [NormPlace::zeroed(); NORMS],
            };
            for (place, op) in table.norms.iter_mut().zip(norms) {
                *place = NormPlace {
                    statistics: op.statistics.place(),
                    running: op.running.place(),
                    mean: op.norm.mean.place(),
                    inverse_deviation: op.norm.inverse_deviation.place(),
                    scale: op.norm.scale.place(),
                    shift: op.norm.shift.place(),
                    gamma: op.norm.gamma.place(),
                    beta: op.norm.beta.place(),
                    channels: small(op.norm.mean.len),
                    count: small(op.count),
                };
            }
            let widest = norms.iter().map(|op| op.norm.mean.len).max().unwrap_or_default();
            let grid = [widest.div_ceil(128), norms.len(), 1];
            self.launch(Kernel::batch_norm_forward, grid, [128, 1], &table);
        }
    }

    pub(super) fn normalise_backward(&mut self, gradients: &[BatchNormGradient]) {
        let mut rest = gradients;
        while !rest.is_empty() {
            let mut table = Backward::zeroed();
            let (mut count, mut terms, mut widest) = (0, 0, 0);
            while let Some(op) =
                rest.get(count).filter(|op| count < GRADIENTS && terms + op.terms.len() <= TERMS)
            {
                table.gradients[count] = gradient_place(op, terms);
                for term in &op.terms {
                    table.terms[terms] = TermPlace {
                        total: term.sums.total.place(),
                        products: term.sums.products.place(),
                        weight: term.weight.place(),
                        factor: term.factor.place(),
                    };
                    terms += 1;
                }
                widest = widest.max(op.norm.mean.len);
                count += 1;
            }
            assert!(count > 0, "a normalised value flows into more than {TERMS} places");
            let grid = [widest.div_ceil(128), count, 1];
            self.launch(Kernel::batch_norm_backward, grid, [128, 1], &table);
            rest = &rest[count..];
        }
    }

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

fn gradient_place(op: &BatchNormGradient, first: usize) -> GradientPlace {
    GradientPlace {
        mean: op.norm.mean.place(),
        inverse_deviation: op.norm.inverse_deviation.place(),
        scale: op.norm.scale.place(),
        slope: op.slope.place(),
        offset: op.offset.place(),
        gamma: op.gamma.place(),
        beta: op.beta.place(),
        channels: small(op.norm.mean.len),
        count: small(op.count),
        first: small(first),
        terms: small(op.terms.len()),
    }
}
