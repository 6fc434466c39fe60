//! The space of NAS-Bench-201 against traces of AutoDL-Projects (which made it) and of those who took it from there.
//!
//! Convolutions of AutoDL's supernet have a bias in front of a batch norm, which takes it away again, and its last batch norm
//! has neither factor nor offset. Here there is no bias, and the last batch norm has both, as in the code of DrNAS.

use super::comparison::Comparisons;
use super::methods::tables;
use super::network::{self, ADAM, Batch, Network, compare_alphas, compare_running, flat};
use super::set::{OWN_DIRECTORY, Set};
use super::steps::{load_recorded, passes, space, start};
use darts::autograd::Recorder;
use darts::backend::{Backend, ConvolutionWindow, Gradients, Mode, Scalar, Shape};
use darts::method::progress::Progress;
use darts::method::projection::Projections;
use darts::method::selection::Criterion;
use darts::nn::{ConvolutionBlock, ConvolutionNames, Graph, NodeSums, Parameters, Recording, Spans};
use darts::random::Stream;
use darts::search::BilevelSettings;
use darts::search::hypergradient::AlphaGradient;
use darts::search::method::Method;
use darts::space::alphas::{Alphas, Decision};
use darts::space::derivation::derive;
use darts::space::genotype::Genotype;
use darts::space::residual::ResidualBlock;
use darts::space::{Network as Derived, NetworkShape, Space};
use std::ops::Range;
use std::path::Path;

/// A search of AutoDL at its start.
fn autodl<B: Backend>(set: &Set, backend: B, gradient: AlphaGradient, neighbour: u64) -> Network<B> {
    let settings = BilevelSettings {
        method: Method::darts(gradient),
        weight_momentum: 0.9,
        weight_nesterov: true,
        weight_decay: 5e-4,
        gradient_clip: f64::INFINITY,
        adam: ADAM,
    };
    let edges = settings.method.edges();
    let mut network = Network::of(set, backend, Space::nas_bench_201(), settings, edges);
    network.neighbour = neighbour;
    network.restart(set, "");
    network
}

/// Both passes on the first training batch, then a step of the weights and one of the alphas.
pub fn search<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = autodl(set, backend, AlphaGradient::First, neighbour);
    let loss = passes(&mut rows, &mut network, set, "");
    rows.add("fwd.loss", "fwd.loss", &[loss], &set.get("fwd.loss").values);
    let slopes = network.read(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &without_none(&slopes), "grad.weight", false);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, "grad.alpha", false);
    let weights = network.bilevel.architecture.sample.weights.clone();
    compare_alphas(&mut rows, set, &weights, "fwd.weight", false);
    network.compare_features(&mut rows, set, "");

    network.restart(set, "");
    iteration(&mut rows, &mut network, set, None);
    let (adam, alphas) = (&network.bilevel.adam, &network.bilevel.architecture.alphas);
    compare_alphas(&mut rows, set, alphas, "it1.alpha", false);
    compare_alphas(&mut rows, set, &adam.first, "it1.adam_m", false);
    compare_alphas(&mut rows, set, &adam.second, "it1.adam_v", false);
    rows
}

/// Zeros of the candidate none have no gradient in the traces, and none is computed here.
fn without_none(slopes: &[f64]) -> Vec<f64> {
    assert!(slopes.iter().step_by(5).all(|&slope| slope == 0.0));
    slopes.to_vec()
}

/// A step of the weights on the training batch, then one of the alphas on the validation batch, at the recorded samples, if
/// there are any.
fn iteration<B: Backend>(
    rows: &mut Comparisons,
    network: &mut Network<B>,
    set: &Set,
    samples: Option<[&str; 2]>,
) {
    let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
    if let Some([weights, _]) = samples {
        load_recorded(network, tables(set, weights));
    }
    let logits = network.bilevel.supernet.logits;
    let result = network.bilevel.weight_step_at_sample(train.view(), network.lr).unwrap();
    rows.add("it1.loss", "it1.loss", &[result.loss], &set.get("it1.loss").values);
    rows.add("it1.logits", "it1.logits", &network.value(logits), &set.get("it1.logits").values);
    let spans = (network.bilevel.spans.momentum, network.bilevel.supernet.spans.weights);
    hold_what_was_not_run(network, set);
    network.compare_weights(rows, set, spans.0, "it1.momentum", false);
    network.compare_weights(rows, set, spans.1, "it1.param", false);
    keep_last_norm(network);
    if let Some([_, alphas]) = samples {
        load_recorded(network, tables(set, alphas));
    }
    network.bilevel.alpha_step_at_sample(train.view(), valid.view(), network.lr).unwrap();
    let loss = network.bilevel.result().loss;
    rows.add("it1.valid_loss", "it1.valid_loss", &[loss], &set.get("it1.valid_loss").values);
    let name = "it1.valid_logits";
    rows.add(name, name, &network.value(logits), &set.get(name).values);
    compare_alphas(rows, set, &network.bilevel.architecture.gradient, "it1.alpha_grad", false);
}

