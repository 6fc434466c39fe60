//! Calls of which a part is closed. Whatever closed work reads is spoilt by NaN, what it would write must stay as it is,
//! and what it owes others must be zero, to the last bit.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case};
use crate::{check, check_cases, convolutions, norms, pools, separable};

/// A gate, or none, and whether it lets work be done.
fn gate(case: &mut Case) -> (Option<Span>, bool) {
    match case.random.random_range(0..5) {
        0 => (None, true),
        1 | 2 => (Some(case.span_of(&[1.0])), true),
        _ => (Some(case.span_of(&[0.0])), false),
    }
}

fn spoil_operand(case: &mut Case, operand: &Operand) {
    case.spoil(operand.data);
    spoil_norm(case, operand.norm);
}

fn spoil_norm(case: &mut Case, norm: Option<Norm>) {
    let Some(norm) = norm else { return };
    for span in [norm.mean, norm.inverse_deviation, norm.scale, norm.shift] {
        case.spoil(span);
    }
}

fn spoil_unstored(case: &mut Case, unstored: &UnstoredGradient) {
    case.spoil(unstored.raw);
    case.spoil(unstored.raw_factor);
    case.spoil(unstored.constant);
    for term in &unstored.terms {
        case.spoil(term.gradient);
        case.spoil(term.factor);
    }
}

/// The target of closed work. Whether its own gate is open.
fn withhold(case: &mut Case, target: &mut Target) -> bool {
    let (gate, open) = gate(case);
    target.gate = gate;
    if open && !target.accumulate {
        case.expect_zeros(target.slot);
    } else {
        case.keep(target.slot);
    }
    open
}

fn close_separable(case: &mut Case, operator: &mut Separable) {
    for source in &mut operator.sources {
        let mut any = false;
        for branch in &mut source.branches {
            let (gate, open) = gate(case);
            branch.gate = gate;
            any |= open;
            if !open {
                case.spoil(branch.depthwise);
                case.spoil(branch.pointwise);
                case.keep(branch.output);
                case.keep(branch.statistics);
            }
        }
        if !any {
            spoil_operand(case, &source.input);
        }
    }
}

fn separable_forward_of(case: &mut Case, mut operator: Separable) -> Call {
    close_separable(case, &mut operator);
    Call::SeparableForward(operator)
}

fn separable_backward_of(case: &mut Case, operator: Separable) -> Call {
    let wanted = if case.index % 4 < 3 { Gradients::All } else { Gradients::Inputs };
    let call = separable::separable_backward_of(case, operator, wanted);
    let Call::SeparableBackward(mut operator, mut gradient, wanted) = call else { unreachable!() };
    for (source, gradient) in operator.sources.iter_mut().zip(&mut gradient.sources) {
        close_source(case, source, gradient, wanted);
    }
    Call::SeparableBackward(operator, gradient, wanted)
}

fn close_source(
    case: &mut Case,
    source: &mut SeparableSource,
    gradient: &mut SeparableSourceGradient,
    wanted: Gradients,
) {
    let mut any = false;
    for (branch, gradient) in source.branches.iter_mut().zip(&gradient.branches) {
        let (gate, open) = gate(case);
        branch.gate = gate;
        any |= open;
        if open {
            continue;
        }
        case.spoil(branch.depthwise);
        case.spoil(branch.pointwise);
        spoil_unstored(case, &gradient.output);
        if wanted.of_weights() {
            case.expect_zeros(gradient.depthwise);
            case.expect_zeros(gradient.pointwise);
        }
    }
    if !any && !withhold(case, &mut gradient.input) {
        spoil_operand(case, &source.input);
        if let Some(sums) = gradient.sums {
            case.keep(sums.total);
            case.keep(sums.products);
        }
    }
}

#[test]
fn separable_forward() {
    check(50, |case| {
        let operator = separable::separable(case, 2);
        separable_forward_of(case, operator)
    });
}

#[test]
fn separable_forward_in_cells() {
    check_cases(51, 12, |case| {
        let operator = separable::cell_separable(case);
        separable_forward_of(case, operator)
    });
}

#[test]
fn separable_forward_of_many_branches() {
    check_cases(52, 4, |case| {
        let operator = separable::many_branches(case);
        separable_forward_of(case, operator)
    });
}

