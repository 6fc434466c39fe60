//! What slides windows over images or mixes their channels.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case};
use crate::{check, size};

fn convolution(case: &mut Case) -> Convolution {
    let (kernel, stride) = (case.choose(&[1, 2, 3, 3, 5]), case.choose(&[1, 2]));
    let channels = case.choose(&[1, 2, 3, 3, 4, 17, 48]);
    let out_channels = if case.one_in(2) {
        // As the tape places what the paper's stem writes.
        case.align();
        case.choose(&[8, 48, 48, 96])
    } else {
        case.channels()
    };
    let mut shape = case.shape(channels, 400_000 / (kernel * kernel * out_channels));
    let padding = (kernel - 1) / 2;
    [shape.h, shape.w] = [shape.h, shape.w].map(|side| side.max((kernel - 2 * padding) as u32));
    let output_shape = shape.windows(kernel, stride, padding, out_channels).unwrap();
    let terms = kernel * kernel * channels;
    let input = case.operand(shape);
    let weights = case.span(terms * out_channels, 1.0 / (terms as f64).sqrt());
    let floor = output_shape.pixels();
    Convolution {
        input,
        relu: case.one_in(2),
        kernel,
        stride,
        padding,
        weights,
        output: case.result_slot("output", output_shape.len(), terms),
        output_shape,
        statistics: case.result_span("statistics", 2 * out_channels, terms + floor, 1.0),
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
        case.forget_results();
        let (shape, pixels) = (operator.output_shape, operator.output_shape.pixels());
        let gradient = ConvolutionGradient {
            cotangent: case.cotangent(shape.len(), shape.c as usize),
            weights: case.result_span("weights", operator.weights.len, pixels, size(pixels)),
            input: case.one_in(2).then(|| {
                let terms = operator.kernel * operator.kernel * shape.c as usize;
                case.target("input", operator.input.shape.len(), terms)
            }),
        };
        Call::ConvolutionBackward(operator, gradient)
    });
}

fn separable(case: &mut Case, sources: usize) -> Separable {
    let stride = case.choose(&[1, 1, 2]);
    let (channels, out_channels) = (case.channels(), case.channels());
    let shape = case.shape(channels, (1_500_000 / out_channels).min(60_000));
    let output_shape = shape.strided(stride, out_channels);
    let sources = (0..sources)
        .map(|_| SeparableSource {
            input: case.operand(shape),
            branches: (0..case.random.random_range(1..4))
                .map(|_| separable_branch(case, channels, output_shape))
                .collect(),
        })
        .collect();
    Separable { sources, stride, output_shape }
}

fn separable_branch(case: &mut Case, channels: usize, output_shape: Shape) -> SeparableBranch {
    let window = (case.choose(&[1, 3, 3, 5, 5, 7]), case.choose(&[1, 1, 2, 3]));
    branch_of(case, window, channels, output_shape)
}

fn branch_of(
    case: &mut Case,
    (kernel, dilation): (usize, usize),
    channels: usize,
    output_shape: Shape,
) -> SeparableBranch {
    let (taps, out_channels) = (kernel * kernel, output_shape.c as usize);
    let terms = taps + channels;
    SeparableBranch {
        kernel,
        dilation,
        depthwise: case.span(taps * channels, 1.0 / size(taps)),
        pointwise: case.span(channels * out_channels, 1.0 / size(channels)),
        output: case.result_slot("output", output_shape.len(), terms),
        statistics: case.result_span("statistics", 2 * out_channels, terms + output_shape.pixels(), 1.0),
    }
}

/// What a cell of the paper has: as many channels out as in, windows of 3 and 5, slots where the tape places them.
fn cell_separable(case: &mut Case) -> Separable {
    case.align();
    let stride = case.choose(&[1, 1, 2]);
    let channels = case.choose(&[16, 32, 64]);
    let shape = case.shape(channels, 40_000);
    let output_shape = shape.strided(stride, channels);
    let sources = (0..case.random.random_range(1..4))
        .map(|_| SeparableSource {
            input: case.operand(shape),
            branches: (0..case.random.random_range(1..7))
                .map(|_| {
                    let window = (case.choose(&[3, 5]), case.choose(&[1, 2]));
                    branch_of(case, window, channels, output_shape)
                })
                .collect(),
        })
        .collect();
    Separable { sources, stride, output_shape }
}

#[test]
fn separable_forward() {
    check(3, |case| {
        let sources = case.random.random_range(1..4);
        Call::SeparableForward(separable(case, sources))
    });
}

#[test]
fn separable_forward_in_cells() {
    check(27, |case| Call::SeparableForward(cell_separable(case)));
}

#[test]
fn separable_backward() {
    check(4, |case| {
        let sources = case.random.random_range(1..4);
        let operator = separable(case, sources);
        separable_backward_of(case, operator)
    });
}

#[test]
fn separable_backward_in_cells() {
    check(28, |case| {
        let operator = cell_separable(case);
        separable_backward_of(case, operator)
    });
}