/// Puts weights without a recorded momentum back to the start: what a sample leaves out has no gradient, so PyTorch has passed it
/// over since version 2. Here decay moves it.
fn hold_what_was_not_run<B: Backend>(network: &mut Network<B>, set: &Set) {
    let supernet = &network.bilevel.supernet;
    let (weights, momentum) = (supernet.spans.weights, network.bilevel.spans.momentum);
    let start = flat(set, &supernet.parameters, "init.param");
    let not_run = |name: &str| name.contains(".edges.") && !set.has(&format!("it1.momentum.{name}"));
    let parts = supernet.parameters.iter().filter(|parameter| not_run(&parameter.name));
    let parts: Vec<_> = parts.map(|parameter| parameter.part).collect();
    for part in parts {
        let own = &start[part.offset..part.offset + part.len];
        let own: Vec<_> = own.iter().map(|&value| B::Scalar::of(value)).collect();
        let backend = network.bilevel.tape.backend();
        backend.write(weights.part(part.offset, part.len), &own);
        backend.fill(momentum.part(part.offset, part.len), 0.0);
    }
}

/// Sets factor and offset of the last batch norm to what AutoDL's always has.
fn keep_last_norm<B: Backend>(network: &mut Network<B>) {
    let weights = network.bilevel.supernet.spans.weights;
    for (name, value) in [("lastact.0.weight", 1.0), ("lastact.0.bias", 0.0)] {
        let own =
            network.bilevel.supernet.parameters.iter().find(|parameter| parameter.name == name).unwrap();
        let span = weights.part(own.part.offset, own.part.len);
        network.bilevel.tape.backend().fill(span, value);
    }
}

/// The running statistics behind a forward pass and behind an iteration, and what they give in inference. Those of AutoDL hold
/// the biases in front of them.
pub fn statistics<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let whole = Set::open(Path::new(OWN_DIRECTORY), "nb201_search_nats");
    let mut network = autodl(&whole, backend, AlphaGradient::First, neighbour);
    let (train, valid) = (network.batch(&whole, "train", 0), network.batch(&whole, "valid", 0));
    network.bilevel.differentiate(train.view(), Mode::Train, Gradients::Inputs).unwrap();
    let bias = |part: &str, norm: &str| {
        let name = format!("{part}.{}.bias", norm.replace(".op.2", ".op.1"));
        whole.has(&name).then(|| whole.get(&name).values.clone())
    };
    // A share of 0.1 of the mean of each of the passes, of which so many lie behind.
    let without = |values: &[f64], norm: &str, passes: usize| -> Vec<f64> {
        let shares: &[(&str, f64)] = match passes {
            1 => &[("init.param", 0.1)],
            _ => &[("init.param", 0.09), ("it1.param", 0.1)],
        };
        let mut values = values.to_vec();
        for (part, share) in shares.iter().filter(|_| norm.contains(".edges.")) {
            let bias = bias(part, norm).unwrap();
            values.iter_mut().zip(bias).for_each(|(value, bias)| *value -= share * bias);
        }
        values
    };
    let compare = |rows: &mut Comparisons, network: &Network<B>, prefix: &str, passes: usize| {
        let ours = network.read(network.bilevel.supernet.spans.running);
        for running in network.bilevel.supernet.parameters.running() {
            let (norm, start) = (&running.names[0], running.part.offset);
            let [mean, variance] =
                ["running_mean", "running_var"].map(|kind| format!("{prefix}.{norm}.{kind}"));
            let group = format!("{prefix}.{}", norm.split('.').next().unwrap());
            let expected = without(&set.get(&mean).values, norm, passes);
            rows.add(&mean, &group, &ours[start..start + running.channels], &expected);
            let own = &ours[start + running.channels..start + 2 * running.channels];
            rows.add(&variance, &group, own, &set.get(&variance).values);
        }
    };
    compare(&mut rows, &network, "fwd.buffer", 1);
    // In inference a bias does not cancel out: it is not in the mean yet but for a tenth. The means of a network without are
    // such that its results are the same.
    let mut running = network.read(network.bilevel.supernet.spans.running);
    for own in network.bilevel.supernet.parameters.running() {
        if let Some(bias) = bias("init.param", &own.names[0]).filter(|_| own.names[0].contains(".edges.")) {
            let mean = &mut running[own.part.offset..own.part.offset + own.channels];
            mean.iter_mut().zip(bias).for_each(|(mean, bias)| *mean -= 0.9 * bias);
        }
    }
    let running: Vec<_> = running.into_iter().map(B::Scalar::of).collect();
    let span = network.bilevel.supernet.spans.running;
    network.bilevel.tape.backend().write(span, &running);
    let logits = network.bilevel.supernet.logits;
    network.bilevel.evaluate(train.view(), train.images()).unwrap();
    rows.add("eval.logits", "eval.logits", &network.value(logits), &set.get("eval.logits").values);

    network.restart(&whole, "");
    network.bilevel.weight_step_at_sample(train.view(), network.lr).unwrap();
    keep_last_norm(&mut network);
    network.bilevel.alpha_step_at_sample(train.view(), valid.view(), network.lr).unwrap();
    compare(&mut rows, &network, "it1.buffer", 2);
    rows
}

