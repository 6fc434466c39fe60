//! The largest eigenvalue of the validation loss's Hessian by the alphas, against the official Hessian by double backward.

use super::comparison::Comparisons;
use super::network::{Network, both, compare_alphas};
use super::set::Set;
use darts::backend::{Backend, Gradients, Mode};
use darts::search::curvature::ACCURACY;
use darts::search::lanczos::Accuracy;

fn network<B: Backend>(set: &Set, backend: B) -> Network<B> {
    Network::of_method(set, backend, "darts", "space = \"s2\"")
}

/// The alpha gradient, and the eigenvalue with as many products as there are alphas.
pub fn check<B: Backend>(set: &Set, backend: B) -> Comparisons {
    let mut network = network(set, backend);
    let valid = network.batch(set, "valid", 0);
    let mut rows = Comparisons::default();
    network.bilevel.differentiate(valid.view(), Mode::TrainKeepRunning, Gradients::Inputs).unwrap();
    let gradient = network.pull_back(network.bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &gradient, "grad.alpha", false);
    let all = Accuracy { products: gradient.len(), change: 0.0 };
    let found = network.bilevel.curvature(valid.view(), 1e-4, all).unwrap();
    let expected = set.get("ev").values[0];
    let error = (found.value - expected).abs() / expected.abs();
    println!(
        "eigenvalue {} instead of {expected}, off by {error:.1e}, {} products",
        found.value, found.products
    );
    assert!(error < 1e-6);
    assert_eq!(network.bilevel.architecture.alphas, both(set, "init.alpha"));
    rows
}

/// In f32, at a distance that crosses no kink of this net.
pub fn check_roughly<B: Backend>(set: &Set, backend: B) {
    let mut network = network(set, backend);
    let valid = network.batch(set, "valid", 0);
    let found = network.bilevel.curvature(valid.view(), 5e-5, ACCURACY).unwrap();
    let expected = set.get("ev").values[0];
    let error = (found.value - expected).abs() / expected.abs();
    println!(
        "eigenvalue {} instead of {expected}, off by {error:.1e}, {} products",
        found.value, found.products
    );
    assert!(error < 0.02);
}