fn separable_backward_of(case: &mut Case, operator: Separable) -> Call {
    case.forget_results();
    let weights = !case.one_in(4);
    let sources =
        operator.sources.iter().map(|source| source_gradient(case, &operator, source, weights)).collect();
    Call::SeparableBackward(operator, SeparableGradient { sources }, weights)
}

fn source_gradient(
    case: &mut Case,
    operator: &Separable,
    source: &SeparableSource,
    weights: bool,
) -> SeparableSourceGradient {
    let (shape, output_shape) = (source.input.shape, operator.output_shape);
    let (channels, out_channels) = (shape.c as usize, output_shape.c as usize);
    let taps: usize = source.branches.iter().map(|branch| branch.kernel * branch.kernel).sum();
    let (terms, pixels) = (taps + out_channels, output_shape.pixels());
    let result = |case: &mut Case, name, len, terms: usize| match weights {
        true => case.result_span(name, len, terms, size(pixels)),
        false => case.span(len, 1.0),
    };
    let sum = |case: &mut Case, name| {
        case.result_span(name, channels, terms + shape.pixels(), size(shape.pixels()))
    };
    let has_sums = case.one_in(2);
    SeparableSourceGradient {
        input: case.target("input", shape.len(), terms),
        sums: has_sums.then(|| Sums { total: sum(case, "total"), products: sum(case, "products") }),
        branches: source
            .branches
            .iter()
            .map(|branch| SeparableBranchGradient {
                cotangent: case.cotangent(output_shape.len(), out_channels),
                depthwise: result(case, "depthwise", branch.depthwise.len, pixels + out_channels),
                pointwise: result(case, "pointwise", branch.pointwise.len, pixels + taps),
            })
            .collect(),
    }
}

fn pointwise(case: &mut Case) -> Pointwise {
    let out_channels = case.channels().max(2);
    let first = case.channels();
    let others =
        (1..case.random.random_range(1..4)).map(|_| case.choose(&[1, 3, 8, 16, 33])).collect::<Vec<_>>();
    pointwise_of(case, &[&[first], &others[..]].concat(), out_channels)
}

/// What cells are made of: numbers of channels of which 16-byte words are made, in slots that begin at such.
fn cell_pointwise(case: &mut Case) -> Pointwise {
    case.align();
    let out_channels = case.choose(&[16, 32, 48, 64, 64, 80]);
    let inputs: Vec<_> =
        (0..case.random.random_range(1..5)).map(|_| case.choose(&[8, 16, 32, 48, 64, 96])).collect();
    pointwise_of(case, &inputs, out_channels)
}

fn pointwise_of(case: &mut Case, channels: &[usize], out_channels: usize) -> Pointwise {
    let stride = case.choose(&[1, 2]);
    let shape = case.shape(channels[0], (1_500_000 / out_channels).min(60_000));
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
        output: case.result_slot("output", output_shape.len(), terms),
        output_shape,
        statistics: case.result_span("statistics", 2 * out_channels, terms + output_shape.pixels(), 1.0),
    }
}

#[test]
fn pointwise_forward() {
    check(5, |case| Call::PointwiseForward(pointwise(case)));
}

#[test]
fn pointwise_forward_in_a_cell() {
    check(27, |case| Call::PointwiseForward(cell_pointwise(case)));
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
    check(28, |case| {
        let operator = cell_pointwise(case);
        pointwise_gradient(case, operator)
    });
}

fn pointwise_gradient(case: &mut Case, operator: Pointwise) -> Call {
    case.forget_results();
    let weights = !case.one_in(4);
    let (shape, pixels) = (operator.output_shape, operator.output_shape.pixels());
    let gradient = PointwiseGradient {
        cotangent: case.cotangent(shape.len(), shape.c as usize),
        weights: operator
            .weights
            .iter()
            .map(|span| match weights {
                true => case.result_span("weights", span.len, pixels, size(pixels)),
                false => case.span(span.len, 1.0),
            })
            .collect(),
        inputs: operator
            .inputs
            .iter()
            .map(|input| case.target("input", input.shape.len(), shape.c as usize))
            .collect(),
    };
    Call::PointwiseBackward(operator, gradient, weights)
}

fn pool(case: &mut Case) -> Pool {
    let channels = case.channels();
    let shape = case.shape(channels, 40_000);
    pool_of(case, shape)
}

fn pool_of(case: &mut Case, shape: Shape) -> Pool {
    let (input, stride) = (case.operand(shape), case.choose(&[1, 2]));
    let channels = shape.c as usize;
    let terms = 9 + shape.strided(stride, channels).pixels();
    let statistics = ["maximum statistics", "average statistics"]
        .map(|name| case.result_span(name, 2 * channels, terms, 1.0));
    pool_on(case, input, stride, statistics)
}

fn pool_on(case: &mut Case, input: Operand, stride: usize, statistics: [Span; 2]) -> Pool {
    let output_shape = input.shape.strided(stride, input.shape.c as usize);
    Pool {
        input,
        stride,
        maximum: case.result_slot("maximum", output_shape.len(), 1),
        average: case.result_slot("average", output_shape.len(), 9),
        output_shape,
        maximum_statistics: statistics[0],
        average_statistics: statistics[1],
    }
}

