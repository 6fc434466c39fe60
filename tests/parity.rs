//! The fast backend against the reference, on random geometry: odd sizes, images of one pixel, both
//! strides and dilations, channel counts that no vector width divides.

mod common;

use common::{Call, Case};
use darts::backend::cpu::{Cpu, Instructions};
use darts::backend::*;
use rand::RngExt;

const CASES: u64 = 30;

/// Every instruction set of the machine on one and two threads.
fn backends() -> Vec<Cpu> {
    let sets = Instructions::ALL.into_iter().filter(|set| set.available());
    sets.flat_map(|set| [1, 2].map(|threads| Cpu::with_instructions(threads, set).unwrap())).collect()
}

/// Compares the calls that `build` makes of random cases, on all backends; and the widest vectors on one,
/// two and three threads with each other.
fn check(seed: u64, build: impl Fn(&mut Case) -> Call) {
    let mut backends = backends();
    let mut teams: Vec<_> = [1, 2, 3].into_iter().map(|threads| Cpu::new(threads).unwrap()).collect();
    for index in 0..CASES {
        let mut case = Case::new(seed, index);
        let call = build(&mut case);
        case.compare(&format!("case {index}"), &call, &mut backends);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let outcomes: Vec<_> = teams
            .iter_mut()
            .map(|backend| {
                let outcome = case.outcome(backend, &call);
                (bits(&outcome.activations), bits(&outcome.state))
            })
            .collect();
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "case {index} depends on threads");
    }
}

fn convolution(case: &mut Case) -> Convolution {
    let (kernel, stride) = (case.choose(&[1, 3, 3, 5]), case.choose(&[1, 2]));
    let channels = case.choose(&[1, 2, 3, 3, 4, 17]);
    let out_channels = case.channels();
    let shape = case.shape(channels, 400_000 / (kernel * kernel * out_channels));
    let output_shape = shape.strided(stride, out_channels);
    let terms = kernel * kernel * channels;
    let input = Operand { data: case.slot(shape.len()), shape, norm: None };
    let weights = case.span(terms * out_channels, 1.0 / (terms as f64).sqrt());
    let floor = output_shape.pixels();
    Convolution {
        input,
        kernel,
        stride,
        padding: (kernel - 1) / 2,
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

/// How large a sum over this many terms of about 1 is.
fn size(terms: usize) -> f64 {
    (terms as f64).sqrt()
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
    let (kernel, dilation) = (case.choose(&[1, 3, 3, 5, 5, 7]), case.choose(&[1, 1, 2, 3]));
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

#[test]
fn separable_forward() {
    check(3, |case| {
        let sources = case.random.random_range(1..4);
        Call::SeparableForward(separable(case, sources))
    });
}

#[test]
fn separable_backward() {
    check(4, |case| {
        let sources = case.random.random_range(1..4);
        let operator = separable(case, sources);
        case.forget_results();
        let weights = !case.one_in(4);
        let sources =
            operator.sources.iter().map(|source| source_gradient(case, &operator, source, weights)).collect();
        Call::SeparableBackward(operator, SeparableGradient { sources }, weights)
    });
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
    let stride = case.choose(&[1, 2]);
    let first = case.channels();
    let out_channels = case.channels().max(2);
    let shape = case.shape(first, (1_500_000 / out_channels).min(60_000));
    let inputs: Vec<_> = (0..case.random.random_range(1..4))
        .map(|index| {
            let channels = if index == 0 { first } else { case.choose(&[1, 3, 8, 16, 33]) };
            case.operand(Shape { c: channels as u32, ..shape })
        })
        .collect();
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
fn pointwise_backward() {
    check(6, |case| {
        let operator = pointwise(case);
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
    });
}

fn pool(case: &mut Case) -> Pool {
    let stride = case.choose(&[1, 2]);
    let channels = case.channels();
    let shape = case.shape(channels, 40_000);
    let output_shape = shape.strided(stride, channels);
    let terms = 9 + output_shape.pixels();
    Pool {
        input: case.operand(shape),
        stride,
        maximum: case.result_slot("maximum", output_shape.len(), 1),
        average: case.result_slot("average", output_shape.len(), 9),
        output_shape,
        maximum_statistics: case.result_span("maximum statistics", 2 * channels, terms, 1.0),
        average_statistics: case.result_span("average statistics", 2 * channels, terms, 1.0),
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
        case.forget_results();
        let shape = operator.output_shape;
        let gradient = PoolGradient {
            maximum: case.cotangent(shape.len(), shape.c as usize),
            average: case.cotangent(shape.len(), shape.c as usize),
            input: case.target("input", operator.input.shape.len(), 18),
        };
        Call::PoolBackward(operator, gradient)
    });
}

#[test]
fn batch_norm_forward() {
    check(9, |case| {
        let mode = case.choose(&[Mode::Train, Mode::TrainKeepRunning, Mode::Inference]);
        let norms = (0..case.random.random_range(1..4)).map(|_| batch_norm(case, mode)).collect();
        Call::BatchNormForward(norms, mode)
    });
}

fn batch_norm(case: &mut Case, mode: Mode) -> BatchNorm {
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
    BatchNorm { statistics: case.positive_span(2 * channels), running, norm, count }
}

#[test]
fn batch_norm_reduce() {
    check(10, |case| {
        let channels = case.channels();
        let shape = case.shape(channels, 60_000);
        let pixels = shape.pixels();
        Call::BatchNormReduce(BatchNormReduce {
            gradient: case.slot(shape.len()),
            input: case.operand(shape),
            sums: Sums {
                total: case.result_span("total", channels, pixels, size(pixels)),
                products: case.result_span("products", channels, pixels, size(pixels)),
            },
        })
    });
}

#[test]
fn batch_norm_backward() {
    check(11, |case| {
        let gradients = (0..case.random.random_range(1..4)).map(|_| batch_norm_gradient(case)).collect();
        Call::BatchNormBackward(gradients)
    });
}

fn batch_norm_gradient(case: &mut Case) -> BatchNormGradient {
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
            })
            .collect(),
        slope: case.result_span("slope", channels, terms + 4, 1.0),
        offset: case.result_span("offset", channels, terms + 8, 1.0),
        gamma: norm.gamma.map(|_| case.result_span("gamma", channels, terms, 1.0)),
        beta: norm.beta.map(|_| case.result_span("beta", channels, terms, 1.0)),
        norm,
    }
}

