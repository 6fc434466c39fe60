//! Random supernets of which a random part is active, on any device.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::ops::Range;

use darts::autograd::{Recorder, Tape};
use darts::backend::{Backend, Gradients, Mode, Scalar, Shape};
use darts::random::{Stream, generator};
use darts::space::{Edge, EdgeShape, Space, Supernet, SupernetShape};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A supernet, its numbers, and which branches are active.
pub struct Trial {
    pub shape: SupernetShape,
    pub weights: Vec<f32>,
    pub running: Vec<f32>,
    pub mixing: Vec<f32>,
    pub images: Vec<f32>,
    pub labels: Vec<u32>,
    pub active: Vec<bool>,
    /// Where the mixing weights of each edge lie.
    pub rows: Vec<Range<usize>>,
}

/// What a step leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    pub loss: Vec<T>,
    pub logits: Vec<T>,
    /// The gradient of the mixing weights.
    pub slopes: Vec<T>,
    pub gradients: Vec<T>,
    pub running: Vec<T>,
}

/// The Euclidean distance of two vectors over the length of the second.
fn distance<T: Scalar>(found: &[T], wanted: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(wanted).map(|(a, b)| a.wide() - b));
    difference / norm(&mut wanted.iter().copied()).max(1e-9)
}

impl<T: Scalar> Step<T> {
    /// How far the parts are from those of the reference.
    pub fn distances(&self, wanted: &Step<f64>) -> [(&'static str, f64); 4] {
        [
            ("logits", distance(&self.logits, &wanted.logits)),
            ("slopes", distance(&self.slopes, &wanted.slopes)),
            ("gradients", distance(&self.gradients, &wanted.gradients)),
            ("running", distance(&self.running, &wanted.running)),
        ]
    }
}

/// A mask by its kind: one branch an edge, no branch at all, or each with a probability of 1/5 to 4/5.
pub fn mask(random: &mut ChaCha8Rng, kind: u64, rows: &[Range<usize>]) -> Vec<bool> {
    let mut active = vec![false; rows.last().map_or(0, |row| row.end)];
    for row in rows {
        let edge = &mut active[row.clone()];
        match kind % 6 {
            0 => edge[random.random_range(1..row.len())] = true,
            5 => {}
            fifths => edge.iter_mut().for_each(|branch| *branch = random.random_range(0..5) < fifths),
        }
    }
    active
}

impl Trial {
    /// Trial `index`: its size, its numbers and its mask are random.
    pub fn new(index: u64) -> Self {
        let mut random = generator(70, Stream::Test, index);
        let side = random.random_range(5..10);
        let shape = SupernetShape {
            space: Space::darts(),
            images: Shape::new(random.random_range(2..5), side, random.random_range(4..9), 3),
            classes: 5,
            init_channels: random.random_range(1..5),
            cells: random.random_range(1..5),
            nodes: random.random_range(1..4),
            edges: EdgeShape::default(),
        };
        Trial::of(shape, &mut random, index)
    }

    /// A trial of this size, whose mask is of this kind.
    pub fn of(shape: SupernetShape, random: &mut ChaCha8Rng, kind: u64) -> Self {
        let supernet = Supernet::record(&mut Recorder::<Recorded>::new(), shape.clone()).unwrap();
        let mut numbers = |len: usize, low: f32, high: f32| -> Vec<f32> {
            (0..len).map(|_| random.random_range(low..high)).collect()
        };
        let mixing = numbers(supernet.mixing.value.len, -1.0, 1.5);
        let images = numbers(shape.images.len(), -1.0, 1.0);
        let batch = shape.images.n;
        Trial {
            shape,
            weights: supernet.parameters.initial(3),
            running: supernet.parameters.initial_running(),
            mixing,
            images,
            labels: (0..batch).map(|i| i * 3 % 5).collect(),
            active: mask(random, kind, &supernet.rows()),
            rows: supernet.rows(),
        }
    }

    /// Records the supernet on a device.
    pub fn device<B: Backend>(&self, backend: B) -> Device<B> {
        let mut recorder = Recorder::new();
        let supernet = Supernet::record(&mut recorder, self.shape.clone()).unwrap();
        Device { tape: recorder.finish(backend).unwrap(), supernet }
    }

    /// The branch of a weight or a batch norm of this name.
    fn branch(&self, name: &str) -> Option<usize> {
        let mut words = name.strip_prefix("cells.")?.split('.');
        let cell: usize = words.next()?.parse().ok()?;
        let (space, nodes) = (&self.shape.space, self.shape.nodes);
        let kind = space.cell_at(cell, self.shape.cells);
        let (edge, operation) = match (words.next()?, words.next()?, words.next()?) {
            ("_ops", edge, "_ops") => (edge.parse::<usize>().unwrap(), words.next()?),
            ("edges", edge, operation) => {
                let name = |edge: &Edge| format!("{}<-{}", edge.node + space.inputs(), edge.from);
                (space.wiring(kind, nodes).edges.iter().position(|own| name(own) == edge)?, operation)
            }
            _ => return None,
        };
        let before: usize = (0..kind).map(|kind| space.wiring(kind, nodes).edges.len()).sum();
        let row = &self.rows[before + edge];
        Some(row.start + operation.parse::<usize>().unwrap())
    }

