//! Supernets whose edges have more than their candidates, against traces of their authors' code.

use super::comparison::Comparisons;
use super::network::{Network, compare_alphas, plan};
use super::set::OWN_DIRECTORY;
use super::set::Set;
use super::steps::{compare_alpha_step, passes, start, weight_step};
use darts::backend::{Backend, Scalar, dropout_key};
use darts::method::progress::Progress;
use darts::method::schedule::Schedule;
use darts::method::skip_dropout::dropped;
use darts::nn::Masks;
use darts::random::Stream;
use darts::search::BilevelSettings;
use darts::search::stages::left;
use darts::space::alphas::Alphas;
use darts::space::pruning::GONE;
use darts::space::{EdgeShape, Space};
use std::collections::BTreeMap;

/// R-DARTS: both passes under the recorded masks of drop path.
pub fn drop_path<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let flags = "space = \"s2\"\nedge_drop_path = \"0.4\"";
    let mut network = start(set, backend, "darts", flags, neighbour);
    let kept = 1.0 - set.get("drop_path_prob").values[0];
    let span = network.bilevel.supernet.drop_path.unwrap();
    let masks: Vec<_> =
        (0..).map(|edge| format!("drop_mask.{edge:02}")).take_while(|name| set.has(name)).collect();
    let factors = masks.iter().flat_map(|name| &set.get(name).values);
    let factors: Vec<_> = factors.map(|mask| B::Scalar::of(mask / kept)).collect();
    network.bilevel.tape.backend().write(span, &factors);
    let loss = passes(&mut rows, &mut network, set, "");
    rows.add("fwd.loss", "fwd.loss", &[loss], &set.get("fwd.loss").values);
    let slopes = network.read(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &slopes, "grad.weight", false);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, "grad.alpha", false);
    rows
}

/// DARTS-: both passes at two weights of the auxiliary skips, then an iteration.
pub fn auxiliary_skip<B: Backend>(set: &Set, backend: impl Fn() -> B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    for part in ["b1", "b05"] {
        let name = |of: &str| format!("{part}.{of}");
        let flags = format!("auxiliary_skip = \"{}\"", set.get(&name("beta")).values[0]);
        let mut network = start(set, backend(), "darts-minus", &flags, neighbour);
        let loss = passes(&mut rows, &mut network, set, &name(""));
        rows.add(&name("fwd.loss"), &name("fwd.loss"), &[loss], &set.get(&name("fwd.loss")).values);
        let slopes = network.bilevel.read_slopes(network.bilevel.supernet.mixing.gradient).to_vec();
        compare_alphas(&mut rows, set, &slopes, &name("grad.weight"), false);
        compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, &name("grad.alpha"), false);
        network.compare_features(&mut rows, set, &name(""));
        let iteration = name("it1");
        if !set.has(&format!("{iteration}.loss")) {
            continue;
        }
        network.restart(set, "");
        let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
        network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
        compare_alpha_step(&mut rows, &network, set, &iteration);
        network.bilevel.draw(Stream::WeightSample);
        weight_step(&mut rows, &mut network, set, &iteration, 0.0);
        network.compare_running(&mut rows, set, &format!("{iteration}.buffer"), false);
        let weights = network.bilevel.supernet.spans.weights;
        network.compare_weights(&mut rows, set, weights, &format!("{iteration}.param"), false);
    }
    assert!(rows.names().any(|name| name.contains("it1")), "{}: no iteration", set.name);
    rows
}

/// The schedules of DARTS- for the weight of its auxiliary skips.
pub fn auxiliary_weights() {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(rename = "beta_by_epoch_T50")]
        weights: BTreeMap<String, Vec<f64>>,
    }
    let text = std::fs::read_to_string(format!("{OWN_DIRECTORY}/dartsminus_beta.json")).unwrap();
    let recorded = serde_json::from_str::<File>(&text).unwrap().weights;
    let ours = [
        ("linear", "1 to 0"),
        ("cosine", "1 to 0 by cosine"),
        ("slow_cosine", "1 to 0 by slow-cosine"),
        ("None", "1"),
    ];
    assert_eq!(recorded.keys().len(), ours.len());
    for (name, text) in ours {
        let (schedule, recorded): (Schedule, _) = (text.parse().unwrap(), &recorded[name]);
        assert_eq!(recorded.len(), 50);
        for (epoch, recorded) in recorded.iter().enumerate() {
            let weight = schedule.at(Progress { epoch, epochs: 50, ..Progress::default() });
            assert!((weight - recorded).abs() < 1e-12, "{name}, epoch {epoch}: {weight} for {recorded}");
        }
    }
}

