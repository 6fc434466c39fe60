//! Maximum and average pooling over 3x3 neighbourhoods.

use super::convolution::pixels;
use super::*;

impl<S: Storage> NormalisedPoolsKernels for Reference<S> {
    fn normalised_pools_forward(&mut self, op: &NormalisedPools) {
        let channels = op.output_shape.c as usize;
        if self.open(op.maximum_gate) {
            for y in 0..op.output_shape.len() {
                let (largest, _) = self.first_largest(op, y);
                self.store(op.maximum, y, largest);
            }
            self.moments(op.maximum, channels, op.maximum_statistics);
        }
        if self.open(op.average_gate) {
            for y in 0..op.output_shape.len() {
                let value = |x| self.value(op.input.data, op.input.norm, x, y % channels);
                let sum: S::Scalar = neighbours(op, y).map(value).sum();
                self.store(op.average, y, sum / S::Scalar::of(neighbours(op, y).count() as f64));
            }
            self.moments(op.average, channels, op.average_statistics);
        }
    }

    fn normalised_pools_backward(&mut self, op: &NormalisedPools, gradient: &NormalisedPoolsGradient) {
        let channels = op.output_shape.c as usize;
        let (maximum, average) = (self.open(op.maximum_gate), self.open(op.average_gate));
        if !maximum && !average {
            return self.withhold(gradient.input);
        }
        let mut input = vec![zero::<S::Scalar>(); op.input.data.len];
        for y in 0..op.output_shape.len() {
            if maximum {
                let (_, largest) = self.first_largest(op, y);
                input[largest] += self.unstored_gradient(&gradient.maximum, y, y % channels);
            }
            if average {
                let count = S::Scalar::of(neighbours(op, y).count() as f64);
                let share = self.unstored_gradient(&gradient.average, y, y % channels) / count;
                neighbours(op, y).for_each(|x| input[x] += share);
            }
        }
        self.deliver(gradient.input, &input);
    }
}

impl<S: Storage> Reference<S> {
    /// The largest neighbour and where it is first found.
    fn first_largest(&self, op: &NormalisedPools, y: usize) -> (S::Scalar, usize) {
        let channel = y % op.output_shape.c as usize;
        neighbours(op, y)
            .map(|x| (self.value(op.input.data, op.input.norm, x, channel), x))
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .expect("the centre of a window lies inside the image")
    }
}

/// Indices of the input pixels in the window of an output element, row by row.
fn neighbours(op: &NormalisedPools, y: usize) -> impl Iterator<Item = usize> {
    let [_, out_h, out_w, channels] = sides(op.output_shape);
    let [_, in_h, in_w, _] = sides(op.input.shape);
    let (channel, pixel) = (y % channels, y / channels);
    let (image, row, column) = (pixel / (out_h * out_w), pixel / out_w % out_h, pixel % out_w);
    let stride = op.stride;
    pixels(3, 3).filter_map(move |(i, j)| {
        let (y, x) = (source(row, stride, i, 1, in_h)?, source(column, stride, j, 1, in_w)?);
        Some(((image * in_h + y) * in_w + x) * channels + channel)
    })
}
