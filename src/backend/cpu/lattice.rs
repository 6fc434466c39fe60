//! Which taps of a depthwise window see an input, where the window moves by a stride.

use super::SeparableBranch;
use super::separable::{Geometry, padding};

/// One axis of the inputs `class`, `class + stride`, ...: which taps of the flipped window they see.
pub(super) struct Lattice {
    /// The first tap, in the flipped order.
    pub tap: usize,
    /// From a tap to the next.
    pub tap_step: usize,
    /// Number of taps.
    pub taps: usize,
    /// The output under the first tap of the first input, in the padded image.
    pub start: usize,
    /// Outputs from one tap to the next.
    pub step: usize,
}

impl Lattice {
    pub fn new(geometry: &Geometry, branch: &SeparableBranch, class: usize) -> Self {
        let (kernel, dilation, stride) = (branch.kernel, branch.dilation, geometry.stride);
        let common = gcd(stride, dilation);
        let tap_step = stride / common;
        // Input q is seen by output o under tap i where o*stride + i*dilation = q + padding.
        let remaining = |tap: usize| {
            class as isize + (padding(branch) as isize) - ((kernel - 1 - tap) * dilation) as isize
        };
        let first = (0..kernel.min(tap_step)).find(|&tap| remaining(tap).rem_euclid(stride as isize) == 0);
        let Some(tap) = first else {
            return Lattice { tap: 0, tap_step, taps: 0, start: 0, step: 0 };
        };
        let start = remaining(tap).div_euclid(stride as isize) + geometry.padding as isize;
        Lattice {
            tap,
            tap_step,
            taps: (kernel - tap).div_ceil(tap_step),
            start: start as usize,
            step: dilation / common,
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
