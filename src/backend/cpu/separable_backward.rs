//! Depthwise separable convolution, backward: as the forward pass, an image at a time.
//!
//! Per branch and tile of rows: form the output gradient; recompute the depthwise result for the gradient of
//! the pointwise weights; go back through the pointwise weights into a zero-padded image of depthwise
//! gradients, which gives the gradient of the depthwise weights. Then the depthwise gradients of the
//! whole image go back through the flipped window, summed over branches, and once an image the sum
//! passes the ReLU into the target.

use std::ops::Range;

use super::depthwise::{Ahead, Depthwise, DepthwiseGradient, Plane, Taps};
use super::gemm::Gemm;
use super::lattice::Lattice;
use super::memory::{Area, Carver, Memory, piece};
use super::separable::*;
use super::simd::{Kernel, Vector};
use super::stream::{self, Deliver, FormGradient, Reduction, standard, target_area};
use super::weights::{combine_matrix, spread_weights, transpose};
use super::{
    Cpu, Gradients, Separable, SeparableBranch, SeparableGradient, SeparableSource, SeparableSourceGradient,
};

/// Where the weights of branches and the partial gradients of units lie, in elements.
#[derive(Clone, Copy)]
struct Layout {
    /// A depthwise weight matrix, spread over vectors.
    depthwise: usize,
    /// Both weight matrices of a branch.
    branch: usize,
    /// The branches of a unit.
    unit: usize,
}

impl Cpu {
    pub(super) fn separable_gradients(
        &mut self,
        op: &Separable,
        gradient: &SeparableGradient,
        wanted: Gradients,
    ) {
        let weights = wanted.of_weights();
        let geometry = Geometry::new(op, self.instructions.lanes());
        let (branches, most) = count_branches(op);
        let units = geometry.units.count();
        let depthwise = piece(most_taps(op) * geometry.weight_step());
        let branch = depthwise + piece(geometry.channels * geometry.out_channels);
        let layout = Layout { depthwise, branch, unit: most * branch };
        // Flipped and transposed for the way back, and as they are for the recomputation.
        let prepared = self.prepared.at_least(branches * (branch + depthwise));
        let partials =
            self.partials.at_least(if weights { op.sources.len() * units * layout.unit } else { 0 });
        let sums = self.sums.at_least(op.sources.len() * units * 2 * geometry.channels);
        let scratch_len = Backward::scratch_len(&geometry);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        self.team.each(branches, &|_, number| {
            let to = prepared.from(number * (branch + depthwise));
            // SAFETY: `prepared` holds `branch + depthwise` elements a branch.
            unsafe { prepare(&geometry, op, memory, number, layout, to) };
        });
        self.team.each(op.sources.len() * units, &|member, unit| {
            let source = unit / units;
            let backward = Backward {
                geometry,
                layout,
                source: &op.sources[source],
                gradient: &gradient.sources[source],
                images: geometry.units.images(unit % units),
                memory,
                prepared: prepared.from(first_branch(op, source) * (branch + depthwise)),
                scratch: scratch.part(member * scratch_len, scratch_len),
                partials: weights.then(|| partials.from(unit * layout.unit)),
                sums: sums.from(unit * 2 * geometry.channels),
            };
            // SAFETY: the set is available; members have scratch, units have images and sums of their own.
            unsafe { instructions.run(backward) };
        });
        for (source, gradient) in gradient.sources.iter().enumerate() {
            if let Some(to) = gradient.sums.filter(|_| memory.open(gradient.input.gate)) {
                let step = 2 * geometry.channels;
                // SAFETY: each unit of a source that asks for sums left `[2][channels]`.
                unsafe { stream::combine_sums(sums.from(source * units * step), units, step, memory, to) };
            }
        }
        if weights {
            self.team.each(branches, &|_, number| {
                let (source, branch) = locate(op, number);
                let partials = partials.from(source * units * layout.unit + branch * layout.branch);
                let to = &gradient.sources[source].branches[branch];
                if !memory.open(op.sources[source].branches[branch].gate) {
                    for span in [to.depthwise, to.pointwise] {
                        // SAFETY: no other branch has these weights.
                        unsafe { memory.span(span).slice_mut(0, span.len).fill(0.0) };
                    }
                    return;
                }
                let combine = Combine {
                    geometry: &geometry,
                    layout,
                    units,
                    partials,
                    depthwise: memory.span(to.depthwise),
                    taps: op.sources[source].branches[branch].kernel.pow(2),
                    pointwise: memory.span(to.pointwise),
                };
                // SAFETY: the set is available; each unit left the gradients of all its branches.
                unsafe { instructions.run(combine) };
            });
        }
    }
}