fn pool_gradient(case: &mut Case, operator: &Pool) -> PoolGradient {
    case.forget_results();
    let shape = operator.output_shape;
    PoolGradient {
        maximum: case.cotangent(shape.len(), shape.c as usize),
        average: case.cotangent(shape.len(), shape.c as usize),
        input: case.target("input", operator.input.shape.len(), 18),
    }
}

#[test]
fn pool_forward() {
    check(7, |case| Call::PoolForward(pool(case)));
}

#[test]
fn pool_backward() {
    check(8, |case| {
        let operator = pool(case);
        let gradient = pool_gradient(case, &operator);
        Call::PoolBackward(operator, gradient)
    });
}

/// A size of the paper's supernet, an image that is wider than most memories near a processor, or many narrow ones.
fn notable_shape(case: &mut Case) -> Shape {
    let [n, h, w, c] = case.choose(&[
        [2, 32, 32, 16],
        [2, 16, 16, 32],
        [3, 8, 8, 64],
        [1, 3, 331, 24],
        [1, 5, 470, 3],
        [37, 3, 1, 16],
        [19, 5, 3, 8],
    ]);
    Shape::new(n, h, w, c)
}

#[test]
fn pool_forward_of_notable_shapes() {
    check(41, |case| {
        let shape = notable_shape(case);
        Call::PoolForward(pool_of(case, shape))
    });
}

/// Both pools of a state flow into the same nodes.
#[test]
fn pool_backward_of_notable_shapes() {
    check(42, |case| {
        let shape = notable_shape(case);
        let operator = pool_of(case, shape);
        let mut gradient = pool_gradient(case, &operator);
        for (average, maximum) in gradient.average.terms.iter_mut().zip(&gradient.maximum.terms) {
            average.gradient = maximum.gradient;
        }
        Call::PoolBackward(operator, gradient)
    });
}

/// The gradient of a maximum goes to the first of equal pixels.
#[test]
fn pool_backward_of_equal_pixels() {
    check(43, |case| {
        let shape = Shape::new(2, 9, 7, case.choose(&[3, 16]));
        let values: Vec<_> = (0..shape.len()).map(|_| case.choose(&[-2.0, -1.0])).collect();
        let input = Operand { data: case.slot_of(&values), shape, norm: None };
        let (stride, statistics) = (case.choose(&[1, 2]), case.span(4 * shape.c as usize, 1.0));
        let half = 2 * shape.c as usize;
        let operator = pool_on(case, input, stride, [0, half].map(|start| statistics.part(start, half)));
        let gradient = pool_gradient(case, &operator);
        Call::PoolBackward(operator, gradient)
    });
}

/// Pools of an image that varies little and is far from zero, with one pixel that is not: their variances must survive.
#[test]
fn pool_variances_do_not_cancel() {
    check(44, |case| {
        let shape = Shape::new(3, 16, 16, 16);
        let mut values: Vec<_> = (0..shape.len()).map(|_| 1000.0 + case.normal() as f32).collect();
        values[..16].fill(1100.0);
        let input = Operand { data: case.slot_of(&values), shape, norm: None };
        let span = case.workspace(64);
        let operator = pool_on(case, input, 1, [0, 32].map(|start| span.part(start, 32)));
        for (name, part) in [("mean of maxima", 0), ("mean of averages", 32)] {
            case.expect(name, span.part(part, 16), 768, 1000.0);
        }
        case.expect("variance of maxima", span.part(16, 16), 768, 1.0);
        // Sums of nine such pixels are themselves rounded at 9000.
        case.expect("variance of averages", span.part(48, 16), 768, 9.0);
        Call::PoolForward(operator)
    });
}

fn window_pool(case: &mut Case) -> WindowPool {
    let (kernel, stride): (usize, usize) = (case.choose(&[1, 2, 3, 3, 5]), case.choose(&[1, 2, 3]));
    let padding = case.random.random_range(0..kernel.div_ceil(2));
    let channels = case.channels();
    let mut shape = case.shape(channels, 40_000);
    [shape.h, shape.w] = [shape.h, shape.w].map(|side| side.max((kernel - 2 * padding) as u32));
    let output_shape = shape.windows(kernel, stride, padding, channels).unwrap();
    WindowPool {
        input: case.operand(shape),
        relu: case.one_in(2),
        kind: case.choose(&[PoolKind::Maximum, PoolKind::Average]),
        kernel,
        stride,
        padding,
        output: case.result_slot("output", output_shape.len(), kernel * kernel),
        output_shape,
    }
}

#[test]
fn window_pool_forward() {
    check(27, |case| Call::WindowPoolForward(window_pool(case)));
}

#[test]
fn window_pool_backward() {
    check(28, |case| {
        let operator = window_pool(case);
        case.forget_results();
        let gradient = WindowPoolGradient {
            output: case.slot(operator.output_shape.len()),
            input: case.target("input", operator.input.shape.len(), operator.kernel * operator.kernel),
        };
        Call::WindowPoolBackward(operator, gradient)
    });
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
        })
    });
}
