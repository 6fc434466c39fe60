//! Depthwise separable convolutions: `kernels/separable.cu` and `kernels/depthwise.cu`.
//!
//! A launch serves up to [`MAX_FACTORS`] branches, whatever sources they belong to. A source with more of them is cut:
//! each part adds its share of the input gradient.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::bands::{self, Bands, Room};
use super::channel_sums::GROUPS;
use super::combine::{Moments, Sum};
use super::geometry::{
    Factor, MAX_FACTORS, MAX_WINDOW, Placed, Reader, TargetPlace, UnstoredGradientPlace, gate,
};
use super::memory::Scratch;
use super::{
    BatchNormReduce, Gradients, Separable, SeparableBranch, SeparableGradient, SeparableSource, Target,
};
use super::{Chunks, Cuda, Kernel, SeparableKernels, Shape, by_width, channel_block, small, tile};

/// Mirrors `Separable` of `kernels/bands.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Products {
    input: Shape,
    output: Shape,
    stride: u32,
    rows_per_split: u32,
    factors: [Factor; MAX_FACTORS],
    output_gradients: [UnstoredGradientPlace; MAX_FACTORS],
    partials: [Partials; MAX_FACTORS],
    bands: Bands,
}
const _: () = assert!(size_of::<Products>() == 40 + 212 * 18 + 136);

/// Partial gradients of a branch's weights.
/// Mirrors `Partials` of `kernels/bands.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Partials {
    pointwise: u32,
    depthwise: u32,
}

/// Mirrors `Branch` of `kernels/depthwise.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BranchPlace {
    gradient: u32,
    kernel: u32,
    dilation: u32,
    weights: u32,
    source: u32,
    partial: u32,
    gate: u32,
}

/// Mirrors `Source` of `kernels/depthwise.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SourcePlace {
    input: Reader,
    target: TargetPlace,
    first: u32,
    count: u32,
}

/// Mirrors `Depthwise` of `kernels/depthwise.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Depthwise {
    input: Shape,
    output: Shape,
    stride: u32,
    rows_per_chunk: u32,
    images: u32,
    branches: [BranchPlace; MAX_FACTORS],
    sources: [SourcePlace; MAX_FACTORS],
}
const _: () = assert!(size_of::<Depthwise>() == 44 + 18 * (28 + 28));

/// Scale and shift; provisional means of each team.
const FORWARD: Room = Room { ring: true, tiles: 1, block: 6, branch: 0 };
/// Pixels of a block of `depthwise_input_slices`.
const SLICE_PIXELS: usize = 1024;

/// Branches of one source that a launch serves.
#[derive(Clone)]
pub(super) struct Part {
    pub source: usize,
    pub branches: Range<usize>,
}

/// Cuts all branches into launches; no allocation, so that a step makes none.
fn each_launch(op: &Separable, mut visit: impl FnMut(&[Part])) {
    let mut parts: [Part; MAX_FACTORS] = std::array::from_fn(|_| Part { source: 0, branches: 0..0 });
    let (mut count, mut branches) = (0, 0);
    for (source, entry) in op.sources.iter().enumerate() {
        let mut first = 0;
        while first < entry.branches.len() {
            if branches == MAX_FACTORS {
                visit(&parts[..count]);
                (count, branches) = (0, 0);
            }
            let last = entry.branches.len().min(first + MAX_FACTORS - branches);
            parts[count] = Part { source, branches: first..last };
            (count, branches, first) = (count + 1, branches + last - first, last);
        }
    }
    if count > 0 {
        visit(&parts[..count]);
    }
}

/// Every branch of a launch: its source, its number there, itself.
pub(super) fn branches<'a>(
    op: &'a Separable,
    parts: &'a [Part],
) -> impl Iterator<Item = (usize, usize, &'a SeparableBranch)> {
    parts.iter().flat_map(move |part| {
        part.branches.clone().map(move |index| (part.source, index, &op.sources[part.source].branches[index]))
    })
}

