//! Depthwise separable convolutions.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case, NARROW, WIDE, rounded};
use crate::{check, check_cases, size};

pub fn separable(case: &mut Case, sources: usize) -> Separable {
    // The kernels have a form for up to 16 channels, and one for more, of the inputs and of the results. Any two of the
    // strides, these widths and the alignment of the case meet within four cases, any three within eight.
    let stride = case.turn(&[1, 2], 2);
    let channels = case.turn(&[NARROW, WIDE], 4);
    let narrow = (case.index & 7).count_ones().is_multiple_of(2);
    let (channels, out_channels) = (case.choose(channels), case.choose(if narrow { NARROW } else { WIDE }));
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
        output: case.result_slot("output", output_shape.len(), rounded(terms)),
        statistics: case.result_span(
            "statistics",
            2 * out_channels,
            rounded(terms + output_shape.pixels()),
            1.0,
        ),
        gate: None,
    }
}

/// What a cell of the paper has: as many channels out as in, windows of 3 and 5, slots where the tape places them, and
/// images small enough for the bands of the kernels. Within six cases every stride meets every number of channels.
pub fn cell_separable(case: &mut Case) -> Separable {
    let stride = case.turn(&[1, 2], 3);
    let (channels, height, width) = case.turn(&[(16, 12, 32), (32, 13, 16), (64, 7, 8)], 1);
    let [h, w] = [height, width].map(|most| case.random.random_range(1..=most));
    let shape = Shape::new(case.choose(&[1, 2, 3, 5]), h, w, channels);
    let sources: Vec<_> =
        (0..case.random.random_range(1..4)).map(|_| case.random.random_range(1..7)).collect();
    cell_separable_of(case, shape, stride, &sources)
}

/// One source for each of these numbers of branches.
fn cell_separable_of(case: &mut Case, shape: Shape, stride: usize, branches: &[usize]) -> Separable {
    case.align();
    let channels = shape.c as usize;
    let output_shape = shape.strided(stride, channels);
    let sources = branches
        .iter()
        .map(|&branches| SeparableSource {
            input: case.operand(shape),
            branches: (0..branches)
                .map(|_| {
                    let window = (case.choose(&[3, 5]), case.choose(&[1, 2]));
                    branch_of(case, window, channels, output_shape)
                })
                .collect(),
        })
        .collect();
    Separable { sources, stride, output_shape }
}

/// More branches than a launch takes, so that a source is cut.
pub fn many_branches(case: &mut Case) -> Separable {
    cell_separable_of(case, Shape::new(2, 5, 4, 16), 1 + case.index % 2, &[7, 13])
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
    check(31, |case| Call::SeparableForward(cell_separable(case)));
}

#[test]
fn separable_forward_of_many_branches() {
    check_cases(37, 2, |case| Call::SeparableForward(many_branches(case)));
}

#[test]
fn separable_backward() {
    check(4, |case| {
        let sources = case.random.random_range(1..4);
        let operator = separable(case, sources);
        let wanted = if case.index % 5 == 4 { Gradients::Inputs } else { Gradients::All };
        separable_backward_of(case, operator, wanted)
    });
}

/// Six cases with gradients of the weights and six without.
#[test]
fn separable_backward_in_cells() {
    check_cases(32, 12, |case| {
        let operator = cell_separable(case);
        let wanted = case.turn(&[Gradients::All, Gradients::Inputs], 6);
        separable_backward_of(case, operator, wanted)
    });
}

#[test]
fn separable_backward_of_many_branches() {
    check_cases(38, 2, |case| {
        let operator = many_branches(case);
        separable_backward_of(case, operator, Gradients::All)
    });
}

pub fn separable_backward_of(case: &mut Case, operator: Separable, wanted: Gradients) -> Call {
    case.forget_results();
    let sources =
        operator.sources.iter().map(|source| source_gradient(case, &operator, source, wanted)).collect();
    Call::SeparableBackward(operator, SeparableGradient { sources }, wanted)
}

fn source_gradient(
    case: &mut Case,
    operator: &Separable,
    source: &SeparableSource,
    wanted: Gradients,
) -> SeparableSourceGradient {
    let (shape, output_shape) = (source.input.shape, operator.output_shape);
    let (channels, out_channels) = (shape.c as usize, output_shape.c as usize);
    let taps: usize = source.branches.iter().map(|branch| branch.kernel * branch.kernel).sum();
    let (terms, pixels) = (taps + out_channels, output_shape.pixels());
    let result = |case: &mut Case, name, len, terms: usize| match wanted.of_weights() {
        true => case.result_span(name, len, rounded(terms), size(pixels)),
        false => case.span(len, 1.0),
    };
    let sum = |case: &mut Case, name| {
        case.result_span(name, channels, rounded(terms + shape.pixels()), size(shape.pixels()))
    };
    let has_sums = case.one_in(2);
    SeparableSourceGradient {
        input: case.target("input", shape.len(), rounded(terms)),
        sums: has_sums.then(|| Sums { total: sum(case, "total"), products: sum(case, "products") }),
        branches: source
            .branches
            .iter()
            .map(|branch| SeparableBranchGradient {
                output: case.unstored_gradient(output_shape.len(), out_channels),
                depthwise: result(case, "depthwise", branch.depthwise.len, pixels + out_channels),
                pointwise: result(case, "pointwise", branch.pointwise.len, pixels + taps),
            })
            .collect(),
    }
}
