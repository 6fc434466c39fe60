//! One forward and backward pass, and the alpha step in first and second order, at two settings of the alphas.

use super::comparison::Comparisons;
use super::network::{Network, OFFICIAL, both, compare_alphas};
use super::set::Set;
use darts::backend::{Backend, Gradients, Mode};
use darts::search::architecture::Architecture;
use darts::search::hypergradient::{AlphaGradient, Product};

const NO_CLIP: f64 = f64::INFINITY;

pub fn check<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    // One network serves all checks, each from the start; the second order also does what the first does.
    let mut network = Network::new(set, backend, OFFICIAL, NO_CLIP);
    network.neighbour = neighbour;
    for prefix in ["", "alt."] {
        if !set.has(&format!("{prefix}init.alpha.normal")) {
            println!("{}: no {prefix}init.alpha, skipped", set.name);
            continue;
        }
        network.restart(set, prefix);
        forward_and_backward(&mut rows, &mut network, set, prefix);
        network.restart(set, prefix);
        second_order(&mut rows, &mut network, set, prefix);
    }
    rows
}

fn forward_and_backward<B: Backend>(
    rows: &mut Comparisons,
    network: &mut Network<B>,
    set: &Set,
    prefix: &str,
) {
    let train = network.batch(set, "train", 0);
    network.bilevel.differentiate(train.view(), Mode::Train, Gradients::All).unwrap();
    let gradient = network.pull_back(network.bilevel.supernet.mixing.gradient);
    compare_alphas(rows, set, &gradient, &format!("{prefix}grad.alpha"), false);
    let supernet = &network.bilevel.supernet;
    let logits = supernet.logits;
    network.compare_weights(rows, set, supernet.spans.gradients, &format!("{prefix}grad.param"), false);
    rows.add(
        &format!("{prefix}fwd.loss"),
        &format!("{prefix}fwd.loss"),
        &[network.bilevel.result().loss],
        &set.get(&format!("{prefix}fwd.loss")).values,
    );
    if prefix.is_empty() {
        network.compare_running(rows, set, "fwd.buffer", false);
        let result = network.bilevel.evaluate(train.view(), train.images());
        result.unwrap();
        rows.add("eval.logits", "eval.logits", &network.value(logits), &set.get("eval.logits").values);
    }
    network.compare_features(rows, set, prefix);
    let name = format!("{prefix}fwd.logits");
    rows.add(&name, &name, &network.value(logits), &set.get(&name).values);
}

fn second_order<B: Backend>(rows: &mut Comparisons, network: &mut Network<B>, set: &Set, prefix: &str) {
    let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
    let supernet = &network.bilevel.supernet;
    let weights = supernet.spans.weights;
    let spans = network.bilevel.spans.second_order.unwrap();

    network.bilevel.differentiate(valid.view(), Mode::Train, Gradients::Inputs).unwrap();
    let name = format!("{prefix}fo.loss_valid");
    rows.add(&name, &name, &[network.bilevel.result().loss], &set.get(&name).values);
    network.bilevel.update_alphas();
    let architecture = &network.bilevel.architecture;
    compare_alphas(rows, set, &architecture.gradient, &format!("{prefix}fo.alpha_grad"), false);
    compare_alphas(rows, set, &architecture.alphas, &format!("{prefix}fo.alpha_after"), false);

    network.restart(set, prefix);
    let step = network.bilevel.look_ahead(network.lr);
    spans.look_ahead(&mut network.bilevel.problem(train.view(), valid.view()), step).unwrap();
    let name = format!("{prefix}so.loss_train");
    rows.add(&name, &name, &[network.bilevel.result().loss], &set.get(&name).values);
    if set.names().any(|name| name.starts_with(&format!("{prefix}so.theta."))) {
        network.compare_weights(rows, set, weights, &format!("{prefix}so.theta"), false);
    }

    network.restart(set, prefix);
    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    let name = format!("{prefix}so.R");
    rows.add(&name, &name, &network.read(spans.radius), &set.get(&name).values);
    if set.names().any(|name| name.starts_with(&format!("{prefix}so.vector."))) {
        network.compare_weights(rows, set, spans.vector, &format!("{prefix}so.vector"), false);
    }
    let Architecture { gradient, alphas, .. } = network.bilevel.architecture.clone();
    let [ahead, product] = [spans.mixing_gradient, spans.product].map(|span| network.pull_back(span));
    compare_alphas(rows, set, &ahead, &format!("{prefix}so.dalpha"), false);
    compare_alphas(rows, set, &product, &format!("{prefix}so.hvp"), true);
    compare_alphas(rows, set, &gradient, &format!("{prefix}so.alpha_grad"), true);
    compare_alphas(rows, set, &alphas, &format!("{prefix}so.alpha_after"), true);
    rows.adam_amplifies();
}

/// With a shorter distance, the finite difference is the product of the second derivative, which the official code
/// does not compute.
pub fn check_exact_product<B: Backend>(set: &Set, backend: B) -> Comparisons {
    let mut rows = Comparisons::default();
    let gradient = AlphaGradient::Second(Product::Difference(1e-6));
    let mut network = Network::new(set, backend, gradient, NO_CLIP);
    for prefix in with_exact_product(set) {
        let product = product(&mut network, set, prefix);
        compare_alphas(&mut rows, set, &product, &format!("{prefix}so.hvp_exact"), true);
    }
    rows
}

/// At each setting of the alphas, how far the product is from the exact one, as a share of its length: with the official
/// distance, and in the order `extrapolated`.
pub fn product_errors<B: Backend>(set: &Set, backend: impl Fn() -> B) -> Vec<[f64; 2]> {
    let orders = [OFFICIAL, AlphaGradient::Second(Product::Extrapolated)];
    let mut networks = orders.map(|gradient| Network::new(set, backend(), gradient, NO_CLIP));
    let norm = |vector: &mut dyn Iterator<Item = f64>| vector.map(|x| x * x).sum::<f64>().sqrt();
    let mut errors = |prefix: &str| {
        let exact = both(set, &format!("{prefix}so.hvp_exact"));
        networks.each_mut().map(|network| {
            let found = product(network, set, prefix);
            norm(&mut found.iter().zip(&exact).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied())
        })
    };
    with_exact_product(set).map(&mut errors).collect()
}

fn with_exact_product(set: &Set) -> impl Iterator<Item = &'static str> {
    ["", "alt."].into_iter().filter(|prefix| set.has(&format!("{prefix}so.hvp_exact.normal")))
}

/// The product by the alphas at a start.
fn product<B: Backend>(network: &mut Network<B>, set: &Set, prefix: &str) -> Vec<f64> {
    network.restart(set, prefix);
    let (train, valid) = (network.batch(set, "train", 0), network.batch(set, "valid", 0));
    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    network.pull_back(network.bilevel.spans.second_order.unwrap().product)
}
