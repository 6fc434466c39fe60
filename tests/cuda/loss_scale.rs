//! Gradients of networks whose activations are stored in 16 bits against those in f32.

use darts::autograd::{ConvolutionParameters, MixingWeights, Recorder, Value};
use darts::backend::cuda::Cuda;
use darts::backend::gpu::Precision;
use darts::backend::{ConvolutionWindow, Device, Gradients, Mode, Shape, Span};
use darts::method::progress::Progress;
use darts::nn::{Layout, Parameters, Spans};
use darts::random::{Stream, generator};
use darts::search::architecture::Architecture;
use darts::search::hypergradient::AlphaGradient;
use darts::search::method::Method;
use darts::space::{EdgeShape, Space, Supernet, SupernetShape};
use rand::RngExt;

use crate::backend;

/// What a network was recorded as.
struct Recorded {
    parameters: Parameters,
    spans: Spans,
    architecture: Option<(MixingWeights, Architecture)>,
    images: Value,
    /// Gradients to compare.
    gradients: Vec<Span>,
}

/// The gradients of a network for random images, the last by the alphas if it has some; none where there is no GPU.
fn gradients(
    precision: Precision,
    images: Shape,
    record: impl Fn(&mut Recorder<Cuda>, Shape) -> Recorded,
) -> Option<Vec<Vec<f32>>> {
    let mut recorder = Recorder::new();
    let net = record(&mut recorder, images);
    let mut tape = recorder.finish(backend(precision)?).unwrap();
    let mut random = generator(5, Stream::Test, 0);
    let pixels: Vec<f32> = (0..images.len()).map(|_| random.random_range(-2.0..2.0)).collect();
    let labels: Vec<u32> = (0..images.n).map(|image| image % 10).collect();
    tape.backend().write(net.spans.weights, &net.parameters.initial(5));
    let mut architecture = net.architecture;
    if let Some((mixing, architecture)) = &mut architecture {
        architecture.restart(5);
        architecture.draw(Progress::default(), Stream::AlphaSample);
        let weights: Vec<f32> = architecture.sample.weights.iter().map(|&weight| weight as f32).collect();
        tape.backend().write(mixing.value, &weights);
    }
    tape.write_value(net.images, &pixels).unwrap();
    tape.backend().write_labels(&labels);
    tape.differentiate(Mode::TrainKeepRunning, Gradients::All);
    tape.status().unwrap();
    let mut gradients: Vec<Vec<f32>> = net.gradients.iter().map(|&span| tape.read(span)).collect();
    if let Some((mixing, mut architecture)) = architecture {
        let slopes: Vec<f64> = tape.read(mixing.gradient).into_iter().map(f64::from).collect();
        architecture.pull_back(&slopes, &[]);
        gradients.push(architecture.gradient.iter().map(|&slope| slope as f32).collect());
    }
    Some(gradients)
}

/// The distance of two vectors as a share of the second one's length.
fn distance(found: &[f32], wanted: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(wanted).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut wanted.iter().map(|&x| f64::from(x)))
}

/// A convolution and a classifier under a loss of so small a weight that a pixel's gradient is about 1e-8, which f16
/// takes for zero.
fn faint(recorder: &mut Recorder<Cuda>, shape: Shape) -> Recorded {
    let mut parameters = Parameters::default();
    let layout = Layout::Dense { kernel: [3, 3], inputs: 3, outputs: 8 };
    let (stem, norm) = (parameters.weight("stem", layout), parameters.norm(vec!["norm".into()], 8, true));
    let weight = parameters.weight("classifier.weight", Layout::Linear { inputs: 8, outputs: 10 });
    let bias = parameters.bias("classifier.bias", 10, 8);
    let [weights, gradients] = [0, 1].map(|_| recorder.span(parameters.len()));
    let spans = Spans { weights, gradients, running: recorder.span(parameters.running_len()) };
    recorder.unscale(gradients, None);
    let images = recorder.input(shape);
    let stem = ConvolutionParameters {
        window: ConvolutionWindow::square(3, 1, 1),
        channels: 8,
        weights: spans.weight(stem),
        relu: false,
        norm: Some(spans.norm(norm)),
        of_images: true,
        gate: None,
    };
    let features = recorder.convolution(images, stem).unwrap();
    let pooled = recorder.global_pool(&[features]).unwrap();
    let logits = recorder.linear(pooled, spans.weight(weight), spans.weight(bias)).unwrap();
    recorder.cross_entropy(logits, 1e-4, None);
    Recorded { parameters, spans, architecture: None, images, gradients: vec![gradients] }
}

#[test]
fn faint_gradients_survive_in_f16() {
    let images = Shape::new(4, 16, 16, 3);
    let Some(wanted) = gradients(Precision::F32, images, faint) else { return };
    let Some(found) = gradients(Precision::F16, images, faint) else { return };
    let distance = distance(&found[0], &wanted[0]);
    println!("f16: {distance:.2e} of the gradient of f32");
    assert!(distance < 0.0015, "the gradient in f16 is {distance:.2e} of its length away from that in f32");
}

fn supernet(recorder: &mut Recorder<Cuda>, images: Shape) -> Recorded {
    let shape = SupernetShape {
        space: Space::darts(),
        images,
        classes: 10,
        init_channels: 2,
        cells: 3,
        nodes: 2,
        edges: EdgeShape::default(),
    };
    let net = Supernet::record(recorder, shape).unwrap();
    let method = Method::darts(AlphaGradient::First);
    Recorded {
        gradients: vec![net.spans.gradients],
        architecture: Some((net.mixing, Architecture::new(method, net.rows(), net.nodes()))),
        parameters: net.parameters,
        spans: net.spans,
        images: net.images,
    }
}

/// Rounding also moves maxima and the edges of ReLUs, so that the distance is far above the storage type's epsilon: 0.059 and
/// 0.137 are measured, and about half as much again is allowed.
#[test]
fn gradients_of_a_supernet_in_16_bits_are_near_those_in_32() {
    let images = Shape::new(16, 8, 8, 3);
    let Some(wanted) = gradients(Precision::F32, images, supernet) else { return };
    for (precision, most) in [(Precision::F16, 0.09), (Precision::Bf16, 0.21)] {
        let Some(found) = gradients(precision, images, supernet) else { return };
        for (name, found, wanted) in [("weights", &found[0], &wanted[0]), ("alphas", &found[1], &wanted[1])] {
            let distance = distance(found, wanted);
            println!("{precision:?}, {name}: {distance:.2e} of the gradient of f32");
            assert!(distance < most, "{precision:?}, {name}: {distance:.2e}, more than {most}");
        }
    }
}
