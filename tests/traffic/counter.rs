//! A backend that computes nothing: it notes, for every call, what each kernel of the CUDA backend must move for it.
//!
//! The numbers come from the operators' descriptors alone. What passes from one kernel to the next through the scratch
//! memory is a result of the one and an operand of the other. Kernels go by the stem of their names: `separable_forward`
//! stands for `separable_forward_16` and `separable_forward_64`. How work is cut into launches does not enter: a value
//! that two launches of a call read must be read once.

use darts::Result;
use darts::backend::*;

pub use super::notes::Counter;
use super::notes::MOMENTS;
use super::operators::*;
use super::statistics::COMBINE;

impl Backend for Counter {}

impl Device for Counter {
    type Scalar = f32;

    fn reserve(&mut self, _: usize, _: usize) -> Result<()> {
        Ok(())
    }

    fn activation_bytes(&self) -> usize {
        self.element
    }

    fn write_activations(&mut self, _: Slot, _: &[f32]) {}

    fn read_activations(&self, _: Slot, values: &mut [f32]) {
        values.fill(0.0);
    }

    fn write(&mut self, _: Span, _: &[f32]) {}

    fn read(&self, _: Span, values: &mut [f32]) {
        values.fill(0.0);
    }

    fn write_labels(&mut self, _: &[u32]) {}
}

impl ConvolutionKernels for Counter {
    fn convolution_forward(&mut self, op: &Convolution) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let blocks = tiles(rows, columns);
        self.add("convolution_forward", |call| {
            call.read_value(&op.input, op.input.data.len);
            call.read([op.weights]);
            call.write([op.output]);
            call.scratch(blocks * 3 * columns);
            call.products += convolution_products(op);
            call.operations += MOMENTS * op.output.len;
        });
        self.moments(blocks, &op.statistics.into_iter().collect::<Vec<_>>());
    }

    fn convolution_backward(&mut self, op: &Convolution, gradient: &ConvolutionGradient, wanted: Gradients) {
        let blocks = convolution_splits(op, gradient, self.element);
        if wanted.of_weights() {
            self.add("convolution_weights", |call| {
                call.read_value(&op.input, op.input.data.len);
                call.read_result_gradient(&gradient.output);
                call.scratch(blocks * gradient.weights.len);
                call.products += convolution_products(op);
            });
            self.sums(blocks, [gradient.weights].into_iter());
        }
        let Some(target) = gradient.input else { return };
        self.add("convolution_input", |call| {
            call.read_result_gradient(&gradient.output);
            call.read([op.weights]);
            if op.relu {
                call.read_value(&op.input, op.input.data.len);
            }
            call.deliver(target, op.input.data.len);
            call.operations += convolution_products(op);
        });
    }
}

impl SeparableKernels for Counter {
    fn separable_forward(&mut self, op: &Separable) {
        let (blocks, columns) = (bands(op.output_shape), op.output_shape.c as usize);
        let branches = || op.sources.iter().flat_map(|s| s.branches.iter().map(move |branch| (s, branch)));
        self.add("separable_forward", |call| {
            read_sources(call, op);
            for (source, branch) in branches() {
                call.read([branch.depthwise, branch.pointwise]);
                call.write([branch.output]);
                call.scratch(blocks * 3 * columns);
                call.operations += 2 * taps(op, source, branch) + MOMENTS * branch.output.len;
                call.products += products(op, branch);
            }
        });
        self.moments(blocks, &branches().map(|(_, branch)| branch.statistics).collect::<Vec<_>>());
    }

    fn separable_backward(&mut self, op: &Separable, gradient: &SeparableGradient, wanted: Gradients) {
        let pixels = op.output_shape.pixels();
        self.separable_gradients(op, gradient, wanted);
        self.add("depthwise_input", |call| {
            for (source, branch, _) in branches(op, gradient) {
                call.stored_scratch(pixels * source.input.shape.c as usize);
                call.read([branch.depthwise]);
                call.operations += 2 * taps(op, source, branch);
            }
            for (source, gradient) in op.sources.iter().zip(&gradient.sources) {
                call.read_value(&source.input, source.input.data.len);
                call.deliver(gradient.input, source.input.data.len);
            }
        });
        if wanted.of_weights() {
            let results =
                branches(op, gradient).flat_map(|(_, _, branch)| [branch.pointwise, branch.depthwise]);
            self.sums(bands(op.output_shape), results);
        }
        let sources = op.sources.iter().zip(&gradient.sources);
        let reduces: Vec<_> = sources
            .filter_map(|(source, gradient)| {
                let (gradient, sums) = (gradient.input.slot, gradient.sums?);
                Some(BatchNormReduce { gradient, input: source.input, sums, gate: None })
            })
            .collect();
        self.reduce(&reduces);
    }
}

