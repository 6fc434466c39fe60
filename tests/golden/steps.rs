//! Whole passes and steps of search methods against traces of their authors' code. What the trace drew at random is handed to
//! the search.

use super::comparison::Comparisons;
use super::methods::tables;
use super::network::{Network, compare_alphas};
use super::set::Set;
use darts::backend::{Backend, Gradients, Mode};
use darts::method::progress::Progress;
use darts::random::Stream;
use darts::search::Bilevel;

/// Why a set is not checked here; nothing where it is.
pub fn left_out(set: &Set) -> Option<&'static str> {
    match set.name.as_str() {
        name if name.contains("widen") => {
            Some("it is of supernets that grow wider, which is not among the program's")
        }
        _ => None,
    }
}

/// FairDARTS: both passes, then an iteration in which the alphas have the zero-one loss.
pub fn fair_darts<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = start(set, backend, "fair-darts", "", neighbour);
    let loss = passes(&mut rows, &mut network, set, "");
    let slopes = network.read(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &slopes, "grad.weight", false);
    rows.add("fwd.ce", "fwd.ce", &[loss], &set.get("fwd.ce").values);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, "grad.ce.alpha", false);
    network.compare_features(&mut rows, set, "");

    network.restart(set, "");
    let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
    let zero_one = |network: &Network<B>| {
        let architecture = &network.bilevel.architecture;
        architecture.method.penalties[0].value(&[], &architecture.alphas, Progress::default())
    };
    let term = zero_one(&network);
    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    let loss = network.bilevel.result().loss;
    rows.add("it1.valid_ce", "it1.valid_ce", &[loss], &set.get("it1.valid_ce").values);
    // The recorded term has no weight.
    let recorded = &set.get("it1.valid_zero_one").values;
    rows.add("it1.valid_zero_one", "it1.valid_zero_one", &[term / 10.0], recorded);
    compare_alpha_step(&mut rows, &network, set, "it1");
    // The official code adds the zero-one loss to that of the weights as well, which moves no weight.
    let term = zero_one(&network);
    network.bilevel.draw(Stream::WeightSample);
    weight_step(&mut rows, &mut network, set, "it1", term);
    network.compare_running(&mut rows, set, "it1.buffer", false);
    network.compare_weights(&mut rows, set, network.bilevel.supernet.spans.weights, "it1.param", false);
    rows
}

/// SDARTS-RS: the pass of a step of the weights under the recorded noise.
pub fn random_smoothing<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = start(set, backend, "sdarts-rs", "", neighbour);
    network.bilevel.architecture.disturbance = tables(set, "rs.noise");
    network.bilevel.architecture.disturb();
    network.bilevel.load_sample();
    weight_step(&mut rows, &mut network, set, "rs", 0.0);
    let supernet = &network.bilevel.supernet;
    let (mixing, gradients) = (supernet.mixing.gradient, supernet.spans.gradients);
    compare_alphas(&mut rows, set, &network.read(mixing), "rs.grad.weight", false);
    network.compare_weights(&mut rows, set, gradients, "rs.grad.param", false);
    rows
}

/// SDARTS-ADV: an attack in inference on the first training batch, from the recorded noise, and the step of the weights at
/// what it finds.
pub fn attack<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = start(set, backend, "sdarts-adv", "perturbation = \"adversarial 0.1\"", neighbour);
    let train = network.batch(set, "train", 0);
    // The recorded attack follows a forward pass that has moved the running statistics.
    network.bilevel.differentiate(train.view(), Mode::Train, Gradients::Inputs).unwrap();
    network.compare_running(&mut rows, set, "adv.buffer", false);
    network.bilevel.architecture.disturbance = tables(set, "adv.noise");
    let losses = network.bilevel.attack(train.view()).unwrap();
    rows.add("adv.losses", "adv.losses", &losses, &set.get("adv.losses").values);
    let found = &network.bilevel.architecture.sample.weights;
    compare_alphas(&mut rows, set, found, "adv.weight", false);
    // What follows shows in f32 whether the attack has found the same.
    rows.last_in_f64_only(3);
    network.bilevel.load_sample();
    weight_step(&mut rows, &mut network, set, "adv", 0.0);
    let supernet = &network.bilevel.supernet;
    let (mixing, gradients) = (supernet.mixing.gradient, supernet.spans.gradients);
    compare_alphas(&mut rows, set, &network.read(mixing), "adv.grad.weight", false);
    network.compare_weights(&mut rows, set, gradients, "adv.grad.param", false);
    let weights = network.bilevel.supernet.spans.weights;
    network.compare_weights(&mut rows, set, weights, "adv.param_after", false);
    rows
}

