//! Batch norm: sums of the backward, and what readers apply.

use darts::backend::*;

use crate::layout::Layout;
use crate::timer::{Device, Timer, floats};

/// Batch norms of a call: those of the four convolutions on an edge.
const NORMS: usize = 4;

/// A value with several consumers.
pub fn reductions<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let reduce = BatchNormReduce {
            gradient: layout.slot(shape.len()),
            input: layout.operand(shape),
            sums: layout.sums(shape.c as usize),
            gate: None,
        };
        let bytes = device.activations(2 * shape.len());
        device.time("batch_norm_reduce", shape, bytes, &layout, |backend| {
            backend.batch_norm_reduce(&reduce);
        });
    }
}

/// From statistics and sums to coefficients: what is read and written are rows of one number a channel. The shape is that
/// of the normalised value.
pub fn coefficients<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let (channels, count) = (shape.c as usize, shape.pixels());
        let norms = [(); NORMS].map(|()| BatchNorm {
            statistics: layout.span(2 * channels),
            running: layout.span(2 * channels),
            norm: layout.norm(channels),
            count,
            gate: None,
        });
        let gradients = norms.clone().map(|BatchNorm { norm, .. }| {
            let (sums, weight) = (layout.sums(channels), Some(layout.span(1)));
            let [factor, raw_factor, constant] = [(); 3].map(|()| layout.span(channels));
            let terms = vec![BatchNormTerm { sums, weight, factor, gate: None }];
            BatchNormGradient {
                norm,
                count,
                terms,
                raw_factor,
                constant,
                gamma: None,
                beta: None,
                gate: None,
            }
        });
        // Two statistics are read, two running ones read and written, and four coefficients written.
        let bytes = floats(NORMS * channels * 10);
        device.time("batch_norm_forward", shape, bytes, &layout, |backend| {
            backend.batch_norm_forward(&norms, Mode::Train);
        });
        // Two sums and three coefficients are read, and three of the output gradient written.
        let bytes = floats(NORMS * channels * 8);
        device.time("batch_norm_backward", shape, bytes, &layout, |backend| {
            backend.batch_norm_backward(&gradients, Gradients::All);
        });
    }
}