impl PointwiseKernels for Counter {
    fn pointwise_forward(&mut self, op: &Pointwise) {
        let (rows, columns) = (op.output_shape.pixels(), op.output_shape.c as usize);
        let blocks = tiles(rows, columns / op.weights.len());
        self.add("pointwise_forward", |call| {
            read_inputs(call, op);
            call.read(op.weights.iter().copied());
            call.write([op.output]);
            call.scratch(blocks * 3 * columns);
            call.products += pointwise_products(op);
            call.operations += MOMENTS * op.output.len;
        });
        self.moments(blocks, &[op.statistics]);
    }

    fn pointwise_backward(&mut self, op: &Pointwise, gradient: &PointwiseGradient, wanted: Gradients) {
        self.add("pointwise_input", |call| {
            // Where the ReLU passes is asked only of pixels that a gradient reaches.
            read_inputs(call, op);
            call.read(op.weights.iter().copied());
            call.read_unstored_gradient(&gradient.output);
            for (input, &target) in op.inputs.iter().zip(&gradient.inputs) {
                call.deliver(target, pixels_read(op, input.shape) * input.shape.c as usize);
            }
            call.products += pointwise_products(op);
        });
        if !wanted.of_weights() {
            return;
        }
        let blocks = pointwise_splits(op, gradient, self.element);
        self.add("pointwise_weights", |call| {
            read_inputs(call, op);
            call.read_unstored_gradient(&gradient.output);
            gradient.weights.iter().for_each(|span| call.scratch(blocks * span.len));
            call.products += pointwise_products(op);
        });
        self.sums(blocks, gradient.weights.iter().copied());
    }
}

impl NormalisedPoolsKernels for Counter {
    fn normalised_pools_forward(&mut self, op: &NormalisedPools) {
        let blocks = normalised_pools_blocks(op);
        self.add("normalised_pools_forward", |call| {
            call.read_value(&op.input, op.input.data.len);
            call.write([op.maximum, op.average]);
            call.scratch(2 * blocks * 3 * op.output_shape.c as usize);
            call.operations += normalised_pools_taps(op) + (2 * MOMENTS + 1) * op.maximum.len;
        });
        self.moments(blocks, &[op.maximum_statistics, op.average_statistics]);
    }

    fn normalised_pools_backward(&mut self, op: &NormalisedPools, gradient: &NormalisedPoolsGradient) {
        let values = op.output_shape.len();
        self.add("normalised_pools_backward", |call| {
            call.read_value(&op.input, op.input.data.len);
            call.read_unstored_gradient(&gradient.maximum);
            call.read_unstored_gradient(&gradient.average);
            call.deliver(gradient.input, op.input.data.len);
            call.operations += normalised_pools_taps(op) + 2 * values;
        });
    }
}

impl PoolKernels for Counter {
    fn pool_forward(&mut self, op: &Pool) {
        self.add("pool_forward", |call| {
            call.read_value(&op.input, op.input.data.len);
            call.write([op.output]);
            call.operations += op.kernel * op.kernel * op.output.len;
        });
    }

    fn pool_backward(&mut self, op: &Pool, gradient: &PoolGradient) {
        let (maximum, values) = (op.kind == PoolKind::Maximum, op.output.len);
        if maximum {
            self.add("pool_places", |call| {
                call.read_value(&op.input, op.input.data.len);
                call.scratch(values);
                call.operations += op.kernel * op.kernel * values;
            });
        }
        self.add("pool_input", |call| {
            call.read([gradient.output]);
            call.scratch(if maximum { values } else { 0 });
            if op.relu {
                call.read_value(&op.input, op.input.data.len);
            }
            call.deliver(gradient.input, op.input.data.len);
            call.operations += op.kernel * op.kernel * values;
        });
    }
}