/// P-DARTS in its second stage: both passes of a supernet of which each edge has other candidates, under the recorded masks of
/// its skip connections.
pub fn skip_dropout<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let mut whole = Alphas::zeros(Space::darts(), 2);
    for (table, kind) in whole.tables.iter_mut().zip(["normal", "reduce"]) {
        let switches = &set.get(&format!("switches.{kind}")).values;
        let gone = table.iter_mut().zip(switches).filter(|(_, switch)| **switch == 0.0);
        gone.for_each(|(alpha, _)| *alpha = GONE);
    }
    let settings = BilevelSettings::from(&plan("darts", "alpha_lr = 6e-4"));
    let edges = EdgeShape { skip_dropout: Some(Masks::Given), ..EdgeShape::default() };
    let mut network = Network::of(set, backend, left(&whole).unwrap(), settings, edges);
    network.neighbour = neighbour;
    network.restart(set, "");
    let masks = network.bilevel.supernet.skip_dropout.clone().unwrap();
    // The trace goes by nodes, the supernet by states: in the first cell, edge 2 leaves state 0 and edge 1 state 1.
    let order = [0, 2, 1, 3, 4, 5, 6];
    assert_eq!(masks.given.len(), order.len());
    let device = network.bilevel.tape.backend();
    for (span, recorded) in masks.given.iter().zip(order) {
        let mask = set.get(&format!("dropout_mask.{recorded:02}")).to_nhwc();
        device.write(*span, &mask.into_iter().map(B::Scalar::of).collect::<Vec<_>>());
    }
    device.write(masks.key, &dropout_key(1.0 - set.get("p").values[0], [0; 2]).map(B::Scalar::of));
    let loss = passes(&mut rows, &mut network, set, "");
    rows.add("fwd.loss", "fwd.loss", &[loss], &set.get("fwd.loss").values);
    let slopes = network.read(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &slopes, "grad.weight", false);
    compare_alphas(&mut rows, set, &network.bilevel.architecture.gradient, "grad.alpha", false);
    rows
}

/// The schedule of P-DARTS for the dropout of skip connections.
pub fn rates_of_skip_dropout() {
    #[derive(serde::Deserialize)]
    struct File {
        skip_dropout_by_epoch: BTreeMap<String, Vec<f64>>,
    }
    let text = std::fs::read_to_string(format!("{OWN_DIRECTORY}/pdarts_derivation.json")).unwrap();
    let recorded = serde_json::from_str::<File>(&text).unwrap().skip_dropout_by_epoch;
    assert_eq!(recorded.len(), 3);
    for (rate, recorded) in recorded {
        assert_eq!(recorded.len(), 25);
        for (epoch, recorded) in recorded.into_iter().enumerate() {
            let ours =
                dropped(rate.parse().unwrap(), 10, Progress { epoch, epochs: 25, ..Progress::default() });
            assert!((ours - recorded).abs() < 1e-12, "{rate}, epoch {epoch}: {ours} for {recorded}");
        }
    }
}

/// PC-DARTS: both passes, the gradient of the second order, and an iteration.
pub fn pc_darts<B: Backend>(set: &Set, backend: impl Fn() -> B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let begin = |order: &str| {
        let flags = format!("alpha_lr = 3e-4\norder = \"{order}\"");
        let network = start(set, backend(), "pc-darts", &flags, neighbour);
        assert_eq!(network.bilevel.supernet.shape.edges.partial as f64, set.number("k"));
        network
    };
    let mut network = begin("first");
    let loss = passes(&mut rows, &mut network, set, "");
    rows.add("fwd.loss", "fwd.loss", &[loss], &set.get("fwd.loss").values);
    network.compare_running(&mut rows, set, "fwd.buffer", false);
    let architecture = &network.bilevel.architecture;
    let [by_weight, by_edge] = &network.bilevel.mixture.slopes;
    let (alphas, betas) = architecture.gradient.split_at(architecture.alpha_count());
    for (ours, name) in [
        (&architecture.sample.weights[..], "fwd.weight"),
        (&architecture.edge_weights, "fwd.edge_weight"),
        (by_weight, "grad.weight"),
        (by_edge, "grad.edge_weight"),
        (alphas, "grad.alpha"),
        (betas, "grad.beta"),
    ] {
        compare_alphas(&mut rows, set, ours, name, false);
    }
    network.compare_features(&mut rows, set, "");

    let mut second = begin("second");
    let (train, valid) = (second.batch(set, "train", 0), second.batch(set, "valid", 0));
    second.bilevel.alpha_step(train.view(), valid.view(), second.lr).unwrap();
    let architecture = &second.bilevel.architecture;
    let (alphas, betas) = architecture.gradient.split_at(architecture.alpha_count());
    compare_alphas(&mut rows, set, alphas, "so.grad.alpha", true);
    compare_alphas(&mut rows, set, betas, "so.grad.beta", true);

    network.restart(set, "");
    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    compare_alpha_step(&mut rows, &network, set, "it1");
    network.bilevel.draw(Stream::WeightSample);
    weight_step(&mut rows, &mut network, set, "it1", 0.0);
    let (weights, momentum) = (network.bilevel.supernet.spans.weights, network.bilevel.spans.momentum);
    network.compare_running(&mut rows, set, "it1.buffer", false);
    network.compare_weights(&mut rows, set, momentum, "it1.momentum", false);
    network.compare_weights(&mut rows, set, weights, "it1.param", false);
    rows
}
