//! A supernet set up from a golden set, and its parts in the official names and layouts.

use super::comparison::Comparisons;
use super::methods::tables;
use super::set::Set;
use darts::autograd::Value;
use darts::backend::{Backend, Mode, Scalar, Shape, Span};
use darts::epochs::BatchView;
use darts::nn::Parameters;
use darts::plan::keys::Preset;
use darts::plan::merge::Written;
use darts::plan::search::Plan;
use darts::random::{Stream, generator};
use darts::search::adam::AdamSettings;
use darts::search::hypergradient::{AlphaGradient, Product};
use darts::search::method::Method;
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{EdgeShape, Space, SupernetShape};
use rand::RngExt;
use std::sync::Arc;
use toml::Table;

/// The optimiser of the alphas in all sets.
pub const ADAM: AdamSettings = AdamSettings { rate: 3e-4, betas: (0.5, 0.999), decay: 1e-3 };

/// The second order of the official code.
pub const OFFICIAL: AlphaGradient = AlphaGradient::Second(Product::Difference(0.01));

/// A network and a batch or two in its number type.
pub struct Network<B: Backend> {
    pub bilevel: Bilevel<B>,
    pub lr: f64,
    classes: usize,
    /// Which neighbour of the recorded weights to start from; 0 for themselves.
    pub neighbour: u64,
}

/// Images and labels.
pub struct Batch<T> {
    images: Vec<T>,
    labels: Vec<u32>,
}

impl<T> Batch<T> {
    pub fn images(&self) -> usize {
        self.labels.len()
    }

    pub fn view(&self) -> BatchView<'_, T> {
        BatchView { images: &self.images, labels: &self.labels }
    }
}

impl<T: Scalar> Batch<T> {
    /// The tensors of these names.
    pub fn new(set: &Set, images: &str, labels: &str) -> Self {
        let labels = set.get(labels).values.iter().map(|&label| label as u32).collect();
        Batch { images: cast(&set.get(images).to_nhwc()), labels }
    }
}

impl<B: Backend> Network<B> {
    /// The network of DARTS at the start of a base set.
    pub fn new(set: &Set, backend: B, gradient: AlphaGradient, gradient_clip: f64) -> Self {
        let settings = BilevelSettings {
            method: Method::darts(gradient),
            weight_momentum: 0.9,
            weight_nesterov: false,
            weight_decay: 3e-4,
            gradient_clip,
            adam: ADAM,
        };
        let edges = settings.method.edges();
        Network::of(set, backend, Space::darts(), settings, edges)
    }

    /// The network of a published method at the start of a set, as its authors set it. `flags` are further keys of the plan.
    pub fn of_method(set: &Set, backend: B, method: &str, flags: &str) -> Self {
        let plan = plan(method, flags);
        let settings = BilevelSettings::from(&plan);
        let edges = settings.method.edges();
        Network::of(set, backend, plan.space().unwrap(), settings, edges)
    }

    /// A network over this space, whose edges have this beside their candidates, at the start of a set.
    pub fn of(
        set: &Set,
        backend: B,
        space: Arc<Space>,
        settings: BilevelSettings,
        edges_beside: EdgeShape,
    ) -> Self {
        let side = set.number("hw") as usize;
        let channels = set.get("data.train_x.0").shape[1];
        let names = ["weight.normal", "init.alpha.normal", "init.alpha"];
        let edges = set.get(names.into_iter().find(|name| set.has(name)).unwrap()).shape[0];
        let edges_of = |nodes: usize| space.wiring(0, nodes).edges.len();
        let nodes = (1..).find(|&nodes| edges_of(nodes) >= edges).unwrap();
        assert_eq!(edges_of(nodes), edges, "{}: edges of no whole number of nodes", set.name);
        let classes = set.get("init.param.classifier.bias").values.len();
        let shape = SupernetShape {
            space,
            images: Shape::new(set.number("N") as usize, side, side, channels),
            classes,
            init_channels: set.number("C") as usize,
            // Residual blocks are layers, too.
            cells: match set.text("cells_per_stage") {
                Some(cells) => 3 * cells.parse::<usize>().unwrap(),
                None => set.number("L") as usize,
            },
            nodes,
            edges: edges_beside,
        };
        assert_eq!(set.number("lr"), set.number("eta"));
        let bilevel = Bilevel::new(backend, shape, settings, 0).unwrap();
        let mut network = Network { bilevel, lr: set.number("lr"), classes, neighbour: 0 };
        network.restart(set, "");
        network
    }

