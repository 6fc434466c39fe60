//! Separable convolutions in bands (`kernels/bands.cuh`): whether they fit, and how blocks walk.
//!
//! By the geometry alone, never by the device: the same operator gives the same bytes everywhere.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_FACTORS, small};
use super::separable::{Part, branches};
use super::{Separable, Shape, Slot};

/// Threads of a block.
pub const THREADS: u32 = 512;
/// Bytes of shared memory of a block, but for the list of its branches.
const SHARED: usize = (48 << 10) - 16;
/// Rows of the table of lines.
const MAX_LINES: usize = 64;

/// Some of the branches of a source, which are `count` from `first` on: those that fill block `index`.
/// Mirrors `Group` of `kernels/bands.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Group {
    first: u8,
    count: u8,
    index: u8,
    unused: u8,
}

/// How blocks walk.
/// Mirrors `Bands` of `kernels/bands.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Bands {
    images: u32,
    rows: u32,
    pixels: u32,
    branches: u32,
    share: u32,
    padding: u32,
    low: [i32; 2],
    high: [i32; 2],
    base: [u32; 2],
    depth: [u32; 2],
    ring: u32,
    windows: u32,
    groups: [Group; MAX_FACTORS],
}
const _: () = assert!(size_of::<Bands>() == 64 + 4 * MAX_FACTORS);

/// What a kernel keeps in shared memory besides the ring and the windows.
#[derive(Clone, Copy)]
pub struct Room {
    /// Whether there is a ring.
    pub ring: bool,
    /// Tiles of a team.
    pub tiles: usize,
    /// Floats for each channel of a block.
    pub block: usize,
    /// Floats for each channel of a branch.
    pub branch: usize,
}

/// Whether 16-byte accesses reach a slot.
pub fn aligned(slot: Slot, bytes: usize) -> bool {
    (slot.offset * bytes).is_multiple_of(16)
}

/// Teams of a block for this many channels.
fn teams(channels: usize) -> usize {
    if channels == 64 { 1 } else { 4 }
}

/// Images of a block: enough pixels that the weights, which a block reads once, are the lesser part.
pub fn images(output: Shape) -> usize {
    (4 * output.c as usize).div_ceil(output.image_pixels().max(1)).clamp(1, (output.n as usize).max(1))
}

/// Whether there are kernels for the operator's channels and windows, and 16-byte accesses reach its operands.
fn takes(op: &Separable, parts: &[Part], bytes: usize) -> bool {
    let channels = op.output_shape.c;
    let square = op.sources.iter().all(|source| source.input.shape.c == channels);
    let windows = branches(op, parts).all(|(_, _, branch)| {
        matches!(branch.kernel, 3 | 5) && matches!(branch.dilation, 1 | 2) && aligned(branch.output, bytes)
    });
    let inputs = parts.iter().all(|part| aligned(op.sources[part.source].input.data, bytes));
    square && matches!(channels, 16 | 32 | 64) && matches!(op.stride, 1 | 2) && windows && inputs
}

impl Bands {
    /// The walk of a launch with the most branches in a block, then the most rows in a step; none where the operator does
    /// not fit.
    pub fn plan(op: &Separable, parts: &[Part], bytes: usize, room: Room) -> Option<Self> {
        if !takes(op, parts, bytes) {
            return None;
        }
        let shape = op.output_shape;
        let (width, channels) = (shape.w as usize, shape.c as usize);
        let teams = teams(channels);
        let most = parts.iter().map(|part| part.branches.len()).max()?.next_power_of_two().min(teams);
        let pixels = 8 * THREADS as usize / teams / channels;
        let mut count = most;
        while count > 0 {
            let share = teams / count;
            for rows in (1..=(share * pixels / width).min(shape.h as usize)).rev() {
                let bands = Self::walk(op, parts, count, rows, room.ring);
                if bands.lines(op.stride) <= MAX_LINES && bands.bytes(channels, bytes, room) <= SHARED {
                    return Some(bands);
                }
            }
            count /= 2;
        }
        None
    }

    /// A walk with this many branches in a block and rows in a step.
    fn walk(op: &Separable, parts: &[Part], count: usize, rows: usize, ring: bool) -> Self {
        let shape = op.output_shape;
        let share = teams(shape.c as usize) / count;
        let mut bands = Bands {
            images: small(images(shape)),
            rows: small(rows),
            pixels: small((rows * shape.w as usize).div_ceil(share)),
            branches: small(count),
            share: small(share),
            ..Bands::zeroed()
        };
        if ring {
            bands.keep_rows(op, parts);
        }
        bands.group(op, parts, count, ring);
        bands
    }

