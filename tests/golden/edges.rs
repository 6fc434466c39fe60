//! Supernets whose edges have more than their candidates, against traces of their authors' code.

use super::comparison::Comparisons;
use super::network::compare_alphas;
use super::set::Set;
use super::steps::{passes, start};
use darts::backend::{Backend, Scalar};

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
