//! The derived network of the evaluation phase, with its auxiliary head and drop path.

use super::comparison::Comparisons;
use super::network::{self, Batch};
use super::set::Set;
use darts::autograd::{Recorder, Tape};
use darts::backend::{Backend, Gradients, Mode, Scalar, Shape};
use darts::space::genotype::Genotype;
use darts::space::{Network, NetworkShape, published};
use darts::train::Model;
use darts::train::model::Description;
use safetensors::SafeTensors;

/// The share of the auxiliary head's loss.
const AUXILIARY: f64 = 0.4;
/// The share of branches that the set with drop path dropped; it is not among its metadata.
const DROPPED: f64 = 0.2;

/// A derived network at the start of a set.
struct Evaluation<B: Backend> {
    tape: Tape<B>,
    network: Network,
}

impl<B: Backend> Evaluation<B> {
    fn new(set: &Set, backend: B, auxiliary: bool) -> Self {
        let image = &set.get("data.x").shape;
        let [n, channels, h, w] = image[..] else { panic!("{}: images of shape {image:?}", set.name) };
        let shape = NetworkShape {
            images: Shape::new(n, h, w, channels),
            classes: set.get("fwd.logits").shape[1],
            init_channels: set.number("C") as usize,
            cells: set.number("L") as usize,
            auxiliary: auxiliary.then_some(AUXILIARY),
            drop_path: auxiliary && set.has("drop_mask.00"),
            official_inplace_relu: auxiliary,
            class_weights: false,
        };
        let mut recorder = Recorder::new();
        let network = Network::record(&mut recorder, &genotype(set), shape).unwrap();
        Evaluation { tape: recorder.finish(backend).unwrap(), network }
    }

    fn set_weights(&mut self, set: &Set, neighbour: u64) {
        let parameters = &self.network.parameters;
        let mut values = network::flat(set, parameters, "init.param");
        network::move_to_neighbour(&mut values, neighbour);
        self.tape.backend().write(self.network.spans.weights, &cast(&values));
        let running: Vec<f64> = parameters.initial_running().into_iter().map(f64::from).collect();
        self.tape.backend().write(self.network.spans.running, &cast(&running));
    }

    /// The recorded masks as factors, in the order of the branches.
    fn set_drop_path(&mut self, set: &Set) {
        let Some(span) = self.network.drop_path else { return };
        let masks = set.names().filter(|name| name.starts_with("drop_mask.")).count();
        let mask = |index: usize| set.get(&format!("drop_mask.{index:02}")).values.iter();
        let factors: Vec<f64> = (0..masks).flat_map(mask).map(|kept| kept / (1.0 - DROPPED)).collect();
        assert_eq!(factors.len(), span.len, "{}: number of masks", set.name);
        self.tape.backend().write(span, &cast(&factors));
    }

    fn forward(&mut self, batch: &Batch<B::Scalar>, mode: Mode) {
        self.tape.write_value(self.network.images, batch.view().images).unwrap();
        self.tape.backend().write_labels(batch.view().labels);
        self.tape.forward(mode);
    }
}

