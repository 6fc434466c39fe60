//! Every primitive alone: outputs, input and weight gradients, running statistics.

use std::collections::BTreeSet;

use super::comparison::Comparisons;
use super::set::Set;
use darts::autograd::{
    ConvolutionParameters, MixingWeights, NormParameters, Recorder, SeparableParameters, Tape, Value, Weight,
    Window,
};
use darts::backend::{Backend, ConvolutionWindow, Gradients, Mode, PoolKind, Scalar, Shape, Span};
use darts::nn::Layout;

pub fn check<B: Backend>(set: &Set, backend: impl Fn() -> B) -> Comparisons {
    let mut rows = Comparisons::default();
    let cases: BTreeSet<&str> = set.names().filter_map(|name| name.strip_suffix(".x")).collect();
    for name in cases {
        let operation = name.split('.').next().unwrap();
        match operation {
            "shuffle" => check_shuffle(&mut rows, set, name, backend()),
            "none" => assert!(set.get(&format!("{name}.y")).values.iter().all(|&y| y == 0.0), "{name}"),
            "skip_connect" if name.contains(".s1") => {
                assert_eq!(set.get(&format!("{name}.y")).values, set.get(&format!("{name}.x")).values);
            }
            "max_pool_3x3" | "avg_pool_3x3" => check_normalised_pools(&mut rows, set, name, backend()),
            _ => Case::new(set, name).check(&mut rows, backend()),
        }
    }
    rows
}

/// A pool always has a batch norm here, and the traces of pools alone have none: outputs are compared behind a
/// normalisation of the trace. The gradient is compared in the mixed operations, whose pools have batch norms.
fn check_normalised_pools<B: Backend>(rows: &mut Comparisons, set: &Set, name: &str, backend: B) {
    let mut case = Case::new(set, name);
    let x = set.get(&format!("{name}.x"));
    let [n, channels, h, w] = x.shape[..] else { panic!("{name}: {:?}", x.shape) };
    let input = case.recorder.input(Shape::new(n, h, w, channels));
    let stride = if name.contains(".s2") { 2 } else { 1 };
    let values = case.normalised_pools(input, stride, channels, &[vec![], vec![]]);
    let output = values[usize::from(name.starts_with("avg"))];
    case.recorder.output(output);
    let mut tape = case.recorder.finish(backend).unwrap();
    tape.write_value(input, &cast(&x.to_nhwc())).unwrap();
    tape.forward(Mode::Train);
    let mut expected = set.get(&format!("{name}.y")).to_nhwc();
    for channel in 0..channels {
        let column = || (channel..expected.len()).step_by(channels);
        let count = column().count() as f64;
        let mean = column().map(|i| expected[i]).sum::<f64>() / count;
        let variance = column().map(|i| (expected[i] - mean).powi(2)).sum::<f64>() / count;
        let indices: Vec<usize> = column().collect();
        indices.into_iter().for_each(|i| expected[i] = (expected[i] - mean) / (variance + 1e-5).sqrt());
    }
    rows.add(&format!("{name}.y"), name, &wide(tape.read_value(output)), &expected).in_f64_only();
}

/// The order of channels behind a mixed operation that computes the first ones.
fn check_shuffle<B: Backend>(rows: &mut Comparisons, set: &Set, name: &str, backend: B) {
    let x = set.get(&format!("{name}.x"));
    let [n, channels, h, w] = x.shape[..] else { panic!("{name}: {:?}", x.shape) };
    let mut recorder = Recorder::new();
    let input = recorder.input(Shape::new(n, h, w, channels));
    let part = recorder.channel_slice(input, channels / set.number("k") as usize).unwrap();
    let weight = Weight { value: recorder.span(1), gradient: recorder.span(1) };
    let output = recorder.bypass(part, &[(input, weight)]).unwrap();
    recorder.output(output);
    let mut tape = recorder.finish(backend).unwrap();
    tape.backend().fill(weight.value, 1.0);
    tape.write_value(input, &cast(&x.to_nhwc())).unwrap();
    tape.forward(Mode::Train);
    let (y, name) = (wide(tape.read_value(output)), format!("{name}.y"));
    rows.add_images(&name, &name, &y, set.get(&name));
}

