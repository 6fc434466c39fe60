//! 1x1 convolution behind a ReLU over concatenated inputs: ReLUConvBN and FactorizedReduce.

use super::*;

impl<S: Storage> PointwiseKernels for Reference<S> {
    fn pointwise_forward(&mut self, op: &Pointwise) {
        if !self.open(op.gate) {
            return;
        }
        let out_c = op.output_shape.c as usize;
        let mut result = vec![zero::<S::Scalar>(); op.output.len];
        visit_products(op, |y, input, x, c, weights, w| {
            result[y] += self.activated(&op.inputs[input], x, c) * self.at(op.weights[weights], w);
        });
        for (index, &value) in result.iter().enumerate() {
            self.store(op.output, index, value);
        }
        self.moments(op.output, out_c, op.statistics);
    }

    fn pointwise_backward(&mut self, op: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients) {
        if !self.open(op.gate) {
            gradient.inputs.iter().for_each(|&target| self.withhold(target));
            if wanted.of_weights() {
                self.clear(&gradient.weights);
            }
            return;
        }
        let out_c = op.output_shape.c as usize;
        let zeros = |len| vec![zero::<S::Scalar>(); len];
        let mut weight_sums: Vec<_> = op.weights.iter().map(|span| zeros(span.len)).collect();
        let mut input_sums: Vec<_> = op.inputs.iter().map(|input| zeros(input.data.len)).collect();
        visit_products(op, |y, input, x, c, matrix, w| {
            let slope = self.unstored_gradient(&gradient.output, y, y % out_c);
            let activated = self.activated(&op.inputs[input], x, c);
            weight_sums[matrix][w] += slope * activated;
            if activated > zero() {
                input_sums[input][x] += slope * self.at(op.weights[matrix], w);
            }
        });
        for (&target, sums) in gradient.inputs.iter().zip(&input_sums) {
            self.deliver(target, sums);
        }
        if wanted.of_weights() {
            for (&span, sums) in gradient.weights.iter().zip(&weight_sums) {
                self.write(span, sums);
            }
        }
    }
}

/// Calls `visit(output index, input, input index, channel of the input, matrix, index in the matrix)`
/// for each product.
fn visit_products(op: &Pointwise, mut visit: impl FnMut(usize, usize, usize, usize, usize, usize)) {
    let [n, out_h, out_w, out_c] = sides(op.output_shape);
    let matrices = op.weights.len();
    for pixel in 0..n * out_h * out_w {
        let (image, row, column) = (pixel / (out_h * out_w), pixel / out_w % out_h, pixel % out_w);
        let mut first_channel = 0;
        for (index, input) in op.inputs.iter().enumerate() {
            let [_, in_h, in_w, in_c] = sides(input.shape);
            for matrix in 0..matrices {
                let [first, columns] = half_of_channels(matrix, matrices, out_c);
                let (y, x) = (row * matrices + matrix, column * matrices + matrix);
                if y >= in_h || x >= in_w {
                    continue;
                }
                for c in 0..in_c {
                    for o in 0..columns {
                        let read = ((image * in_h + y) * in_w + x) * in_c + c;
                        let weight = (first_channel + c) * columns + o;
                        visit(pixel * out_c + first + o, index, read, c, matrix, weight);
                    }
                }
            }
            first_channel += in_c;
        }
    }
}

/// First output channel and number of channels that a weight matrix gives.
fn half_of_channels(matrix: usize, matrices: usize, channels: usize) -> [usize; 2] {
    let first = channels / 2;
    match (matrix, matrices) {
        (0, 1) => [0, channels],
        (0, _) => [0, first],
        _ => [first, channels - first],
    }
}
