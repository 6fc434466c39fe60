//! A network under test, and its gradients against central differences.

use darts::autograd::{
    ConvolutionParameters, Loss, MixingWeights, NormParameters, Recorder, SeparableParameters, Tape, Value,
    Weight,
};
use darts::backend::reference::Reference;
use darts::backend::{ConvolutionWindow, Device as _, Gradients, Mode, Shape, Span};
use darts::random::{Stream, generator};
use rand::RngExt;

pub type Device = Reference<f64>;

/// Relative to the largest gradient of the tensor.
const TOLERANCE: f64 = 1e-6;
/// Smaller gradients are compared absolutely: a batch norm makes some of them vanish.
const SMALL: f64 = 1e-3;
const STEP: f64 = 1e-5;
/// Hidden values closer than this to a kink could cross it.
const MARGIN: f64 = 1e-3;

/// A network under test.
pub struct Check {
    pub recorder: Recorder<Device>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    /// Values that a ReLU reads.
    pub hidden: Vec<Value>,
    /// Spans to differentiate by, with their gradients.
    pub variables: Vec<(Span, Span)>,
    pub constants: Vec<(Span, Vec<f64>)>,
    pub loss: Option<Loss>,
    /// Which branches are active, where some have gates.
    pub active: Option<Vec<bool>>,
    /// Whether batch norms have their running statistics; there are gradients by mixing weights and inputs alone then.
    pub in_inference: bool,
    mixing: Vec<Span>,
    running: Vec<Span>,
}

impl Check {
    pub fn new() -> Self {
        Check {
            recorder: Recorder::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            hidden: Vec::new(),
            variables: Vec::new(),
            constants: Vec::new(),
            loss: None,
            active: None,
            in_inference: false,
            mixing: Vec::new(),
            running: Vec::new(),
        }
    }

    pub fn input(&mut self, n: usize, h: usize, w: usize, c: usize) -> Value {
        let value = self.recorder.input(Shape::new(n, h, w, c));
        self.inputs.push(value);
        value
    }

    pub fn output(&mut self, value: Value) {
        self.recorder.output(value);
        self.recorder.keep(value);
        self.outputs.push(value);
    }

    pub fn weight(&mut self, len: usize) -> Weight {
        let weight = Weight { value: self.recorder.span(len), gradient: self.recorder.span(len) };
        self.variables.push((weight.value, weight.gradient));
        weight
    }

    pub fn norm(&mut self, channels: usize, affine: bool) -> NormParameters {
        let affine = affine.then(|| (self.weight(channels), self.weight(channels)));
        let running = self.recorder.span(2 * channels);
        self.running.push(running);
        NormParameters { running, affine, gate: None }
    }

    /// State that is not differentiated by.
    pub fn constant(&mut self, values: &[f64]) -> Span {
        let span = self.recorder.span(values.len());
        self.constants.push((span, values.to_vec()));
        span
    }

    pub fn mixing(&mut self, len: usize) -> MixingWeights {
        let weights = self.recorder.ungated_mixing(len);
        self.variables.push((weights.value, weights.gradient));
        self.mixing.push(weights.value);
        weights
    }

    pub fn branch(
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

    /// A convolution of feature maps, without a ReLU.
    pub fn convolution(
        &mut self,
        window: ConvolutionWindow,
        inputs: usize,
        channels: usize,
        normalised: bool,
    ) -> ConvolutionParameters {
        ConvolutionParameters {
            window,
            channels,
            weights: self.weight(window.taps() * inputs * channels),
            relu: false,
            norm: normalised.then(|| self.norm(channels, true)),
            of_images: false,
            gate: None,
        }
    }

    /// Compares all gradients with central differences; `false` where a hidden value lies near a kink.
    fn run(self, name: &str, seed: u64) -> bool {
        let Check { recorder, inputs, outputs, hidden, variables, constants, loss, active, .. } = self;
        let mut bench = Bench {
            tape: recorder.finish(Device::new()).unwrap(),
            outputs,
            slopes: Vec::new(),
            loss,
            in_inference: self.in_inference,
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
        for &span in &self.running {
            let values: Vec<f64> = (0..span.len).map(|_| random.random_range(0.2..1.0)).collect();
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
            if self.in_inference && !self.mixing.contains(&span) {
                continue;
            }
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
    in_inference: bool,
    /// The largest gradient of all.
    largest: f64,
}

impl Bench {
    fn loss(&mut self) -> f64 {
        self.tape.forward(if self.in_inference { Mode::Inference } else { Mode::TrainKeepRunning });
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
        self.tape.backward(if self.in_inference { Gradients::InputsInInference } else { Gradients::All });
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
pub fn check(name: &str, record: impl Fn(&mut Check)) {
    let done = (0..50).any(|seed| {
        let mut check = Check::new();
        record(&mut check);
        check.run(name, seed)
    });
    assert!(done, "{name}: no seed keeps the hidden values off the kinks");
}
