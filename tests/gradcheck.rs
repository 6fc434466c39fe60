//! Every operator of the tape against central differences, in f64 on the reference backend.
//!
//! The loss is the inner product of the outputs, as their readers see them, with fixed random numbers. Inputs are
//! kept off the kinks of ReLU and maximum; where a hidden value comes close to one, another seed is drawn.

use darts::autograd::{
    Loss, MixingWeights, NormParameters, Recorder, SeparableParameters, Tape, Value, Weight, Window,
};
use darts::backend::reference::Reference;
use darts::backend::{Device as _, Gradients, Mode, PoolKind, Shape, Span};
use darts::random::{Stream, generator};
use rand::RngExt;

type Device = Reference<f64>;

/// Relative to the largest gradient of the tensor.
const TOLERANCE: f64 = 1e-6;
/// Smaller gradients are compared absolutely: a batch norm makes some of them vanish.
const SMALL: f64 = 1e-3;
const STEP: f64 = 1e-5;
/// Hidden values closer than this to a kink could cross it.
const MARGIN: f64 = 1e-3;

/// A network under test.
struct Check {
    recorder: Recorder<Device>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// Values that a ReLU reads.
    hidden: Vec<Value>,
    /// Spans to differentiate by, with their gradients.
    variables: Vec<(Span, Span)>,
    constants: Vec<(Span, Vec<f64>)>,
    loss: Option<Loss>,
    /// Which branches are active, where some have gates.
    active: Option<Vec<bool>>,
}

impl Check {
    fn new() -> Self {
        Check {
            recorder: Recorder::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            hidden: Vec::new(),
            variables: Vec::new(),
            constants: Vec::new(),
            loss: None,
            active: None,
        }
    }

    fn input(&mut self, n: usize, h: usize, w: usize, c: usize) -> Value {
        let value = self.recorder.input(Shape::new(n, h, w, c));
        self.inputs.push(value);
        value
    }

    fn output(&mut self, value: Value) {
        self.recorder.output(value);
        self.recorder.keep(value);
        self.outputs.push(value);
    }

    fn weight(&mut self, len: usize) -> Weight {
        let weight = Weight { value: self.recorder.span(len), gradient: self.recorder.span(len) };
        self.variables.push((weight.value, weight.gradient));
        weight
    }

    fn norm(&mut self, channels: usize, affine: bool) -> NormParameters {
        let affine = affine.then(|| (self.weight(channels), self.weight(channels)));
        NormParameters { running: self.recorder.span(2 * channels), affine, gate: None }
    }

    /// State that is not differentiated by.
    fn constant(&mut self, values: &[f64]) -> Span {
        let span = self.recorder.span(values.len());
        self.constants.push((span, values.to_vec()));
        span
    }

    fn mixing(&mut self, len: usize) -> MixingWeights {
        let weights = MixingWeights {
            value: self.recorder.span(len),
            gradient: self.recorder.accumulator(len),
            gates: None,
        };
        self.variables.push((weights.value, weights.gradient));
        weights
    }

    fn branch(
        &mut self,
        window: [usize; 2],
        inputs: usize,
        outputs: usize,
        affine: bool,
    ) -> SeparableParameters {
        let [kernel, dilation] = window;
        SeparableParameters {
            kernel,
            dilation,
            depthwise: self.weight(kernel * kernel * inputs),
            pointwise: self.weight(inputs * outputs),
            norm: self.norm(outputs, affine),
        }
    }

