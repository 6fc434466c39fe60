//! Dense convolutions, and those of a single pixel.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case, rounded};
use crate::{check, check_cases, size};

pub fn convolution(case: &mut Case) -> Convolution {
    let sides = [[1, 1], [2, 2], [3, 3], [3, 3], [5, 5], [1, 7], [7, 1], [2, 3]];
    let kernel = case.choose(&sides);
    let stride = case.turn(&[[1, 1], [2, 2], [1, 2], [2, 1]], 2);
    let centred = kernel.map(|side| (side - 1) / 2);
    let padding = if case.one_in(3) { kernel.map(|side| case.random.random_range(0..side)) } else { centred };
    let window = ConvolutionWindow { kernel, stride, padding };
    let channels = case.choose(&[1, 2, 3, 3, 4, 8, 17, 48]);
    let out_channels = if case.one_in(2) {
        // As the tape places what the paper's stem writes.
        case.align();
        case.choose(&[8, 16, 48, 48, 96])
    } else {
        case.channels()
    };
    let mut shape = case.shape(channels, 400_000 / (window.taps() * out_channels));
    let least = |axis: usize| (kernel[axis] - 2 * padding[axis].min(kernel[axis] / 2)) as u32;
    [shape.h, shape.w] = [shape.h.max(least(0)), shape.w.max(least(1))];
    convolution_of(case, shape, window, out_channels)
}

fn convolution_of(
    case: &mut Case,
    shape: Shape,
    window: ConvolutionWindow,
    out_channels: usize,
) -> Convolution {
    let output_shape = window.over(shape, out_channels).unwrap();
    let terms = window.taps() * shape.c as usize;
    let input = case.operand(shape);
    let weights = case.span(terms * out_channels, 1.0 / size(terms));
    Convolution {
        input,
        relu: case.one_in(2),
        window,
        weights,
        output: case.result_slot("output", output_shape.len(), rounded(terms)),
        output_shape,
        statistics: (!case.one_in(4)).then(|| {
            let rounding = rounded(terms + output_shape.pixels());
            case.result_span("statistics", 2 * out_channels, rounding, 1.0)
        }),
        gate: None,
    }
}

/// The stem of the paper over more pixels than a block of a GPU takes at a time; images of which what a block's windows
/// read does not fit its shared memory; and convolutions of many channels.
fn large_convolution(case: &mut Case) -> Convolution {
    case.align();
    let window = ConvolutionWindow::square(3, 1, 1);
    match case.index {
        0 => convolution_of(case, Shape::new(2, 32, 32, 3), window, 48),
        1 => convolution_of(case, Shape::new(1, 12, 24, 47), window, 8),
        // As in a supernet: packs, and a depth that coefficients are staged for more than once.
        2 => convolution_of(case, Shape::new(2, 16, 16, 16), window, 16),
        _ => convolution_of(case, Shape::new(3, 7, 8, 32), ConvolutionWindow::square(3, 2, 1), 80),
    }
}

#[test]
fn convolution_forward() {
    check(1, |case| Call::ConvolutionForward(convolution(case)));
}

#[test]
fn convolution_backward() {
    check(2, |case| {
        let operator = convolution(case);
        convolution_gradient(case, operator)
    });
}

#[test]
fn convolution_forward_of_many_pixels() {
    check_cases(35, 4, |case| Call::ConvolutionForward(large_convolution(case)));
}

#[test]
fn convolution_backward_of_many_pixels() {
    check_cases(36, 4, |case| {
        let operator = large_convolution(case);
        convolution_gradient(case, operator)
    });
}

pub fn convolution_gradient(case: &mut Case, operator: Convolution) -> Call {
    case.forget_results();
    let (shape, pixels) = (operator.output_shape, operator.output_shape.pixels());
    let wanted = if case.one_in(4) { Gradients::Inputs } else { Gradients::All };
    let gradient = ConvolutionGradient {
        output: match operator.statistics {
            Some(_) => ResultGradient::Unstored(case.unstored_gradient(shape.len(), shape.c as usize)),
            None => ResultGradient::Stored(case.slot(shape.len())),
        },
        weights: match wanted.of_weights() {
            true => case.result_span("weights", operator.weights.len, rounded(pixels), size(pixels)),
            false => case.span(operator.weights.len, 1.0),
        },
        input: (!wanted.of_weights() || case.one_in(2)).then(|| {
            let terms = operator.window.taps() * shape.c as usize;
            case.target("input", operator.input.shape.len(), rounded(terms))
        }),
    };
    Call::ConvolutionBackward(operator, gradient, wanted)
}

/// Columns of a matrix: up to 16, up to 32, and more, for which the kernels have a form each. Within six cases every stride
/// meets every form.
fn matrix_columns(case: &mut Case, forms: [&[usize]; 3]) -> (usize, usize) {
    let (stride, columns) = (case.turn(&[1, 2], 3), case.turn(&forms, 1));
    (stride, stride * case.choose(columns))
}

pub fn pointwise(case: &mut Case) -> Pointwise {
    let (stride, columns) =
        matrix_columns(case, [&[2, 3, 7, 8, 12, 16], &[17, 24, 32], &[33, 48, 64, 96, 130]]);
    // One channel more for the second of two matrices.
    let out_channels = columns + if stride == 2 && case.index.is_multiple_of(2) { 1 } else { 0 };
    let first = case.channels();
    let others =
        (1..case.random.random_range(1..4)).map(|_| case.choose(&[1, 3, 8, 16, 33])).collect::<Vec<_>>();
    pointwise_of(case, &[&[first], &others[..]].concat(), out_channels, stride)
}