/// One primitive of the set while it is recorded.
struct Case<'a, B: Backend> {
    set: &'a Set,
    name: &'a str,
    recorder: Recorder<B>,
    weights: Vec<(String, Layout, Weight)>,
    running: Vec<(Vec<String>, Span)>,
    mixing: Option<MixingWeights>,
    /// The weight of the edge, past whose candidates channels go.
    edge: Option<Weight>,
}

impl<'a, B: Backend> Case<'a, B> {
    fn new(set: &'a Set, name: &'a str) -> Self {
        Case {
            set,
            name,
            recorder: Recorder::new(),
            weights: Vec::new(),
            running: Vec::new(),
            mixing: None,
            edge: None,
        }
    }

    fn check(mut self, rows: &mut Comparisons, backend: B) {
        let [n, c, h, w] = self.set.get(&format!("{}.x", self.name)).shape[..] else {
            panic!("{}", self.name)
        };
        let input = self.recorder.input(Shape::new(n, h, w, c));
        let output = self.record(input);
        self.recorder.output(output);
        let Case { set, name, recorder, weights, running, mixing, edge } = self;
        let mut tape = recorder.finish(backend).unwrap();
        for (weight_name, layout, weight) in &weights {
            let values = &set.get(&format!("{name}.param.{weight_name}")).values;
            let values: Vec<_> =
                (0..values.len()).map(|i| B::Scalar::of(values[layout.official(i)])).collect();
            tape.backend().write(weight.value, &values);
        }
        for (_, span) in &running {
            tape.backend().fill(span.part(span.len / 2, span.len / 2), 1.0);
        }
        if let Some(mixing) = mixing {
            tape.backend().write(mixing.value, &cast(&set.get(&format!("{name}.w")).values));
        }
        if let Some(edge) = edge {
            tape.backend().fill(edge.value, 1.0);
        }
        tape.write_value(input, &cast(&set.get(&format!("{name}.x")).to_nhwc())).unwrap();
        tape.forward(Mode::Train);
        let y = wide(tape.read_value(output));
        rows.add_images(&format!("{name}.y"), &format!("{name}.y"), &y, set.get(&format!("{name}.y")));
        tape.write_gradient(output, &cast(&set.get(&format!("{name}.dy")).to_nhwc())).unwrap();
        tape.backward(Gradients::All);
        let dx = wide(tape.read_gradient(input));
        rows.add_images(&format!("{name}.dx"), &format!("{name}.dx"), &dx, set.get(&format!("{name}.dx")));
        compare_parameters(rows, set, name, &tape, &weights, &running);
        if let Some(mixing) = mixing {
            let mut expected = set.get(&format!("{name}.dw")).values.clone();
            // The candidate none adds nothing, and its weight gets no gradient.
            assert_eq!(std::mem::take(&mut expected[0]), 0.0);
            rows.add(
                &format!("{name}.dw"),
                &format!("{name}.dw"),
                &wide(tape.read(mixing.gradient)),
                &expected,
            );
        }
    }

    fn record(&mut self, input: Value) -> Value {
        let stride = if self.name.contains(".s2") { 2 } else { 1 };
        let operation = self.name.split('.').next().unwrap();
        match operation {
            "mixed" => self.mixed(input, stride),
            "relu_conv_bn" => self.pointwise(input, "op.1.weight", None, "op.2"),
            "factorized_reduce" | "skip_connect" => {
                self.pointwise(input, "conv_1.weight", Some("conv_2.weight"), "bn")
            }
            "sep_conv_3x3" => self.twice(input, "op", stride, 3),
            "sep_conv_5x5" => self.twice(input, "op", stride, 5),
            "sep_conv_7x7" => self.twice(input, "op", stride, 7),
            "dil_conv_3x3" => self.separable(input, "op", 0, [3, 2], stride),
            "dil_conv_5x5" => self.separable(input, "op", 0, [5, 2], stride),
            "conv_7x1_1x7" => self.convolutions(input, stride),
            other => panic!("no primitive {other}"),
        }
    }

