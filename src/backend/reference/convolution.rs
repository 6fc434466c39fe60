//! Dense convolution.

use super::*;

impl<S: Storage> ConvolutionKernels for Reference<S> {
    fn convolution_forward(&mut self, op: &Convolution) {
        if !self.open(op.gate) {
            return;
        }
        let [n, out_h, out_w, out_c] = sides(op.output_shape);
        for image in 0..n {
            for (row, column) in pixels(out_h, out_w) {
                for channel in 0..out_c {
                    let mut sum = zero();
                    visit_taps(op, image, row, column, |tap, x| {
                        sum += self.convolved(op, x) * self.at(op.weights, tap * out_c + channel);
                    });
                    let y = ((image * out_h + row) * out_w + column) * out_c + channel;
                    self.store(op.output, y, sum);
                }
            }
        }
        if let Some(statistics) = op.statistics {
            self.moments(op.output, out_c, statistics);
        }
    }

    fn convolution_backward(&mut self, op: &Convolution, gradient: &ConvolutionGradient, wanted: Gradients) {
        if !self.open(op.gate) {
            gradient.input.iter().for_each(|&target| self.withhold(target));
            if wanted.of_weights() {
                self.clear(&[gradient.weights]);
            }
            return;
        }
        let [n, out_h, out_w, out_c] = sides(op.output_shape);
        let mut sums = vec![zero::<S::Scalar>(); op.weights.len];
        let mut input = vec![zero::<S::Scalar>(); op.input.data.len];
        for image in 0..n {
            for (row, column) in pixels(out_h, out_w) {
                for channel in 0..out_c {
                    let y = ((image * out_h + row) * out_w + column) * out_c + channel;
                    let slope = self.result_gradient(&gradient.output, y, channel);
                    visit_taps(op, image, row, column, |tap, x| {
                        let value = self.convolved(op, x);
                        sums[tap * out_c + channel] += slope * value;
                        if !op.relu || value > zero() {
                            input[x] += slope * self.at(op.weights, tap * out_c + channel);
                        }
                    });
                }
            }
        }
        if wanted.of_weights() {
            self.write(gradient.weights, &sums);
        }
        if let Some(target) = gradient.input {
            self.deliver(target, &input);
        }
    }
}

impl<S: Storage> Reference<S> {
    /// Element `index` of the input as the windows see it.
    fn convolved(&self, op: &Convolution, index: usize) -> S::Scalar {
        let channel = index % op.input.shape.c as usize;
        match op.relu {
            true => self.activated(&op.input, index, channel),
            false => self.value(op.input.data, op.input.norm, index, channel),
        }
    }
}

/// Calls `visit(tap, index)` for each weight position `[i][j][c_in]` whose input lies inside the image.
fn visit_taps(
    op: &Convolution,
    image: usize,
    row: usize,
    column: usize,
    mut visit: impl FnMut(usize, usize),
) {
    let [_, in_h, in_w, in_c] = sides(op.input.shape);
    let ConvolutionWindow { kernel, stride, padding } = op.window;
    for (i, j) in pixels(kernel[0], kernel[1]) {
        let y = source(row, stride[0], i, padding[0], in_h);
        let x = source(column, stride[1], j, padding[1], in_w);
        let (Some(y), Some(x)) = (y, x) else { continue };
        for c in 0..in_c {
            visit((i * kernel[1] + j) * in_c + c, ((image * in_h + y) * in_w + x) * in_c + c);
        }
    }
}

/// All (row, column) pairs.
pub(super) fn pixels(h: usize, w: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..h).flat_map(move |row| (0..w).map(move |column| (row, column)))
}
