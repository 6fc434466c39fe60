//! The weighted sum of a node, and the softmax of its weights: `kernels/mixed.cu`.

use bytemuck::{Pod, Zeroable};

use super::batch_norm::{Group, Standardised, channel_sums, group_len};
use super::geometry::{GROUP, MAX_BRANCHES, Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Chunks, Cuda, Kernel, Mixed, MixedGradient, Operand, Softmax, SoftmaxGradient};
use super::{THREADS, channel_block, small};

/// Identities of one launch: one for each edge, and room.
const IDENTITIES: usize = 64;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BranchPlace {
    input: Reader,
    weight: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Forward {
    output: u32,
    rows: u32,
    channels: u32,
    rows_per_chunk: u32,
    count: u32,
    branches: [BranchPlace; MAX_BRANCHES],
}
const _: () = assert!(size_of::<Forward>() == 20 + 16 * 128);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GradientPlace {
    source: u32,
    step: u32,
    products: u32,
    gamma: u32,
    beta: u32,
    weight: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct IdentityPlace {
    weight: u32,
    target: TargetPlace,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Finish {
    gradient: u32,
    len: u32,
    chunks: u32,
    channels: u32,
    count: u32,
    source: u32,
    step: u32,
    total: u32,
    branches: [GradientPlace; MAX_BRANCHES],
    identities: [IdentityPlace; IDENTITIES],
}
const _: () = assert!(size_of::<Finish>() == 32 + 24 * 128 + 12 * 64);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Rows {
    rows: u32,
    columns: u32,
    input: u32,
    output: u32,
    output_gradient: u32,
    input_gradient: u32,
}

fn check(op: &Mixed) {
    let count = op.branches.len();
    assert!(count <= MAX_BRANCHES, "a node of {count} branches; the CUDA kernels take {MAX_BRANCHES}");
}

impl Cuda {
    pub(super) fn mix(&mut self, op: &Mixed) {
        check(op);
        let channels = op.shape.c as usize;
        let rows = op.shape.pixels();
        // Enough blocks for a large device, enough rows for the coefficients to pay.
        let each = rows.div_ceil(1024).max(64);
        let mut table = Forward {
            output: op.output.place(),
            rows: small(rows),
            channels: small(channels),
            rows_per_chunk: small(each),
            count: small(op.branches.len()),
            ..Forward::zeroed()
        };
        for (place, branch) in table.branches.iter_mut().zip(&op.branches) {
            let operand = Operand { data: branch.data, shape: op.shape, norm: branch.norm };
            *place = BranchPlace { input: Reader::from(&operand), weight: branch.weight.place() };
        }
        let (block, across) = channel_block(channels);
        self.launch(Kernel::mixed_forward, [rows.div_ceil(each), across, 1], block, &table);
    }

    pub(super) fn mix_backward(&mut self, op: &Mixed, gradient: &MixedGradient) {
        check(op);
        let mut table = Finish {
            gradient: gradient.output.place(),
            len: small(op.output.len),
            channels: small(op.shape.c as usize),
            count: small(op.branches.len()),
            total: gradient.total.place(),
            ..Finish::zeroed()
        };
        for ((place, branch), gradient) in table.branches.iter_mut().zip(&op.branches).zip(&gradient.branches)
        {
            *place = GradientPlace {
                products: gradient.products.place(),
                gamma: branch.norm.and_then(|norm| norm.gamma).place(),
                beta: branch.norm.and_then(|norm| norm.beta).place(),
                weight: gradient.weight.place(),
                ..GradientPlace::zeroed()
            };
        }
        let identities = op.branches.iter().zip(&gradient.branches).filter_map(|(branch, gradient)| {
            let target = TargetPlace::from(gradient.identity?);
            Some(IdentityPlace { weight: branch.weight.place(), target })
        });
        let mut count = 0;
        for identity in identities {
            assert!(count < IDENTITIES, "a node of more than {IDENTITIES} identities");
            table.identities[count] = identity;
            count += 1;
        }
        self.sum_branches(op, gradient, &mut table);
        let blocks = op.output.len.div_ceil(THREADS);
        self.launch(Kernel::mixed_finish, [op.branches.len() + count * blocks, 1, 1], [32, 8], &table);
    }

    /// Leaves the parts of `total` and of the products of all branches, and says where.
    fn sum_branches(&mut self, op: &Mixed, gradient: &MixedGradient, finish: &mut Finish) {
        let (channels, all) = (op.shape.c as usize, op.branches.len());
        let chunks = Chunks::of(op.shape.pixels());
        let mut scratch = Scratch::default();
        let mut table = channel_sums(chunks, channels);
        let groups = all.div_ceil(GROUP);
        for group in 0..groups {
            let first = group * GROUP;
            let count = group_len(first, all);
            let partial = scratch.take(chunks.count() * (count + 1) * channels);
            let step = small((count + 1) * channels);
            table.groups[group] = Group {
                gradient: gradient.output.place(),
                first: small(first),
                count: small(count),
                partial,
            };
            if group == 0 {
                (finish.source, finish.step) = (partial, step);
            }
            for index in first..first + count {
                table.values[index] = Standardised::new(op.branches[index].data, op.branches[index].norm);
                let place = &mut finish.branches[index];
                (place.source, place.step) = (partial + small((index - first + 1) * channels), step);
            }
        }
        finish.chunks = small(chunks.count());
        self.memory.scratch(&self.context, &scratch);
        self.sum_channels(&table, groups);
    }

    pub(super) fn softmax(&mut self, op: &Softmax) {
        self.launch_rows(Kernel::softmax_forward, &rows(op));
    }

    pub(super) fn softmax_gradient(&mut self, op: &Softmax, gradient: &SoftmaxGradient) {
        let table = Rows {
            output_gradient: gradient.output.place(),
            input_gradient: gradient.input.place(),
            ..rows(op)
        };
        self.launch_rows(Kernel::softmax_backward, &table);
    }

    fn launch_rows(&mut self, kernel: Kernel, table: &Rows) {
        self.launch(kernel, [(table.rows as usize).div_ceil(64), 1, 1], [64, 1], table);
    }
}

fn rows(op: &Softmax) -> Rows {
    Rows {
        rows: small(op.input.len / op.columns),
        columns: small(op.columns),
        input: op.input.place(),
        output: op.output.place(),
        ..Rows::zeroed()
    }
}