/// GDAS: an iteration through the candidates that the recorded noise chooses.
pub fn gdas_iteration<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let flags = "relaxation = \"gumbel-hard 10\"\nweight_decay = 5e-4\ngradient_clip = 1e6\nalpha_lr = 3e-4";
    let flags = format!("{}\n{flags}", space(set));
    let mut network = start(set, backend, "gdas", &flags, neighbour);
    iteration(&mut rows, &mut network, set, Some(["it1.gumbel_w", "it1.gumbel_a"]));
    compare_alphas(&mut rows, set, &network.bilevel.architecture.alphas, "it1.alpha", false);
    rows
}

/// SNAS: both passes at the recorded soft samples of two temperatures.
pub fn snas<B: Backend>(set: &Set, backend: &dyn Fn() -> B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    for temperature in [10, 1] {
        let prefix = format!("tau{temperature}.");
        let flags = format!("{}\nrelaxation = \"gumbel {temperature}\"", space(set));
        let mut network = start(set, backend(), "darts", &flags, neighbour);
        load_recorded(&mut network, tables(set, &format!("{prefix}gumbel")));
        let loss = passes(&mut rows, &mut network, set, &prefix);
        let name = format!("{prefix}fwd.loss");
        rows.add(&name, &name, &[loss], &set.get(&name).values);
        let slopes = network.read(network.bilevel.supernet.mixing.gradient);
        compare_alphas(&mut rows, set, &slopes, &format!("{prefix}grad.weight"), false);
        let gradient = &network.bilevel.architecture.gradient;
        compare_alphas(&mut rows, set, gradient, &format!("{prefix}grad.alpha"), false);
    }
    rows
}

/// Beta-DARTS: a step of the alphas with its penalty in epoch 20 of 100, then one of the weights. The norm that the official
/// code clips by counts the alphas, too, and is too short to be clipped.
pub fn beta_darts<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let flags = format!("{}\nweight_decay = 3e-4\nweight_nesterov = false", space(set));
    let mut network = start(set, backend, "beta-darts", &flags, neighbour);
    network.bilevel.progress = Progress { epoch: 20, epochs: 100, ..Progress::default() };
    let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    let loss = network.bilevel.result().loss;
    rows.add("valid_loss", "valid_loss", &[loss], &set.get("valid_loss").values);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, "e20.grad.alpha", false);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.alphas, "it1.alpha", false);
    network.bilevel.draw(Stream::WeightSample);
    let weights = network.bilevel.architecture.sample.weights.clone();
    compare_alphas(&mut rows, set, &weights, "it1.weight", false);
    let logits = network.bilevel.supernet.logits;
    let result = network.bilevel.weight_step_at_sample(train.view(), network.lr).unwrap();
    rows.add("it1.loss", "it1.loss", &[result.loss], &set.get("it1.loss").values);
    rows.add("it1.logits", "it1.logits", &network.value(logits), &set.get("it1.logits").values);
    let slopes = network.read(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &slopes, "it1.grad.weight", false);
    let spans = network.bilevel.supernet.spans;
    network.compare_weights(&mut rows, set, spans.gradients, "it1.grad.param", false);
    network.compare_weights(&mut rows, set, spans.weights, "it1.param", false);
    rows
}

