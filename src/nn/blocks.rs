//! The composite blocks of DARTS: parameters that are declared together. The readers of a network compute them.

use super::parameters::{Layout, NormParts, Parameters, Part, Spans};
use crate::autograd::{ConvolutionParameters, NormParameters, SeparableParameters};
use crate::backend::{ConvolutionWindow, Span};

/// The branches that take a result, by the places of their mixing weights. It is computed where one of them is active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(pub Vec<usize>);

/// ReLU, depthwise convolution, pointwise convolution, batch norm.
#[derive(Clone, Debug)]
pub struct SeparableBlock {
    /// Side of the depthwise window.
    pub kernel: usize,
    /// Distance between its taps.
    pub dilation: usize,
    /// Weights of the depthwise convolution.
    pub depthwise: Part,
    /// Weights of the pointwise convolution.
    pub pointwise: Part,
    /// The batch norm.
    pub norm: NormParts,
    /// Channels of input and result.
    pub channels: usize,
    /// The branches that take its result; without, it is always computed.
    pub users: Option<Users>,
    sequence: String,
    first: usize,
}

impl SeparableBlock {
    /// Declares the block as members `first` (the ReLU) to `first + 3` of the sequence `sequence`.
    pub fn declare(
        parameters: &mut Parameters,
        sequence: &str,
        first: usize,
        [kernel, dilation]: [usize; 2],
        channels: usize,
        affine: bool,
    ) -> Self {
        let member = |i: usize| format!("{sequence}.{}", first + i);
        let depthwise =
            parameters.weight(format!("{}.weight", member(1)), Layout::Depthwise { kernel, channels });
        let layout = Layout::Matrix { inputs: channels, outputs: channels };
        let pointwise = parameters.weight(format!("{}.weight", member(2)), layout);
        let norm = parameters.norm(vec![member(3)], channels, affine);
        let sequence = sequence.to_owned();
        SeparableBlock {
            kernel,
            dilation,
            depthwise,
            pointwise,
            norm,
            channels,
            users: None,
            sequence,
            first,
        }
    }

    /// The official name of its ReLU (0), depthwise (1) or pointwise convolution (2), or batch norm (3).
    pub fn member(&self, index: usize) -> String {
        format!("{}.{}", self.sequence, self.first + index)
    }

    /// The block's parameters on a device, of a block that is computed where `gate` is open.
    pub fn parameters(&self, spans: &Spans, gate: Option<Span>) -> SeparableParameters {
        SeparableParameters {
            kernel: self.kernel,
            dilation: self.dilation,
            depthwise: spans.weight(self.depthwise),
            pointwise: spans.weight(self.pointwise),
            norm: NormParameters { gate, ..spans.norm(self.norm) },
        }
    }
}

/// ReLUConvBN (one matrix), or FactorizedReduce (two, which halves the resolution).
#[derive(Clone, Debug)]
pub struct PointwiseBlock {
    /// The official name of the module.
    pub name: String,
    /// One matrix, or the two of a FactorizedReduce.
    pub matrices: Vec<Part>,
    /// Channels of the result.
    pub channels: usize,
    /// The batch norm.
    pub norm: NormParts,
    /// The branches that take its result; without, it is always computed.
    pub users: Option<Users>,
}

impl PointwiseBlock {
    /// Declares ReLU, 1x1 convolution, batch norm as the sequence `name.op`.
    pub fn keep_resolution(
        parameters: &mut Parameters,
        name: &str,
        [inputs, channels]: [usize; 2],
        affine: bool,
    ) -> Self {
        let layout = Layout::Matrix { inputs, outputs: channels };
        let matrices = vec![parameters.weight(format!("{name}.op.1.weight"), layout)];
        let norm = parameters.norm(vec![format!("{name}.op.2")], channels, affine);
        PointwiseBlock { name: name.to_owned(), matrices, channels, norm, users: None }
    }

    /// Declares FactorizedReduce as `name.conv_1`, `name.conv_2`, `name.bn`.
    pub fn halve_resolution(
        parameters: &mut Parameters,
        name: &str,
        [inputs, channels]: [usize; 2],
        affine: bool,
    ) -> Self {
        let halves = [channels / 2, channels - channels / 2];
        let declare = |(index, outputs)| {
            let name = format!("{name}.conv_{}.weight", index + 1);
            parameters.weight(name, Layout::Matrix { inputs, outputs })
        };
        let matrices = halves.into_iter().enumerate().map(declare).collect();
        let norm = parameters.norm(vec![format!("{name}.bn")], channels, affine);
        PointwiseBlock { name: name.to_owned(), matrices, channels, norm, users: None }
    }

