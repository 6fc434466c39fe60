//! Depthwise separable convolution, forward: an image at a time, which stays in cache from the ReLU to
//! the statistics.
//!
//! A work unit is a few images of one source. Each image is activated once into a zero-padded copy that
//! all branches of the source read. A branch goes through it in tiles of rows: depthwise into scratch,
//! pointwise into the output, statistics of the output.

use std::ops::Range;

use super::depthwise::{Ahead, Depthwise, Plane, Taps};
use super::gemm::Gemm;
use super::memory::{Area, Carver, Memory, piece};
use super::simd::{Kernel, Vector};
use super::statistics::{self, Measure, Units};
use super::stream::{Activate, affine};
use super::weights::spread_weights;
use super::{
    Cpu, Gradients, Separable, SeparableBranch, SeparableGradient, SeparableKernels, SeparableSource,
};

/// Elements of a tile: what leaves room for its neighbours in the first-level cache.
const TILE: usize = 4096;

/// How images lie in scratch memory.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub in_h: usize,
    pub in_w: usize,
    pub channels: usize,
    pub out_h: usize,
    pub out_w: usize,
    pub out_channels: usize,
    pub stride: usize,
    /// Zero pixels around an image: as the widest window needs.
    pub padding: usize,
    /// Elements between pixels: the channels filled up to whole vectors, or, where the channels divide
    /// the lanes, the channels themselves, several pixels to a vector.
    pub pitch: usize,
    /// Whether vectors hold several pixels.
    pub flat: bool,
    /// Vectors that hold the channels.
    pub blocks: usize,
    /// Lanes of a vector.
    pub lanes: usize,
    /// Rows of outputs in a tile.
    pub tile_rows: usize,
    /// How the batch is divided.
    pub units: Units,
}

impl Geometry {
    pub fn new(op: &Separable, lanes: usize) -> Self {
        let input = op.sources[0].input.shape;
        let channels = input.c as usize;
        let branches = op.sources.iter().flat_map(|source| &source.branches);
        let flat = op.stride == 1 && lanes.is_multiple_of(channels);
        let pitch = if flat { channels } else { channels.next_multiple_of(lanes) };
        let (out_w, out_channels) = (op.output_shape.w as usize, op.output_shape.c as usize);
        Geometry {
            in_h: input.h as usize,
            in_w: input.w as usize,
            channels,
            out_h: op.output_shape.h as usize,
            out_w,
            out_channels,
            stride: op.stride,
            padding: branches.map(padding).max().unwrap_or(0),
            pitch,
            flat,
            blocks: pitch.div_ceil(lanes),
            lanes,
            tile_rows: (TILE / (out_w * pitch.max(out_channels))).max(1),
            units: Units::new(input.n as usize, input.image_pixels()),
        }
    }

    /// Elements between rows of a padded image `width` pixels wide.
    pub fn padded_row(&self, width: usize) -> usize {
        (width + 2 * self.padding) * self.pitch
    }

    /// Elements of a padded image.
    pub fn padded_len(&self, height: usize, width: usize) -> usize {
        (height + 2 * self.padding) * self.padded_row(width)
    }

    /// Element at which the pixel `inset` rows and columns inside the border begins.
    pub fn inset(&self, width: usize, inset: usize) -> usize {
        inset * (self.padded_row(width) + self.pitch)
    }

    /// Vectors in a row of `width` pixels.
    pub fn vectors(&self, width: usize) -> usize {
        if self.flat { (width * self.channels).div_ceil(self.lanes) } else { width }
    }

    /// Elements between the vectors of a row whose pixels are `pixels` apart.
    pub fn vector_step(&self, pixels: usize) -> usize {
        if self.flat { self.lanes } else { pixels * self.pitch }
    }

    /// Elements that a tile of outputs takes with `channels` channels.
    pub fn tile_len(&self, channels: usize) -> usize {
        self.tile_rows * self.out_w * channels
    }

    /// Elements between the weights of neighbouring taps.
    pub fn weight_step(&self) -> usize {
        self.blocks * self.lanes
    }