#[test]
fn separable_backward() {
    check(53, |case| {
        let operator = separable::separable(case, 3);
        separable_backward_of(case, operator)
    });
}

#[test]
fn separable_backward_in_cells() {
    check_cases(54, 12, |case| {
        let operator = separable::cell_separable(case);
        separable_backward_of(case, operator)
    });
}

#[test]
fn separable_backward_of_many_branches() {
    check_cases(55, 4, |case| {
        let operator = separable::many_branches(case);
        separable_backward_of(case, operator)
    });
}

fn pointwise(case: &mut Case) -> Pointwise {
    if case.index.is_multiple_of(2) {
        convolutions::pointwise(case)
    } else {
        convolutions::cell_pointwise(case)
    }
}

#[test]
fn pointwise_forward() {
    check(56, |case| {
        let mut operator = pointwise(case);
        let (gate, open) = gate(case);
        operator.gate = gate;
        if !open {
            operator.inputs.iter().for_each(|input| spoil_operand(case, input));
            operator.weights.iter().for_each(|&weights| case.spoil(weights));
            case.keep(operator.output);
            case.keep(operator.statistics);
        }
        Call::PointwiseForward(operator)
    });
}

#[test]
fn pointwise_backward() {
    check(57, |case| {
        let operator = pointwise(case);
        let call = convolutions::pointwise_gradient(case, operator);
        let Call::PointwiseBackward(mut operator, mut gradient, wanted) = call else { unreachable!() };
        let (gate, open) = gate(case);
        operator.gate = gate;
        if !open {
            operator.inputs.iter().for_each(|input| spoil_operand(case, input));
            operator.weights.iter().for_each(|&weights| case.spoil(weights));
            spoil_unstored(case, &gradient.output);
            gradient.inputs.iter_mut().for_each(|target| {
                withhold(case, target);
            });
            if wanted.of_weights() {
                gradient.weights.iter().for_each(|&span| case.expect_zeros(span));
            }
        }
        Call::PointwiseBackward(operator, gradient, wanted)
    });
}

#[test]
fn convolution_forward() {
    check(65, |case| {
        let mut operator = convolutions::convolution(case);
        let (gate, open) = gate(case);
        operator.gate = gate;
        if !open {
            spoil_operand(case, &operator.input);
            case.spoil(operator.weights);
            case.keep(operator.output);
            operator.statistics.iter().for_each(|&statistics| case.keep(statistics));
        }
        Call::ConvolutionForward(operator)
    });
}

#[test]
fn convolution_backward() {
    check(66, |case| {
        let operator = convolutions::convolution(case);
        let call = convolutions::convolution_gradient(case, operator);
        let Call::ConvolutionBackward(mut operator, mut gradient, wanted) = call else { unreachable!() };
        let (gate, open) = gate(case);
        operator.gate = gate;
        if !open {
            spoil_operand(case, &operator.input);
            case.spoil(operator.weights);
            match &gradient.output {
                ResultGradient::Stored(slot) => case.spoil(*slot),
                ResultGradient::Unstored(unstored) => spoil_unstored(case, unstored),
            }
            if let Some(target) = &mut gradient.input {
                withhold(case, target);
            }
            if wanted.of_weights() {
                case.expect_zeros(gradient.weights);
            }
        }
        Call::ConvolutionBackward(operator, gradient, wanted)
    });
}

/// Gives a pool's halves gates; returns whether they are open.
fn close_pools(case: &mut Case, operator: &mut NormalisedPools) -> [bool; 2] {
    let [maximum, average] = [gate(case), gate(case)];
    (operator.maximum_gate, operator.average_gate) = (maximum.0, average.0);
    let open = [maximum.1, average.1];
    if open == [false; 2] {
        spoil_operand(case, &operator.input);
    }
    open
}

#[test]
fn normalised_pools_forward() {
    check(58, |case| {
        let mut operator = pools::normalised_pools(case);
        let open = close_pools(case, &mut operator);
        let halves = [
            (operator.maximum, operator.maximum_statistics),
            (operator.average, operator.average_statistics),
        ];
        for ((slot, statistics), open) in halves.into_iter().zip(open) {
            if !open {
                case.keep(slot);
                case.keep(statistics);
            }
        }
        Call::NormalisedPoolsForward(operator)
    });
}

