//! What the calls of an operator have in common: how rows are cut, what is read, how many terms a sum has.

use darts::backend::*;

use super::call::Call;
use super::window::{Window, touched};

/// Blocks of rows that leave a partial result, as the CUDA backend cuts reductions.
pub fn chunks(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(256).max(64))
}

/// Splits of the pixels for the gradient of a weight matrix, as the CUDA backend cuts them: partial results are at most a
/// quarter of what is read, `row` bytes a pixel.
pub fn splits(pixels: usize, row: usize, results: usize) -> usize {
    let most = (pixels * row / (16 * results).max(1)).clamp(1, 256);
    pixels.div_ceil(pixels.div_ceil(most).max(64))
}

/// The same for the matrices of a 1x1 convolution, in elements of `element` bytes.
pub fn pointwise_splits(op: &Pointwise, gradient: &PointwiseGradient, element: usize) -> usize {
    let widest = op.output_shape.c as usize / op.weights.len();
    let row = (op.input_channels() + (gradient.output.terms.len() + 1) * widest) * element;
    splits(op.output_shape.pixels(), row, op.input_channels() * widest)
}

/// The same for a convolution.
pub fn convolution_splits(op: &Convolution, gradient: &ConvolutionGradient, element: usize) -> usize {
    let terms = match &gradient.output {
        ResultGradient::Stored(_) => 1,
        ResultGradient::Unstored(output) => output.terms.len() + 1,
    };
    let row = (op.input.shape.c as usize + terms * op.output_shape.c as usize) * element;
    splits(op.output_shape.pixels(), row, op.weights.len)
}

/// Tiles of rows of a matrix product with this many columns, as the CUDA backend cuts it.
pub fn tiles(rows: usize, columns: usize) -> usize {
    rows.div_ceil(if columns <= 16 { 256 } else { 64 })
}

/// Blocks of a pool's results, where shared memory holds their lines as it does those of the paper.
pub fn normalised_pools_blocks(op: &NormalisedPools) -> usize {
    let (n, h, w) = (op.output_shape.n as usize, op.output_shape.h as usize, op.output_shape.w as usize);
    let most = 8.max(128 / w);
    (n * h).div_ceil(if most >= h { most / h * h } else { h.div_ceil(h.div_ceil(most)) })
}

/// Blocks of images of separable convolutions, as the CUDA backend cuts them: of 4 pixels for each channel, or an image.
pub fn bands(output: Shape) -> usize {
    (output.n as usize).div_ceil((4 * output.c as usize).div_ceil(output.image_pixels()))
}

/// Input pixels that a 1x1 convolution reads: all, or of each 2x2 block the first and the last.
pub fn pixels_read(op: &Pointwise, input: Shape) -> usize {
    match op.stride() {
        1 => input.pixels(),
        _ => {
            let (h, w) = (input.h as usize, input.w as usize);
            input.n as usize * (h.div_ceil(2) * w.div_ceil(2) + (h / 2) * (w / 2))
        }
    }
}

fn window(op: &Separable, branch: &SeparableBranch) -> Window {
    Window { kernel: branch.kernel, dilation: branch.dilation, stride: op.stride }
}

pub fn taps(op: &Separable, source: &SeparableSource, branch: &SeparableBranch) -> usize {
    let input = source.input.shape;
    window(op, branch).taps(input, op.output_shape) * input.c as usize
}

pub fn products(op: &Separable, branch: &SeparableBranch) -> usize {
    2 * op.output_shape.pixels() * branch.pointwise.len
}

/// What lies under the windows of each source.
pub fn read_sources(call: &mut Call, op: &Separable) {
    for source in &op.sources {
        let shape = source.input.shape;
        let windows = source.branches.iter().map(|branch| window(op, branch));
        call.read_value(&source.input, touched(shape, op.output_shape, windows) * shape.c as usize);
    }
}

pub fn branches<'a>(
    op: &'a Separable,
    gradient: &'a SeparableGradient,
) -> impl Iterator<Item = (&'a SeparableSource, &'a SeparableBranch, &'a SeparableBranchGradient)> {
    op.sources.iter().zip(&gradient.sources).flat_map(|(source, gradients)| {
        let pairs = source.branches.iter().zip(&gradients.branches);
        pairs.map(move |(branch, gradient)| (source, branch, gradient))
    })
}

pub fn convolution_products(op: &Convolution) -> usize {
    let ConvolutionWindow { kernel, stride, padding } = op.window;
    let taps = |axis: usize, outputs: u32, inputs: u32| -> usize {
        let positions = (0..outputs as usize).map(|position| position * stride[axis]);
        let inside = |start: usize| {
            let end = (start + kernel[axis]).saturating_sub(padding[axis]).min(inputs as usize);
            end.saturating_sub(start.saturating_sub(padding[axis]))
        };
        positions.map(inside).sum()
    };
    let (input, output) = (op.input.shape, op.output_shape);
    let taps = output.n as usize * taps(0, output.h, input.h) * taps(1, output.w, input.w);
    2 * taps * input.c as usize * output.c as usize
}

pub fn read_inputs(call: &mut Call, op: &Pointwise) {
    for input in &op.inputs {
        call.read_value(input, pixels_read(op, input.shape) * input.shape.c as usize);
    }
}

pub fn pointwise_products(op: &Pointwise) -> usize {
    2 * op.output_shape.pixels() * op.weights.iter().map(|span| span.len).sum::<usize>()
}

pub fn normalised_pools_taps(op: &NormalisedPools) -> usize {
    let window = Window { kernel: 3, dilation: 1, stride: op.stride };
    window.taps(op.input.shape, op.output_shape) * op.output_shape.c as usize
}
