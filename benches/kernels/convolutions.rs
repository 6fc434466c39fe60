//! Convolutions: depthwise separable, pointwise and dense.

use darts::backend::*;

use crate::layout::Layout;
use crate::timer::{Device, Timer, floats};

fn separable(layout: &mut Layout, shape: Shape, windows: &[(usize, usize)], stride: usize) -> Separable {
    let c = shape.c as usize;
    let output_shape = shape.strided(stride, c);
    let input = layout.operand(shape);
    let branches = windows
        .iter()
        .map(|&(kernel, dilation)| SeparableBranch {
            kernel,
            dilation,
            depthwise: layout.span(kernel * kernel * c),
            pointwise: layout.span(c * c),
            output: layout.slot(output_shape.len()),
            statistics: layout.span(2 * c),
            gate: None,
        })
        .collect();
    Separable { sources: vec![SeparableSource { input, branches }], stride, output_shape }
}

fn separable_gradient(layout: &mut Layout, op: &Separable) -> SeparableGradient {
    let source = &op.sources[0];
    let c = source.input.shape.c as usize;
    let branches = source
        .branches
        .iter()
        .map(|branch| SeparableBranchGradient {
            output: layout.unstored_gradient(branch.output, op.output_shape),
            depthwise: layout.span(branch.depthwise.len),
            pointwise: layout.span(branch.pointwise.len),
        })
        .collect();
    let sums = Some(layout.sums(c));
    SeparableGradient {
        sources: vec![SeparableSourceGradient { input: layout.target(source.input.shape), sums, branches }],
    }
}

/// A name, its windows (kernel, dilation) and the stride.
type Windows = (&'static str, &'static [(usize, usize)], usize);

const WINDOWS: [Windows; 6] = [
    ("separable_3x3", &[(3, 1)], 1),
    ("separable_5x5", &[(5, 1)], 1),
    ("dilated_3x3", &[(3, 2)], 1),
    ("dilated_5x5", &[(5, 2)], 1),
    ("separable_four", &[(3, 1), (5, 1), (3, 2), (5, 2)], 1),
    ("separable_four_stride_2", &[(3, 1), (5, 1), (3, 2), (5, 2)], 2),
];

pub fn separables<B: Device>(device: &mut Timer<B>) {
    for (name, windows, stride) in WINDOWS {
        for shape in device.shapes() {
            time_separable(device, name, shape, windows, stride);
        }
    }
    // For these the GPU has kernels of any geometry: the stages of the paper's network of 36 channels, and few channels.
    for (side, channels) in [(32, 36), (16, 72), (8, 144), (32, 8)] {
        let shape = Shape::new(device.batch, side, side, channels);
        time_separable(device, "separable_3x3", shape, &[(3, 1)], 1);
    }
}

fn time_separable<B: Device>(
    device: &mut Timer<B>,
    name: &str,
    shape: Shape,
    windows: &[(usize, usize)],
    stride: usize,
) {
    let mut layout = Layout::default();
    let op = separable(&mut layout, shape, windows, stride);
    let gradient = separable_gradient(&mut layout, &op);
    let outputs = windows.len() * op.output_shape.len();
    let bytes = device.activations(shape.len() + outputs);
    device.time(&format!("{name}_forward"), shape, bytes, &layout, |backend| {
        backend.separable_forward(&op);
    });
    // The step of the alphas asks for no gradients of weights.
    let bytes = device.activations(2 * shape.len() + 2 * outputs);
    for (pass, wanted) in [("backward", Gradients::All), ("backward_input", Gradients::Inputs)] {
        device.time(&format!("{name}_{pass}"), shape, bytes, &layout, |backend| {
            backend.separable_backward(&op, &gradient, wanted);
        });
    }
}