fn mixed(case: &mut Case) -> Mixed {
    let channels = case.channels();
    let shape = case.shape(channels, 30_000);
    let count = case.choose(&[0, 1, 2, 3, 4, 5, 8, 13, 35]);
    let branches = (0..count)
        .map(|_| {
            let operand = case.operand(shape);
            MixedBranch { data: operand.data, norm: operand.norm, weight: case.positive_span(1) }
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
        case.forget_results();
        let (pixels, channels) = (operator.shape.pixels(), operator.shape.c as usize);
        let gradient = MixedGradient {
            output: case.slot(operator.shape.len()),
            total: case.result_span("total", channels, pixels, size(pixels)),
            branches: operator
                .branches
                .iter()
                .map(|branch| mixed_gradient(case, &operator, branch))
                .collect(),
        };
        Call::MixedBackward(operator, gradient)
    });
}

fn mixed_gradient(case: &mut Case, operator: &Mixed, branch: &MixedBranch) -> MixedBranchGradient {
    let (pixels, channels) = (operator.shape.pixels(), operator.shape.c as usize);
    let weight = case.span(1, 1.0);
    case.expect("weight", weight, operator.shape.len(), size(operator.shape.len()));
    MixedBranchGradient {
        products: case.result_span("products", channels, pixels, size(pixels)),
        weight,
        identity: branch.norm.is_none().then(|| case.target("identity", operator.shape.len(), 1)),
    }
}

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
        let weights = !case.one_in(4);
        let Linear { rows, inputs, outputs, .. } = operator;
        let result = |case: &mut Case, name, len| match weights {
            true => case.result_span(name, len, rows, size(rows)),
            false => case.span(len, 1.0),
        };
        let gradient = LinearGradient {
            output: case.slot(rows * outputs),
            input: case.target("input", rows * inputs, outputs),
            weights: result(case, "weights", inputs * outputs),
            bias: result(case, "bias", outputs),
        };
        Call::LinearBackward(operator, gradient, weights)
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
        })
    });
}

/// Equal logits rank by index.
#[test]
fn cross_entropy_breaks_ties_by_index() {
    let mut case = Case::new(19, 0);
    case.labels(40, 10);
    let call = Call::CrossEntropy(CrossEntropy {
        logits: case.slot_of(&[1.0; 400]),
        rows: 40,
        classes: 10,
        result: case.result_span("result", 3, 50, 1.0),
        gradient: case.result_slot("gradient", 400, 4),
    });
    case.compare("ties", &call, &mut backends());
}

fn softmax(case: &mut Case) -> Softmax {
    let (rows, columns) = (case.random.random_range(1..20), case.random.random_range(1..20));
    Softmax {
        columns,
        input: case.span(rows * columns, 2.0),
        output: case.result_span("output", rows * columns, columns, 1.0),
    }
}

#[test]
fn softmax_forward() {
    check(20, |case| Call::SoftmaxForward(softmax(case)));
}

#[test]
fn softmax_backward() {
    check(21, |case| {
        let mut operator = softmax(case);
        case.forget_results();
        let len = operator.output.len;
        operator.output = case.positive_span(len);
        let gradient = SoftmaxGradient {
            output: case.span(len, 1.0),
            input: case.result_span("input", len, operator.columns, 1.0),
        };
        Call::SoftmaxBackward(operator, gradient)
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
fn norm() {
    check(23, |case| {
        let len = vector_len(case);
        let source = case.span(len, 1.0);
        Call::Norm(source, case.result_span("norm", 1, 1, 1.0))
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
        })
    });
}

#[test]
fn adam() {
    check(25, |case| {
        let len = vector_len(case);
        let [parameters, gradient, first] = [case.span(len, 1.0), case.span(len, 1.0), case.span(len, 1.0)];
        let second = case.positive_span(len);
        for (name, span) in [("parameters", parameters), ("first", first), ("second", second)] {
            case.expect(name, span, 4, 1.0);
        }
        Call::Adam(Adam {
            parameters,
            gradient,
            first,
            second,
            rate: 3e-4,
            betas: (0.5, 0.999),
            epsilon: 1e-8,
            decay: 1e-3,
            step: case.random.random_range(1..50),
        })
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
