//! The residual block between two stages of cells: it halves the resolution (Dong and Yang, NAS-Bench-201, ICLR 2020, section
//! 3.1; ResNetBasicblock of the official code, whose names its parameters have).

use crate::Result;
use crate::autograd::Window;
use crate::backend::{ConvolutionWindow, PoolKind};
use crate::nn::{ConvolutionBlock, ConvolutionNames, Graph, Parameters};

/// The sides of both convolutions.
const KERNEL: usize = 3;
/// What both branches divide the resolution by.
const STRIDE: usize = 2;

/// A declared residual block.
pub struct ResidualBlock {
    name: String,
    main: [ConvolutionBlock; 2],
    shortcut: ConvolutionBlock,
}

impl ResidualBlock {
    /// Declares the parameters of block `name`.
    pub fn declare(parameters: &mut Parameters, name: &str, [inputs, channels]: [usize; 2]) -> Self {
        let mut convolution = |branch: &str, stride: usize, inputs: usize| {
            let member = |i: usize| format!("{name}.{branch}.op.{i}");
            let names =
                ConvolutionNames { relu: Some(member(0)), convolution: member(1), norm: Some(member(2)) };
            let window = ConvolutionWindow::square(KERNEL, stride, KERNEL / 2);
            ConvolutionBlock::declare(parameters, names, window, [inputs, channels], true)
        };
        let main = [convolution("conv_a", STRIDE, inputs), convolution("conv_b", 1, channels)];
        let names = ConvolutionNames { relu: None, convolution: format!("{name}.downsample.1"), norm: None };
        let pixel = ConvolutionWindow::square(1, 1, 0);
        let shortcut = ConvolutionBlock::declare(parameters, names, pixel, [inputs, channels], true);
        ResidualBlock { name: name.to_owned(), main, shortcut }
    }

    /// Channels of the result.
    pub fn width(&self) -> usize {
        self.shortcut.channels
    }

    /// Describes the block: two convolutions, each behind a ReLU and with a batch norm, plus the average of 2x2 pixels in front
    /// of a 1x1 convolution.
    pub fn emit<G: Graph>(&self, graph: &mut G, input: &G::Value) -> Result<G::Value> {
        let [first, second] = &self.main;
        let main = graph.convolution(input, first)?;
        let main = graph.convolution(&main, second)?;
        let window = Window { kernel: STRIDE, stride: STRIDE, padding: 0 };
        let pooled = graph.pool(&format!("{}.downsample.0", self.name), input, PoolKind::Average, window)?;
        let shortcut = graph.convolution(&pooled, &self.shortcut)?;
        graph.sum(&self.name, &[shortcut, main])
    }
}