/// DARTS-PT: three edges one after another lack each of their candidates, and take the one without which the loss of both
/// validation batches is largest; then both passes with what was decided. The official code tries none, too.
pub fn selection<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = start(set, backend, "darts", space(set), neighbour);
    let batches = [0, 1].map(|index| network.batch(set, "valid", index));
    let images = batches.iter().map(|batch| batch.images() as f64).sum::<f64>();
    let lacking = |network: &mut Network<B>, removed: &Range<usize>| {
        let results =
            batches.each_ref().map(|batch| network.bilevel.without(batch.view(), removed.clone()).unwrap());
        (
            results.iter().map(|result| result.loss).sum::<f64>() / 2.0,
            results.iter().map(|r| r.top1).sum::<f64>() / images,
        )
    };
    let (loss, accuracy) = lacking(&mut network, &(0..0));
    rows.add("base", "base", &[100.0 * accuracy, loss], &set.get("base").values);
    let projections = Projections::new(&Space::nas_bench_201(), 3, 0);
    for edge in [3, 0, 5] {
        let decided = network.bilevel.architecture.decided.clone();
        let trials = (0..projections.count()).filter_map(|index| projections.trial(index, &decided));
        let trial = trials.into_iter().find(|trial| trial.removed[0].start / 5 == edge).unwrap();
        let outcomes: Vec<_> = trial.removed.iter().map(|removed| lacking(&mut network, removed)).collect();
        let part = |part: &str| format!("edge{edge}.{part}");
        let losses: Vec<_> = outcomes.iter().map(|(loss, _)| *loss).collect();
        rows.add(&part("loss"), &part("loss"), &losses, &set.get(&part("loss")).values);
        let accuracies: Vec<_> = outcomes.iter().map(|(_, accuracy)| 100.0 * accuracy).collect();
        rows.add(&part("accuracy"), &part("accuracy"), &accuracies, &set.get(&part("accuracy")).values);
        projections.decide(
            &trial,
            (Criterion::Loss, &outcomes),
            &mut network.bilevel.architecture.decided,
            1,
        );
        let chosen = set.get(&part("chosen_by_loss")).values[0] as usize;
        assert_eq!(network.bilevel.architecture.decided[edge], Decision::Chosen(chosen));
        network.bilevel.draw(Stream::AlphaSample);
        let weights = &network.bilevel.architecture.sample.weights;
        rows.add(
            &part("weights_after"),
            &part("weights_after"),
            weights,
            &set.get(&part("weights_after")).values,
        );
    }
    let train = network.batch(set, "train", 0);
    network.bilevel.differentiate(train.view(), Mode::Train, Gradients::Inputs).unwrap();
    network.bilevel.pull_back(network.bilevel.supernet.mixing.gradient);
    rows.add("final.loss", "final.loss", &[network.bilevel.result().loss], &set.get("final.loss").values);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, "final.grad.alpha", false);
    rows
}