impl BatchNormKernels for Counter {
    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode) {
        self.add(COMBINE, |call| {
            for BatchNorm { statistics, running, norm, .. } in norms {
                match mode {
                    Mode::Inference => call.read([*running]),
                    // The kernel that makes the statistics applies them.
                    _ => call.write([*statistics]),
                }
                if mode == Mode::Train {
                    call.read([*running]);
                    call.write([*running]);
                }
                call.read(norm.gamma.into_iter().chain(norm.beta));
                call.write([norm.mean, norm.inverse_deviation, norm.scale, norm.shift]);
                call.operations += 12 * norm.mean.len;
            }
        });
    }

    fn batch_norm_reduce(&mut self, reduce: &BatchNormReduce) {
        self.reduce(std::slice::from_ref(reduce));
    }

    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient], _: Gradients) {
        self.add(COMBINE, |call| {
            for op in gradients {
                call.read([op.norm.mean, op.norm.inverse_deviation, op.norm.scale]);
                for term in &op.terms {
                    call.read([term.sums.total, term.sums.products]);
                    call.read(term.weight);
                    call.write([term.factor]);
                }
                call.write([op.raw_factor, op.constant]);
                call.write(op.gamma.into_iter().chain(op.beta));
                call.operations += (5 * op.terms.len() + 8) * op.norm.mean.len;
            }
        });
    }
}

impl NodeSumKernels for Counter {
    fn node_sum_forward(&mut self, op: &NodeSum) {
        self.add("node_sum_forward", |call| {
            for branch in &op.branches {
                call.read_value(&branch.input, branch.input.data.len);
                call.read(branch.factors);
                call.operations += 2 * branch.input.data.len;
            }
            call.write([op.output]);
        });
    }

    fn node_sum_backward(&mut self, op: &NodeSum, gradient: &NodeSumGradient) {
        self.add("node_sum_backward", |call| {
            call.read([gradient.output]);
            for (branch, gradient) in op.branches.iter().zip(&gradient.branches) {
                call.read(branch.factors);
                call.deliver(gradient.input, branch.input.data.len);
                call.operations += branch.input.data.len;
            }
        });
        let branches = op.branches.iter().zip(&gradient.branches);
        let reduces: Vec<_> = branches
            .filter_map(|(branch, gradient)| {
                let (gradient, sums) = (gradient.input.slot, gradient.sums?);
                Some(BatchNormReduce { gradient, input: branch.input, sums, gate: None })
            })
            .collect();
        self.reduce(&reduces);
    }
}

impl MixedKernels for Counter {
    fn mixed_forward(&mut self, op: &Mixed) {
        self.add("mixed_forward", |call| {
            for branch in &op.branches {
                call.read([branch.data]);
                call.read([branch.weight]);
                call.read(branch.norm.into_iter().flat_map(|norm| [norm.scale, norm.shift]));
                call.operations += 2 * branch.data.len;
            }
            call.write([op.output]);
        });
    }

    fn mixed_backward(&mut self, op: &Mixed, gradient: &MixedGradient) {
        let values = op.branches.iter().map(|branch| (branch.data, branch.norm)).collect();
        let identities: Vec<_> = op
            .branches
            .iter()
            .zip(&gradient.branches)
            .filter_map(|(branch, gradient)| Some((branch.weight, gradient.identity?)))
            .collect();
        self.channel_sums(op.shape, &[(gradient.output, values)], &identities);
        let blocks = chunks(op.shape.pixels());
        self.add("mixed_finish", |call| {
            call.scratch(blocks * gradient.total.len);
            call.write([gradient.total]);
            for (branch, gradient) in op.branches.iter().zip(&gradient.branches) {
                call.scratch(blocks * gradient.products.len);
                call.read([gradient.weight]);
                call.read(branch.norm.into_iter().flat_map(|norm| norm.gamma.into_iter().chain(norm.beta)));
                call.write([gradient.products, gradient.weight]);
                call.operations += (blocks + 2) * gradient.products.len;
            }
        });
    }
}

impl ChannelSliceKernels for Counter {
    fn channel_slice_forward(&mut self, op: &ChannelSlice) {
        self.add("channel_slice_forward", |call| {
            call.read_value(&op.input, op.output.len);
            call.write([op.output]);
        });
    }

    fn channel_slice_backward(&mut self, op: &ChannelSlice, gradient: &ChannelSliceGradient) {
        let accumulate = gradient.input.accumulate;
        let touched = if accumulate { op.output.len } else { op.input.data.len };
        self.add("channel_slice_backward", |call| {
            call.read([gradient.output]);
            call.deliver(gradient.input, touched);
        });
    }
}

impl DropoutKernels for Counter {
    fn dropout_forward(&mut self, op: &Dropout) {
        self.add("dropout_forward", |call| {
            call.read_value(&op.input, op.output.len);
            call.read([op.mask.key]);
            call.read(op.mask.given);
            call.write([op.output]);
            call.operations += op.output.len;
        });
    }

    fn dropout_backward(&mut self, op: &Dropout, gradient: &DropoutGradient) {
        self.add("dropout_backward", |call| {
            call.read([gradient.output]);
            call.read([op.mask.key]);
            call.read(op.mask.given);
            call.deliver(gradient.input, op.output.len);
            call.operations += op.output.len;
        });
    }
}