    /// Compares all gradients with central differences; `false` where a hidden value lies near a kink.
    fn run(self, name: &str, seed: u64) -> bool {
        let Check { recorder, inputs, outputs, hidden, variables, constants, loss, active } = self;
        let mut bench = Bench {
            tape: recorder.finish(Device::new()).unwrap(),
            outputs,
            slopes: Vec::new(),
            loss,
            largest: 0.0,
        };
        active.into_iter().for_each(|active| bench.tape.set_active(&active).unwrap());
        let mut random = generator(seed, Stream::Test, 0);
        let mut images: Vec<Vec<f64>> = Vec::new();
        for &input in &inputs {
            images.push(spread(bench.tape.read_value(input).len(), &mut random));
            bench.tape.write_value(input, images.last().unwrap()).unwrap();
        }
        for &(span, _) in &variables {
            let values: Vec<f64> =
                (0..span.len).map(|_| random.random_range(0.2..1.0) * sign(&mut random)).collect();
            bench.tape.backend().write(span, &values);
        }
        constants.iter().for_each(|(span, values)| bench.tape.backend().write(*span, values));
        for &output in &bench.outputs {
            let len = bench.tape.read_value(output).len();
            bench.slopes.push((0..len).map(|_| random.random_range(-1.0..1.0)).collect());
        }
        bench.tape.backend().write_labels(&[3, 0, 6, 2]);
        bench.loss();
        let near = |value: &Value| bench.tape.read_value(*value).iter().any(|x| x.abs() < MARGIN);
        if hidden.iter().any(near) {
            return false;
        }
        bench.backward();
        let gradients: Vec<Vec<f64>> =
            variables.iter().map(|&(_, gradient)| bench.tape.read(gradient)).collect();
        // The stem's images have no gradient: their operator is the only one that leaves none.
        let with_gradient = if name == "convolution" { &[][..] } else { &inputs[..] };
        let input_gradients: Vec<Vec<f64>> =
            with_gradient.iter().map(|&input| bench.tape.read_gradient(input)).collect();
        for (index, &(span, _)) in variables.iter().enumerate() {
            let values = bench.tape.read(span);
            let write = |bench: &mut Bench, values: &[f64]| bench.tape.backend().write(span, values);
            bench.compare(&format!("{name}, variable {index}"), values, &gradients[index], write);
        }
        for (index, &input) in with_gradient.iter().enumerate() {
            let write = |bench: &mut Bench, values: &[f64]| bench.tape.write_value(input, values).unwrap();
            bench.compare(
                &format!("{name}, input {index}"),
                images[index].clone(),
                &input_gradients[index],
                write,
            );
        }
        assert!(bench.largest > 0.1, "{name}: nothing to compare");
        true
    }
}

struct Bench {
    tape: Tape<Device>,
    outputs: Vec<Value>,
    slopes: Vec<Vec<f64>>,
    loss: Option<Loss>,
    /// The largest gradient of all.
    largest: f64,
}

impl Bench {
    fn loss(&mut self) -> f64 {
        self.tape.forward(Mode::TrainKeepRunning);
        let inner = |(&output, slopes): (&Value, &Vec<f64>)| -> f64 {
            self.tape.read_value(output).iter().zip(slopes).map(|(y, slope)| y * slope).sum()
        };
        let products: f64 = self.outputs.iter().zip(&self.slopes).map(inner).sum();
        products + self.loss.map_or(0.0, |loss| self.tape.read(loss.result)[0])
    }

    fn backward(&mut self) {
        for (&output, slopes) in self.outputs.iter().zip(&self.slopes) {
            self.tape.write_gradient(output, slopes).unwrap();
        }
        self.tape.backward(Gradients::All);
    }

    fn compare(
        &mut self,
        name: &str,
        mut values: Vec<f64>,
        gradient: &[f64],
        write: impl Fn(&mut Bench, &[f64]),
    ) {
        assert_eq!(values.len(), gradient.len(), "{name}");
        let mut numeric = Vec::new();
        for index in 0..values.len() {
            let centre = values[index];
            let mut at = |bench: &mut Bench, value: f64| {
                values[index] = value;
                write(bench, &values);
                bench.loss()
            };
            let difference = at(self, centre + STEP) - at(self, centre - STEP);
            at(self, centre);
            numeric.push(difference / (2.0 * STEP));
        }
        let largest = numeric.iter().fold(0.0, |largest, x| f64::max(largest, x.abs()));
        self.largest = self.largest.max(largest);
        for (index, (ours, expected)) in gradient.iter().zip(&numeric).enumerate() {
            let error = (ours - expected).abs() / largest.max(SMALL);
            assert!(
                error <= TOLERANCE,
                "{name}, element {index}: {ours} instead of {expected} ({error:.1e})"
            );
        }
    }
}

fn sign(random: &mut impl RngExt) -> f64 {
    if random.random_bool(0.5) { 1.0 } else { -1.0 }
}

