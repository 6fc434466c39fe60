//! Depthwise separable convolution: ReLU, depthwise window, 1x1 convolution.

use super::convolution::pixels;
use super::*;

impl<S: Storage> SeparableKernels for Reference<S> {
    fn separable_forward(&mut self, op: &Separable) {
        let [_, _, _, out_c] = sides(op.output_shape);
        for source in &op.sources {
            for branch in &source.branches {
                if !self.open(branch.gate) {
                    continue;
                }
                let depthwise = self.depthwise(op, source, branch);
                let in_c = source.input.shape.c as usize;
                for pixel in 0..op.output_shape.pixels() {
                    for o in 0..out_c {
                        let sum = (0..in_c)
                            .map(|c| depthwise[pixel * in_c + c] * self.at(branch.pointwise, c * out_c + o))
                            .sum();
                        self.store(branch.output, pixel * out_c + o, sum);
                    }
                }
                self.moments(branch.output, out_c, branch.statistics);
            }
        }
    }

    fn separable_backward(&mut self, op: &Separable, gradient: &SeparableGradient, wanted: Gradients) {
        for (source, gradients) in op.sources.iter().zip(&gradient.sources) {
            let channels = source.input.shape.c as usize;
            let mut input = vec![zero(); source.input.data.len];
            for (branch, gradients) in source.branches.iter().zip(&gradients.branches) {
                if self.open(branch.gate) {
                    self.branch_gradients(op, source, branch, gradients, wanted, &mut input);
                } else if wanted.of_weights() {
                    self.clear(&[gradients.pointwise, gradients.depthwise]);
                }
            }
            if !self.open(gradients.input.gate) {
                continue;
            }
            for (index, slope) in input.iter_mut().enumerate() {
                if self.value(source.input.data, source.input.norm, index, index % channels) <= zero() {
                    *slope = zero();
                }
            }
            self.deliver(gradients.input, &input);
            if let Some(sums) = gradients.sums {
                self.reduce_gradient(gradients.input.slot, &source.input, sums);
            }
        }
    }
}

impl<S: Storage> Reference<S> {
    /// Gradients of one branch's weights; its part of the input gradient is added to `input`, not yet
    /// masked by the ReLU.
    fn branch_gradients(
        &mut self,
        op: &Separable,
        source: &SeparableSource,
        branch: &SeparableBranch,
        gradient: &SeparableBranchGradient,
        wanted: Gradients,
        input: &mut [S::Scalar],
    ) {
        let [in_c, out_c] = [source.input.shape.c as usize, op.output_shape.c as usize];
        let depthwise = self.depthwise(op, source, branch);
        let mut depthwise_gradient = vec![zero::<S::Scalar>(); depthwise.len()];
        let mut pointwise_sums = vec![zero::<S::Scalar>(); branch.pointwise.len];
        for pixel in 0..op.output_shape.pixels() {
            for o in 0..out_c {
                let slope = self.unstored_gradient(&gradient.output, pixel * out_c + o, o);
                for c in 0..in_c {
                    pointwise_sums[c * out_c + o] += slope * depthwise[pixel * in_c + c];
                    depthwise_gradient[pixel * in_c + c] += slope * self.at(branch.pointwise, c * out_c + o);
                }
            }
        }
        let mut depthwise_sums = vec![zero::<S::Scalar>(); branch.depthwise.len];
        visit_windows(op, source, branch, |y, x, tap, c| {
            depthwise_sums[tap * in_c + c] += depthwise_gradient[y] * self.activated(&source.input, x, c);
            input[x] += depthwise_gradient[y] * self.at(branch.depthwise, tap * in_c + c);
        });
        if wanted.of_weights() {
            self.write(gradient.pointwise, &pointwise_sums);
            self.write(gradient.depthwise, &depthwise_sums);
        }
    }

    /// The depthwise result, which no one keeps.
    fn depthwise(
        &self,
        op: &Separable,
        source: &SeparableSource,
        branch: &SeparableBranch,
    ) -> Vec<S::Scalar> {
        let channels = source.input.shape.c as usize;
        let mut result = vec![zero::<S::Scalar>(); op.output_shape.pixels() * channels];
        visit_windows(op, source, branch, |y, x, tap, c| {
            result[y] += self.activated(&source.input, x, c) * self.at(branch.depthwise, tap * channels + c);
        });
        result
    }
}

/// Calls `visit(output index, input index, tap, channel)` for each product of a depthwise convolution.
fn visit_windows(
    op: &Separable,
    input: &SeparableSource,
    branch: &SeparableBranch,
    mut visit: impl FnMut(usize, usize, usize, usize),
) {
    let [n, in_h, in_w, channels] = sides(input.input.shape);
    let [_, out_h, out_w, _] = sides(op.output_shape);
    let padding = branch.dilation * (branch.kernel - 1) / 2;
    for image in 0..n {
        for (row, column) in pixels(out_h, out_w) {
            for (i, j) in pixels(branch.kernel, branch.kernel) {
                let (Some(y), Some(x)) = (
                    source(row, op.stride, i * branch.dilation, padding, in_h),
                    source(column, op.stride, j * branch.dilation, padding, in_w),
                ) else {
                    continue;
                };
                for c in 0..channels {
                    let result = ((image * out_h + row) * out_w + column) * channels + c;
                    let read = ((image * in_h + y) * in_w + x) * channels + c;
                    visit(result, read, i * branch.kernel + j, c);
                }
            }
        }
    }
}