pub fn check<B: Backend>(set: &Set, backends: impl Fn() -> B, neighbour: u64) -> Comparisons {
    let mut rows = Comparisons::default();
    let batch = Batch::new(set, "data.x", "data.y");
    let mut training = Evaluation::new(set, backends(), true);
    training.set_weights(set, neighbour);
    training.set_drop_path(set);
    let given = set.names().filter(|name| name.starts_with("init.param.")).count();
    assert_eq!(given, training.network.parameters.iter().count(), "{}: number of weight tensors", set.name);
    for parameter in training.network.parameters.iter() {
        let official = &set.get(&format!("init.param.{}", parameter.name)).shape;
        assert_eq!(&parameter.layout.official_shape(), official, "{}", parameter.name);
    }
    training.forward(&batch, Mode::Train);
    training.tape.backward(Gradients::All);

    let Evaluation { tape, network } = &mut training;
    let (auxiliary, auxiliary_loss) = network.auxiliary.expect("the network in training has a head");
    let read = |span| -> Vec<f64> { tape.read(span).into_iter().map(Scalar::wide).collect() };
    let loss = read(network.loss.result)[0] + AUXILIARY * read(auxiliary_loss.result)[0];
    rows.add("fwd.loss", "fwd.loss", &[loss], &set.get("fwd.loss").values);
    for (name, value) in [("fwd.logits", network.logits), ("fwd.logits_aux", auxiliary)] {
        let ours: Vec<f64> = tape.read_value(value).into_iter().map(Scalar::wide).collect();
        rows.add(name, name, &ours, &set.get(name).values);
    }
    let gradients = read(network.spans.gradients);
    let norm = gradients.iter().map(|x| x * x).sum::<f64>().sqrt();
    rows.add("grad.norm", "grad.norm", &[norm], &set.get("grad.norm").values);
    network::compare_weights(&mut rows, set, &network.parameters, &gradients, "grad.param", false);
    let running = read(network.spans.running);
    network::compare_running(&mut rows, set, &network.parameters, &running, "fwd.buffer", false);

    // After exactly one forward pass of training; the network that classifies has no auxiliary head.
    let mut inference = Evaluation::new(set, backends(), false);
    inference.set_weights(set, neighbour);
    let count = inference.network.spans.running.len;
    let head = network.parameters.running().filter(|running| running.names[0].starts_with("auxiliary"));
    let head: Vec<_> = head.map(|running| running.part).collect();
    let kept = (0..running.len())
        .filter(|i| head.iter().all(|part| !(part.offset..part.offset + part.len).contains(i)));
    let kept: Vec<f64> = kept.map(|i| running[i]).collect();
    assert_eq!(kept.len(), count);
    inference.tape.backend().write(inference.network.spans.running, &cast(&kept));
    inference.forward(&batch, Mode::Inference);
    let logits = inference.tape.read_value(inference.network.logits);
    let logits: Vec<f64> = logits.into_iter().map(Scalar::wide).collect();
    rows.add("eval.logits", "eval.logits", &logits, &set.get("eval.logits").values);
    rows
}

/// A model file of the recorded start holds the tensors of the official `state_dict`: these names, no others, with these
/// shapes and values.
pub fn check_model_file(set: &Set) {
    let image = &set.get("data.x").shape;
    let classes = set.get("fwd.logits").shape[1];
    let description = Description {
        genotype: genotype(set),
        init_channels: set.number("C") as usize,
        cells: set.number("L") as usize,
        auxiliary: true,
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        height: image[2],
        width: image[3],
        channels: image[1],
        mean: vec![0.0; image[1]],
        deviation: vec![1.0; image[1]],
        white: 255,
        data: "golden".into(),
        seed: 0,
        epoch: 1,
        steps: 1,
        pictures: None,
        background: None,
        fit: None,
        accuracy: 0.0,
    };
    let parameters = Network::parameters(&description.genotype, &description.shape(1, true));
    let weights = network::flat(set, &parameters, "init.param").into_iter().map(|x| x as f32).collect();
    let running = parameters.initial_running();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    Model { description, parameters, weights, running }.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let official = |name: &str| {
        ["init.param.", "fwd.buffer."].iter().find_map(|prefix| name.strip_prefix(prefix)).map(str::to_owned)
    };
    let mut expected: Vec<String> = set.names().filter_map(official).collect();
    let mut found: Vec<String> = file.names().into_iter().map(ToString::to_string).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{}", set.name);
    for name in found {
        let tensor = file.tensor(&name).unwrap();
        let buffer = format!("fwd.buffer.{name}");
        let recorded = set.get(&if set.has(&buffer) { buffer.clone() } else { format!("init.param.{name}") });
        assert_eq!(tensor.shape(), recorded.shape, "{}: {name}", set.name);
        if !set.has(&buffer) {
            let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            assert!(values.map(f64::from).eq(recorded.values.iter().copied()), "{}: {name}", set.name);
        }
    }
    println!("{}: {} tensors", set.name, file.len());
}

/// The genotype that a set is named after: eval_darts_v1_drop, eval_darts_v2.
fn genotype(set: &Set) -> Genotype {
    let name: Vec<&str> = set.name.split('_').skip(1).take(2).collect();
    published::find(&name.join("-")).unwrap().genotype
}

fn cast<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::of(x)).collect()
}
