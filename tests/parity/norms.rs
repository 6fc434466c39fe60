//! Batch norm and the weighted sum of a node.

use darts::backend::*;
use rand::RngExt;

use crate::common::{Call, Case, rounded};
use crate::{check, size};

#[test]
fn batch_norm_forward() {
    check(9, |case| {
        let mode = case.choose(&[Mode::Train, Mode::TrainKeepRunning, Mode::Inference]);
        let norms = (0..case.random.random_range(1..4)).map(|_| batch_norm(case, mode)).collect();
        Call::BatchNormForward(norms, mode)
    });
}

pub fn batch_norm(case: &mut Case, mode: Mode) -> BatchNorm {
    let channels = case.channels();
    let mut norm = case.norm(channels);
    norm.mean = case.result_span("mean", channels, 1, 1.0);
    norm.inverse_deviation = case.result_span("inverse deviation", channels, 4, 1.0);
    norm.scale = case.result_span("scale", channels, 4, 1.0);
    norm.shift = case.result_span("shift", channels, 8, 1.0);
    let running = case.positive_span(2 * channels);
    if mode == Mode::Train {
        case.expect("running", running, 4, 1.0);
    }
    let count = case.random.random_range(1..100);
    BatchNorm { statistics: case.positive_span(2 * channels), running, norm, count, gate: None }
}

pub fn reduce(case: &mut Case, shape: Shape) -> BatchNormReduce {
    let (channels, pixels) = (shape.c as usize, shape.pixels());
    BatchNormReduce {
        gradient: case.slot(shape.len()),
        input: case.operand(shape),
        sums: Sums {
            total: case.result_span("total", channels, pixels, size(pixels)),
            products: case.result_span("products", channels, pixels, size(pixels)),
        },
        gate: None,
    }
}

#[test]
fn batch_norm_reduce() {
    check(10, |case| {
        let channels = case.channels();
        let shape = case.shape(channels, 60_000);
        Call::BatchNormReduce(reduce(case, shape))
    });
}

/// As many rows as a whole batch has.
#[test]
fn batch_norm_reduce_of_many_rows() {
    check(45, |case| {
        let [n, h, w, c] =
            case.choose(&[[2, 130, 129, 1], [9, 64, 64, 16], [3, 81, 80, 18], [5, 60, 61, 32]]);
        Call::BatchNormReduce(reduce(case, Shape::new(n, h, w, c)))
    });
}

#[test]
fn batch_norm_backward() {
    check(11, |case| {
        let gradients = (0..case.random.random_range(1..4)).map(|_| batch_norm_gradient(case)).collect();
        Call::BatchNormBackward(gradients, case.choose(&[Gradients::All, Gradients::InputsInInference]))
    });
}

pub fn batch_norm_gradient(case: &mut Case) -> BatchNormGradient {
    let channels = case.channels();
    let norm = case.norm(channels);
    let terms = case.random.random_range(1..5);
    BatchNormGradient {
        count: case.random.random_range(1..100),
        terms: (0..terms)
            .map(|_| BatchNormTerm {
                sums: Sums { total: case.span(channels, 1.0), products: case.span(channels, 1.0) },
                weight: case.one_in(2).then(|| case.positive_span(1)),
                factor: case.result_span("factor", channels, 1, 1.0),
                gate: None,
            })
            .collect(),
        raw_factor: case.result_span("raw factor", channels, terms + 4, 1.0),
        constant: case.result_span("constant", channels, terms + 8, 1.0),
        gamma: norm.gamma.map(|_| case.result_span("gamma", channels, terms, 1.0)),
        beta: norm.beta.map(|_| case.result_span("beta", channels, terms, 1.0)),
        gate: None,
        norm,
    }
}

pub fn mixed(case: &mut Case) -> Mixed {
    let channels = case.channels();
    let shape = case.shape(channels, 30_000);
    let count = case.choose(&[0, 1, 2, 3, 4, 5, 8, 13, 35]);
    let branches = (0..count)
        .map(|_| {
            let operand = case.operand(shape);
            let weight = case.positive_span(1);
            MixedBranch { data: operand.data, norm: operand.norm, weight, gate: None }
        })
        .collect();
    Mixed {
        branches,
        output: case.result_slot("output", shape.len(), count + 1),
        shape,
        workspace: case.workspace((count + 1) * channels),
    }
}

#[test]
fn mixed_forward() {
    check(12, |case| Call::MixedForward(mixed(case)));
}

#[test]
fn mixed_backward() {
    check(13, |case| {
        let operator = mixed(case);
        let gradient = mixed_gradient(case, &operator);
        Call::MixedBackward(operator, gradient)
    });
}

pub fn mixed_gradient(case: &mut Case, operator: &Mixed) -> MixedGradient {
    case.forget_results();
    let (pixels, channels) = (operator.shape.pixels(), operator.shape.c as usize);
    let sum = case.span(1, 1.0);
    case.expect("sum", sum, operator.shape.len(), size(operator.shape.len()));
    MixedGradient {
        sum,
        output: case.slot(operator.shape.len()),
        total: case.result_span("total", channels, pixels, size(pixels)),
        branches: operator
            .branches
            .iter()
            .map(|branch| mixed_branch_gradient(case, operator, branch))
            .collect(),
    }
}

fn mixed_branch_gradient(case: &mut Case, operator: &Mixed, branch: &MixedBranch) -> MixedBranchGradient {
    let (pixels, channels) = (operator.shape.pixels(), operator.shape.c as usize);
    let weight = case.span(1, 1.0);
    case.expect("weight", weight, operator.shape.len(), size(operator.shape.len()));
    MixedBranchGradient {
        products: case.result_span("products", channels, pixels, size(pixels)),
        weight,
        identity: branch.norm.is_none().then(|| case.target("identity", operator.shape.len(), 1)),
    }
}

fn node_sum(case: &mut Case) -> NodeSum {
    let channels = case.channels();
    let shape = case.shape(channels, 30_000);
    let images = shape.n as usize;
    let branches = (0..case.random.random_range(1..4)).map(|_| NodeSumBranch {
        input: case.operand(shape),
        factors: case.one_in(2).then(|| {
            let factors: Vec<f32> = (0..images).map(|_| case.choose(&[0.0, 1.25])).collect();
            case.span_of(&factors)
        }),
    });
    let branches: Vec<_> = branches.collect();
    let output = case.result_slot("output", shape.len(), 2 * branches.len());
    NodeSum { branches, output, shape }
}

#[test]
fn node_sum_forward() {
    check(29, |case| Call::NodeSumForward(node_sum(case)));
}

#[test]
fn node_sum_backward() {
    check(30, |case| {
        let operator = node_sum(case);
        case.forget_results();
        let (channels, pixels) = (operator.shape.c as usize, operator.shape.pixels());
        let output = case.slot(operator.shape.len());
        let branches = (0..operator.branches.len()).map(|_| NodeSumBranchGradient {
            input: case.target("input", operator.shape.len(), 2),
            sums: case.one_in(2).then(|| Sums {
                total: case.result_span("total", channels, rounded(pixels), size(pixels)),
                products: case.result_span("products", channels, rounded(pixels), size(pixels)),
            }),
        });
        let gradient = NodeSumGradient { output, branches: branches.collect() };
        Call::NodeSumBackward(operator, gradient)
    });
}