    /// Sets everything to the start, with the alphas of `prefix`.
    pub fn restart(&mut self, set: &Set, prefix: &str) {
        self.bilevel.restart(0);
        self.set_weights(set);
        // A trace of given mixing weights has no alphas.
        if !set.has("weight.normal") {
            self.set_alphas(set, &format!("{prefix}init.alpha"));
        }
    }

    /// Sets the weights to those of the start.
    pub fn set_weights(&mut self, set: &Set) {
        let weights = |name: &&str| {
            name.starts_with("init.param.") && !(name.contains(".edges.") && name.ends_with(".bias"))
        };
        let own = self.bilevel.supernet.parameters.iter();
        let own = own.filter(|parameter| set.has(&format!("init.param.{}", parameter.name)));
        assert_eq!(
            set.names().filter(weights).count(),
            own.count(),
            "{}: number of weight tensors",
            set.name
        );
        self.write_weights(set, self.bilevel.supernet.spans.weights, "init.param");
        self.move_to_neighbour();
    }

    /// Sets everything to the recorded end of an iteration.
    pub fn restore(&mut self, set: &Set, iteration: usize) {
        let (weights, momentum) = (self.bilevel.supernet.spans.weights, self.bilevel.spans.momentum);
        self.write_weights(set, weights, &format!("it{iteration}.param"));
        self.write_weights(set, momentum, &format!("it{iteration}.momentum"));
        self.set_alphas(set, &format!("it{iteration}.alpha"));
        self.bilevel.adam.first = both(set, &format!("it{iteration}.adam_m"));
        self.bilevel.adam.second = both(set, &format!("it{iteration}.adam_v"));
        self.bilevel.adam.steps = iteration as f64;
        let mut running = vec![B::Scalar::default(); self.bilevel.supernet.spans.running.len];
        for entry in self.bilevel.supernet.parameters.running() {
            for (half, kind) in ["running_mean", "running_var"].into_iter().enumerate() {
                let values = &set.get(&format!("it{iteration}.buffer.{}.{kind}", entry.names[0])).values;
                let start = entry.part.offset + half * entry.channels;
                running[start..start + entry.channels].copy_from_slice(&cast::<B::Scalar>(values));
            }
        }
        let span = self.bilevel.supernet.spans.running;
        self.bilevel.tape.backend().write(span, &running);
        self.move_to_neighbour();
    }

    fn move_to_neighbour(&mut self) {
        let span = self.bilevel.supernet.spans.weights;
        let mut values = self.read(span);
        move_to_neighbour(&mut values, self.neighbour);
        self.bilevel.tape.backend().write(span, &cast(&values));
    }

    fn write_weights(&mut self, set: &Set, span: Span, prefix: &str) {
        let values = flat(set, &self.bilevel.supernet.parameters, prefix);
        self.bilevel.tape.backend().write(span, &cast(&values));
    }

    pub fn set_alphas(&mut self, set: &Set, prefix: &str) {
        self.bilevel.architecture.alphas = tables(set, prefix);
        let betas = prefix.replace("alpha", "beta");
        if set.has(&format!("{betas}.normal")) {
            self.bilevel.architecture.alphas.extend(both(set, &betas));
        }
        self.bilevel.draw(Stream::AlphaSample);
    }

