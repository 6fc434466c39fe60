//! Maximum or average of square windows, without a batch norm behind.

use super::convolution::pixels;
use super::*;

impl<S: Storage> PoolKernels for Reference<S> {
    fn pool_forward(&mut self, op: &Pool) {
        for y in 0..op.output_shape.len() {
            let pixels = self.window_values(op, y);
            let result = match op.kind {
                PoolKind::Maximum => first_largest(&pixels).0,
                PoolKind::Average => {
                    let sum: S::Scalar = pixels.iter().map(|pixel| pixel.0).sum();
                    sum / S::Scalar::of(pixels.len() as f64)
                }
            };
            self.store(op.output, y, result);
        }
    }

    fn pool_backward(&mut self, op: &Pool, gradient: &PoolGradient) {
        let mut input = vec![zero::<S::Scalar>(); op.input.data.len];
        for y in 0..op.output_shape.len() {
            let slope = self.raw(gradient.output, y);
            let pixels = self.window_values(op, y);
            match op.kind {
                PoolKind::Maximum => input[first_largest(&pixels).1] += slope,
                PoolKind::Average => {
                    let share = slope / S::Scalar::of(pixels.len() as f64);
                    pixels.iter().for_each(|&(_, x)| input[x] += share);
                }
            }
        }
        if op.relu {
            let channels = op.input.shape.c as usize;
            for (index, slope) in input.iter_mut().enumerate() {
                if self.value(op.input.data, op.input.norm, index, index % channels) <= zero() {
                    *slope = zero();
                }
            }
        }
        self.deliver(gradient.input, &input);
    }
}

impl<S: Storage> Reference<S> {
    /// The pixels in the window of an output element, row by row: their values as they are read, and their indices.
    fn window_values(&self, op: &Pool, y: usize) -> Vec<(S::Scalar, usize)> {
        let [_, out_h, out_w, channels] = sides(op.output_shape);
        let [_, in_h, in_w, _] = sides(op.input.shape);
        let (channel, pixel) = (y % channels, y / channels);
        let (image, row, column) = (pixel / (out_h * out_w), pixel / out_w % out_h, pixel % out_w);
        let inside = |(i, j): (usize, usize)| {
            let y = source(row, op.stride, i, op.padding, in_h)?;
            let x = source(column, op.stride, j, op.padding, in_w)?;
            Some(((image * in_h + y) * in_w + x) * channels + channel)
        };
        let read = |index: usize| match op.relu {
            true => self.activated(&op.input, index, channel),
            false => self.value(op.input.data, op.input.norm, index, channel),
        };
        pixels(op.kernel, op.kernel).filter_map(inside).map(|index| (read(index), index)).collect()
    }
}

/// The largest pixel and where it is first found.
fn first_largest<T: Scalar>(pixels: &[(T, usize)]) -> (T, usize) {
    let best = pixels.iter().copied().reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.expect("a window reaches into the image")
}
