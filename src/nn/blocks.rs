//! The composite blocks of DARTS: parameters that are declared and recorded together.

use super::parameters::{Layout, NormParts, Parameters, Part, Spans};
use crate::Result;
use crate::autograd::{NormParameters, Recorder, SeparableParameters, Value, Weight};
use crate::backend::{Backend, Span};

/// ReLU, depthwise convolution, pointwise convolution, batch norm.
#[derive(Clone, Copy, Debug)]
pub struct SeparableBlock {
    kernel: usize,
    dilation: usize,
    depthwise: Part,
    pointwise: Part,
    norm: NormParts,
}

impl SeparableBlock {
    /// Declares the block as members `first` (the ReLU) to `first + 3` of the sequence `prefix`.
    pub fn declare(
        parameters: &mut Parameters,
        prefix: &str,
        first: usize,
        [kernel, dilation]: [usize; 2],
        channels: usize,
        affine: bool,
    ) -> Self {
        let member = |i: usize| format!("{prefix}.{}", first + i);
        let depthwise =
            parameters.weight(format!("{}.weight", member(1)), Layout::Depthwise { kernel, channels });
        let layout = Layout::Matrix { inputs: channels, outputs: channels };
        let pointwise = parameters.weight(format!("{}.weight", member(2)), layout);
        let norm = parameters.norm(vec![member(3)], channels, affine);
        SeparableBlock { kernel, dilation, depthwise, pointwise, norm }
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
    matrices: Vec<Part>,
    channels: usize,
    norm: NormParts,
}

impl PointwiseBlock {
    /// Declares ReLU, 1x1 convolution, batch norm as the sequence `prefix.op`.
    pub fn keep_resolution(
        parameters: &mut Parameters,
        prefix: &str,
        [inputs, channels]: [usize; 2],
        affine: bool,
    ) -> Self {
        let layout = Layout::Matrix { inputs, outputs: channels };
        let matrices = vec![parameters.weight(format!("{prefix}.op.1.weight"), layout)];
        let norm = parameters.norm(vec![format!("{prefix}.op.2")], channels, affine);
        PointwiseBlock { matrices, channels, norm }
    }

    /// Declares FactorizedReduce as `prefix.conv_1`, `prefix.conv_2`, `prefix.bn`.
    pub fn halve_resolution(
        parameters: &mut Parameters,
        prefix: &str,
        [inputs, channels]: [usize; 2],
        affine: bool,
    ) -> Self {
        let halves = [channels / 2, channels - channels / 2];
        let declare = |(index, outputs)| {
            let name = format!("{prefix}.conv_{}.weight", index + 1);
            parameters.weight(name, Layout::Matrix { inputs, outputs })
        };
        let matrices = halves.into_iter().enumerate().map(declare).collect();
        let norm = parameters.norm(vec![format!("{prefix}.bn")], channels, affine);
        PointwiseBlock { matrices, channels, norm }
    }

    /// Records the block over the concatenated channels of `inputs`, to be computed where `gate` is open.
    pub fn record<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        inputs: &[Value],
        gate: Option<Span>,
    ) -> Result<Value> {
        let weights: Vec<Weight> = self.matrices.iter().map(|&part| spans.weight(part)).collect();
        let norm = NormParameters { gate, ..spans.norm(self.norm) };
        recorder.pointwise(inputs, &weights, self.channels, norm)
    }
}