    /// Pixels of an output image.
    pub fn out_pixels(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Channel to which a lane of a weight vector belongs, if any.
    pub fn channel_of(&self, lane: usize) -> Option<usize> {
        if self.flat { Some(lane % self.channels) } else { (lane < self.channels).then_some(lane) }
    }
}

/// Zero pixels that a branch's window reaches beyond the image.
pub fn padding(branch: &SeparableBranch) -> usize {
    branch.dilation * (branch.kernel - 1) / 2
}

/// A branch by the number of its source and its own.
pub fn locate(op: &Separable, mut number: usize) -> (usize, usize) {
    for (index, source) in op.sources.iter().enumerate() {
        if number < source.branches.len() {
            return (index, number);
        }
        number -= source.branches.len();
    }
    unreachable!("branch {number} beyond the last")
}

/// Number of the first branch of a source.
pub fn first_branch(op: &Separable, source: usize) -> usize {
    op.sources[..source].iter().map(|source| source.branches.len()).sum()
}

/// The numbers of the open branches of a source.
pub fn open_branches(source: &SeparableSource, memory: Memory) -> impl Iterator<Item = usize> + Clone {
    (0..source.branches.len()).filter(move |&number| memory.open(source.branches[number].gate))
}

/// Number of branches of all sources, and the most of one.
pub fn count_branches(op: &Separable) -> (usize, usize) {
    let counts = || op.sources.iter().map(|source| source.branches.len());
    (counts().sum(), counts().max().unwrap_or(0))
}

/// The largest number of taps of a branch.
pub fn most_taps(op: &Separable) -> usize {
    let branches = op.sources.iter().flat_map(|source| &source.branches);
    branches.map(|branch| branch.kernel * branch.kernel).max().unwrap_or(0)
}

impl SeparableKernels for Cpu {
    fn separable_forward(&mut self, op: &Separable) {
        let geometry = Geometry::new(op, self.instructions.lanes());
        let (branches, most) = count_branches(op);
        let (units, channels) = (geometry.units.count(), geometry.out_channels);
        let spread = piece(most_taps(op) * geometry.weight_step());
        let weights = self.prepared.at_least(branches * spread);
        let sums = self.sums.at_least(op.sources.len() * units * most * 2 * channels);
        let scratch_len = Forward::scratch_len(&geometry, most);
        let scratch = self.scratch.at_least(self.team.threads() * scratch_len);
        let (memory, instructions) = (self.memory(), self.instructions);
        for number in 0..branches {
            let (source, branch) = locate(op, number);
            let branch = &op.sources[source].branches[branch];
            if !memory.open(branch.gate) {
                continue;
            }
            let taps = branch.kernel * branch.kernel;
            let (from, to) = (memory.span(branch.depthwise), weights.from(number * spread));
            // SAFETY: `weights` holds `spread` elements a branch.
            unsafe { spread_weights(&geometry, taps, from, to, false) };
        }
        self.team.each(op.sources.len() * units, &|member, unit| {
            let source = unit / units;
            let forward = Forward {
                geometry,
                source: &op.sources[source],
                images: geometry.units.images(unit % units),
                memory,
                weights: weights.from(first_branch(op, source) * spread),
                spread,
                scratch: scratch.part(member * scratch_len, scratch_len),
                sums: sums.from(unit * most * 2 * channels),
            };
            // SAFETY: the set is available; members have scratch, units have images and sums of their own.
            unsafe { instructions.run(forward) };
        });
        self.team.each(branches, &|_, number| {
            let (source, branch) = locate(op, number);
            if !memory.open(op.sources[source].branches[branch].gate) {
                return;
            }
            let partials = sums.from((source * units * most + branch) * 2 * channels);
            let result = memory.span(op.sources[source].branches[branch].statistics);
            let (step, pixels) = (most * 2 * channels, geometry.out_pixels());
            // SAFETY: each unit left `[most][2][channels]`.
            unsafe { statistics::combine(partials, step, geometry.units, pixels, result, channels) };
        });
    }

    fn separable_backward(&mut self, op: &Separable, gradient: &SeparableGradient, wanted: Gradients) {
        self.separable_gradients(op, gradient, wanted);
    }
}

/// A work unit of the forward pass.
struct Forward<'a> {
    geometry: Geometry,
    source: &'a SeparableSource,
    images: Range<usize>,
    memory: Memory,
    weights: Area,
    /// Elements between the weights of branches.
    spread: usize,
    scratch: Area,
    sums: Area<f64>,
}

impl Forward<'_> {
    fn scratch_len(geometry: &Geometry, branches: usize) -> usize {
        piece(geometry.padded_len(geometry.in_h, geometry.in_w))
            + piece(geometry.tile_len(geometry.pitch))
            + piece(branches * piece(geometry.out_channels))
    }
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let geometry = &self.geometry;
        let mut carver = Carver::new(self.scratch);
        let image_len = geometry.padded_len(geometry.in_h, geometry.in_w);
        let image = carver.take(image_len);
        let tile = carver.take(geometry.tile_len(geometry.pitch));
        let pivots = carver.take(self.source.branches.len() * piece(geometry.out_channels));
        let open = open_branches(self.source, self.memory);
        let count = open.clone().count();
        if count == 0 {
            return;
        }
        // SAFETY: scratch covers what was carved; see `scratch_len`.
        unsafe {
            image.slice_mut(0, image_len).fill(0.0);
            for index in self.images.clone() {
                V::call(activate(geometry, self.source, self.memory, index, image));
                for (rank, number) in open.clone().enumerate() {
                    let pivot = pivots.from(number * piece(geometry.out_channels));
                    self.branch::<V>(index, image, tile, number, [rank, count], pivot);
                }
            }
            for number in open {
                let pivot = pivots.from(number * piece(geometry.out_channels));
                let sums = self.sums.from(number * 2 * geometry.out_channels);
                let pixels = self.images.len() * geometry.out_pixels();
                statistics::finish(pivot, sums, geometry.out_channels, pixels);
            }
        }
    }
}

