//! From the last feature maps to the loss, and arithmetic on flat vectors.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case};
use crate::{check, size};

fn global_pool(case: &mut Case) -> GlobalPool {
    let channels = case.channels();
    let shape = case.shape(channels, 60_000);
    let inputs: Vec<_> = (0..case.random.random_range(1..4))
        .map(|index| {
            let channels = if index == 0 { channels } else { case.choose(&[1, 3, 16]) };
            case.operand(Shape { c: channels as u32, ..shape })
        })
        .collect();
    let features: usize = inputs.iter().map(|input| input.shape.c as usize).sum();
    let output = case.result_slot("output", shape.n as usize * features, shape.image_pixels());
    GlobalPool { inputs, output }
}

#[test]
fn global_pool_forward() {
    check(14, |case| Call::GlobalPoolForward(global_pool(case)));
}

#[test]
fn global_pool_backward() {
    check(15, |case| {
        let operator = global_pool(case);
        case.forget_results();
        let gradient = GlobalPoolGradient {
            output: case.slot(operator.output.len),
            inputs: operator.inputs.iter().map(|input| case.target("input", input.shape.len(), 1)).collect(),
        };
        Call::GlobalPoolBackward(operator, gradient)
    });
}

fn linear(case: &mut Case) -> Linear {
    let (rows, inputs) = (case.random.random_range(1..70), case.random.random_range(1..300));
    let outputs = case.choose(&[1, 2, 3, 10, 17, 100]);
    Linear {
        input: case.slot(rows * inputs),
        rows,
        inputs,
        outputs,
        weights: case.span(inputs * outputs, 1.0 / size(inputs)),
        bias: case.span(outputs, 1.0),
        output: case.result_slot("output", rows * outputs, inputs),
    }
}

#[test]
fn linear_forward() {
    check(16, |case| Call::LinearForward(linear(case)));
}

#[test]
fn linear_backward() {
    check(17, |case| {
        let operator = linear(case);
        case.forget_results();
        let wanted = if case.one_in(4) { Gradients::Inputs } else { Gradients::All };
        let Linear { rows, inputs, outputs, .. } = operator;
        let result = |case: &mut Case, name, len| match wanted.of_weights() {
            true => case.result_span(name, len, rows, size(rows)),
            false => case.span(len, 1.0),
        };
        let gradient = LinearGradient {
            output: case.slot(rows * outputs),
            input: case.target("input", rows * inputs, outputs),
            weights: result(case, "weights", inputs * outputs),
            bias: result(case, "bias", outputs),
        };
        Call::LinearBackward(operator, gradient, wanted)
    });
}

#[test]
fn cross_entropy() {
    check(18, |case| {
        let (rows, classes) = (case.random.random_range(1..70), case.choose(&[2, 3, 5, 10, 100]));
        case.labels(rows, classes);
        Call::CrossEntropy(CrossEntropy {
            logits: case.slot(rows * classes),
            rows,
            classes,
            result: case.result_span("result", 3, rows + classes, 1.0),
            gradient: case.result_slot("gradient", rows * classes, 4),
            weight: case.choose(&[1.0, 0.4]),
            class_weights: case.one_in(2).then(|| case.positive_span(classes)),
        })
    });
}

/// Equal logits rank by index.
#[test]
fn cross_entropy_breaks_ties_by_index() {
    check(19, |case| {
        case.labels(40, 10);
        Call::CrossEntropy(CrossEntropy {
            logits: case.slot_of(&[1.0; 400]),
            rows: 40,
            classes: 10,
            result: case.result_span("result", 3, 50, 1.0),
            gradient: case.result_slot("gradient", 400, 4),
            weight: 1.0,
            class_weights: None,
        })
    });
}

/// The length of a flat vector: within a chunk, or several.
fn vector_len(case: &mut Case) -> usize {
    case.choose(&[1, 7, 16, 100, 8191, 8192, 8193, 30_000])
}

#[test]
fn vector_arithmetic() {
    check(22, |case| {
        let len = vector_len(case);
        let (target, source) = (case.span(len, 1.0), case.span(len, 1.0));
        case.expect("target", target, 2, 1.0);
        let divisor = case.one_in(2).then(|| case.positive_span(1));
        let factor = case.normal();
        match case.random.random_range(0..4) {
            0 => Call::Fill(target, factor),
            1 => Call::Copy(target, source),
            _ => Call::ScaledAdd(target, factor, divisor, source),
        }
    });
}

#[test]
fn euclidean_norm() {
    check(23, |case| {
        let len = vector_len(case);
        let source = case.span(len, 1.0);
        Call::EuclideanNorm(source, case.result_span("norm", 1, 1, 1.0))
    });
}

#[test]
fn gradient_descent() {
    check(24, |case| {
        let len = vector_len(case);
        let [weights, gradient, momentum_buffer] =
            [case.span(len, 1.0), case.span(len, 1.0), case.span(len, 1.0)];
        case.expect("weights", weights, 4, 1.0);
        case.expect("momentum", momentum_buffer, 4, 1.0);
        let limit = case.random.random_range(0.1..3.0);
        let clip = case.one_in(2).then(|| (case.positive_span(1), limit));
        Call::GradientDescent(GradientDescent {
            weights,
            gradient,
            momentum_buffer,
            clip,
            rate: 0.025,
            momentum: 0.9,
            decay: 3e-4,
            nesterov: case.one_in(2),
        })
    });
}