/// Three networks of cells from the table: training passes, gradients, statistics, and inference behind one pass.
pub fn evaluation<B: Backend>(set: &Set, backend: &dyn Fn() -> B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let batch = Batch::new(set, "data.train_x.0", "data.train_y.0");
    for cell in ["arch0", "arch1", "arch2"] {
        let genotype: Genotype = set.text(cell).unwrap().parse().unwrap();
        let image = &set.get("data.train_x.0").shape;
        let shape = NetworkShape {
            images: Shape::new(image[0], image[2], image[3], image[1]),
            classes: set.get(&format!("{cell}.fwd.logits")).shape[1],
            init_channels: set.number("C") as usize,
            cells: 3 * set.number("cells_per_stage") as usize,
            auxiliary: None,
            drop_path: false,
            official_inplace_relu: false,
            class_weights: false,
        };
        let mut recorder = Recorder::new();
        let network = Derived::record(&mut recorder, &genotype, shape).unwrap();
        let mut tape = recorder.finish(backend()).unwrap();
        let parameters = &network.parameters;
        let official = format!("{cell}.init.param.");
        let given = set.names().filter(|name| name.starts_with(&official)).count();
        assert_eq!(given, parameters.iter().count(), "{cell}: number of weight tensors");
        for parameter in parameters.iter() {
            let shape = &set.get(&format!("{official}{}", parameter.name)).shape;
            assert_eq!(&parameter.layout.official_shape(), shape, "{}", parameter.name);
        }
        let mut values = flat(set, parameters, &format!("{cell}.init.param"));
        network::move_to_neighbour(&mut values, neighbour);
        let cast = |values: Vec<f64>| values.into_iter().map(B::Scalar::of).collect::<Vec<_>>();
        tape.backend().write(network.spans.weights, &cast(values));
        let running = parameters.initial_running().into_iter().map(f64::from).collect();
        tape.backend().write(network.spans.running, &cast(running));
        tape.write_value(network.images, batch.view().images).unwrap();
        tape.backend().write_labels(batch.view().labels);
        tape.forward(Mode::Train);
        tape.backward(Gradients::All);
        let wide = |values: Vec<B::Scalar>| values.into_iter().map(Scalar::wide).collect::<Vec<_>>();
        for (part, ours) in [
            ("fwd.loss", wide(tape.read(network.loss.result))),
            ("fwd.logits", wide(tape.read_value(network.logits))),
        ] {
            let name = format!("{cell}.{part}");
            rows.add(&name, &name, &ours[..set.get(&name).values.len()], &set.get(&name).values);
        }
        let gradients = wide(tape.read(network.spans.gradients));
        let name = format!("{cell}.grad.param");
        network::compare_weights(&mut rows, set, parameters, &gradients, &name, false);
        let running = wide(tape.read(network.spans.running));
        compare_running(&mut rows, set, parameters, &running, &format!("{cell}.fwd.buffer"), false);
        tape.forward(Mode::Inference);
        let (name, logits) = (format!("{cell}.eval.logits"), wide(tape.read_value(network.logits)));
        rows.add(&name, &name, &logits, &set.get(&name).values);
    }
    rows
}

/// The operations of an edge alone, with and without learned factor and offset, and the residual block.
pub fn operators<B: Backend>(set: &Set, backend: &dyn Fn() -> B) -> Comparisons {
    let mut rows = Comparisons::default();
    for affine in [false, true] {
        for kernel in [1, 3] {
            let case = format!("nor_conv_{kernel}x{kernel}.affine{}", u8::from(affine));
            let mut parameters = Parameters::default();
            let member = |i: usize| format!("op.{i}");
            let names =
                ConvolutionNames { relu: Some(member(0)), convolution: member(1), norm: Some(member(2)) };
            let window = ConvolutionWindow::square(kernel, 1, kernel / 2);
            let channels = set.get(&format!("{case}.x")).shape[1];
            let block =
                ConvolutionBlock::declare(&mut parameters, names, window, [channels, channels], affine);
            let emit = |graph: &mut Recording<B>, input| graph.convolution(&input, &block).unwrap();
            operator(&mut rows, set, &case, &parameters, backend(), emit);
        }
        for (operation, expected) in [("none", None), ("skip_connect", Some("x"))] {
            let case = format!("{operation}.affine{}", u8::from(affine));
            let y = &set.get(&format!("{case}.y")).values;
            match expected {
                None => assert!(y.iter().all(|&y| y == 0.0)),
                Some(x) => assert_eq!(y, &set.get(&format!("{case}.{x}")).values),
            }
        }
        let case = format!("avg_pool_3x3.affine{}", u8::from(affine));
        let emit = |graph: &mut Recording<B>, input| {
            let window = darts::autograd::Window::around(1);
            graph.pool("", &input, darts::backend::PoolKind::Average, window).unwrap()
        };
        operator(&mut rows, set, &case, &Parameters::default(), backend(), emit);
    }
    let case = "residual_block";
    let mut parameters = Parameters::default();
    let widths = ["x", "y"].map(|part| set.get(&format!("{case}.{part}")).shape[1]);
    let block = ResidualBlock::declare(&mut parameters, "block", widths);
    let emit = |graph: &mut Recording<B>, input| block.emit(graph, &input).unwrap();
    operator(&mut rows, set, case, &parameters, backend(), emit);
    rows
}

