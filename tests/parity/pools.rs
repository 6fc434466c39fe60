//! Pools of neighbourhoods.

use darts::backend::*;
use rand::RngExt;

use crate::check;
use crate::common::{Call, Case, rounded};

pub fn normalised_pools(case: &mut Case) -> NormalisedPools {
    let channels = case.channels();
    let shape = case.shape(channels, 40_000);
    normalised_pools_of(case, shape)
}

fn normalised_pools_of(case: &mut Case, shape: Shape) -> NormalisedPools {
    let (input, stride) = (case.operand(shape), case.choose(&[1, 2]));
    let channels = shape.c as usize;
    let terms = 9 + shape.strided(stride, channels).pixels();
    let statistics = ["maximum statistics", "average statistics"]
        .map(|name| case.result_span(name, 2 * channels, rounded(terms), 1.0));
    normalised_pools_on(case, input, stride, statistics)
}

fn normalised_pools_on(
    case: &mut Case,
    input: Operand,
    stride: usize,
    statistics: [Span; 2],
) -> NormalisedPools {
    let output_shape = input.shape.strided(stride, input.shape.c as usize);
    NormalisedPools {
        input,
        stride,
        maximum: case.result_slot("maximum", output_shape.len(), 1),
        average: case.result_slot("average", output_shape.len(), 9),
        output_shape,
        maximum_statistics: statistics[0],
        average_statistics: statistics[1],
        maximum_gate: None,
        average_gate: None,
    }
}

pub fn normalised_pools_gradient(case: &mut Case, operator: &NormalisedPools) -> NormalisedPoolsGradient {
    case.forget_results();
    let shape = operator.output_shape;
    NormalisedPoolsGradient {
        maximum: case.unstored_gradient(shape.len(), shape.c as usize),
        average: case.unstored_gradient(shape.len(), shape.c as usize),
        input: case.target("input", operator.input.shape.len(), 18),
    }
}

#[test]
fn normalised_pools_forward() {
    check(7, |case| Call::NormalisedPoolsForward(normalised_pools(case)));
}

#[test]
fn normalised_pools_backward() {
    check(8, |case| {
        let operator = normalised_pools(case);
        let gradient = normalised_pools_gradient(case, &operator);
        Call::NormalisedPoolsBackward(operator, gradient)
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
fn normalised_pools_forward_of_notable_shapes() {
    check(41, |case| {
        let shape = notable_shape(case);
        Call::NormalisedPoolsForward(normalised_pools_of(case, shape))
    });
}

/// Both pools of a state flow into the same nodes.
#[test]
fn normalised_pools_backward_of_notable_shapes() {
    check(42, |case| {
        let shape = notable_shape(case);
        let operator = normalised_pools_of(case, shape);
        let mut gradient = normalised_pools_gradient(case, &operator);
        for (average, maximum) in gradient.average.terms.iter_mut().zip(&gradient.maximum.terms) {
            average.gradient = maximum.gradient;
        }
        Call::NormalisedPoolsBackward(operator, gradient)
    });
}

/// The gradient of a maximum goes to the first of equal pixels.
#[test]
fn normalised_pools_backward_of_equal_pixels() {
    check(43, |case| {
        let shape = Shape::new(2, 9, 7, case.choose(&[3, 16]));
        let values: Vec<_> = (0..shape.len()).map(|_| case.choose(&[-2.0, -1.0])).collect();
        let input = Operand { data: case.slot_of(&values), shape, norm: None };
        let (stride, statistics) = (case.choose(&[1, 2]), case.span(4 * shape.c as usize, 1.0));
        let half = 2 * shape.c as usize;
        let operator =
            normalised_pools_on(case, input, stride, [0, half].map(|start| statistics.part(start, half)));
        let gradient = normalised_pools_gradient(case, &operator);
        Call::NormalisedPoolsBackward(operator, gradient)
    });
}

/// Pools of an image that varies little and is far from zero, with one pixel that is not: their variances must survive.
#[test]
fn normalised_pools_variances_do_not_cancel() {
    check(44, |case| {
        let shape = Shape::new(3, 16, 16, 16);
        let mut values: Vec<_> = (0..shape.len()).map(|_| 1000.0 + case.normal() as f32).collect();
        values[..16].fill(1100.0);
        let input = Operand { data: case.slot_of(&values), shape, norm: None };
        let span = case.workspace(64);
        let operator = normalised_pools_on(case, input, 1, [0, 32].map(|start| span.part(start, 32)));
        case.expect("mean of maxima", span.part(0, 16), 768, 1000.0);
        case.expect("mean of averages", span.part(32, 16), rounded(768), 1000.0);
        case.expect("variance of maxima", span.part(16, 16), 768, 1.0);
        // Averages are stored in steps of up to 4, in bf16, which adds up to 4 * 4 / 12 to their variance.
        case.expect("variance of averages", span.part(48, 16), rounded(768), 80.0);
        Call::NormalisedPoolsForward(operator)
    });
}

fn pool(case: &mut Case) -> Pool {
    let (kernel, stride): (usize, usize) = (case.choose(&[1, 2, 3, 3, 5]), case.choose(&[1, 2, 3]));
    let padding = case.random.random_range(0..kernel.div_ceil(2));
    let channels = case.channels();
    let mut shape = case.shape(channels, 40_000);
    [shape.h, shape.w] = [shape.h, shape.w].map(|side| side.max((kernel - 2 * padding) as u32));
    let output_shape = shape.windows(kernel, stride, padding, channels).unwrap();
    Pool {
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
fn pool_forward() {
    check(27, |case| Call::PoolForward(pool(case)));
}

#[test]
fn pool_backward() {
    check(28, |case| {
        let operator = pool(case);
        case.forget_results();
        let gradient = PoolGradient {
            output: case.slot(operator.output_shape.len()),
            input: case.target("input", operator.input.shape.len(), operator.kernel * operator.kernel),
        };
        Call::PoolBackward(operator, gradient)
    });
}