#[test]
fn normalised_pools_backward() {
    check(59, |case| {
        let mut operator = pools::normalised_pools(case);
        let mut gradient = pools::normalised_pools_gradient(case, &operator);
        let open = close_pools(case, &mut operator);
        for (unstored, open) in [&gradient.maximum, &gradient.average].into_iter().zip(open) {
            if !open {
                spoil_unstored(case, unstored);
            }
        }
        if open == [false; 2] {
            withhold(case, &mut gradient.input);
        }
        Call::NormalisedPoolsBackward(operator, gradient)
    });
}

fn closed_norm(case: &mut Case, mode: Mode) -> BatchNorm {
    let mut norm = norms::batch_norm(case, mode);
    let (gate, open) = gate(case);
    norm.gate = gate;
    if !open {
        case.spoil(norm.statistics);
        let Norm { mean, inverse_deviation, scale, shift, .. } = norm.norm;
        for span in [mean, inverse_deviation, scale, shift, norm.running] {
            case.keep(span);
        }
    }
    norm
}

#[test]
fn batch_norm_forward() {
    check(60, |case| {
        let mode = case.choose(&[Mode::Train, Mode::TrainKeepRunning, Mode::Inference]);
        Call::BatchNormForward((0..5).map(|_| closed_norm(case, mode)).collect(), mode)
    });
}

#[test]
fn batch_norm_reduce() {
    check(61, |case| {
        let channels = case.channels();
        let shape = case.shape(channels, 60_000);
        let mut reduce = norms::reduce(case, shape);
        let (gate, open) = gate(case);
        reduce.gate = gate;
        if !open {
            case.spoil(reduce.gradient);
            spoil_operand(case, &reduce.input);
            case.keep(reduce.sums.total);
            case.keep(reduce.sums.products);
        }
        Call::BatchNormReduce(reduce)
    });
}

fn closed_gradient(case: &mut Case) -> BatchNormGradient {
    let mut gradient = norms::batch_norm_gradient(case);
    let (own, open) = gate(case);
    gradient.gate = own;
    for term in &mut gradient.terms {
        let (gate, term_open) = gate(case);
        term.gate = gate;
        if !open || !term_open {
            case.spoil(term.sums.total);
            case.spoil(term.sums.products);
            term.weight.into_iter().for_each(|weight| case.spoil(weight));
        }
        match (open, term_open) {
            (false, _) => case.keep(term.factor),
            (true, false) => case.expect_zeros(term.factor),
            _ => {}
        }
    }
    if !open {
        spoil_norm(case, Some(gradient.norm));
        case.keep(gradient.raw_factor);
        case.keep(gradient.constant);
        for span in [gradient.gamma, gradient.beta].into_iter().flatten() {
            case.expect_zeros(span);
        }
    }
    gradient
}

#[test]
fn batch_norm_backward() {
    check(62, |case| {
        Call::BatchNormBackward((0..5).map(|_| closed_gradient(case)).collect(), Gradients::All)
    });
}

/// Gives a branch a gate; returns whether it is open.
fn close_branch(case: &mut Case, branch: &mut MixedBranch) -> bool {
    let (gate, open) = gate(case);
    branch.gate = gate;
    if !open {
        case.spoil(branch.data);
        case.spoil(branch.weight);
        spoil_norm(case, branch.norm);
    }
    open
}

#[test]
fn mixed_forward() {
    check(63, |case| {
        let mut operator = norms::mixed(case);
        operator.branches.iter_mut().for_each(|branch| {
            close_branch(case, branch);
        });
        Call::MixedForward(operator)
    });
}

#[test]
fn mixed_backward() {
    check(64, |case| {
        let mut operator = norms::mixed(case);
        let mut gradient = norms::mixed_gradient(case, &operator);
        for (branch, gradient) in operator.branches.iter_mut().zip(&mut gradient.branches) {
            if close_branch(case, branch) {
                continue;
            }
            case.keep(gradient.products);
            case.keep(gradient.weight);
            if let Some(target) = &mut gradient.identity {
                withhold(case, target);
            }
        }
        Call::MixedBackward(operator, gradient)
    });
}