/// One operator: result, gradients and running statistics.
fn operator<B: Backend>(
    rows: &mut Comparisons,
    set: &Set,
    case: &str,
    parameters: &Parameters,
    backend: B,
    emit: impl FnOnce(&mut Recording<B>, darts::autograd::Value) -> darts::autograd::Value,
) {
    let x = set.get(&format!("{case}.x"));
    let mut recorder = Recorder::new();
    let spans = Spans {
        weights: recorder.span(parameters.len()),
        gradients: recorder.span(parameters.len()),
        running: recorder.span(parameters.running_len()),
    };
    let input = recorder.input(Shape::new(x.shape[0], x.shape[2], x.shape[3], x.shape[1]));
    let sums = NodeSums::Plain(None);
    let mut recording = Recording { recorder: &mut recorder, spans: &spans, sums, skip_dropout: None };
    let output = emit(&mut recording, input);
    recorder.output(output);
    let mut tape = recorder.finish(backend).unwrap();
    let cast = |values: Vec<f64>| values.into_iter().map(B::Scalar::of).collect::<Vec<_>>();
    let wide = |values: Vec<B::Scalar>| values.into_iter().map(Scalar::wide).collect::<Vec<f64>>();
    let name = |parameter: &str| parameter.trim_start_matches("block.").to_owned();
    for parameter in parameters.iter() {
        let official = &set.get(&format!("{case}.param.{}", name(&parameter.name))).values;
        let own = (0..official.len()).map(|i| official[parameter.layout.official(i)]).collect();
        tape.backend().write(spans.weights.part(parameter.part.offset, parameter.part.len), &cast(own));
    }
    let running = parameters.initial_running().into_iter().map(f64::from).collect();
    tape.backend().write(spans.running, &cast(running));
    tape.write_value(input, &cast(x.to_nhwc())).unwrap();
    tape.forward(Mode::Train);
    let (y, dy) = (set.get(&format!("{case}.y")), set.get(&format!("{case}.dy")));
    rows.add_images(&format!("{case}.y"), &format!("{case}.y"), &wide(tape.read_value(output)), y);
    tape.write_gradient(output, &cast(dy.to_nhwc())).unwrap();
    tape.backward(Gradients::All);
    let dx = format!("{case}.dx");
    rows.add_images(&dx, &dx, &wide(tape.read_gradient(input)), set.get(&dx));
    let gradients = wide(tape.read(spans.gradients));
    for parameter in parameters.iter() {
        let tensor = format!("{case}.dparam.{}", name(&parameter.name));
        let official = &set.get(&tensor).values;
        let expected: Vec<_> = (0..official.len()).map(|i| official[parameter.layout.official(i)]).collect();
        let part = parameter.part.offset..parameter.part.offset + parameter.part.len;
        rows.add(&tensor, &format!("{case}.dparam"), &gradients[part], &expected);
    }
    let statistics = wide(tape.read(spans.running));
    for running in parameters.running() {
        let own = &statistics[running.part.offset..running.part.offset + running.part.len];
        let (mean, variance) = own.split_at(running.channels);
        for (kind, ours) in [("running_mean", mean), ("running_var", variance)] {
            let tensor = format!("{case}.buffer.{}.{kind}", name(&running.names[0]));
            let mut expected = set.get(&tensor).values.clone();
            let bias = format!("{case}.param.op.1.bias");
            if kind == "running_mean" && set.has(&bias) {
                expected.iter_mut().zip(&set.get(&bias).values).for_each(|(mean, bias)| *mean -= 0.1 * bias);
            }
            rows.add(&tensor, &format!("{case}.buffer"), ours, &expected);
        }
    }
}

/// The strings of alphas, some of which have ties.
pub fn genotypes() {
    let text = std::fs::read_to_string(format!("{OWN_DIRECTORY}/nb201_genotypes.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let mut alphas = Alphas::zeros(Space::nas_bench_201(), 3);
        let recorded = case["alpha"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
        alphas.tables[0] = recorded.map(|alpha| alpha.as_f64().unwrap()).collect();
        let genotype = derive(&alphas);
        assert_eq!(genotype.to_string(), case["arch"].as_str().unwrap());
        assert_eq!(genotype.dead_cells().is_empty(), case["connected"].as_bool().unwrap(), "{genotype}");
    }
    assert!(cases.len() > 10, "{} cases", cases.len());
}
