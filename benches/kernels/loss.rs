//! From pooled features to the loss.

use darts::backend::*;

use crate::layout::{CLASSES, Layout};
use crate::timer::{Device, Timer, floats};

/// The classifier behind a cell of four nodes. The shape is that of what it reads.
pub fn linears<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let (rows, inputs) = (device.batch, 4 * shape.c as usize);
        let op = Linear {
            input: layout.slot(rows * inputs),
            rows,
            inputs,
            outputs: CLASSES,
            weights: layout.span(inputs * CLASSES),
            bias: layout.span(CLASSES),
            output: layout.slot(rows * CLASSES),
        };
        let shape = Shape::new(rows, 1, 1, inputs);
        let gradient = LinearGradient {
            output: layout.slot(rows * CLASSES),
            input: layout.target(shape),
            weights: layout.span(op.weights.len),
            bias: layout.span(op.bias.len),
        };
        let weights = floats(op.weights.len + op.bias.len);
        let bytes = device.activations(op.input.len + op.output.len) + weights;
        device.time("linear_forward", shape, bytes, &layout, |backend| backend.linear_forward(&op));
        let bytes = device.activations(2 * op.input.len + op.output.len) + weights + floats(op.weights.len);
        device.time("linear_backward", shape, bytes, &layout, |backend| {
            backend.linear_backward(&op, &gradient, Gradients::All);
        });
    }
}

/// The loss of a batch, with the gradient of its logits.
pub fn losses<B: Device>(device: &mut Timer<B>) {
    let mut layout = Layout::default();
    let shape = Shape::new(device.batch, 1, 1, CLASSES);
    let op = CrossEntropy {
        logits: layout.slot(shape.len()),
        rows: device.batch,
        classes: CLASSES,
        result: layout.span(3),
        gradient: layout.slot(shape.len()),
        weight: 1.0,
        class_weights: None,
    };
    let bytes = device.activations(2 * shape.len());
    device.time("cross_entropy", shape, bytes, &layout, |backend| backend.cross_entropy(&op));
}