    /// The candidates of an edge, with all channels or with the first ones.
    fn mixed(&mut self, input: Value, stride: usize) -> Value {
        if !self.set.has_number("k") {
            return self.candidates(input, stride);
        }
        let channels = self.recorder.shape(input).c as usize / self.set.number("k") as usize;
        let part = self.recorder.channel_slice(input, channels).unwrap();
        let mixed = self.candidates(part, stride);
        let square = Window { kernel: 2, stride: 2, padding: 0 };
        let passing = match stride {
            2 => self.recorder.pool(input, PoolKind::Maximum, square, false).unwrap(),
            _ => input,
        };
        let weight = Weight { value: self.recorder.span(1), gradient: self.recorder.span(1) };
        self.edge = Some(weight);
        self.recorder.bypass(mixed, &[(passing, weight)]).unwrap()
    }

    fn candidates(&mut self, input: Value, stride: usize) -> Value {
        let channels = self.recorder.shape(input).c as usize;
        let mixing = self.recorder.ungated_mixing(8);
        let names = [vec!["_ops.1.1".to_string()], vec!["_ops.2.1".to_string()]];
        let [maximum, average] = self.normalised_pools(input, stride, channels, &names);
        let skip = match stride {
            2 => self.pointwise(input, "_ops.3.conv_1.weight", Some("_ops.3.conv_2.weight"), "_ops.3.bn"),
            _ => input,
        };
        let branches = [
            maximum,
            average,
            skip,
            self.twice(input, "_ops.4.op", stride, 3),
            self.twice(input, "_ops.5.op", stride, 5),
            self.separable(input, "_ops.6.op", 0, [3, 2], stride),
            self.separable(input, "_ops.7.op", 0, [5, 2], stride),
        ];
        let branches: Vec<_> = branches.into_iter().zip(1..).collect();
        self.mixing = Some(mixing);
        self.recorder.mixed(&branches, mixing).unwrap()
    }

    fn twice(&mut self, input: Value, prefix: &str, stride: usize, kernel: usize) -> Value {
        let middle = self.separable(input, prefix, 0, [kernel, 1], stride);
        self.separable(middle, prefix, 4, [kernel, 1], 1)
    }

    fn separable(
        &mut self,
        input: Value,
        prefix: &str,
        first: usize,
        window: [usize; 2],
        stride: usize,
    ) -> Value {
        let channels = self.recorder.shape(input).c as usize;
        let [kernel, dilation] = window;
        let parameters = SeparableParameters {
            kernel,
            dilation,
            depthwise: self
                .weight(&format!("{prefix}.{}.weight", first + 1), Layout::Depthwise { kernel, channels }),
            pointwise: self.weight(
                &format!("{prefix}.{}.weight", first + 2),
                Layout::Matrix { inputs: channels, outputs: channels },
            ),
            norm: self.norm(vec![format!("{prefix}.{}", first + 3)], channels),
        };
        self.recorder.separable(&[(input, vec![parameters])], stride, channels).unwrap()[0]
    }