impl BypassKernels for Counter {
    fn bypass_forward(&mut self, op: &Bypass) {
        let passing = op.output.len - op.mixed.len;
        self.add("bypass_forward", |call| {
            call.read([op.mixed]);
            for source in &op.sources {
                call.read_value(&source.input, passing);
                call.read([source.weight]);
                call.operations += 2 * passing;
            }
            call.write([op.output]);
        });
    }

    fn bypass_backward(&mut self, op: &Bypass, gradient: &BypassGradient) {
        let passing = op.output.len - op.mixed.len;
        self.add("bypass_backward", |call| {
            call.read([gradient.output]);
            call.deliver(gradient.mixed, op.mixed.len);
            for (source, gradients) in op.sources.iter().zip(&gradient.sources) {
                call.read_value(&source.input, passing);
                call.read([source.weight]);
                let touched = if gradients.input.accumulate { passing } else { op.output.len };
                call.deliver(gradients.input, touched);
                call.operations += 3 * passing;
            }
        });
        self.add("bypass_finish", |call| {
            for gradients in &gradient.sources {
                call.read([gradients.weight]);
                call.write([gradients.weight]);
            }
        });
    }
}

impl GlobalPoolKernels for Counter {
    fn global_pool_forward(&mut self, op: &GlobalPool) {
        self.add("global_pool_forward", |call| {
            for input in &op.inputs {
                call.read_value(input, input.data.len);
                call.operations += input.data.len;
            }
            call.write([op.output]);
        });
    }

    fn global_pool_backward(&mut self, _: &GlobalPool, gradient: &GlobalPoolGradient) {
        self.add("global_pool_backward", |call| {
            call.read([gradient.output]);
            for &target in &gradient.inputs {
                call.deliver(target, target.slot.len);
                call.operations += target.slot.len;
            }
        });
    }
}

impl LinearKernels for Counter {
    fn linear_forward(&mut self, op: &Linear) {
        self.add("linear_forward", |call| {
            call.read([op.input]);
            call.read([op.weights, op.bias]);
            call.write([op.output]);
            call.products += 2 * op.rows * op.weights.len;
            call.operations += op.output.len;
        });
    }

    fn linear_backward(&mut self, op: &Linear, gradient: &LinearGradient, wanted: Gradients) {
        self.add("linear_backward", |call| {
            call.read([gradient.output]);
            call.read([op.weights]);
            call.deliver(gradient.input, gradient.input.slot.len);
            call.products += 2 * op.rows * op.weights.len;
            if wanted.of_weights() {
                call.read([op.input]);
                call.write([gradient.weights, gradient.bias]);
                call.products += 2 * op.rows * op.weights.len;
                call.operations += gradient.output.len;
            }
        });
    }
}

impl CrossEntropyKernels for Counter {
    fn cross_entropy(&mut self, op: &CrossEntropy) {
        self.add("cross_entropy", |call| {
            call.read([op.logits]);
            call.read(op.class_weights);
            // The labels, 4 bytes each.
            call.scratch(op.rows);
            call.write([op.gradient]);
            call.write([op.result]);
            call.operations += 8 * op.logits.len;
        });
    }
}

impl VectorKernels for Counter {
    fn fill(&mut self, span: Span, _: f64) {
        self.add("fill", |call| call.write([span]));
    }

    /// A copy by the driver, not a kernel.
    fn copy(&mut self, _: Span, _: Span) {}

    fn scaled_add(&mut self, target: Span, _: f64, divisor: Option<Span>, source: Span) {
        self.add("scaled_add", |call| {
            call.read([target, source].into_iter().chain(divisor));
            call.write([target]);
            call.operations += 2 * target.len;
        });
    }

    fn euclidean_norm(&mut self, source: Span, result: Span) {
        // Partial sums take 8 bytes each.
        let partial = 2 * source.len.div_ceil(256).min(1024);
        self.add("euclidean_norm_partials", |call| {
            call.read([source]);
            call.scratch(partial);
            call.operations += 2 * source.len;
        });
        self.add("euclidean_norm_result", |call| {
            call.scratch(partial);
            call.write([result]);
            call.operations += partial / 2;
        });
    }
}

impl GradientDescentKernels for Counter {
    fn gradient_descent(&mut self, step: &GradientDescent) {
        self.add("gradient_descent", |call| {
            call.read([step.weights, step.gradient, step.momentum_buffer]);
            call.read(step.clip.map(|(norm, _)| norm));
            call.write([step.weights, step.momentum_buffer]);
            call.operations += 7 * step.weights.len;
        });
    }
}
