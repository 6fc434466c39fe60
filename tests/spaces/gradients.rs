//! Gradients against central differences, in f64 on the reference backend.

use darts::autograd::Tape;
use darts::backend::reference::Reference;
use darts::backend::{Device as _, Mode, Span};
use darts::nn::Parameters;
use darts::random::{Stream, generator};
use rand::RngExt;

use crate::networks;

type Device = Reference<f64>;

/// Relative to the largest gradient of the tensor.
const TOLERANCE: f64 = 2e-7;
/// Smaller gradients are compared absolutely: a batch norm makes some of them vanish.
const SMALL: f64 = 1e-3;
/// A ReLU or a maximum between two points spoils their difference; the closer they are, the rarer that is. A wrong
/// gradient is wrong at every distance.
const STEPS: [f64; 3] = [1e-5, 1e-6, 1e-7];
/// Elements of each tensor of weights that are compared.
const SAMPLES: usize = 2;

/// A network at the point where its gradients were computed.
struct Bench<'a> {
    name: &'a str,
    tape: Tape<Device>,
    loss: Span,
    /// The largest gradient of all.
    largest: f64,
    /// The largest error of all.
    worst: f64,
}

impl Bench<'_> {
    fn loss(&mut self, at: Span, value: f64) -> f64 {
        self.tape.backend().write(at, &[value]);
        self.tape.forward(Mode::TrainKeepRunning);
        self.tape.read(self.loss)[0]
    }

    /// Compares the gradient of these elements of a tensor.
    fn compare(&mut self, what: &str, tensor: Span, gradient: &[f64], elements: impl Iterator<Item = usize>) {
        assert_eq!(tensor.len, gradient.len());
        let largest = gradient.iter().fold(0.0, |largest, slope| f64::max(largest, slope.abs()));
        self.largest = self.largest.max(largest);
        for element in elements {
            let at = tensor.part(element, 1);
            let centre = self.tape.read(at)[0];
            let errors = STEPS.map(|step| {
                let difference = self.loss(at, centre + step) - self.loss(at, centre - step);
                (gradient[element] - difference / (2.0 * step)).abs() / largest.max(SMALL)
            });
            let error = errors.into_iter().fold(f64::INFINITY, f64::min);
            self.worst = self.worst.max(error);
            self.tape.backend().write(at, &[centre]);
            assert!(error <= TOLERANCE, "{}, {what}, element {element}: {errors:?}", self.name);
        }
    }

    /// Compares some elements of each tensor of weights.
    fn compare_weights(&mut self, parameters: &Parameters, weights: Span, gradients: &[f64]) {
        let mut random = generator(92, Stream::Test, 0);
        for parameter in parameters.iter() {
            let (offset, len) = (parameter.part.offset, parameter.part.len);
            let elements: Vec<_> = (0..SAMPLES.min(len)).map(|_| random.random_range(0..len)).collect();
            let gradient = &gradients[offset..offset + len];
            self.compare(&parameter.name, weights.part(offset, len), gradient, elements.into_iter());
        }
        println!("{}: differs by {:.1e} at most", self.name, self.worst);
        assert!(self.largest > 0.01, "{}: nothing to compare", self.name);
    }
}

#[test]
fn supernets_of_every_space_have_the_gradients_of_their_loss() {
    for (name, trial) in networks::supernets(true) {
        let mut device = trial.device(Device::new());
        let step = device.step(&trial, &trial.mixing, &trial.active);
        let supernet = &device.supernet;
        let mut bench =
            Bench { name: &name, tape: device.tape, loss: supernet.loss.result, largest: 0.0, worst: 0.0 };
        let mixing = supernet.mixing.value;
        bench.compare("mixing weights", mixing, &step.slopes, 0..mixing.len);
        bench.compare_weights(&supernet.parameters, supernet.spans.weights, &step.gradients);
    }
}

#[test]
fn networks_of_every_operation_have_the_gradients_of_their_loss() {
    for (name, derived) in networks::derived(true) {
        let (tape, network, step) = derived.step(Device::new());
        let mut bench = Bench { name: &name, tape, loss: network.loss.result, largest: 0.0, worst: 0.0 };
        bench.compare_weights(&network.parameters, network.spans.weights, &step.gradients);
    }
}
