//! The weighted sum of a node, and the softmax of its weights: `kernels/mixed.cu`.

use bytemuck::{Pod, Zeroable};

use super::batch_norm::{Group, SUMS, Standardised, Sum, channel_sums, group_len};
use super::geometry::{GROUP, MAX_BRANCHES, Placed, Reader, TargetPlace};
use super::memory::Scratch;
use super::{Chunks, Cuda, Kernel, Mixed, MixedGradient, Operand, Softmax, SoftmaxGradient};
use super::{channel_block, small};

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
struct WeightPlace {
    products: u32,
    gamma: u32,
    beta: u32,
    weight: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Weights {
    total: u32,
    channels: u32,
    weights: [WeightPlace; MAX_BRANCHES],
}
const _: () = assert!(size_of::<Weights>() == 8 + 16 * 128);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct IdentityPlace {
    weight: u32,
    target: TargetPlace,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Identities {
    gradient: u32,
    len: u32,
    identities: [IdentityPlace; MAX_BRANCHES],
}
const _: () = assert!(size_of::<Identities>() == 8 + 12 * 128);

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
        self.mixed_sums(op, gradient);
        let channels = op.shape.c as usize;
        let mut table =
            Weights { total: gradient.total.place(), channels: small(channels), ..Weights::zeroed() };
        for ((place, branch), gradient) in table.weights.iter_mut().zip(&op.branches).zip(&gradient.branches)
        {
            *place = WeightPlace {
                products: gradient.products.place(),
                gamma: branch.norm.and_then(|norm| norm.gamma).place(),
                beta: branch.norm.and_then(|norm| norm.beta).place(),
                weight: gradient.weight.place(),
            };
        }
        self.launch(Kernel::mixed_weights, [op.branches.len(), 1, 1], [32, 1], &table);
        let mut table = Identities {
            gradient: gradient.output.place(),
            len: small(op.output.len),
            ..Identities::zeroed()
        };
        let mut count = 0;
        for (branch, gradient) in op.branches.iter().zip(&gradient.branches) {
            if let Some(target) = gradient.identity {
                table.identities[count] =
                    IdentityPlace { weight: branch.weight.place(), target: TargetPlace::from(target) };
                count += 1;
            }
        }
        self.launch_each(Kernel::mixed_identity, op.output.len, count, &table);
    }

    /// `total` and the products of all branches.
    fn mixed_sums(&mut self, op: &Mixed, gradient: &MixedGradient) {
        let (channels, all) = (op.shape.c as usize, op.branches.len());
        let chunks = Chunks::of(op.shape.pixels());
        let mut scratch = Scratch::default();
        let mut table = channel_sums(chunks, channels);
        let mut sums = [Sum::zeroed(); SUMS];
        let groups = all.div_ceil(GROUP).max(1);
        for group in 0..groups {
            let first = group * GROUP;
            let count = group_len(first, all);
            let partial = scratch.take(chunks.count() * (count + 1) * channels);
            let strided = |part: usize, to| Sum {
                source: partial + small(part * channels),
                step: small((count + 1) * channels),
                ..Sum::all(0, chunks.count(), to)
            };
            table.groups[group] = Group {
                gradient: gradient.output.place(),
                first: small(first),
                count: small(count),
                partial,
            };
            if group == 0 {
                sums[0] = strided(0, gradient.total);
            }
            for index in first..first + count {
                table.values[index] = Standardised::new(op.branches[index].data, op.branches[index].norm);
                sums[index + 1] = strided(index - first + 1, gradient.branches[index].products);
            }
        }
        self.memory.scratch(&self.context, &scratch);
        self.sum_channels(&table, groups);
        self.combine_sums(&sums[..=all]);
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