    /// Step between the pixels that are read.
    pub fn stride(&self) -> usize {
        self.matrices.len()
    }
}

/// The pools of a state in a supernet, each with a batch norm: the maximum and the average of 3x3 neighbourhoods.
#[derive(Clone, Debug)]
pub struct PoolsBlock {
    /// Of the maximum and of the average.
    pub norms: [NormParts; 2],
    /// The branches that take each of them; a pool that none takes is never computed.
    pub users: [Users; 2],
}

/// The official names of the modules of a dense convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvolutionNames {
    /// Of the ReLU in front of it, if there is one.
    pub relu: Option<String>,
    /// Of the convolution.
    pub convolution: String,
    /// Of the batch norm behind it, if there is one.
    pub norm: Option<String>,
}

/// Dense convolution, with a ReLU in front of it or without, and with a batch norm behind it or without.
#[derive(Clone, Debug)]
pub struct ConvolutionBlock {
    /// The official names of the modules, which say whether there are a ReLU and a batch norm.
    pub names: ConvolutionNames,
    /// The window.
    pub window: ConvolutionWindow,
    /// Channels of the result.
    pub channels: usize,
    /// The weights.
    pub weights: Part,
    /// The batch norm.
    pub norm: Option<NormParts>,
    /// Whether it reads the images, which get no gradient.
    pub of_images: bool,
    /// The branches that take its result; without, it is always computed.
    pub users: Option<Users>,
}

impl ConvolutionBlock {
    /// Declares a convolution of feature maps that is always computed, without bias.
    pub fn declare(
        parameters: &mut Parameters,
        names: ConvolutionNames,
        window: ConvolutionWindow,
        [inputs, channels]: [usize; 2],
        affine: bool,
    ) -> Self {
        let layout = Layout::Dense { kernel: window.kernel, inputs, outputs: channels };
        let weights = parameters.weight(format!("{}.weight", names.convolution), layout);
        let norm = names.norm.clone().map(|name| parameters.norm(vec![name], channels, affine));
        ConvolutionBlock { names, window, channels, weights, norm, of_images: false, users: None }
    }

    /// The block's parameters on a device, of a block that is computed where `gate` is open.
    pub fn parameters(&self, spans: &Spans, gate: Option<Span>) -> ConvolutionParameters {
        ConvolutionParameters {
            window: self.window,
            channels: self.channels,
            weights: spans.weight(self.weights),
            relu: self.names.relu.is_some(),
            norm: self.norm.map(|norm| spans.norm(norm)),
            of_images: self.of_images,
            gate,
        }
    }
}

/// Batch norm and ReLU of a value that has no batch norm of its own.
#[derive(Clone, Debug)]
pub struct NormBlock {
    /// The official names of the batch norm and of the ReLU.
    pub names: [String; 2],
    /// Channels.
    pub channels: usize,
    /// The batch norm.
    pub norm: NormParts,
}

impl NormBlock {
    /// Declares both as members of the sequence `sequence`.
    pub fn declare(parameters: &mut Parameters, sequence: &str, channels: usize) -> Self {
        let names = [0, 1].map(|member| format!("{sequence}.{member}"));
        let norm = parameters.norm(vec![names[0].clone()], channels, true);
        NormBlock { names, channels, norm }
    }
}

/// The linear layer that ends a network.
#[derive(Clone, Debug)]
pub struct ClassifierBlock {
    /// Number of classes.
    pub classes: usize,
    /// The weights.
    pub weights: Part,
    /// The bias.
    pub bias: Part,
}

impl ClassifierBlock {
    /// Declares the layer over so many features.
    pub fn declare(parameters: &mut Parameters, name: &str, features: usize, classes: usize) -> Self {
        let layout = Layout::Linear { inputs: features, outputs: classes };
        let weights = parameters.weight(format!("{name}.weight"), layout);
        ClassifierBlock { classes, weights, bias: parameters.bias(format!("{name}.bias"), classes, features) }
    }
}