/// What cells are made of: numbers of channels of which 16-byte words are made, in slots that begin at such.
pub fn cell_pointwise(case: &mut Case) -> Pointwise {
    case.align();
    let (stride, out_channels) = matrix_columns(case, [&[8, 16], &[24, 32], &[48, 64, 80]]);
    let inputs: Vec<_> =
        (0..case.random.random_range(1..5)).map(|_| case.choose(&[8, 16, 32, 48, 64, 96])).collect();
    pointwise_of(case, &inputs, out_channels, stride)
}

/// More channels than a block keeps coefficients of; and more columns than a tile has, or few enough that an input gradient
/// keeps its left side.
fn deep_pointwise(case: &mut Case) -> Pointwise {
    case.align();
    match case.index {
        0 => pointwise_of(case, &[320], 144, 1),
        1 => pointwise_of(case, &[264, 56], 96, 2),
        2 => pointwise_of(case, &[320], 32, 1),
        // None of whose runs are 16 bytes.
        _ => pointwise_of(case, &[37, 283], 143, 1),
    }
}

fn pointwise_of(case: &mut Case, channels: &[usize], out_channels: usize, stride: usize) -> Pointwise {
    let work =
        if channels.iter().sum::<usize>() > 256 { 3000 } else { (1_500_000 / out_channels).min(60_000) };
    let shape = case.shape(channels[0], work);
    let inputs: Vec<_> =
        channels.iter().map(|&channels| case.operand(Shape { c: channels as u32, ..shape })).collect();
    let terms: usize = inputs.iter().map(|input| input.shape.c as usize).sum();
    let output_shape = shape.strided(stride, out_channels);
    let columns = if stride == 1 {
        vec![out_channels]
    } else {
        vec![out_channels / 2, out_channels - out_channels / 2]
    };
    Pointwise {
        inputs,
        weights: columns.iter().map(|columns| case.span(terms * columns, 1.0 / size(terms))).collect(),
        output: case.result_slot("output", output_shape.len(), rounded(terms)),
        output_shape,
        statistics: case.result_span(
            "statistics",
            2 * out_channels,
            rounded(terms + output_shape.pixels()),
            1.0,
        ),
        gate: None,
    }
}

#[test]
fn pointwise_forward() {
    check(5, |case| Call::PointwiseForward(pointwise(case)));
}

#[test]
fn pointwise_forward_in_a_cell() {
    check(33, |case| Call::PointwiseForward(cell_pointwise(case)));
}

#[test]
fn pointwise_forward_of_many_channels() {
    check_cases(39, 4, |case| Call::PointwiseForward(deep_pointwise(case)));
}

#[test]
fn pointwise_backward() {
    check(6, |case| {
        let operator = pointwise(case);
        pointwise_gradient(case, operator)
    });
}

#[test]
fn pointwise_backward_in_a_cell() {
    check(34, |case| {
        let operator = cell_pointwise(case);
        pointwise_gradient(case, operator)
    });
}

#[test]
fn pointwise_backward_of_many_channels() {
    check_cases(40, 4, |case| {
        let operator = deep_pointwise(case);
        pointwise_gradient(case, operator)
    });
}

pub fn pointwise_gradient(case: &mut Case, operator: Pointwise) -> Call {
    case.forget_results();
    // Only after every form has had its turn.
    let wanted = if case.index % 8 < 6 { Gradients::All } else { Gradients::Inputs };
    let (shape, pixels) = (operator.output_shape, operator.output_shape.pixels());
    let gradient = PointwiseGradient {
        output: case.unstored_gradient(shape.len(), shape.c as usize),
        weights: operator
            .weights
            .iter()
            .map(|span| match wanted.of_weights() {
                true => case.result_span("weights", span.len, rounded(pixels), size(pixels)),
                false => case.span(span.len, 1.0),
            })
            .collect(),
        inputs: operator
            .inputs
            .iter()
            .map(|input| case.target("input", input.shape.len(), rounded(shape.c as usize)))
            .collect(),
    };
    Call::PointwiseBackward(operator, gradient, wanted)
}

/// An image that is constant but for tiny differences far from zero: its variance must survive.
#[test]
fn variances_do_not_cancel() {
    check(26, |case| {
        let shape = Shape::new(3, 16, 16, 16);
        let values: Vec<_> = (0..shape.len()).map(|_| 1000.0 + case.normal() as f32).collect();
        let mut identity = vec![0.0; 256];
        (0..16).for_each(|c| identity[c * 17] = 1.0);
        Call::PointwiseForward(Pointwise {
            inputs: vec![Operand { data: case.slot_of(&values), shape, norm: None }],
            weights: vec![case.span_of(&identity)],
            output: case.result_slot("output", shape.len(), 1),
            output_shape: shape,
            statistics: {
                let span = case.workspace(32);
                let variance = span.part(16, 16);
                case.expect("mean", span.part(0, 16), 768, 1000.0);
                case.expect("variance", variance, 768, 1.0);
                span
            },
            gate: None,
        })
    });
}