fn factor(source: &SeparableSource, branch: &SeparableBranch, columns: u32) -> Factor {
    assert!(
        branch.kernel <= MAX_WINDOW,
        "a {0}x{0} window; the CUDA kernels take {MAX_WINDOW}x{MAX_WINDOW}",
        branch.kernel
    );
    Factor {
        input: Reader::from(&source.input),
        kernel: small(branch.kernel),
        dilation: small(branch.dilation),
        depthwise: branch.depthwise.place(),
        weights: branch.pointwise.place(),
        columns,
        output: branch.output.place(),
        gate: gate(branch.gate),
        ..Factor::zeroed()
    }
}

/// The launch's table without scratch and output gradients, and the number of branches.
fn products(op: &Separable, parts: &[Part]) -> (Products, usize) {
    let input = op.sources.first().map_or(op.output_shape, |source| source.input.shape);
    let mut table =
        Products { input, output: op.output_shape, stride: small(op.stride), ..Products::zeroed() };
    let mut count = 0;
    for (source, _, branch) in branches(op, parts) {
        table.factors[count] = factor(&op.sources[source], branch, op.output_shape.c);
        count += 1;
    }
    (table, count)
}

impl SeparableKernels for Cuda {
    fn separable_forward(&mut self, op: &Separable) {
        each_launch(op, |parts| self.separable_products(op, parts));
    }

    fn separable_backward(&mut self, op: &Separable, gradient: &SeparableGradient, wanted: Gradients) {
        each_launch(op, |parts| self.part_gradients(op, gradient, wanted, parts));
        for (sources, gradients) in op.sources.chunks(GROUPS).zip(gradient.sources.chunks(GROUPS)) {
            let reduces = sources.iter().zip(gradients).filter_map(|(source, gradient)| {
                let (Target { slot, gate, .. }, sums) = (gradient.input, gradient.sums?);
                Some(BatchNormReduce { gradient: slot, input: source.input, sums, gate })
            });
            self.reduce_gradients(reduces);
        }
    }
}

