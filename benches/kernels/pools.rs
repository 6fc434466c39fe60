//! Pools: of a mixed edge, of a derived cell and its head, and over all pixels.

use darts::backend::*;

use crate::layout::Layout;
use crate::timer::{Device, Timer};

/// Maximum and average of a mixed edge.
pub fn normalised_pools<B: Device>(device: &mut Timer<B>) {
    for (name, stride) in [("normalised_pools", 1), ("normalised_pools_stride_2", 2)] {
        for shape in device.shapes() {
            let mut layout = Layout::default();
            let channels = shape.c as usize;
            let output_shape = shape.strided(stride, channels);
            let op = NormalisedPools {
                input: layout.operand(shape),
                stride,
                maximum: layout.slot(output_shape.len()),
                average: layout.slot(output_shape.len()),
                output_shape,
                maximum_statistics: layout.span(2 * channels),
                average_statistics: layout.span(2 * channels),
                maximum_gate: None,
                average_gate: None,
            };
            let gradient = NormalisedPoolsGradient {
                maximum: layout.unstored_gradient(op.maximum, output_shape),
                average: layout.unstored_gradient(op.average, output_shape),
                input: layout.target(shape),
            };
            let (input, output) = (shape.len(), output_shape.len());
            let bytes = device.activations(input + 2 * output);
            device.time(&format!("{name}_forward"), shape, bytes, &layout, |backend| {
                backend.normalised_pools_forward(&op);
            });
            let bytes = device.activations(2 * input + 4 * output);
            device.time(&format!("{name}_backward"), shape, bytes, &layout, |backend| {
                backend.normalised_pools_backward(&op, &gradient);
            });
        }
    }
}

/// Maximum or average alone: on the edges of derived cells, and in front of the auxiliary head, which reads feature maps
/// of 8x8 pixels.
pub fn pools<B: Device>(device: &mut Timer<B>) {
    use PoolKind::{Average, Maximum};
    for shape in device.shapes() {
        for (name, kind) in [("pool_maximum", Maximum), ("window_average", Average)] {
            time_pool(device, name, shape, kind, [3, 1, 1], false);
        }
    }
    let [.., last] = device.shapes();
    time_pool(device, "pool_head", last, Average, [5, 3, 0], true);
}

/// The window is its side, its step and the padding.
fn time_pool<B: Device>(
    device: &mut Timer<B>,
    name: &str,
    shape: Shape,
    kind: PoolKind,
    [kernel, stride, padding]: [usize; 3],
    relu: bool,
) {
    let mut layout = Layout::default();
    let channels = shape.c as usize;
    let output_shape = shape.windows(kernel, stride, padding, channels).expect("a window within the image");
    let op = Pool {
        input: layout.operand(shape),
        relu,
        kind,
        kernel,
        stride,
        padding,
        output: layout.slot(output_shape.len()),
        output_shape,
    };
    let gradient = PoolGradient { output: layout.slot(output_shape.len()), input: layout.target(shape) };
    let (input, output) = (shape.len(), output_shape.len());
    let bytes = device.activations(input + output);
    device.time(&format!("{name}_forward"), shape, bytes, &layout, |backend| {
        backend.pool_forward(&op);
    });
    // An average without a ReLU has a gradient that does not depend on what was read.
    let read = if relu || kind == PoolKind::Maximum { input } else { 0 };
    let bytes = device.activations(read + output + input);
    device.time(&format!("{name}_backward"), shape, bytes, &layout, |backend| {
        backend.pool_backward(&op, &gradient);
    });
}

/// The four nodes of a cell; the network pools its last one.
pub fn global_pools<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let inputs: Vec<_> = (0..4).map(|_| layout.operand(shape)).collect();
        let outputs = inputs.len() * shape.n as usize * shape.c as usize;
        let op = GlobalPool { output: layout.slot(outputs), inputs };
        let gradient = GlobalPoolGradient {
            output: layout.slot(outputs),
            inputs: op.inputs.iter().map(|input| layout.target(input.shape)).collect(),
        };
        let bytes = device.activations(op.inputs.len() * shape.len() + outputs);
        device.time("global_pool_forward", shape, bytes, &layout, |backend| {
            backend.global_pool_forward(&op);
        });
        device.time("global_pool_backward", shape, bytes, &layout, |backend| {
            backend.global_pool_backward(&op, &gradient);
        });
    }
}