/// DrNAS: both passes at the recorded sample, then an iteration at its samples. PyTorch's gradient of a sample by the
/// concentrations is an approximation, so Adam is given the recorded one.
pub fn drnas<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = start(set, backend, "drnas", "alpha_lr = 3e-4\npartial_channels = 1", neighbour);
    load_recorded(&mut network, tables(set, "sample"));
    let loss = passes(&mut rows, &mut network, set, "");
    rows.add("fwd.loss", "fwd.loss", &[loss], &set.get("fwd.loss").values);
    let slopes = network.read(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &slopes, "grad.weight", false);
    rows.last_in_f64_only(2);

    network.restart(set, "");
    let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
    load_recorded(&mut network, tables(set, "it1.sample_a"));
    network.bilevel.alpha_step_at_sample(train.view(), valid.view(), network.lr).unwrap();
    let (ours, recorded) = (&network.bilevel.architecture.gradient, tables(set, "it1.grad.alpha"));
    let largest = recorded.iter().fold(0.0, |largest, x| f64::max(largest, x.abs()));
    let off = ours.iter().zip(&recorded).map(|(ours, other)| (ours - other).abs()).fold(0.0, f64::max);
    assert!(off < 1e-3 * largest, "the alpha gradient is off by {off:.1e} of {largest:.1e}");
    let Bilevel { architecture, adam, .. } = &mut network.bilevel;
    (architecture.alphas, architecture.gradient) = (tables(set, "init.alpha"), recorded);
    adam.restart();
    adam.step(&mut architecture.alphas, &architecture.gradient);
    compare_alpha_step(&mut rows, &network, set, "it1");
    load_recorded(&mut network, tables(set, "it1.sample_w"));
    weight_step(&mut rows, &mut network, set, "it1", 0.0);
    network.compare_running(&mut rows, set, "it1.buffer", false);
    network.compare_weights(&mut rows, set, network.bilevel.supernet.spans.weights, "it1.param", false);
    rows
}

/// Random search with shared weights (Li and Talwalkar, UAI 2019): two steps of the weights through one architecture. The
/// official code runs what was not chosen with the weight 0; decay and momentum move its weights, as they do here, where it
/// is not run.
pub fn shared_weights<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut network = start(set, backend, "darts", "", neighbour);
    let sample = &mut network.bilevel.architecture.sample;
    sample.weights = tables(set, "weight");
    sample.active = sample.weights.iter().map(|&weight| weight > 0.0).collect();
    network.bilevel.load_sample();
    weight_step(&mut rows, &mut network, set, "it1", 0.0);
    weight_step(&mut rows, &mut network, set, "it2", 0.0);
    network.compare_weights(&mut rows, set, network.bilevel.supernet.spans.weights, "it2.param", false);
    rows
}

/// Hands the network a sample that was drawn before.
pub fn load_recorded<B: Backend>(network: &mut Network<B>, sample: Vec<f64>) {
    network.bilevel.architecture.sample.noise = sample;
    network.bilevel.architecture.mix(Progress::default());
    network.bilevel.load_sample();
}

