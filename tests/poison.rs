//! Slots whose lives do not meet share memory. A replay in which each slot has memory of its own, destroyed before its life
//! begins and as soon as it is over, must give the same bytes; else an operator uses a slot which it has not declared.

use darts::autograd::Tape;
use darts::backend::reference::Reference;
use darts::backend::{Shape, Span};
use darts::epochs::{BatchResult, BatchView, Budget};
use darts::plan::search::{Order, Plan};
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{NetworkShape, Space, SupernetShape};
use darts::train::{Trainer, TrainerSettings};

const IMAGES: Shape = Shape { n: 3, h: 8, w: 8, c: 2 };
/// What the auxiliary head takes.
const LARGE: Shape = Shape { n: 3, h: 32, w: 32, c: 2 };
const LABELS: [[u32; 3]; 2] = [[0, 2, 1], [2, 2, 0]];

/// Every operation in both cells, so at both strides, and nodes of one edge and of several.
const GENOTYPE: &str = "Genotype(normal=[('sep_conv_3x3', 1), ('max_pool_3x3', 0), ('dil_conv_5x5', 2), \
    ('skip_connect', 0), ('avg_pool_3x3', 1), ('sep_conv_5x5', 3), ('dil_conv_3x3', 2), ('skip_connect', 1)], \
    normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('skip_connect', 1), ('avg_pool_3x3', 0), \
    ('sep_conv_3x3', 2), ('dil_conv_3x3', 1), ('sep_conv_5x5', 0), ('skip_connect', 2), ('dil_conv_5x5', 1)], \
    reduce_concat=range(2, 6))";

fn pixels(images: Shape, seed: usize) -> Vec<f64> {
    (0..images.len()).map(|i| ((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0).collect()
}

/// What steps leave: results of batches, and vectors by their names.
type Outcome = (Vec<BatchResult>, Vec<(&'static str, Vec<f64>)>);

fn read(tape: &Tape<Reference<f64>>, spans: Vec<(&'static str, Span)>) -> Vec<(&'static str, Vec<f64>)> {
    spans.into_iter().map(|(name, span)| (name, tape.read(span))).collect()
}

fn check(what: &str, outcome: impl Fn(bool) -> Outcome) {
    let (expected, found) = (outcome(false), outcome(true));
    for ((name, expected), (_, found)) in expected.1.iter().zip(&found.1) {
        assert!(expected.iter().all(|value| value.is_finite()), "{what}: {name} is no sum of numbers");
        let same = expected.iter().zip(found).filter(|(a, b)| a.to_bits() == b.to_bits()).count();
        assert_eq!(same, expected.len(), "{what}: {name} depends on slots beyond their lives");
    }
    assert_eq!(expected.0, found.0, "{what}");
}

/// Two steps of a search, and an evaluation.
fn search(plan: &Plan, poisoned: bool, active: impl Fn(usize) -> bool) -> Outcome {
    let (space, settings) = (Space::darts(), BilevelSettings::from(plan));
    let shape = SupernetShape {
        space,
        images: IMAGES,
        classes: 3,
        init_channels: 2,
        cells: 3,
        nodes: 3,
        edges: settings.method.edges(),
    };
    let mut bilevel = Bilevel::record(Reference::<f64>::new(), shape, settings).unwrap();
    if poisoned {
        bilevel.tape.poison();
    }
    bilevel.start(None, 1).unwrap();
    let branches = bilevel.supernet.mixing.value.len;
    bilevel.tape.set_active(&(0..branches).map(active).collect::<Vec<_>>()).unwrap();
    let (train, valid) = (pixels(IMAGES, 0), pixels(IMAGES, 1));
    let train = BatchView { images: &train, labels: &LABELS[0] };
    let valid = BatchView { images: &valid, labels: &LABELS[1] };
    let mut results: Vec<_> = (0..2).map(|_| bilevel.step(train, valid, 0.1).unwrap()).collect();
    results.push(bilevel.evaluate(valid, 2).unwrap());
    let spans = bilevel.supernet.spans;
    let mut left = bilevel.state();
    left.extend([("gradients", spans.gradients), ("mixing gradient", bilevel.supernet.mixing.gradient)]);
    let mut vectors = read(&bilevel.tape, left);
    vectors.push(("alphas", bilevel.architecture.alphas.clone()));
    (results, vectors)
}

/// Two steps of a training with auxiliary head and drop path, and an evaluation.
fn training(poisoned: bool) -> Outcome {
    let shape = NetworkShape {
        images: LARGE,
        classes: 3,
        init_channels: 2,
        cells: 3,
        auxiliary: Some(0.4),
        drop_path: true,
        official_inplace_relu: false,
        class_weights: true,
    };
    let settings = TrainerSettings { momentum: 0.9, nesterov: false, decay: 3e-4, gradient_clip: 5.0 };
    let genotype = GENOTYPE.parse().unwrap();
    let mut trainer = Trainer::record(Reference::<f64>::new(), &genotype, shape, settings).unwrap();
    if poisoned {
        trainer.tape.poison();
    }
    trainer.start(None, 1).unwrap();
    let (images, others) = (pixels(LARGE, 0), pixels(LARGE, 1));
    let train = BatchView { images: &images, labels: &LABELS[0] };
    let test = BatchView { images: &others, labels: &LABELS[1] };
    let mut results: Vec<_> = (0..2).map(|_| trainer.step(train, 0.1, 0.3).unwrap()).collect();
    let logits = trainer.logits(test).unwrap();
    let labels = test.labels.iter().map(|&label| label as usize);
    results.push(BatchResult::of(logits.chunks(shape.classes).zip(labels).take(2)));
    let mut left = trainer.state();
    left.push(("gradients", trainer.network.spans.gradients));
    (results, read(&trainer.tape, left))
}

#[test]
fn a_search_uses_no_slot_beyond_its_life() {
    for order in [Order::First, Order::Second] {
        let plan = Plan { order, ..Plan::paper() };
        check(&format!("{order:?} order"), |poisoned| search(&plan, poisoned, |_| true));
    }
}

#[test]
fn a_search_whose_edges_have_more_than_candidates_uses_no_slot_beyond_its_life() {
    let plan = Plan { edge_drop_path: "0.3".to_owned(), ..Plan::paper() };
    check("drop path on edges", |poisoned| search(&plan, poisoned, |_| true));
    let plan = Plan { auxiliary_skip: "0.5".to_owned(), ..Plan::paper() };
    check("auxiliary skips", |poisoned| search(&plan, poisoned, |_| true));
    let plan = Plan { skip_dropout: "0.4".to_owned(), ..plan };
    check("skips that are dropped, and auxiliary ones", |poisoned| search(&plan, poisoned, |_| true));
}

#[test]
fn a_search_with_closed_gates_uses_no_slot_beyond_its_life() {
    for kept in [2, 3] {
        check(&format!("{kept} of 5 branches"), |poisoned| {
            search(&Plan::paper(), poisoned, |branch| branch % 5 < kept)
        });
    }
}

#[test]
fn a_training_uses_no_slot_beyond_its_life() {
    check("a training", training);
}