/// Activates an image into the inside of its padded copy.
pub fn activate(
    geometry: &Geometry,
    source: &SeparableSource,
    memory: Memory,
    image: usize,
    target: Area,
) -> Activate {
    let row = geometry.in_w * geometry.channels;
    Activate {
        source: memory.slot(source.input.data).part(image * geometry.in_h * row, geometry.in_h * row),
        source_row: row,
        target: target.from(geometry.inset(geometry.in_w, geometry.padding)),
        target_row: geometry.padded_row(geometry.in_w),
        target_pitch: geometry.pitch,
        rows: geometry.in_h,
        columns: geometry.in_w,
        channels: geometry.channels,
        affine: affine(memory, source.input.norm),
        relu: true,
    }
}

/// The depthwise part of a branch for a tile of rows: into `tile`, pixels contiguous.
pub fn depthwise_tile(
    geometry: &Geometry,
    branch: &SeparableBranch,
    weights: Area,
    image: Area,
    tile: Area,
    rows: Range<usize>,
    ahead: [Ahead; 2],
) -> Depthwise {
    Depthwise {
        input: window_plane(geometry, branch, image, rows.start),
        taps: window(geometry, branch, weights),
        output: Plane {
            area: tile,
            row_step: geometry.out_w * geometry.pitch,
            column_step: geometry.vector_step(1),
        },
        rows: rows.len(),
        columns: geometry.vectors(geometry.out_w),
        blocks: geometry.blocks,
        accumulate: false,
        ahead,
    }
}

/// The padded image as the windows of outputs see it, from a row of outputs on.
pub fn window_plane(geometry: &Geometry, branch: &SeparableBranch, image: Area, row: usize) -> Plane {
    let padded_row = geometry.padded_row(geometry.in_w);
    let inset = geometry.inset(geometry.in_w, geometry.padding - padding(branch));
    Plane {
        area: image.from(inset + row * geometry.stride * padded_row),
        row_step: geometry.stride * padded_row,
        column_step: geometry.vector_step(geometry.stride),
    }
}

/// The taps of a branch in a padded image of its input.
pub fn window(geometry: &Geometry, branch: &SeparableBranch, weights: Area) -> Taps {
    Taps {
        rows: branch.kernel,
        columns: branch.kernel,
        row_step: branch.dilation * geometry.padded_row(geometry.in_w),
        column_step: branch.dilation * geometry.pitch,
        weights,
        weight_row: branch.kernel * geometry.weight_step(),
        weight_column: geometry.weight_step(),
    }
}

impl Forward<'_> {
    /// The part of the next image that a tile of rows should fetch, of branch `rank` of the `count` open ones.
    #[inline(always)]
    fn next_input(&self, index: usize, [rank, count]: [usize; 2], rows: &Range<usize>) -> Ahead {
        let geometry = &self.geometry;
        let data = self.memory.slot(self.source.input.data);
        let len = geometry.in_h * geometry.in_w * geometry.channels;
        let all = count * geometry.out_h;
        let part = |row: usize| len * (rank * geometry.out_h + row) / all;
        if index + 1 == self.images.end {
            return Ahead::nothing(data);
        }
        let (start, end) = (part(rows.start), part(rows.end));
        Ahead { area: data.from((index + 1) * len + start), len: end - start }
    }

    /// One branch of one image; `turn` says which of how many open ones it is.
    #[inline(always)]
    unsafe fn branch<V: Vector>(
        &self,
        index: usize,
        image: Area,
        tile: Area,
        number: usize,
        turn: [usize; 2],
        pivot: Area,
    ) {
        let (geometry, branch) = (&self.geometry, &self.source.branches[number]);
        let channels = geometry.out_channels;
        let weights = self.weights.from(number * self.spread);
        let mut row = 0;
        while row < geometry.out_h {
            let rows = row..geometry.out_h.min(row + geometry.tile_rows);
            let pixels = rows.len() * geometry.out_w;
            let first_pixel = index * geometry.out_pixels() + row * geometry.out_w;
            let output = self.memory.slot(branch.output).part(first_pixel * channels, pixels * channels);
            // SAFETY: rows end at `out_h`; the image is padded as the window needs, the tile holds the rows.
            unsafe {
                let ahead =
                    [Ahead { area: output, len: pixels * channels }, self.next_input(index, turn, &rows)];
                V::call(depthwise_tile(geometry, branch, weights, image, tile, rows.clone(), ahead));
                V::call(Gemm {
                    rows: pixels,
                    columns: channels,
                    inner: geometry.channels,
                    a: tile,
                    a_row: geometry.pitch,
                    a_column: 1,
                    b: self.memory.span(branch.pointwise),
                    b_row: channels,
                    c: output,
                    c_row: channels,
                    accumulate: false,
                });
                V::call(Measure {
                    data: output,
                    pixels,
                    channels,
                    pivot,
                    sums: self.sums.from(number * 2 * channels),
                    first: index == self.images.start && row == 0,
                });
            }
            row = rows.end;
        }
    }
}
