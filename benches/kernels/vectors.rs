//! Flat vectors, as a single row: the weights of the paper's supernet.

use darts::backend::*;

use crate::layout::Layout;
use crate::timer::{Device, Timer, floats};

/// Weights of the paper's supernet.
const WEIGHTS: usize = 1_930_618;

fn row(len: usize) -> Shape {
    Shape::new(1, 1, 1, len)
}

/// What is done to vectors of weights between and within steps.
pub fn sums<B: Device>(device: &mut Timer<B>) {
    let mut layout = Layout::default();
    let [target, source] = [(); 2].map(|()| layout.span(WEIGHTS));
    let [result, divisor] = [(); 2].map(|()| layout.span(1));
    let (shape, bytes) = (row(WEIGHTS), floats(WEIGHTS));
    device.time("fill", shape, bytes, &layout, |backend| backend.fill(target, 0.5));
    device.time("copy", shape, 2 * bytes, &layout, |backend| backend.copy(target, source));
    device.time("scaled_add", shape, 3 * bytes, &layout, |backend| {
        backend.scaled_add(target, 0.01, None, source);
    });
    device.time("scaled_add_divided", shape, 3 * bytes, &layout, |backend| {
        backend.scaled_add(target, 0.01, Some(divisor), source);
    });
    device.time("euclidean_norm", shape, bytes, &layout, |backend| backend.euclidean_norm(source, result));
}

/// The optimiser of the weights: alone, and behind the norm by which it clips.
pub fn descents<B: Device>(device: &mut Timer<B>) {
    let mut layout = Layout::default();
    let [weights, gradient, momentum_buffer] = [(); 3].map(|()| layout.span(WEIGHTS));
    let norm = layout.span(1);
    let step = GradientDescent {
        nesterov: false,
        weights,
        gradient,
        momentum_buffer,
        clip: Some((norm, 5.0)),
        rate: 0.025,
        momentum: 0.9,
        decay: 3e-4,
    };
    let (shape, bytes) = (row(WEIGHTS), floats(WEIGHTS));
    device.time("gradient_descent", shape, 5 * bytes, &layout, |backend| backend.gradient_descent(&step));
    device.time("gradient_descent_clipped", shape, 6 * bytes, &layout, |backend| {
        backend.euclidean_norm(gradient, norm);
        backend.gradient_descent(&step);
    });
}