/// GDAS: both passes through the candidates that the recorded noise chooses, at two temperatures.
pub fn gdas<B: Backend>(set: &Set, backend: impl Fn() -> B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    for temperature in [10, 1] {
        let prefix = format!("tau{temperature}.");
        let flags = format!("relaxation = \"gumbel-hard {temperature}\"\n{}", space(set));
        let mut network = start(set, backend(), "gdas", &flags, neighbour);
        load_recorded(&mut network, tables(set, &format!("{prefix}gumbel")));
        let loss = passes(&mut rows, &mut network, set, &prefix);
        let name = format!("{prefix}fwd.loss");
        rows.add(&name, &name, &[loss], &set.get(&name).values);
        let slopes = network.bilevel.read_slopes(network.bilevel.supernet.mixing.gradient).to_vec();
        compare_alphas(&mut rows, set, &slopes, &format!("{prefix}grad.weight"), false);
        let gradient = &network.bilevel.architecture.gradient;
        compare_alphas(&mut rows, set, gradient, &format!("{prefix}grad.alpha"), false);
    }
    rows
}

/// The flag of the space of a set.
pub fn space(set: &Set) -> &'static str {
    if set.name.contains("nb201") { "space = \"nas-bench-201\"" } else { "" }
}

pub fn start<B: Backend>(set: &Set, backend: B, method: &str, flags: &str, neighbour: u64) -> Network<B> {
    let mut network = Network::of_method(set, backend, method, flags);
    network.neighbour = neighbour;
    network.restart(set, "");
    network
}

/// Forward and backward on the first training batch with the sample that the supernet has: compares the logits and the
/// gradients by the weights. Leaves the gradient by the alphas, and returns the loss.
pub fn passes<B: Backend>(rows: &mut Comparisons, network: &mut Network<B>, set: &Set, prefix: &str) -> f64 {
    let train = network.batch(set, "train", 0);
    network.bilevel.differentiate(train.view(), Mode::Train, Gradients::All).unwrap();
    let supernet = &network.bilevel.supernet;
    let (logits, mixing) = (supernet.logits, supernet.mixing.gradient);
    let name = format!("{prefix}fwd.logits");
    rows.add(&name, &name, &network.value(logits), &set.get(&name).values);
    let gradients = network.bilevel.supernet.spans.gradients;
    let name = format!("{prefix}grad.param");
    if set.names().any(|tensor| tensor.starts_with(&name)) {
        network.compare_weights(rows, set, gradients, &name, false);
    }
    network.bilevel.pull_back(mixing);
    network.bilevel.result().loss
}

/// The alphas behind a step, the gradient that moved them, and Adam's moments; and the same of betas.
pub fn compare_alpha_step<B: Backend>(
    rows: &mut Comparisons,
    network: &Network<B>,
    set: &Set,
    iteration: &str,
) {
    let Bilevel { architecture, adam, .. } = &network.bilevel;
    let vectors = [
        (&architecture.gradient, "grad."),
        (&architecture.alphas, ""),
        (&adam.first, "adam_m."),
        (&adam.second, "adam_v."),
    ];
    for (ours, part) in vectors {
        let (alphas, betas) = ours.split_at(architecture.alpha_count());
        compare_alphas(rows, set, alphas, &format!("{iteration}.{part}alpha"), false);
        if !betas.is_empty() {
            compare_alphas(rows, set, betas, &format!("{iteration}.{part}beta"), false);
        }
    }
}

/// A step of the weights on the first training batch with the sample that the supernet has: compares what it computes before
/// they move. `term` is added to the loss.
pub fn weight_step<B: Backend>(
    rows: &mut Comparisons,
    network: &mut Network<B>,
    set: &Set,
    part: &str,
    term: f64,
) {
    let train = network.batch(set, "train", 0);
    let result = network.bilevel.weight_step_at_sample(train.view(), network.lr).unwrap();
    let (norm, logits) = (network.bilevel.spans.gradient_norm, network.bilevel.supernet.logits);
    for (name, ours) in [
        ("loss", vec![result.loss + term]),
        ("logits", network.value(logits)),
        ("grad_norm", network.read(norm)),
    ] {
        let name = format!("{part}.{name}");
        rows.add(&name, &name, &ours, &set.get(&name).values);
    }
}