/// The matrices of 1x1 convolutions: one of a cell's preprocessing, two of a FactorizedReduce.
pub fn pointwises<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        for (name, matrices) in [("pointwise", 1), ("factorized_reduce", 2)] {
            let mut layout = Layout::default();
            let inputs: Vec<_> =
                (0..if matrices == 1 { 4 } else { 1 }).map(|_| layout.operand(shape)).collect();
            let rows = inputs.len() * shape.c as usize;
            let output_shape = shape.strided(matrices, shape.c as usize);
            let columns = shape.c as usize / matrices;
            let op = Pointwise {
                weights: (0..matrices).map(|_| layout.span(rows * columns)).collect(),
                output: layout.slot(output_shape.len()),
                output_shape,
                statistics: layout.span(2 * shape.c as usize),
                gate: None,
                inputs,
            };
            let gradient = PointwiseGradient {
                output: layout.unstored_gradient(op.output, output_shape),
                weights: op.weights.iter().map(|span| layout.span(span.len)).collect(),
                inputs: op.inputs.iter().map(|input| layout.target(input.shape)).collect(),
            };
            // At stride 2 half of the pixels are read; every gradient is written.
            let (all, output) = (op.inputs.len() * shape.len(), output_shape.len());
            let read = all / matrices;
            let bytes = device.activations(read + output);
            device.time(&format!("{name}_forward"), shape, bytes, &layout, |backend| {
                backend.pointwise_forward(&op);
            });
            let bytes = device.activations(read + all + 2 * output);
            for (pass, wanted) in [("backward", Gradients::All), ("backward_input", Gradients::Inputs)] {
                device.time(&format!("{name}_{pass}"), shape, bytes, &layout, |backend| {
                    backend.pointwise_backward(&op, &gradient, wanted);
                });
            }
        }
    }
}

/// A dense convolution.
struct Dense {
    name: &'static str,
    input: Shape,
    kernel: usize,
    padding: usize,
    channels: usize,
    /// Whether what it reads is an activation: behind a batch norm and a ReLU, and with a gradient.
    inner: bool,
}

/// The stem, the 2x2 convolution of the auxiliary head, and 3x3 convolutions at the resolutions of the supernet, which
/// has none there.
pub fn dense<B: Device>(device: &mut Timer<B>) {
    let images = Shape::new(device.batch, 32, 32, 3);
    let pooled = Shape::new(device.batch, 2, 2, 128);
    let stem = Dense { name: "stem", input: images, kernel: 3, padding: 1, channels: 48, inner: false };
    let head = Dense { name: "head", input: pooled, kernel: 2, padding: 0, channels: 768, inner: true };
    time_dense(device, &stem);
    time_dense(device, &head);
    for input in device.shapes() {
        let channels = input.c as usize;
        let inner = Dense { name: "convolution", input, kernel: 3, padding: 1, channels, inner: true };
        time_dense(device, &inner);
    }
}

fn time_dense<B: Device>(device: &mut Timer<B>, dense: &Dense) {
    let &Dense { name, input: shape, kernel, padding, channels, inner } = dense;
    let mut layout = Layout::default();
    let window = ConvolutionWindow::square(kernel, 1, padding);
    let output_shape = window.over(shape, channels).expect("a window within the image");
    let operand = layout.operand(shape);
    let op = Convolution {
        input: Operand { norm: operand.norm.filter(|_| inner), ..operand },
        relu: inner,
        window,
        weights: layout.span(kernel * kernel * shape.c as usize * channels),
        output: layout.slot(output_shape.len()),
        output_shape,
        statistics: Some(layout.span(2 * channels)),
        gate: None,
    };
    let gradient = ConvolutionGradient {
        output: ResultGradient::Unstored(layout.unstored_gradient(op.output, output_shape)),
        weights: layout.span(op.weights.len),
        input: inner.then(|| layout.target(shape)),
    };
    let (input, output, weights) = (shape.len(), output_shape.len(), floats(op.weights.len));
    let bytes = device.activations(input + output) + weights;
    device.time(&format!("{name}_forward"), shape, bytes, &layout, |backend| {
        backend.convolution_forward(&op);
    });
    // The gradient of the input takes the weights; that of the weights is written in any case.
    let (inputs, weights) = if inner { (2 * input, 2 * weights) } else { (input, weights) };
    let bytes = device.activations(inputs + 2 * output) + weights;
    device.time(&format!("{name}_backward"), shape, bytes, &layout, |backend| {
        backend.convolution_backward(&op, &gradient, Gradients::All);
    });
}
