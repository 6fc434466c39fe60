//! Three full search iterations: a step of the alphas, then one of the weights.

use super::comparison::{Comparisons, from_some_neighbour};
use super::network::Network;
use super::set::Set;
use darts::backend::Backend;

/// All iterations, one after the other.
pub fn check<B: Backend>(set: &Set, backend: B) -> Comparisons {
    let mut iterations = Iterations::new(set, backend);
    let mut rows = Comparisons::default();
    for iteration in iterations.recorded() {
        iterations.compare(&mut rows, iteration);
    }
    rows
}

/// Each iteration from the recorded end of the one before: so that in f32 no rounding is amplified by what follows.
pub fn check_each<B: Backend>(set: &Set, backend: B) -> Comparisons {
    let mut iterations = Iterations::new(set, backend);
    let mut rows = Comparisons::default();
    for iteration in iterations.recorded() {
        rows.extend(from_some_neighbour(set, |neighbour| {
            iterations.restart(iteration, neighbour);
            let mut rows = Comparisons::default();
            iterations.compare(&mut rows, iteration);
            rows
        }));
    }
    rows
}

struct Iterations<'a, B: Backend> {
    set: &'a Set,
    base: Set,
    network: Network<B>,
    second_order: bool,
}

impl<'a, B: Backend> Iterations<'a, B> {
    fn new(set: &'a Set, backend: B) -> Self {
        let second_order = set.names().any(|name| name.ends_with(".hvp.normal"));
        let gradient_clip = if set.name.starts_with("iters_clip") { 0.5 } else { 5.0 };
        let base = set.base();
        let network = Network::new(&base, backend, second_order, gradient_clip, None);
        Iterations { set, base, network, second_order }
    }

    fn recorded(&self) -> std::ops::Range<usize> {
        let count = (1..).take_while(|iteration| self.set.has(&format!("it{iteration}.loss"))).count();
        1..count + 1
    }

    fn restart(&mut self, iteration: usize, neighbour: u64) {
        self.network.neighbour = neighbour;
        self.network.restart(&self.base, "");
        if iteration > 1 {
            self.network.restore(self.set, iteration - 1);
        }
    }

    fn compare(&mut self, rows: &mut Comparisons, iteration: usize) {
        compare_iteration(rows, &mut self.network, self.set, &self.base, iteration, self.second_order);
    }
}

fn compare_iteration<B: Backend>(
    rows: &mut Comparisons,
    network: &mut Network<B>,
    set: &Set,
    base: &Set,
    iteration: usize,
    second_order: bool,
) {
    let (train, valid) =
        (network.batch(base, "train", iteration - 1), network.batch(base, "valid", iteration - 1));
    let (spans, supernet) = (network.bilevel.spans, &network.bilevel.supernet);
    let (alphas, gradient, logits) = (supernet.alphas, supernet.alpha_gradient, supernet.logits);
    let weights = supernet.spans.weights;
    let name = |part: &str| format!("it{iteration}.{part}");

    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    network.compare_alphas(rows, set, gradient, &name("alpha_grad"), second_order);
    for (span, part) in [(alphas, "alpha"), (spans.first, "adam_m"), (spans.second, "adam_v")] {
        network.compare_alphas(rows, set, span, &name(part), second_order);
        if second_order && (part == "alpha" || iteration > 1) {
            rows.adam_amplifies();
        }
    }
    if let Some(spans) = spans.second_order {
        let behind = iteration > 1;
        network.compare_alphas(rows, set, spans.alpha_gradient, &name("dalpha"), behind);
        network.compare_alphas(rows, set, spans.product, &name("hvp"), true);
        rows.add(&name("R"), &name("R"), &network.read(spans.radius), &set.get(&name("R")).values);
        rows.behind_finite_difference(behind);
    }

    let result = network.bilevel.weight_step(train.view(), network.lr).unwrap();
    for (part, ours) in [
        ("loss", vec![result.loss]),
        ("logits", network.value(logits)),
        ("grad_norm", network.read(spans.gradient_norm)),
    ] {
        rows.add(&name(part), &name(part), &ours, &set.get(&name(part)).values);
        rows.behind_finite_difference(second_order);
    }
    network.compare_weights(rows, set, spans.momentum, &name("momentum"), second_order);
    network.compare_weights(rows, set, weights, &name("param"), second_order);
    network.compare_running(rows, set, &name("buffer"), second_order);
}