impl Cuda {
    /// The products of one launch: in bands where they fit.
    fn separable_products(&mut self, op: &Separable, parts: &[Part]) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let [width, height] = tile(columns);
        let bands = Bands::plan(op, parts, self.memory.precision().bytes(), FORWARD);
        let rows_per_block = bands.map_or(height, |bands| bands.block_pixels(op));
        let (mut table, count) = products(op, parts);
        let mut scratch = Scratch::default();
        let mut moments = [Moments::zeroed(); MAX_FACTORS];
        for (index, (_, _, branch)) in branches(op, parts).enumerate() {
            let partial = scratch.take(rows.div_ceil(rows_per_block) * 3 * columns);
            table.factors[index].partial = partial;
            moments[index] = Moments {
                partial,
                rows: small(rows),
                rows_per_block: small(rows_per_block),
                channels: small(columns),
                statistics: branch.statistics.place(),
                gate: gate(branch.gate),
            };
        }
        self.memory.scratch(&self.context, &scratch);
        if let Some(bands) = bands {
            table.bands = bands;
            let kernel = match columns {
                16 => Kernel::separable_forward_bands_16,
                32 => Kernel::separable_forward_bands_32,
                _ => Kernel::separable_forward_bands_64,
            };
            self.launch(kernel, [bands.blocks(op), bands.groups(), 1], [bands::THREADS, 1], &table);
        } else {
            let kernel = by_width(width, Kernel::separable_forward_16, Kernel::separable_forward_64);
            self.launch(kernel, [rows.div_ceil(height), columns.div_ceil(width), count], [256, 1], &table);
        }
        self.combine_moments(&moments[..count]);
    }

    /// Gradients of the branches of one launch.
    fn part_gradients(
        &mut self,
        op: &Separable,
        gradient: &SeparableGradient,
        wanted: Gradients,
        parts: &[Part],
    ) {
        let rows = op.output_shape.pixels();
        let bytes = self.memory.precision().bytes();
        let bands = gradient_bands(op, gradient, parts, bytes, wanted);
        let chunks = Chunks::of(rows);
        let partials = bands.map_or(chunks.count(), |bands| bands.blocks(op));
        let (mut table, count) = products(op, parts);
        let (mut depthwise, mut scratch) = depthwise_table(op, gradient, parts, bytes);
        for (index, (source, number, branch)) in branches(op, parts).enumerate() {
            table.factors[index].partial = depthwise.branches[index].gradient;
            table.output_gradients[index] =
                UnstoredGradientPlace::from(&gradient.sources[source].branches[number].output);
            // All scratch is taken before the first kernel: growing drops what it holds.
            if wanted.of_weights() {
                table.partials[index] = Partials {
                    pointwise: scratch.take(partials * branch.pointwise.len),
                    depthwise: scratch.take(partials * branch.depthwise.len),
                };
                depthwise.branches[index].partial = table.partials[index].depthwise;
            }
        }
        self.memory.scratch(&self.context, &scratch);
        match bands {
            Some(bands) => self.band_gradients(op, bands, &mut table, wanted),
            None => self.depthwise_gradients(rows, count, &table),
        }
        self.input_gradients(op, gradient, parts, &mut depthwise, bytes);
        if wanted.of_weights() {
            if bands.is_none() {
                (table.rows_per_split, depthwise.rows_per_chunk) = (small(chunks.each), small(chunks.each));
                self.weight_gradients(chunks, count, &mut table, &depthwise);
            }
            self.combine_weights(op, gradient, parts, partials, &table.partials);
        }
    }

    /// Gradients of the depthwise results, and partial gradients of all weights where wanted.
    fn band_gradients(&mut self, op: &Separable, bands: Bands, table: &mut Products, wanted: Gradients) {
        table.bands = bands;
        let kernel = match (op.output_shape.c, wanted.of_weights()) {
            (16, false) => Kernel::separable_depthwise_bands_16,
            (32, false) => Kernel::separable_depthwise_bands_32,
            (_, false) => Kernel::separable_depthwise_bands_64,
            (16, true) => Kernel::separable_gradients_16,
            (32, true) => Kernel::separable_gradients_32,
            (_, true) => Kernel::separable_gradients_64,
        };
        self.launch(kernel, [bands.blocks(op), bands.groups(), 1], [bands::THREADS, 1], table);
    }

    /// Gradients of the depthwise results of any geometry.
    fn depthwise_gradients(&mut self, rows: usize, count: usize, table: &Products) {
        let channels = table.input.c as usize;
        let [width, height] = tile(channels);
        let kernel = by_width(width, Kernel::separable_depthwise_16, Kernel::separable_depthwise_64);
        self.launch(kernel, [rows.div_ceil(height), channels.div_ceil(width), count], [256, 1], table);
    }

    /// Gradients of the inputs: in slices of channels where a block takes whole images.
    fn input_gradients(
        &mut self,
        op: &Separable,
        gradient: &SeparableGradient,
        parts: &[Part],
        table: &mut Depthwise,
        bytes: usize,
    ) {
        let (input, slice) = (op.sources[0].input.shape, 32 / bytes);
        let reached = parts.iter().all(|part| {
            let slots = [op.sources[part.source].input.data, gradient.sources[part.source].input.slot];
            slots.into_iter().all(|slot| bands::aligned(slot, bytes))
        });
        let fits = (input.c as usize).is_multiple_of(slice) && input.image_pixels() <= SLICE_PIXELS;
        if fits && reached && matches!(op.stride, 1 | 2) {
            let images = bands::images(op.output_shape).min(SLICE_PIXELS / input.image_pixels());
            table.images = small(images);
            let grid = [(input.n as usize).div_ceil(images), input.c as usize / slice, parts.len()];
            self.launch(Kernel::depthwise_input_slices, grid, [512, 1], table);
        } else {
            self.launch(
                Kernel::depthwise_input,
                [input.len().div_ceil(256), 1, parts.len()],
                [256, 1],
                table,
            );
        }
    }

    /// Partial gradients of pointwise and depthwise weights of any geometry.
    fn weight_gradients(
        &mut self,
        chunks: Chunks,
        count: usize,
        table: &mut Products,
        depthwise: &Depthwise,
    ) {
        for (factor, partials) in table.factors.iter_mut().zip(&table.partials) {
            factor.partial = partials.pointwise;
        }
        let (channels, columns) = (table.input.c as usize, table.output.c as usize);
        let side = if channels.max(columns) <= 16 { 16 } else { 64 };
        let kernel = by_width(side, Kernel::separable_weights_16, Kernel::separable_weights_64);
        let tiles = channels.div_ceil(side) * columns.div_ceil(side);
        self.launch(kernel, [chunks.count(), tiles, count], [256, 1], table);
        let (block, across) = channel_block(channels);
        let grid = [chunks.count(), across, count * MAX_WINDOW];
        self.launch(Kernel::depthwise_weights, grid, block, depthwise);
    }

    /// Adds `count` partial gradients of each branch's weights.
    fn combine_weights(
        &mut self,
        op: &Separable,
        gradient: &SeparableGradient,
        parts: &[Part],
        count: usize,
        partials: &[Partials],
    ) {
        let mut sums = [Sum::zeroed(); 2 * MAX_FACTORS];
        let mut used = 0;
        for ((source, number, branch), partials) in branches(op, parts).zip(partials) {
            let gradient = &gradient.sources[source].branches[number];
            sums[used] = Sum::all(partials.pointwise, count, gradient.pointwise).or_zero(branch.gate);
            sums[used + 1] = Sum::all(partials.depthwise, count, gradient.depthwise).or_zero(branch.gate);
            used += 2;
        }
        self.combine_sums(&sums[..used]);
    }
}