    /// The gradient by the alphas of what has this gradient by the mixing weights.
    pub fn pull_back(&mut self, gradient: Span) -> Vec<f64> {
        self.bilevel.pull_back(gradient);
        self.bilevel.architecture.gradient.clone()
    }

    pub fn batch(&self, set: &Set, half: &str, index: usize) -> Batch<B::Scalar> {
        let batch = Batch::new(set, &format!("data.{half}_x.{index}"), &format!("data.{half}_y.{index}"));
        assert!(batch.labels.iter().all(|&label| (label as usize) < self.classes));
        batch
    }

    pub fn read(&self, span: Span) -> Vec<f64> {
        self.bilevel.tape.read(span).into_iter().map(Scalar::wide).collect()
    }

    pub fn value(&self, value: Value) -> Vec<f64> {
        self.bilevel.tape.read_value(value).into_iter().map(Scalar::wide).collect()
    }

    /// Compares the outputs of the stem and of the cells. They survive until their gradients are computed, so they are read
    /// from a forward replay alone; the logits are those of that replay, too.
    pub fn compare_features(&mut self, rows: &mut Comparisons, set: &Set, prefix: &str) {
        let supernet = &self.bilevel.supernet;
        let (stem, layers) = (supernet.stem, supernet.layers.clone());
        self.bilevel.tape.forward(Mode::TrainKeepRunning);
        let name = format!("{prefix}fwd.stem");
        rows.add_images(&name, &name, &self.value(stem), set.get(&name));
        for (index, nodes) in layers.iter().enumerate() {
            let name = format!("{prefix}fwd.cell.{index}");
            // AutoDL's supernet shows its residual blocks alone.
            if !set.has(&name) && set.text("cells_per_stage").is_some() {
                continue;
            }
            let nodes: Vec<Vec<f64>> = nodes.iter().map(|&node| self.value(node)).collect();
            let expected = set.get(&name);
            let channels = expected.shape[1] / nodes.len();
            let pixels = nodes[0].len() / channels;
            let pixel = |p: usize| {
                nodes.iter().flat_map(move |node| &node[p * channels..(p + 1) * channels]).copied()
            };
            let concatenated: Vec<f64> = (0..pixels).flat_map(pixel).collect();
            rows.add_images(&name, &name, &concatenated, expected);
        }
    }

    /// Compares a flat vector, tensor by tensor.
    pub fn compare_weights(&self, rows: &mut Comparisons, set: &Set, span: Span, prefix: &str, behind: bool) {
        compare_weights(rows, set, &self.bilevel.supernet.parameters, &self.read(span), prefix, behind);
    }

    /// Compares the running statistics of every batch norm, those of shared pools with each edge's.
    pub fn compare_running(&self, rows: &mut Comparisons, set: &Set, prefix: &str, behind: bool) {
        let ours = self.read(self.bilevel.supernet.spans.running);
        compare_running(rows, set, &self.bilevel.supernet.parameters, &ours, prefix, behind);
    }
}

/// The plan of a published method as its authors set it, with further keys.
pub fn plan(method: &str, flags: &str) -> Plan {
    let flags = format!("data = \"digits\"\nmethod = \"{method}\"\n{flags}").parse().unwrap();
    let written = Written { preset: Preset::Paper, file: None, flags };
    written.plan::<Plan>(Table::new()).unwrap().plan
}

/// Compares an alpha tensor, or a pair of them.
pub fn compare_alphas(rows: &mut Comparisons, set: &Set, ours: &[f64], prefix: &str, behind: bool) {
    if set.has(prefix) {
        rows.add(prefix, prefix, ours, &set.get(prefix).values).behind_finite_difference(behind);
        return;
    }
    for (kind, ours) in ["normal", "reduce"].into_iter().zip(ours.chunks(ours.len() / 2)) {
        let name = format!("{prefix}.{kind}");
        rows.add(&name, prefix, ours, &set.get(&name).values).behind_finite_difference(behind);
    }
}

