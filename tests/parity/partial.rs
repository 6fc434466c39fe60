//! Partial channel connections: the slice that a mixed operation reads, and the node that takes the other channels past it.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case};
use crate::{check, size};

fn slice(case: &mut Case) -> ChannelSlice {
    let channels = case.channels();
    let shape = case.shape(channels, 40_000);
    let output_shape = Shape { c: case.random.random_range(1..=shape.c), ..shape };
    let input = case.operand(shape);
    ChannelSlice { input, output: case.result_slot("output", output_shape.len(), 1), output_shape }
}

#[test]
fn channel_slice_forward() {
    check(71, |case| Call::ChannelSliceForward(slice(case)));
}

#[test]
fn channel_slice_backward() {
    check(72, |case| {
        let operator = slice(case);
        case.forget_results();
        let gradient = ChannelSliceGradient {
            output: case.slot(operator.output_shape.len()),
            input: case.target("input", operator.input.shape.len(), 1),
        };
        Call::ChannelSliceBackward(operator, gradient)
    });
}

fn bypass(case: &mut Case) -> Bypass {
    let groups = case.choose(&[1, 2, 3, 4, 4, 8]);
    let channels = groups * case.choose(&[1, 2, 4, 5, 9]);
    let (shape, edges) = (case.shape(channels, 40_000), case.choose(&[1, 2, 3, 5, 17]));
    let sources = (0..edges).map(|_| BypassSource { input: case.operand(shape), weight: case.span(1, 1.0) });
    let sources: Vec<_> = sources.collect();
    let mixed = case.slot(shape.len() / groups);
    let output = case.result_slot("output", shape.len(), 2 * edges);
    Bypass { mixed, sources, output, shape, groups }
}

/// A place for the gradient of a weight, which is added to what it holds.
fn weight(case: &mut Case, elements: usize) -> Span {
    let weight = case.span(1, 1.0);
    case.expect("weight", weight, elements, size(elements));
    weight
}

#[test]
fn bypass_forward() {
    check(73, |case| Call::BypassForward(bypass(case)));
}

#[test]
fn bypass_backward() {
    check(74, |case| {
        let operator = bypass(case);
        case.forget_results();
        let elements = operator.shape.len();
        let sources = operator.sources.iter().map(|_| BypassSourceGradient {
            input: case.target("input", elements, 1),
            weight: weight(case, elements),
        });
        let sources = sources.collect();
        let gradient = BypassGradient {
            output: case.slot(elements),
            mixed: case.target("mixed", elements / operator.groups, 1),
            sources,
        };
        Call::BypassBackward(operator, gradient)
    });
}

/// A channel that is computed counts for nothing in what passes by.
#[test]
fn what_does_not_pass_by_is_not_read() {
    check(75, |case| {
        let shape = Shape::new(2, 5, 3, 8);
        let spoilt = |index: usize| if index % 8 < 2 { f32::NAN } else { 0.5 };
        let values: Vec<f32> = (0..shape.len()).map(spoilt).collect();
        let input = Operand { data: case.slot_of(&values), shape, norm: None };
        let source = BypassSource { input, weight: case.span(1, 1.0) };
        let mixed = case.slot(shape.len() / 4);
        let operator =
            Bypass { mixed, sources: vec![source], output: case.slot(shape.len()), shape, groups: 4 };
        let gradients = BypassSourceGradient {
            input: case.target("input", shape.len(), 1),
            weight: weight(case, shape.len()),
        };
        let gradient = BypassGradient {
            output: case.slot(shape.len()),
            mixed: case.target("mixed", shape.len() / 4, 1),
            sources: vec![gradients],
        };
        Call::BypassBackward(operator, gradient)
    });
}