    /// The ring: of each class of input rows those under a step's windows.
    fn keep_rows(&mut self, op: &Separable, parts: &[Part]) {
        let (input, stride) = (op.sources[parts[0].source].input.shape, small(op.stride) as i32);
        let mut reach: [Option<(i32, i32)>; 2] = [None; 2];
        for (_, _, branch) in branches(op, parts) {
            let padding = small(branch.dilation * (branch.kernel - 1) / 2) as i32;
            self.padding = self.padding.max(padding as u32);
            for tap in 0..branch.kernel {
                let offset = small(tap * branch.dilation) as i32 - padding;
                let (class, row) = (offset.rem_euclid(stride) as usize, offset.div_euclid(stride));
                let (low, high) = reach[class].unwrap_or((row, row));
                reach[class] = Some((low.min(row), high.max(row)));
            }
        }
        let mut slots = 0;
        for (class, reach) in reach.into_iter().enumerate() {
            let Some((low, high)) = reach else { continue };
            (self.low[class], self.high[class], self.base[class]) = (low, high, slots);
            self.depth[class] = (high.abs_diff(low) + self.rows).min(input.h.div_ceil(stride as u32));
            slots += self.depth[class];
        }
        self.ring = slots * input.w * input.c;
    }

    /// Cuts the launch's branches into groups of one source each. Where some are closed, the others fill the first groups of
    /// their source, in the room for windows that all of them would take.
    fn group(&mut self, op: &Separable, parts: &[Part], count: usize, windows: bool) {
        let (mut first, mut used) = (0, 0);
        for part in parts {
            let branches = &op.sources[part.source].branches[part.branches.clone()];
            for (index, chunk) in branches.chunks(count).enumerate() {
                let taps: usize = chunk.iter().map(|branch| branch.kernel * branch.kernel).sum();
                if windows {
                    self.windows = self.windows.max(small(taps * op.output_shape.c as usize));
                }
                let index = index as u8;
                self.groups[used] = Group { first, count: branches.len() as u8, index, unused: 0 };
                used += 1;
            }
            first += branches.len() as u8;
        }
    }

    /// Rows of the table of lines.
    fn lines(&self, stride: usize) -> usize {
        (self.rows as usize - 1) * stride + 2 * self.padding as usize + 1
    }

    /// Bytes of shared memory.
    fn bytes(&self, channels: usize, bytes: usize, room: Room) -> usize {
        let (teams, fragment) = (teams(channels), if bytes == 2 { 16 } else { 8 });
        let tile = (self.pixels as usize).next_multiple_of(fragment) * (channels + 16 / bytes);
        let floats = self.windows as usize + channels * (room.block + self.branches as usize * room.branch);
        bytes * (self.ring as usize + teams * room.tiles * tile) + 4 * (floats + MAX_LINES)
    }

    /// Groups of branches.
    pub fn groups(&self) -> usize {
        self.groups.iter().filter(|group| group.count > 0).count()
    }

    /// Blocks along the images.
    pub fn blocks(&self, op: &Separable) -> usize {
        (op.output_shape.n as usize).div_ceil(self.images as usize)
    }

    /// Pixels of a block's results.
    pub fn block_pixels(&self, op: &Separable) -> usize {
        self.images as usize * op.output_shape.image_pixels()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Operand, SeparableBranch, SeparableSource, Span};

    /// The candidates of four edges that leave a state.
    fn operator(shape: Shape, stride: usize) -> Separable {
        let branches = (0..16).map(|index| SeparableBranch {
            kernel: [3, 5][index % 2],
            dilation: 1 + index / 2 % 2,
            depthwise: Span::default(),
            pointwise: Span::default(),
            output: Slot::default(),
            statistics: Span::default(),
            gate: None,
        });
        let input = Operand { data: Slot::default(), shape, norm: None };
        let sources = vec![SeparableSource { input, branches: branches.collect() }];
        Separable { sources, stride, output_shape: shape.strided(stride, shape.c as usize) }
    }

    fn branches_of_a_block(shape: Shape, stride: usize, bytes: usize, room: Room) -> Option<u32> {
        let parts = [Part { source: 0, branches: 0..16 }];
        Bands::plan(&operator(shape, stride), &parts, bytes, room).map(|bands| bands.branches)
    }

    #[test]
    fn the_cells_of_the_paper_fit() {
        let forward = Room { ring: true, tiles: 1, block: 6, branch: 0 };
        let backward = Room { ring: true, tiles: 2, block: 2, branch: 3 };
        for (side, channels, stride, branches) in
            [(32, 16, 1, 4), (16, 32, 1, 4), (8, 64, 1, 1), (32, 32, 2, 2), (16, 64, 2, 1)]
        {
            for (bytes, room) in [(4, forward), (2, forward), (4, backward), (2, backward)] {
                let found = branches_of_a_block(Shape::new(3, side, side, channels), stride, bytes, room);
                let what = format!("{side}x{side}x{channels} at stride {stride}, {bytes} bytes: {found:?}");
                assert!(found.is_some_and(|found| found >= branches), "{what}");
            }
        }
    }

    #[test]
    fn what_has_no_kernel_or_no_room_is_refused() {
        let room = Room { ring: true, tiles: 1, block: 6, branch: 0 };
        for shape in [Shape::new(1, 8, 8, 48), Shape::new(1, 8, 500, 64)] {
            assert_eq!(branches_of_a_block(shape, 1, 4, room), None, "{shape}");
        }
        let mut odd = operator(Shape::new(1, 8, 8, 16), 1);
        odd.sources[0].input.data.offset = 3;
        assert!(Bands::plan(&odd, &[Part { source: 0, branches: 0..16 }], 4, room).is_none());
    }
}