/// A pair of alpha tensors in one vector.
pub fn both(set: &Set, prefix: &str) -> Vec<f64> {
    ["normal", "reduce"].map(|kind| set.get(&format!("{prefix}.{kind}")).values.clone()).concat()
}

/// The weights that a set holds under a prefix, in our layout. A batch norm whose factor and offset a set does not have
/// has the factor 1 and the offset 0: AutoDL's last one in a search.
pub fn flat(set: &Set, parameters: &Parameters, prefix: &str) -> Vec<f64> {
    let mut values = vec![0.0; parameters.len()];
    for parameter in parameters.iter() {
        let name = format!("{prefix}.{}", parameter.name);
        if !set.has(&name) && parameter.name.starts_with("lastact.") {
            let part = parameter.part.offset..parameter.part.offset + parameter.part.len;
            values[part].fill(if name.ends_with(".weight") { 1.0 } else { 0.0 });
            continue;
        }
        let tensor = set.get(&name);
        assert_eq!(tensor.values.len(), parameter.part.len, "{}", parameter.name);
        for i in 0..parameter.part.len {
            values[parameter.part.offset + i] = tensor.values[parameter.layout.official(i)];
        }
    }
    values
}

/// Nudges each weight by a rounding of f32, up, down or not at all; neighbour 0 is where they are.
pub fn move_to_neighbour(weights: &mut [f64], neighbour: u64) {
    if neighbour == 0 {
        return;
    }
    let mut random = generator(neighbour, Stream::Test, 0);
    for weight in weights {
        *weight *= 1.0 + f64::from(random.random_range(-1i32..=1)) * f64::from(f32::EPSILON);
    }
}

/// Compares a flat vector, tensor by tensor. A tensor that the set leaves out is zero: the gradient of an operation that
/// was not run. One that the network of the set does not have is not compared.
pub fn compare_weights(
    rows: &mut Comparisons,
    set: &Set,
    parameters: &Parameters,
    ours: &[f64],
    prefix: &str,
    behind: bool,
) {
    let network = prefix.split_once('.').filter(|(part, _)| part.starts_with("arch"));
    let network = network.map(|(part, _)| format!("{part}.")).unwrap_or_default();
    for parameter in parameters.iter() {
        let name = format!("{prefix}.{}", parameter.name);
        if !set.has(&format!("{network}init.param.{}", parameter.name))
            && parameter.name.starts_with("lastact.")
        {
            continue;
        }
        let expected = |i: usize| set.get(&name).values[parameter.layout.official(i)];
        let expected: Vec<f64> = match set.has(&name) {
            true => (0..set.get(&name).values.len()).map(expected).collect(),
            false => vec![0.0; parameter.part.len],
        };
        let part = parameter.part.offset..parameter.part.offset + parameter.part.len;
        let group = format!("{prefix}.{}", parameter.name.split('.').next().unwrap());
        rows.add(&name, &group, &ours[part], &expected).behind_finite_difference(behind);
    }
}

/// Compares the running statistics of every batch norm, those of shared pools with each edge's.
pub fn compare_running(
    rows: &mut Comparisons,
    set: &Set,
    parameters: &Parameters,
    ours: &[f64],
    prefix: &str,
    behind: bool,
) {
    let mut compared = 0;
    for running in parameters.running() {
        let start = running.part.offset;
        let [mean, variance] = [start, start + running.channels].map(|at| &ours[at..at + running.channels]);
        for name in &running.names {
            let part = name.split('.').next().unwrap();
            for (kind, ours) in [("running_mean", mean), ("running_var", variance)] {
                let name = format!("{prefix}.{name}.{kind}");
                let expected = &set.get(&name).values;
                rows.add(&name, &format!("{prefix}.{part}"), ours, expected).behind_finite_difference(behind);
                compared += 1;
            }
        }
    }
    let given = set.names().filter(|name| name.starts_with(prefix) && name.contains("running_")).count();
    assert_eq!(compared, given, "{}: number of running statistics", set.name);
}

fn cast<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::of(x)).collect()
}