/// The bands of a backward launch, if it fits.
fn gradient_bands(
    op: &Separable,
    gradient: &SeparableGradient,
    parts: &[Part],
    bytes: usize,
    wanted: Gradients,
) -> Option<Bands> {
    let mut terms = 0;
    for (source, number, _) in branches(op, parts) {
        let output_gradient = &gradient.sources[source].branches[number].output;
        terms = terms.max(output_gradient.terms.len());
        let mut slots = output_gradient.terms.iter().map(|term| term.gradient).chain([output_gradient.raw]);
        if !slots.all(|slot| bands::aligned(slot, bytes)) {
            return None;
        }
    }
    // Scale and shift of a block; raw factor, constant and factors of each branch.
    let weights = wanted.of_weights();
    let room = Room { ring: weights, tiles: if weights { 2 } else { 1 }, block: 2, branch: 2 + terms };
    Bands::plan(op, parts, bytes, room)
}

/// The table of a launch, and the scratch that holds the gradients of its depthwise results.
fn depthwise_table(
    op: &Separable,
    gradient: &SeparableGradient,
    parts: &[Part],
    bytes: usize,
) -> (Depthwise, Scratch) {
    let input = op.sources[0].input.shape;
    let mut scratch = Scratch::default();
    let mut table =
        Depthwise { input, output: op.output_shape, stride: small(op.stride), ..Depthwise::zeroed() };
    for (index, (source, _, branch)) in branches(op, parts).enumerate() {
        table.branches[index] = BranchPlace {
            gradient: scratch.take((op.output_shape.pixels() * input.c as usize * bytes).div_ceil(4)),
            kernel: small(branch.kernel),
            dilation: small(branch.dilation),
            weights: branch.depthwise.place(),
            source: small(parts.iter().position(|part| part.source == source).unwrap_or_default()),
            partial: 0,
            gate: gate(branch.gate),
        };
    }
    depthwise_sources(&mut table, op, gradient, parts);
    (table, scratch)
}

/// The sources of a launch, each with its branches; a source's second part adds to what its first left.
fn depthwise_sources(table: &mut Depthwise, op: &Separable, gradient: &SeparableGradient, parts: &[Part]) {
    let mut first = 0;
    for (place, part) in table.sources.iter_mut().zip(parts) {
        let target = gradient.sources[part.source].input;
        let accumulate = target.accumulate || part.branches.start > 0;
        let count = part.branches.len();
        *place = SourcePlace {
            input: Reader::from(&op.sources[part.source].input),
            target: TargetPlace::from(Target { accumulate, ..target }),
            first: small(first),
            count: small(count),
        };
        first += count;
    }
}