/// Numbers in random order that lie apart from each other and from zero.
fn spread(len: usize, random: &mut impl RngExt) -> Vec<f64> {
    let mut values: Vec<f64> = (0..len).map(|i| (i as f64 + 0.7) / len as f64 * 4.0 - 2.0).collect();
    values.iter_mut().for_each(|x| *x += 0.05 * x.signum());
    for i in (1..len).rev() {
        values.swap(i, random.random_range(0..=i));
    }
    values
}

/// Records and checks, with other seeds where a hidden value comes near a kink.
fn check(name: &str, record: impl Fn(&mut Check)) {
    let done = (0..50).any(|seed| {
        let mut check = Check::new();
        record(&mut check);
        check.run(name, seed)
    });
    assert!(done, "{name}: no seed keeps the hidden values off the kinks");
}

#[test]
fn convolution() {
    for [h, w, channels, kernel, outputs] in
        [[5, 7, 3, 3, 4], [4, 3, 1, 3, 1], [6, 5, 2, 5, 3], [1, 1, 3, 3, 2]]
    {
        check("convolution", |c| {
            let input = c.input(3, h, w, channels);
            let weights = c.weight(kernel * kernel * channels * outputs);
            let norm = c.norm(outputs, true);
            let output = c.recorder.convolution(input, weights, kernel, outputs, norm).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn separable() {
    for (h, w, channels, stride) in [(5, 7, 3, 1), (5, 7, 3, 2), (6, 4, 1, 2), (3, 3, 5, 1), (2, 3, 2, 1)] {
        for windows in [vec![[3, 1]], vec![[5, 2]], vec![[3, 2], [5, 1], [7, 1]]] {
            check("separable", |c| {
                let input = c.input(3, h, w, channels);
                let branches =
                    windows.iter().map(|&window| c.branch(window, channels, channels + 1, false)).collect();
                let outputs = c.recorder.separable(&[(input, branches)], stride, channels + 1).unwrap();
                outputs.into_iter().for_each(|output| c.output(output));
            });
        }
    }
}

/// The sums of the batch norm in the middle are left by the second convolution on its way.
#[test]
fn separable_twice_with_affine_batch_norms() {
    for stride in [1, 2] {
        check("sep_conv", |c| {
            let input = c.input(2, 5, 4, 3);
            let first = vec![c.branch([3, 1], 3, 3, true), c.branch([5, 1], 3, 3, true)];
            let middle = c.recorder.separable(&[(input, first)], stride, 3).unwrap();
            c.hidden.extend(&middle);
            let second: Vec<_> = middle.iter().map(|&m| (m, vec![c.branch([3, 1], 3, 3, true)])).collect();
            for output in c.recorder.separable(&second, 1, 3).unwrap() {
                c.output(output);
            }
        });
    }
}

#[test]
fn pointwise_over_concatenated_inputs() {
    for widths in [vec![3], vec![1, 4], vec![2, 3, 5]] {
        check("pointwise", |c| {
            let inputs: Vec<Value> = widths.iter().map(|&width| c.input(3, 3, 5, width)).collect();
            let weights = c.weight(widths.iter().sum::<usize>() * 4);
            let norm = c.norm(4, false);
            let output = c.recorder.pointwise(&inputs, &[weights], 4, norm).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn factorized_reduce() {
    for (h, w, channels) in [(4, 6, 4), (5, 7, 3), (2, 2, 2), (3, 4, 2)] {
        check("factorized reduce", |c| {
            let input = c.input(4, h, w, 3);
            let weights = [c.weight(3 * (channels / 2)), c.weight(3 * (channels - channels / 2))];
            let norm = c.norm(channels, false);
            let output = c.recorder.pointwise(&[input], &weights, channels, norm).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn normalised_pools() {
    for (h, w, channels, stride) in [(5, 7, 3, 1), (5, 7, 3, 2), (4, 4, 1, 2), (1, 1, 2, 1), (2, 3, 5, 1)] {
        check("normalised pools", |c| {
            let input = c.input(3, h, w, channels);
            let norms = [c.norm(channels, false), c.norm(channels, true)];
            for output in c.recorder.normalised_pools(input, stride, norms) {
                c.output(output);
            }
        });
    }
}

/// Two nodes over a normalised state, a plain state and the pools of both: values that several nodes mix in, and
/// gradients that several operators add to.
#[test]
fn mixed_operations() {
    check("mixed", |c| {
        let [first, second] = [c.input(2, 3, 5, 3), c.input(2, 3, 5, 3)];
        let (weights, norm) = (c.weight(9), c.norm(3, true));
        let state = c.recorder.pointwise(&[first], &[weights], 3, norm).unwrap();
        c.hidden.push(state);
        let branches = vec![c.branch([3, 1], 3, 3, false), c.branch([3, 2], 3, 3, true)];
        let convolved = c.recorder.separable(&[(state, branches)], 1, 3).unwrap();
        let norms = [c.norm(3, false), c.norm(3, false)];
        let pools = c.recorder.normalised_pools(second, 1, norms);
        let mixing = c.mixing(12);
        let values = [state, second, convolved[0], pools[0], pools[1]];
        let branches: Vec<_> = values.into_iter().enumerate().map(|(i, value)| (value, 2 * i)).collect();
        let node = c.recorder.mixed(&branches, mixing).unwrap();
        let branches =
            [(node, 1), (convolved[0], 3), (convolved[1], 5), (state, 7), (pools[0], 9), (second, 11)];
        let last = c.recorder.mixed(&branches, mixing).unwrap();
        c.output(node);
        c.output(last);
    });
}

/// Two nodes with every kind of branch, at both strides, under every mask of one branch a node and some of more. What is
/// not active has neither influence nor gradient, and the first to deliver a gradient may be among it.
#[test]
fn mixed_operations_under_a_mask() {
    let masks = (0..16).map(|i| {
        let mut mask = [i % 2 == 1; 12];
        (mask[i % 6], mask[6 + i / 3]) = (i % 2 == 0, i % 2 == 0);
        mask
    });
    for mask in masks.chain([[true; 12]]) {
        check("mixed under a mask", |c| mixed_under(c, mask));
    }
}

fn mixed_under(c: &mut Check, mask: [bool; 12]) {
    let [first, second] = [c.input(2, 5, 3, 2), c.input(2, 5, 3, 2)];
    let mixing = c.recorder.mixing(12);
    c.variables.push((mixing.value, mixing.gradient));
    let gates: Vec<_> = (0..12).map(|branch| c.recorder.gate(mixing, &[branch])).collect();
    let pooled = [[0, 6], [1, 7]].map(|users| c.recorder.gate(mixing, &users));
    let gated = |mut branch: SeparableParameters, gate| {
        branch.norm.gate = gate;
        branch
    };
    let branches = vec![
        gated(c.branch([3, 1], 2, 2, false), gates[2]),
        gated(c.branch([3, 2], 2, 2, true), gates[3]),
        gated(c.branch([5, 1], 2, 2, false), gates[8]),
    ];
    let halves = c.recorder.separable(&[(first, branches)], 1, 2).unwrap();
    if mask[8] {
        c.hidden.push(halves[2]);
    }
    let again = gated(c.branch([3, 1], 2, 2, false), gates[8]);
    let twice = c.recorder.separable(&[(halves[2], vec![again])], 1, 2).unwrap()[0];
    let norms = pooled.map(|gate| NormParameters { gate, ..c.norm(2, false) });
    let pools = c.recorder.normalised_pools(first, 1, norms);
    let norm = NormParameters { gate: gates[9], ..c.norm(2, true) };
    let matrix = c.weight(4);
    let product = c.recorder.pointwise(&[second], &[matrix], 2, norm).unwrap();
    let node = [(pools[0], 0), (pools[1], 1), (halves[0], 2), (halves[1], 3), (first, 4), (second, 5)];
    let node = c.recorder.mixed(&node, mixing).unwrap();
    let last = [(pools[0], 6), (pools[1], 7), (twice, 8), (product, 9), (node, 10), (first, 11)];
    let last = c.recorder.mixed(&last, mixing).unwrap();
    c.output(node);
    c.output(last);
    c.active = Some(mask.to_vec());
}

#[test]
fn global_pool_classifier_and_loss() {
    check("loss", |c| {
        let inputs = [c.input(4, 3, 2, 3), c.input(4, 3, 2, 2)];
        let pooled = c.recorder.global_pool(&inputs).unwrap();
        let (weights, bias) = (c.weight(5 * 7), c.weight(7));
        let logits = c.recorder.linear(pooled, weights, bias).unwrap();
        c.loss = Some(c.recorder.cross_entropy(logits, 1.0));
    });
}

/// The gradient is that of a share of the loss; what is reported is the loss itself.
#[test]
fn a_share_of_a_loss() {
    let gradient = |weight| {
        let mut recorder = Recorder::<Device>::new();
        let logits = recorder.input(Shape::new(2, 1, 1, 3));
        let loss = recorder.cross_entropy(logits, weight);
        let mut tape = recorder.finish(Device::new()).unwrap();
        tape.write_value(logits, &[0.5, -1.0, 2.0, 0.0, 0.25, -0.5]).unwrap();
        tape.backend().write_labels(&[2, 0]);
        tape.forward(Mode::Train);
        tape.backward(Gradients::All);
        (tape.read(loss.result), tape.read_gradient(logits))
    };
    let ((whole, slopes), (part, shares)) = (gradient(1.0), gradient(0.4));
    assert_eq!(whole, part);
    assert!(slopes.iter().zip(&shares).all(|(slope, share)| (0.4 * slope - share).abs() < 1e-15));
    assert!(slopes.iter().any(|slope| slope.abs() > 0.1));
}

/// Behind a ReLU and a batch norm, as in the auxiliary head: the input is read through both.
#[test]
fn activated_convolution() {
    for (h, w, kernel) in [(2, 2, 2), (4, 3, 2), (5, 4, 3), (3, 3, 1)] {
        check("activated convolution", |c| {
            let input = c.input(3, h, w, 2);
            let (weights, norm) = (c.weight(2 * 3), c.norm(3, true));
            let state = c.recorder.pointwise(&[input], &[weights], 3, norm).unwrap();
            c.hidden.push(state);
            let (weights, norm) = (c.weight(kernel * kernel * 3 * 4), c.norm(4, true));
            let output = c.recorder.activated_convolution(state, weights, kernel, 4, norm).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn pool() {
    let window = |kernel, stride, padding| Window { kernel, stride, padding };
    let cases = [
        (5, 7, window(3, 1, 1), false),
        (6, 5, window(3, 2, 1), false),
        (8, 9, window(5, 3, 0), true),
        (3, 2, window(1, 1, 0), true),
        (1, 1, window(3, 2, 1), true),
    ];
    for (h, w, window, relu) in cases {
        for kind in [PoolKind::Maximum, PoolKind::Average] {
            check("pool", |c| {
                let plain = c.input(2, h, w, 3);
                let (weights, norm) = (c.weight(9), c.norm(3, true));
                let state = c.recorder.pointwise(&[plain], &[weights], 3, norm).unwrap();
                if relu {
                    c.hidden.push(state);
                }
                for value in [plain, state] {
                    let output = c.recorder.pool(value, kind, window, relu).unwrap();
                    c.output(output);
                }
            });
        }
    }
}

/// Two nodes over a normalised state, a plain one and convolutions of which one flows into both nodes; with and
/// without factors.
#[test]
fn node_sums_with_drop_path() {
    check("node_sum", |c| {
        let [first, second] = [c.input(3, 3, 5, 3), c.input(3, 3, 5, 3)];
        let (weights, norm) = (c.weight(9), c.norm(3, true));
        let state = c.recorder.pointwise(&[first], &[weights], 3, norm).unwrap();
        c.hidden.push(state);
        let branches = vec![c.branch([3, 1], 3, 3, true), c.branch([3, 2], 3, 3, true)];
        let convolved = c.recorder.separable(&[(state, branches)], 1, 3).unwrap();
        let factors = [c.constant(&[0.0, 1.25, 1.25]), c.constant(&[2.0, 0.0, 2.0])];
        let node = c.recorder.node_sum(&[(convolved[0], Some(factors[0])), (second, None)]).unwrap();
        let last = [
            (node, None),
            (convolved[1], Some(factors[1])),
            (convolved[0], None),
            (state, None),
            (node, None),
        ];
        let last = c.recorder.node_sum(&last).unwrap();
        c.output(node);
        c.output(last);
    });
}
