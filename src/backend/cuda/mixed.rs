//! The weighted sum of a node: `kernels/mixed.cu`.

use bytemuck::{Pod, Zeroable};

use super::channel_sums::{ChannelSums, Group, Standardised};
use super::geometry::{ABSENT, MAX_BRANCHES, Placed, Reader, gate};
use super::memory::Scratch;
use super::{Cuda, Kernel, Mixed, MixedGradient, MixedKernels, Operand, channel_block, small};

/// Mirrors `MixedBranch` of `kernels/mixed.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BranchPlace {
    input: Reader,
    weight: u32,
    gate: u32,
}

/// Mirrors `MixedForward` of `kernels/mixed.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Forward {
    output: u32,
    rows: u32,
    channels: u32,
    rows_per_chunk: u32,
    packed: u32,
    count: u32,
    branches: [BranchPlace; MAX_BRANCHES],
}
const _: () = assert!(size_of::<Forward>() == 24 + 20 * 128);

/// Mirrors `BranchGradient` of `kernels/mixed.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GradientPlace {
    source: u32,
    products: u32,
    gamma: u32,
    beta: u32,
    weight: u32,
    gate: u32,
}

/// Mirrors `MixedFinish` of `kernels/mixed.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Finish {
    chunks: u32,
    channels: u32,
    source: u32,
    step: u32,
    total: u32,
    sum: u32,
    branches: [GradientPlace; MAX_BRANCHES],
}
const _: () = assert!(size_of::<Finish>() == 24 + 24 * 128);

fn check(op: &Mixed) {
    let count = op.branches.len();
    assert!(count <= MAX_BRANCHES, "a node of {count} branches; the CUDA kernels take {MAX_BRANCHES}");
}

impl MixedKernels for Cuda {
    fn mixed_forward(&mut self, op: &Mixed) {
        check(op);
        let channels = op.shape.c as usize;
        let rows = op.shape.pixels();
        let (block, across) = channel_block(channels);
        // Enough blocks for a large device, enough rows for the coefficients to pay.
        let each = rows.div_ceil(1024).max(2048 / block[0] as usize);
        let slots = op.branches.iter().map(|branch| branch.data).chain([op.output]);
        let mut table = Forward {
            output: op.output.place(),
            rows: small(rows),
            channels: small(channels),
            rows_per_chunk: small(each),
            packed: self.packed(channels, slots),
            count: small(op.branches.len()),
            ..Forward::zeroed()
        };
        for (place, branch) in table.branches.iter_mut().zip(&op.branches) {
            let operand = Operand { data: branch.data, shape: op.shape, norm: branch.norm };
            let (input, weight) = (Reader::from(&operand), branch.weight.place());
            *place = BranchPlace { input, weight, gate: gate(branch.gate) };
        }
        self.launch(Kernel::mixed_forward, [rows.div_ceil(each), across, 1], block, &table);
    }

    fn mixed_backward(&mut self, op: &Mixed, gradient: &MixedGradient) {
        check(op);
        let (channels, all) = (op.shape.c as usize, op.branches.len());
        let (mut table, chunks) = ChannelSums::new(op.shape);
        let mut scratch = Scratch::default();
        let partial = scratch.take(chunks.count() * (all + 1) * channels);
        table.groups[0] = Group::new(gradient.output, 0..all, partial, None);
        let mut finish = Finish {
            chunks: small(chunks.count()),
            channels: small(channels),
            source: partial,
            step: small((all + 1) * channels),
            total: gradient.total.place(),
            sum: gradient.sum.place(),
            ..Finish::zeroed()
        };
        finish.branches[0].products = ABSENT;
        for (index, (branch, gradient)) in op.branches.iter().zip(&gradient.branches).enumerate() {
            table.values[index] = Standardised::new(branch.data, branch.norm, branch.gate);
            if let Some(target) = gradient.identity {
                table.add_identity(branch, target);
            }
            finish.branches[index] = GradientPlace {
                source: partial + small((index + 1) * channels),
                products: gradient.products.place(),
                gamma: branch.norm.and_then(|norm| norm.gamma).place(),
                beta: branch.norm.and_then(|norm| norm.beta).place(),
                weight: gradient.weight.place(),
                gate: gate(branch.gate),
            };
        }
        let targets = gradient.branches.iter().filter_map(|branch| Some(branch.identity?.slot));
        let slots = op.branches.iter().map(|branch| branch.data).chain(targets).chain([gradient.output]);
        table.packed = self.packed(channels, slots);
        self.memory.scratch(&self.context, &scratch);
        self.sum_channels(&table, 1);
        self.launch(Kernel::mixed_finish, [all.max(1), 1, 1], [32, 8], &finish);
    }
}
