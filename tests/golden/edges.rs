//! Supernets whose edges have more than their candidates.

use super::comparison::Comparisons;
use super::network::{ADAM, Batch, both, compare_alphas, compare_weights, flat, move_to_neighbour};
use super::set::Set;
use darts::backend::{Backend, Gradients, Mode, Scalar, Shape, Span};
use darts::plan::search::Plan;
use darts::random::Stream;
use darts::search::method::Method;
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{Space, SupernetShape};

/// The supernet of a set with the parts that a plan names, at the recorded start.
fn bilevel<B: Backend>(set: &Set, backend: B, plan: &Plan, neighbour: u64) -> Bilevel<B> {
    let space = Space::named(&plan.space).unwrap();
    let (side, images) = (set.number("hw") as usize, set.get("data.train_x.0"));
    let method = Method::from(plan);
    let shape = SupernetShape {
        images: Shape::new(images.shape[0], side, side, images.shape[1]),
        space,
        classes: set.get("fwd.logits").shape[1],
        init_channels: set.number("C") as usize,
        cells: set.number("L") as usize,
        nodes: set.number("steps") as usize,
        edges: method.edges(),
    };
    let settings =
        BilevelSettings { method, weight_momentum: 0.9, weight_decay: 3e-4, gradient_clip: 5.0, adam: ADAM };
    let mut bilevel = Bilevel::new(backend, shape, settings, 0).unwrap();
    let given = set.names().filter(|name| name.starts_with("init.param.")).count();
    assert_eq!(given, bilevel.supernet.parameters.iter().count(), "{}: number of weight tensors", set.name);
    let mut weights = flat(set, &bilevel.supernet.parameters, "init.param");
    move_to_neighbour(&mut weights, neighbour);
    let span = bilevel.supernet.spans.weights;
    write(&mut bilevel, span, &weights);
    bilevel.architecture.alphas = both(set, "init.alpha");
    bilevel.draw(Stream::AlphaSample);
    bilevel
}

fn write<B: Backend>(bilevel: &mut Bilevel<B>, span: Span, values: &[f64]) {
    let values: Vec<_> = values.iter().map(|&value| B::Scalar::of(value)).collect();
    bilevel.tape.backend().write(span, &values);
}

fn read<B: Backend>(bilevel: &Bilevel<B>, span: Span) -> Vec<f64> {
    bilevel.tape.read(span).into_iter().map(Scalar::wide).collect()
}

/// The result and all gradients of the training batch.
fn pass<B: Backend>(set: &Set, bilevel: &mut Bilevel<B>) -> Comparisons {
    let mut rows = Comparisons::default();
    let train = Batch::new(set, "data.train_x.0", "data.train_y.0");
    bilevel.differentiate(train.view(), Mode::Train, Gradients::All).unwrap();
    let spans = bilevel.supernet.spans;
    let gradients = read(bilevel, spans.gradients);
    compare_weights(&mut rows, set, &bilevel.supernet.parameters, &gradients, "grad.param", false);
    bilevel.pull_back(bilevel.supernet.mixing.gradient);
    compare_alphas(&mut rows, set, &bilevel.architecture.gradient, "grad.alpha", false);
    rows.add("fwd.loss", "fwd.loss", &[bilevel.result().loss], &set.get("fwd.loss").values);
    bilevel.tape.forward(Mode::TrainKeepRunning);
    let logits: Vec<f64> =
        bilevel.tape.read_value(bilevel.supernet.logits).into_iter().map(Scalar::wide).collect();
    rows.add("fwd.logits", "fwd.logits", &logits, &set.get("fwd.logits").values);
    rows
}

/// Drop path on the edges, with the recorded masks.
pub fn drop_path<B: Backend>(set: &Set, backend: B, neighbour: u64) -> Comparisons {
    let plan = Plan { space: "s2".to_owned(), edge_drop_path: "0.4".to_owned(), ..Plan::default() };
    let mut bilevel = bilevel(set, backend, &plan, neighbour);
    let kept = 1.0 - set.get("drop_path_prob").values[0];
    let masks: Vec<f64> =
        (0..15).flat_map(|edge| set.get(&format!("drop_mask.{edge:02}")).values.clone()).collect();
    let factors: Vec<f64> = masks.iter().map(|mask| mask / kept).collect();
    let span = bilevel.supernet.drop_path.unwrap();
    assert_eq!(factors.len(), span.len);
    write(&mut bilevel, span, &factors);
    pass(set, &mut bilevel)
}
