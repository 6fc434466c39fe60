//! Small networks that together hold every space of the program and every operation that can be computed, for any
//! device.

use std::path::Path;
use std::sync::Arc;

use darts::autograd::{Recorder, Tape};
use darts::backend::reference::Reference;
use darts::backend::{Backend, Gradients, Mode, Scalar, Shape};
use darts::random::{Stream, generator};
use darts::space::genotype::{CellGenotype, ChosenEdge, Genotype};
use darts::space::operation::OPERATIONS;
use darts::space::{EdgeShape, Network, NetworkShape, Operation, Space, SupernetShape};
use rand::RngExt;

use crate::supernets::{Step, Trial};

/// Channels of the first cell's nodes: few, an odd number, and in the second cell more than a narrow tile has.
const CHANNELS: [usize; 3] = [2, 3, 9];
const CLASSES: usize = 5;

/// Odd sides and even ones, so that both are halved; multiples where the space takes no others.
fn images(index: usize, space: &Space) -> Shape {
    match space.stacking().sides_step() {
        1 => Shape::new(3, 5 + index % 2, 6 - index % 2, 2),
        step => Shape::new(3, step, 2 * step, 2),
    }
}

/// Spaces of users with other inputs, outputs and stacks than those of the program: name and definition.
const OWN: [(&str, &str); 3] = [
    (
        "plain",
        "inputs = 2\npreprocessed = false\noutput = \"last\"\nstack = \"plain\"\nfewest_cells = 1\n\
         candidates = [\"none\", \"skip_connect\", \"sep_conv_3x3\", \"max_pool_3x3\"]",
    ),
    (
        "residual",
        "inputs = 1\noutput = \"last\"\nstack = \"residual\"\nedges_kept = 1\nnone_chosen = true\n\
         candidates = [\"none\", \"skip_connect\", \"nor_conv_3x3\", \"avg_pool_3x3\"]",
    ),
    (
        "narrow",
        "inputs = 1\npools_normalised = false\nedges_kept = \"all\"\nnone_chosen = true\n\
         candidates = [\"none\", \"skip_connect\", \"dil_conv_3x3\", \"avg_pool_3x3\"]",
    ),
];

/// The spaces of the program, and for each operation one whose edges choose between it and the next.
fn spaces() -> Vec<Arc<Space>> {
    let pairs = OPERATIONS.iter().zip(OPERATIONS.iter().cycle().skip(1)).map(|(one, other)| {
        let text = format!("nodes = 2\nedges_kept = \"all\"\ncandidates = [\"{one}\", \"{other}\"]");
        Space::from_toml(&text, Path::new(&format!("{one}.toml"))).unwrap()
    });
    let own = OWN.iter().map(|(name, text)| {
        Space::from_toml(&format!("nodes = 2\n{text}"), Path::new(&format!("{name}.toml"))).unwrap()
    });
    Space::known().iter().cloned().chain(pairs).chain(own).collect()
}

/// The fewest nodes, two at least, that cells of a space have.
fn nodes(space: &Space) -> usize {
    (2..=space.nodes()).find(|&nodes| space.check_nodes(nodes).is_ok()).unwrap()
}

/// A supernet of each space, a normal cell and two reductions, in which every branch is active. `narrow` ones have few
/// channels.
pub fn supernets(narrow: bool) -> impl Iterator<Item = (String, Trial)> {
    spaces().into_iter().enumerate().map(move |(index, space)| {
        let (name, nodes, images) =
            (format!("the supernet of {space}"), nodes(&space), images(index, &space));
        let init_channels = if narrow { 1 + index % 2 } else { CHANNELS[index % 3] };
        let shape = SupernetShape {
            space,
            images,
            classes: CLASSES,
            init_channels,
            cells: 3,
            nodes,
            edges: EdgeShape::default(),
        };
        let mut trial = Trial::of(shape, &mut generator(90, Stream::Test, index as u64), 0);
        trial.active.fill(true);
        (name, trial)
    })
}

