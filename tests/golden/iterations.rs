//! Three full search iterations: a step of the alphas, then one of the weights.

use super::comparison::{Comparisons, from_some_neighbour};
use super::network::{ADAM, Network, OFFICIAL, both, compare_alphas};
use super::set::Set;
use darts::backend::Backend;
use darts::search::Bilevel;
use darts::search::adam::Adam;
use darts::search::hypergradient::AlphaGradient;

/// All iterations in their order, each from the end of the one before.
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

/// The optimiser of the alphas alone, on the recorded gradients.
pub fn check_adam(set: &Set) -> Comparisons {
    let base = set.base();
    let mut alphas = both(&base, "init.alpha");
    let mut adam = Adam::new(alphas.len(), ADAM);
    let mut rows = Comparisons::default();
    for iteration in (1..).take_while(|iteration| set.has(&format!("it{iteration}.loss"))) {
        let name = |part: &str| format!("it{iteration}.{part}");
        adam.step(&mut alphas, &both(set, &name("alpha_grad")));
        for (ours, part) in [(&alphas, "alpha"), (&adam.first, "adam_m"), (&adam.second, "adam_v")] {
            compare_alphas(&mut rows, set, ours, &name(part), false);
        }
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
        let gradient = if second_order { OFFICIAL } else { AlphaGradient::First };
        let network = Network::new(&base, backend, gradient, gradient_clip);
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
    let (logits, weights) = (supernet.logits, supernet.spans.weights);
    let name = |part: &str| format!("it{iteration}.{part}");

    network.bilevel.alpha_step(train.view(), valid.view(), network.lr).unwrap();
    let Bilevel { architecture, adam, .. } = &network.bilevel;
    compare_alphas(rows, set, &architecture.gradient, &name("alpha_grad"), second_order);
    for (ours, part) in [(&architecture.alphas, "alpha"), (&adam.first, "adam_m"), (&adam.second, "adam_v")] {
        compare_alphas(rows, set, ours, &name(part), second_order);
        if second_order && (part == "alpha" || iteration > 1) {
            rows.adam_amplifies();
        }
    }
    if let Some(spans) = spans.second_order {
        let behind = iteration > 1;
        let [ahead, product] = [spans.mixing_gradient, spans.product].map(|span| network.pull_back(span));
        compare_alphas(rows, set, &ahead, &name("dalpha"), behind);
        compare_alphas(rows, set, &product, &name("hvp"), true);
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