/// The weights of branch `number`: depthwise flipped, pointwise transposed, depthwise as it is.
unsafe fn prepare(
    geometry: &Geometry,
    op: &Separable,
    memory: Memory,
    number: usize,
    layout: Layout,
    to: Area,
) {
    let (source, branch) = locate(op, number);
    let branch = &op.sources[source].branches[branch];
    if !memory.open(branch.gate) {
        return;
    }
    let taps = branch.kernel * branch.kernel;
    let (depthwise, pointwise) = (memory.span(branch.depthwise), memory.span(branch.pointwise));
    let (rows, columns) = (geometry.channels, geometry.out_channels);
    // SAFETY: the caller's promise.
    unsafe {
        spread_weights(geometry, taps, depthwise, to, true);
        spread_weights(geometry, taps, depthwise, to.from(layout.branch), false);
        transpose(pointwise, rows, columns, to.from(layout.depthwise));
    }
}

/// A work unit of the backward pass.
struct Backward<'a> {
    geometry: Geometry,
    layout: Layout,
    source: &'a SeparableSource,
    gradient: &'a SeparableSourceGradient,
    images: Range<usize>,
    memory: Memory,
    prepared: Area,
    scratch: Area,
    /// Gradients of the weights, where wanted.
    partials: Option<Area>,
    sums: Area<f64>,
}

/// The scratch memory of a unit.
#[derive(Clone, Copy)]
struct Pieces {
    /// The activated input, padded.
    image: Area,
    /// Gradients of the depthwise result, padded.
    slopes: Area,
    /// The input gradient, summed over branches.
    total: Area,
    /// A tile of the depthwise result.
    tile: Area,
    /// A tile of the output gradient.
    output_gradient: Area,
}

impl Backward<'_> {
    fn scratch_len(geometry: &Geometry) -> usize {
        piece(geometry.padded_len(geometry.in_h, geometry.in_w))
            + piece(geometry.padded_len(geometry.out_h, geometry.out_w))
            + piece(geometry.in_h * total_row(geometry))
            + piece(geometry.tile_len(geometry.pitch))
            + piece(geometry.tile_len(geometry.out_channels))
    }

    fn carve(&self) -> Pieces {
        let geometry = &self.geometry;
        let mut carver = Carver::new(self.scratch);
        Pieces {
            image: carver.take(geometry.padded_len(geometry.in_h, geometry.in_w)),
            slopes: carver.take(geometry.padded_len(geometry.out_h, geometry.out_w)),
            total: carver.take(geometry.in_h * total_row(geometry)),
            tile: carver.take(geometry.tile_len(geometry.pitch)),
            output_gradient: carver.take(geometry.tile_len(geometry.out_channels)),
        }
    }
}

/// Elements between rows of the input gradient: whole vectors, so that rows do not overlap.
fn total_row(geometry: &Geometry) -> usize {
    (geometry.in_w * geometry.pitch).next_multiple_of(geometry.lanes)
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let pieces = self.carve();
        let open = open_branches(self.source, self.memory);
        let idle = open.clone().next().is_none();
        // SAFETY: scratch covers what was carved; see `scratch_len`.
        unsafe {
            if idle && !self.asks_for_zeros() {
                return;
            }
            let clear = |area: Area, len| area.slice_mut(0, len).fill(0.0);
            // With what follows it: the last tap reads on there, times zero, which NaN of another operator would survive.
            clear(pieces.image, piece(geometry.padded_len(geometry.in_h, geometry.in_w)));
            clear(pieces.slopes, geometry.padded_len(geometry.out_h, geometry.out_w));
            self.sums.slice_mut(0, 2 * geometry.channels).fill(0.0);
            if idle {
                clear(pieces.total, geometry.in_h * total_row(geometry));
            }
            if let Some(partials) = self.partials {
                for number in open.clone() {
                    clear(partials.from(number * self.layout.branch), self.layout.branch);
                }
            }
            for index in self.images.clone() {
                V::call(activate(geometry, self.source, self.memory, index, pieces.image));
                for (rank, number) in open.clone().enumerate() {
                    self.branch::<V>(index, number, rank > 0, pieces);
                }
                self.deliver::<V>(index, pieces);
            }
        }
    }
}