/// A derived network and its numbers.
pub struct Derived {
    pub genotype: Genotype,
    pub shape: NetworkShape,
    pub weights: Vec<f32>,
    pub running: Vec<f32>,
    /// The factors of drop path.
    pub factors: Vec<f32>,
    pub images: Vec<f32>,
    pub labels: Vec<u32>,
}

/// For each operation but none, a network that holds it on all edges, with drop path. `narrow` ones have few channels.
pub fn derived(narrow: bool) -> impl Iterator<Item = (String, Derived)> {
    let operations = OPERATIONS.iter().filter(|operation| !operation.is_zero());
    operations.enumerate().map(move |(index, operation)| {
        let init_channels = if narrow { 1 + index % 2 } else { CHANNELS[index % 3] };
        (format!("a network of {operation}"), Derived::new(operation, index, init_channels))
    })
}

impl Derived {
    fn new(operation: &'static Operation, index: usize, init_channels: usize) -> Self {
        let edges = |froms: &[usize]| froms.iter().map(|&from| ChosenEdge { operation, from }).collect();
        // A node of one branch, of two and of three.
        let nodes = vec![edges(&[0]), edges(&[1, 2]), edges(&[0, 1, 3])];
        let cell = CellGenotype { nodes, concat: vec![2, 3, 4] };
        let space = spaces().into_iter().find(|space| space.name() == operation.name).unwrap();
        let images = images(index, &space);
        let genotype = Genotype { space, cells: vec![cell.clone(), cell] };
        let shape = NetworkShape {
            images,
            classes: CLASSES,
            init_channels,
            cells: 3,
            auxiliary: None,
            drop_path: true,
            official_inplace_relu: false,
            class_weights: false,
        };
        let mut recorder = Recorder::<Reference<f64>>::new();
        let network = Network::record(&mut recorder, &genotype, shape).unwrap();
        let mut random = generator(91, Stream::Test, index as u64);
        let mut numbers = |len: usize, low: f32, high: f32| -> Vec<f32> {
            (0..len).map(|_| random.random_range(low..high)).collect()
        };
        let initial = network.parameters.initial(4);
        // So that no factor of a batch norm is one, and no offset zero.
        let weights = initial.iter().zip(numbers(initial.len(), -0.2, 0.2)).map(|(a, b)| a + b).collect();
        Derived {
            weights,
            running: network.parameters.initial_running(),
            factors: numbers(network.drop_path.unwrap().len, 0.5, 1.5),
            images: numbers(shape.images.len(), -1.0, 1.0),
            labels: (0..shape.images.n).map(|i| i * 3 % 5).collect(),
            genotype,
            shape,
        }
    }

    /// Records the network on a device and makes a step of training.
    pub fn step<B: Backend>(&self, backend: B) -> (Tape<B>, Network, Step<B::Scalar>) {
        let mut recorder = Recorder::new();
        let network = Network::record(&mut recorder, &self.genotype, self.shape).unwrap();
        let mut tape = recorder.finish(backend).unwrap();
        let cast = |values: &[f32]| -> Vec<B::Scalar> {
            values.iter().map(|&value| B::Scalar::of(value.into())).collect()
        };
        tape.write_value(network.images, &cast(&self.images)).unwrap();
        let backend = tape.backend();
        backend.write(network.spans.weights, &cast(&self.weights));
        backend.write(network.spans.running, &cast(&self.running));
        backend.write(network.drop_path.unwrap(), &cast(&self.factors));
        backend.write_labels(&self.labels);
        tape.forward(Mode::Train);
        tape.backward(Gradients::All);
        let step = Step {
            loss: tape.read(network.loss.result),
            logits: tape.read_value(network.logits),
            slopes: Vec::new(),
            gradients: tape.read(network.spans.gradients),
            running: tape.read(network.spans.running),
        };
        (tape, network, step)
    }
}