    /// Whether one of these names belongs to an active branch, or to none.
    pub fn computes<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|name| self.branch(name).is_none_or(|branch| self.active[branch]))
    }

    /// The mixing weights with zeros for branches that are not active.
    pub fn zeroed(&self) -> Vec<f32> {
        self.mixing.iter().zip(&self.active).map(|(&m, &active)| if active { m } else { 0.0 }).collect()
    }
}

/// Any device: what is recorded does not depend on it.
type Recorded = darts::backend::reference::Reference<f64>;

/// A supernet on a device.
pub struct Device<B: Backend> {
    pub tape: Tape<B>,
    pub supernet: Supernet,
}

fn cast<T: Scalar>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&value| T::of(value.into())).collect()
}

impl<B: Backend> Device<B> {
    fn load(&mut self, trial: &Trial, weights: &[f32], mixing: &[f32]) {
        let spans = self.supernet.spans;
        self.tape.write_value(self.supernet.images, &cast(&trial.images)).unwrap();
        let backend = self.tape.backend();
        backend.write(spans.weights, &cast(weights));
        backend.write(spans.running, &cast(&trial.running));
        backend.write(self.supernet.mixing.value, &cast(mixing));
        backend.write_labels(&trial.labels);
    }

    /// Leaves NaN in all that a step computes.
    pub fn spoil(&mut self, trial: &Trial) {
        self.tape.set_active(&vec![true; trial.active.len()]).unwrap();
        self.load(trial, &vec![f32::NAN; trial.weights.len()], &trial.mixing);
        self.tape.differentiate(Mode::TrainKeepRunning, Gradients::All);
        let gradients = self.tape.read(self.supernet.spans.gradients);
        // A weight that only ever meets pixels beyond the image has no gradient.
        let spoilt = gradients.iter().filter(|gradient| gradient.wide().is_nan()).count();
        assert!(2 * spoilt > gradients.len(), "{spoilt} of {} gradients are NaN", gradients.len());
    }

    /// A step with these mixing weights and this mask.
    pub fn step(&mut self, trial: &Trial, mixing: &[f32], active: &[bool]) -> Step<B::Scalar> {
        self.load(trial, &trial.weights, mixing);
        self.tape.set_active(active).unwrap();
        self.tape.forward(Mode::Train);
        self.tape.backward(Gradients::All);
        let (supernet, tape) = (&self.supernet, &self.tape);
        Step {
            loss: tape.read(supernet.loss.result),
            logits: tape.read_value(supernet.logits),
            slopes: tape.read(supernet.mixing.gradient),
            gradients: tape.read(supernet.spans.gradients),
            running: tape.read(supernet.spans.running),
        }
    }
}

/// A step with a mask is one of the whole supernet whose other branches weigh nothing, to the last bit, but for what
/// the mask keeps from being computed: the gradients of these branches are zero, and their running statistics stay.
pub fn masked_equals_weighed<B: Backend>(trial: &Trial, backend: impl Fn() -> B) {
    let mut masked = trial.device(backend());
    masked.spoil(trial);
    let mut mixing = trial.mixing.clone();
    for (m, _) in mixing.iter_mut().zip(&trial.active).filter(|(_, active)| !**active) {
        *m = f32::NAN;
    }
    let found = masked.step(trial, &mixing, &trial.active);
    let mut whole = trial.device(backend());
    let wanted = whole.step(trial, &trial.zeroed(), &vec![true; trial.active.len()]);

    assert!(found.loss[0].wide().is_finite());
    assert_eq!(found.loss, wanted.loss);
    assert_eq!(found.logits, wanted.logits);
    for (branch, active) in trial.active.iter().enumerate() {
        let slope = if *active { wanted.slopes[branch] } else { B::Scalar::default() };
        assert_eq!(found.slopes[branch], slope, "the slope of branch {branch}");
    }
    let parameters = &masked.supernet.parameters;
    for parameter in parameters.iter() {
        let part = parameter.part.offset..parameter.part.offset + parameter.part.len;
        let (ours, theirs) = (&found.gradients[part.clone()], &wanted.gradients[part]);
        assert_eq!(ours, theirs, "the gradient of {}", parameter.name);
        if !trial.computes(std::iter::once(parameter.name.as_str())) {
            assert!(ours.iter().all(|x| x.wide() == 0.0), "the gradient of {}", parameter.name);
        }
    }
    for running in parameters.running() {
        let part = running.part.offset..running.part.offset + running.part.len;
        let computed = trial.computes(running.names.iter().map(String::as_str));
        let expected =
            if computed { wanted.running[part.clone()].to_vec() } else { cast(&trial.running[part.clone()]) };
        assert_eq!(found.running[part.clone()], expected, "the running statistics of {:?}", running.names);
        // The pool beside one that an edge has, which no edge has.
        if running.names.is_empty() {
            let initial: Vec<B::Scalar> = cast(&trial.running[part.clone()]);
            assert_eq!(wanted.running[part], initial, "a pool that no edge has is computed");
        }
    }
}

/// Steps with masks in turn on one tape are those of fresh tapes, to the last bit.
pub fn masks_in_turn<B: Backend>(trial: &Trial, backend: impl Fn() -> B) {
    let mut random = generator(71, Stream::Test, 0);
    let mut one = trial.device(backend());
    for kind in [0, 4, 1, 5, 3, 2] {
        let active = mask(&mut random, kind, &trial.rows);
        let found = one.step(trial, &trial.mixing, &active);
        let wanted = trial.device(backend()).step(trial, &trial.mixing, &active);
        assert_eq!(found, wanted, "mask {kind}");
    }
}