impl Backward<'_> {
    /// Whether a source without an open branch owes a gradient of zero, or sums.
    fn asks_for_zeros(&self) -> bool {
        let target = self.gradient.input;
        self.memory.open(target.gate) && (!target.accumulate || self.gradient.sums.is_some())
    }

    /// One branch of one image, behind another one where `accumulate` says so.
    #[inline(always)]
    unsafe fn branch<V: Vector>(&self, index: usize, number: usize, accumulate: bool, pieces: Pieces) {
        let geometry = &self.geometry;
        let mut row = 0;
        // SAFETY: rows end at `out_h`.
        unsafe {
            while row < geometry.out_h {
                let rows = row..geometry.out_h.min(row + geometry.tile_rows);
                row = rows.end;
                self.tile::<V>(index, number, pieces, rows);
            }
            self.through_window::<V>(number, accumulate, pieces);
        }
    }

    /// From the output gradient of a tile to the gradients of its weights and of its depthwise result.
    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, index: usize, number: usize, pieces: Pieces, rows: Range<usize>) {
        let (geometry, layout) = (&self.geometry, &self.layout);
        let branch = &self.source.branches[number];
        let prepared = self.prepared.from(number * (layout.branch + layout.depthwise));
        let (channels, out_channels) = (geometry.channels, geometry.out_channels);
        let pixels = rows.len() * geometry.out_w;
        // SAFETY: rows end at `out_h`; the pieces are as large as the geometry says.
        unsafe {
            V::call(FormGradient {
                output_gradient: &self.gradient.branches[number].output,
                memory: self.memory,
                pixel: index * geometry.out_pixels() + rows.start * geometry.out_w,
                pixels,
                channels: out_channels,
                target: pieces.output_gradient,
            });
            if let Some(partials) = self.partials {
                let weights = prepared.from(layout.branch);
                let ahead = self.next_output_gradient(index, number, &rows);
                V::call(depthwise_tile(
                    geometry,
                    branch,
                    weights,
                    pieces.image,
                    pieces.tile,
                    rows.clone(),
                    ahead,
                ));
                V::call(Gemm {
                    rows: channels,
                    columns: out_channels,
                    inner: pixels,
                    a: pieces.tile,
                    a_row: 1,
                    a_column: geometry.pitch,
                    b: pieces.output_gradient,
                    b_row: out_channels,
                    c: partials.from(number * layout.branch + layout.depthwise),
                    c_row: out_channels,
                    accumulate: true,
                });
            }
            let slopes_row = geometry.padded_row(geometry.out_w);
            let inside = geometry.inset(geometry.out_w, geometry.padding) + rows.start * slopes_row;
            let slopes = pieces.slopes.from(inside);
            for row in 0..rows.len() {
                V::call(Gemm {
                    rows: geometry.out_w,
                    columns: channels,
                    inner: out_channels,
                    a: pieces.output_gradient.from(row * geometry.out_w * out_channels),
                    a_row: out_channels,
                    a_column: 1,
                    b: prepared.from(layout.depthwise),
                    b_row: channels,
                    c: slopes.from(row * slopes_row),
                    c_row: geometry.pitch,
                    accumulate: false,
                });
            }
            if let Some(partials) = self.partials {
                let partials = partials.from(number * layout.branch);
                V::call(self.depthwise_gradient(branch, pieces.image, partials, slopes, rows));
            }
        }
    }

    /// What the output gradient of the tile below these rows reads.
    #[inline(always)]
    fn next_output_gradient(&self, index: usize, number: usize, rows: &Range<usize>) -> [Ahead; 2] {
        let geometry = &self.geometry;
        let output_gradient = &self.gradient.branches[number].output;
        let count = geometry.tile_rows.min(geometry.out_h - rows.end);
        let pixel = index * geometry.out_pixels() + rows.end * geometry.out_w;
        let next = |slot| Ahead {
            area: self.memory.slot(slot).from(pixel * geometry.out_channels),
            len: count * geometry.out_w * geometry.out_channels,
        };
        let gradient = output_gradient.terms.first().map_or(output_gradient.raw, |term| term.gradient);
        [next(output_gradient.raw), next(gradient)]
    }

    /// The gradient of the depthwise weights over a tile whose slopes begin at `slopes`.
    fn depthwise_gradient(
        &self,
        branch: &SeparableBranch,
        image: Area,
        partials: Area,
        slopes: Area,
        rows: Range<usize>,
    ) -> DepthwiseGradient {
        let geometry = &self.geometry;
        let vectors = geometry.vectors(geometry.out_w);
        let filled = (vectors - 1) * geometry.lanes;
        let last = if geometry.flat { geometry.out_w * geometry.channels - filled } else { geometry.lanes };
        DepthwiseGradient {
            input: window_plane(geometry, branch, image, rows.start),
            taps: window(geometry, branch, partials),
            slopes: Plane {
                area: slopes,
                row_step: geometry.padded_row(geometry.out_w),
                column_step: geometry.vector_step(1),
            },
            rows: rows.len(),
            columns: vectors,
            last_lanes: last,
            blocks: geometry.blocks,
        }
    }

    /// From the gradients of the depthwise result to those of its input: one gather for each lattice of
    /// inputs that see the same taps, of which there are stride * stride.
    #[inline(always)]
    unsafe fn through_window<V: Vector>(&self, number: usize, accumulate: bool, pieces: Pieces) {
        let (geometry, layout) = (&self.geometry, &self.layout);
        let branch = &self.source.branches[number];
        let weights = self.prepared.from(number * (layout.branch + layout.depthwise));
        let stride = geometry.stride;
        let (slopes_row, row_len) = (geometry.padded_row(geometry.out_w), total_row(geometry));
        for y in 0..stride.min(geometry.in_h) {
            let vertical = Lattice::new(geometry, branch, y);
            for x in 0..stride.min(geometry.in_w) {
                let horizontal = Lattice::new(geometry, branch, x);
                let weight_row = branch.kernel * geometry.weight_step();
                let first = vertical.tap * weight_row + horizontal.tap * geometry.weight_step();
                let start = vertical.start * slopes_row + horizontal.start * geometry.pitch;
                let gather = Depthwise {
                    input: Plane {
                        area: pieces.slopes.from(start),
                        row_step: slopes_row,
                        column_step: geometry.vector_step(1),
                    },
                    taps: Taps {
                        rows: if horizontal.taps == 0 { 0 } else { vertical.taps },
                        columns: horizontal.taps,
                        row_step: vertical.step * slopes_row,
                        column_step: horizontal.step * geometry.pitch,
                        weights: weights.from(first),
                        weight_row: vertical.tap_step * weight_row,
                        weight_column: horizontal.tap_step * geometry.weight_step(),
                    },
                    output: Plane {
                        area: pieces.total.from(y * row_len + x * geometry.pitch),
                        row_step: stride * row_len,
                        column_step: geometry.vector_step(stride),
                    },
                    rows: (geometry.in_h - y).div_ceil(stride),
                    columns: geometry.vectors((geometry.in_w - x).div_ceil(stride)),
                    blocks: geometry.blocks,
                    accumulate,
                    ahead: [Ahead::nothing(pieces.slopes); 2],
                };
                // SAFETY: slopes are padded as the widest window needs; the total holds all inputs.
                unsafe { V::call(gather) };
            }
        }
    }

    /// Gives the sum over branches to the target.
    #[inline(always)]
    unsafe fn deliver<V: Vector>(&self, index: usize, pieces: Pieces) {
        let (geometry, memory) = (&self.geometry, self.memory);
        let channels = geometry.channels;
        let len = geometry.in_h * geometry.in_w * channels;
        let target = self.gradient.input;
        // SAFETY: the image lies in the target, and no other unit has it.
        unsafe {
            V::call(Deliver {
                gradient: pieces.total,
                gradient_row: total_row(geometry),
                activated: Some(pieces.image.from(geometry.inset(geometry.in_w, geometry.padding))),
                activated_row: geometry.padded_row(geometry.in_w),
                pitch: geometry.pitch,
                rows: geometry.in_h,
                columns: geometry.in_w,
                channels,
                target: target_area(memory, target, index * len, len),
                accumulate: target.accumulate,
                sums: self.gradient.sums.map(|_| Reduction {
                    raw: memory.slot(self.source.input.data).part(index * len, len),
                    norm: standard(memory, self.source.input.norm),
                    total: self.sums,
                    products: self.sums.from(channels),
                }),
            });
        }
    }
}

/// Adds up the weight gradients of the units of a branch, in f64.
struct Combine<'a> {
    geometry: &'a Geometry,
    layout: Layout,
    units: usize,
    partials: Area,
    depthwise: Area,
    taps: usize,
    pointwise: Area,
}

impl Kernel for Combine<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let step = self.geometry.weight_step();
        let len = self.geometry.channels * self.geometry.out_channels;
        // SAFETY: each unit left a spread depthwise matrix and a pointwise matrix.
        unsafe {
            self.depthwise.slice_mut(0, self.taps * self.geometry.channels).fill(0.0);
            for tap in 0..self.taps {
                for lane in 0..step {
                    let Some(channel) = self.geometry.channel_of(lane) else { continue };
                    let at = tap * self.geometry.channels + channel;
                    let mut sum = f64::from(self.depthwise.get(at));
                    for unit in 0..self.units {
                        sum += f64::from(self.partials.get(unit * self.layout.unit + tap * step + lane));
                    }
                    self.depthwise.set(at, sum as f32);
                }
            }
            let partials = self.partials.from(self.layout.depthwise);
            combine_matrix(partials, self.units, self.layout.unit, self.pointwise, len);
        }
    }
}
