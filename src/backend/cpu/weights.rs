//! Weight matrices rearranged for a call, and their gradients gathered from the work units.

use super::memory::Area;
use super::separable::Geometry;

/// Copies depthwise weights so that a vector of them fits a vector of values; `flipped` for the input
/// gradient.
///
/// # Safety
/// `target` holds `[taps][weight_step]`, `weights` `[taps][channels]`.
pub unsafe fn spread_weights(geometry: &Geometry, taps: usize, weights: Area, target: Area, flipped: bool) {
    let step = geometry.weight_step();
    for tap in 0..taps {
        let from = if flipped { taps - 1 - tap } else { tap };
        for lane in 0..step {
            // SAFETY: the caller's promise; channels are below `channels`.
            unsafe {
                let channel = geometry.channel_of(lane);
                let value = channel.map_or(0.0, |c| weights.get(from * geometry.channels + c));
                target.set(tap * step + lane, value);
            }
        }
    }
}

/// `target[column][row] = source[row][column]`.
///
/// # Safety
/// Both hold `rows * columns` elements.
pub unsafe fn transpose(source: Area, rows: usize, columns: usize, target: Area) {
    for row in 0..rows {
        for column in 0..columns {
            // SAFETY: the caller's promise.
            unsafe { target.set(column * rows + row, source.get(row * columns + column)) };
        }
    }
}

/// `result = sum over units`, in f64, a block of elements at a time.
///
/// # Safety
/// `partials` holds `units` runs of `len` elements, `step` apart; `result` holds `len`.
#[inline(always)]
pub unsafe fn combine_matrix(partials: Area, units: usize, step: usize, result: Area, len: usize) {
    const BLOCK: usize = 64;
    let mut first = 0;
    while first < len {
        let count = BLOCK.min(len - first);
        let mut sums = [0f64; BLOCK];
        // SAFETY: the caller's promise.
        unsafe {
            for unit in 0..units {
                let values = partials.slice(unit * step + first, count);
                sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            let result = result.slice_mut(first, count);
            result.iter_mut().zip(&sums).for_each(|(result, &sum)| *result = sum as f32);
        }
        first += count;
    }
}
