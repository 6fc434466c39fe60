//! Separable convolutions in bands (`kernels/bands.cuh`): whether they fit, and how blocks walk.
//!
//! By the geometry alone, never by the device: the same operator gives the same bytes everywhere.

use bytemuck::{Pod, Zeroable};

use super::geometry::{MAX_FACTORS, small};
use super::separable::{Part, branches};
use super::{Separable, Slot};

/// Threads of a block.
pub const THREADS: u32 = 512;
/// Bytes of shared memory of a block.
const SHARED: usize = 48 << 10;
/// Rows of the table of lines.
const MAX_LINES: usize = 64;

/// Branches of a source that a block takes.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Group {
    first: u16,
    count: u16,
}

/// How blocks walk.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Bands {
    images: u32,
    rows: u32,
    pixels: u32,
    branches: u32,
    padding: u32,
    low: [i32; 2],
    high: [i32; 2],
    base: [u32; 2],
    depth: [u32; 2],
    ring: u32,
    windows: u32,
    groups: [Group; MAX_FACTORS],
}
const _: () = assert!(size_of::<Bands>() == 60 + 4 * MAX_FACTORS);

/// What a kernel keeps in shared memory besides the ring and the windows.
#[derive(Clone, Copy)]
pub struct Room {
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
    if channels == 64 { 2 } else { 4 }
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
                let bands = Self::walk(op, parts, count, rows);
                if bands.lines(op.stride) <= MAX_LINES && bands.bytes(channels, bytes, room) <= SHARED {
                    return Some(bands);
                }
            }
            count /= 2;
        }
        None
    }

    /// A walk with this many branches in a block and rows in a step.
    fn walk(op: &Separable, parts: &[Part], count: usize, rows: usize) -> Self {
        let (shape, stride) = (op.output_shape, small(op.stride) as i32);
        let channels = shape.c as usize;
        let share = teams(channels) / count;
        // Weights are read once a block: enough pixels that they are the lesser part.
        let images = (4 * channels).div_ceil(shape.image_pixels()).clamp(1, (shape.n as usize).max(1));
        let mut bands = Bands {
            images: small(images),
            rows: small(rows),
            pixels: small((rows * shape.w as usize).div_ceil(share)),
            branches: small(count),
            low: [i32::MAX; 2],
            high: [i32::MIN; 2],
            ..Bands::zeroed()
        };
        for (_, _, branch) in branches(op, parts) {
            let padding = small(branch.dilation * (branch.kernel - 1) / 2) as i32;
            bands.padding = bands.padding.max(padding as u32);
            for tap in 0..branch.kernel {
                let offset = small(tap * branch.dilation) as i32 - padding;
                let class = offset.rem_euclid(stride) as usize;
                bands.low[class] = bands.low[class].min(offset.div_euclid(stride));
                bands.high[class] = bands.high[class].max(offset.div_euclid(stride));
            }
        }
        let mut slots = 0;
        for class in 0..2 {
            bands.base[class] = slots;
            if bands.low[class] <= bands.high[class] {
                bands.depth[class] = (bands.high[class] - bands.low[class]) as u32 + small(rows);
            }
            slots += bands.depth[class];
        }
        bands.ring = slots * op.sources[parts[0].source].input.shape.w * shape.c;
        bands.group(op, parts, count);
        bands
    }

    /// Cuts the launch's branches into groups of one source each.
    fn group(&mut self, op: &Separable, parts: &[Part], count: usize) {
        let (mut first, mut used) = (0, 0);
        for part in parts {
            for chunk in op.sources[part.source].branches[part.branches.clone()].chunks(count) {
                let taps: usize = chunk.iter().map(|branch| branch.kernel * branch.kernel).sum();
                self.windows = self.windows.max(small(taps * op.output_shape.c as usize));
                self.groups[used] = Group { first, count: chunk.len() as u16 };
                first += chunk.len() as u16;
                used += 1;
            }
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