    /// ReLU, a convolution of 1x7 and one of 7x1, and batch norm.
    fn convolutions(&mut self, input: Value, stride: usize) -> Value {
        let channels = self.recorder.shape(input).c as usize;
        let along = ConvolutionWindow { kernel: [1, 7], stride: [1, stride], padding: [0, 3] };
        let down = ConvolutionWindow { kernel: [7, 1], stride: [stride, 1], padding: [3, 0] };
        let parameters = |case: &mut Self, name: &str, window: ConvolutionWindow| ConvolutionParameters {
            window,
            channels,
            weights: case
                .weight(name, Layout::Dense { kernel: window.kernel, inputs: channels, outputs: channels }),
            relu: window == along,
            norm: None,
            of_images: false,
            gate: None,
        };
        let first = parameters(self, "1.weight", along);
        let half = self.recorder.convolution(input, first).unwrap();
        let second = parameters(self, "2.weight", down);
        let norm = Some(self.norm(vec!["3".to_string()], channels));
        self.recorder.convolution(half, ConvolutionParameters { norm, ..second }).unwrap()
    }

    fn pointwise(&mut self, input: Value, first: &str, second: Option<&str>, norm: &str) -> Value {
        let inputs = self.recorder.shape(input).c as usize;
        let weights: Vec<Weight> = [Some(first), second]
            .into_iter()
            .flatten()
            .map(|name| {
                let outputs = self.set.get(&format!("{}.param.{name}", self.name)).shape[0];
                self.weight(name, Layout::Matrix { inputs, outputs })
            })
            .collect();
        let channels = weights.iter().map(|weight| weight.value.len / inputs).sum();
        let norm = self.norm(vec![norm.to_string()], channels);
        self.recorder.pointwise(&[input], &weights, channels, norm).unwrap()
    }

    fn normalised_pools(
        &mut self,
        input: Value,
        stride: usize,
        channels: usize,
        names: &[Vec<String>; 2],
    ) -> [Value; 2] {
        let norms = [0, 1].map(|i| self.norm(names[i].clone(), channels));
        self.recorder.normalised_pools(input, stride, norms)
    }

    fn weight(&mut self, name: &str, layout: Layout) -> Weight {
        let weight =
            Weight { value: self.recorder.span(layout.len()), gradient: self.recorder.span(layout.len()) };
        self.weights.push((name.to_string(), layout, weight));
        weight
    }

    fn norm(&mut self, names: Vec<String>, channels: usize) -> NormParameters {
        let learned = names.first().map(|name| format!("{}.param.{name}.weight", self.name));
        let affine = learned.filter(|name| self.set.has(name)).map(|_| {
            let layout = Layout::Vector { len: channels };
            (
                self.weight(&format!("{}.weight", names[0]), layout),
                self.weight(&format!("{}.bias", names[0]), layout),
            )
        });
        let running = self.recorder.span(2 * channels);
        self.running.push((names, running));
        NormParameters { running, affine, gate: None }
    }
}

fn compare_parameters<B: Backend>(
    rows: &mut Comparisons,
    set: &Set,
    name: &str,
    tape: &Tape<B>,
    weights: &[(String, Layout, Weight)],
    running: &[(Vec<String>, Span)],
) {
    for (weight_name, layout, weight) in weights {
        let key = format!("{name}.dparam.{weight_name}");
        let expected = &set.get(&key).values;
        let expected: Vec<f64> = (0..expected.len()).map(|i| expected[layout.official(i)]).collect();
        rows.add(&key, &key, &wide(tape.read(weight.gradient)), &expected);
    }
    let given = set.names().filter(|key| key.starts_with(&format!("{name}.dparam."))).count();
    assert_eq!(weights.len(), given, "{name}: number of weight tensors");
    // The trace of partial channels has no statistics.
    for (names, span) in running.iter().filter(|_| !set.has_number("k")) {
        let ours = wide(tape.read(*span));
        let (mean, variance) = ours.split_at(ours.len() / 2);
        for norm in names {
            for (kind, ours) in [("running_mean", mean), ("running_var", variance)] {
                let key = format!("{name}.buffer.{norm}.{kind}");
                rows.add(&key, &format!("{name}.buffer"), ours, &set.get(&key).values);
            }
        }
    }
}

fn cast<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&x| T::of(x)).collect()
}

fn wide<T: Scalar>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Scalar::wide).collect()
}
