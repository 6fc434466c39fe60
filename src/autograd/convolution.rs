//! Dense convolution, without ReLU in front: the stem.

use super::batch_norm::{NormParameters, Outputs, visit_cotangent};
use super::tape::{Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{Backend, Convolution, ConvolutionGradient, Mode, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: Convolution,
    weights: Weight,
    outputs: Outputs,
    gradient: Option<ConvolutionGradient>,
}

impl<B: Backend> Recorder<B> {
    /// A `kernel` x `kernel` convolution over images at stride 1 with `channels` results and "same" padding.
    /// Weights `[kernel][kernel][c_in][channels]`. The images get no gradient.
    pub fn convolution(
        &mut self,
        input: Value,
        weights: Weight,
        kernel: usize,
        channels: usize,
        norm: NormParameters,
    ) -> Result<Value> {
        let shape = self.shape(input);
        let expected = kernel * kernel * shape.c as usize * channels;
        if weights.value.len != expected || kernel.is_multiple_of(2) {
            let reason = format!(
                "{} weights for a {kernel}x{kernel} window over {shape} with {channels} results; {expected} and an \
                 odd window expected",
                weights.value.len
            );
            return Err(Error::Shape { operator: "convolution", reason });
        }
        let output = self.normalised_value(shape.strided(1, channels), norm);
        let operator = Convolution {
            input: self.operand(input),
            kernel,
            stride: 1,
            padding: kernel / 2,
            weights: weights.value,
            output: self.operand(output).data,
            output_shape: self.shape(output),
            statistics: self.statistics(output),
        };
        self.push(Step { operator, weights, outputs: Outputs::new(vec![output]), gradient: None });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn forward(&self, backend: &mut B, mode: Mode) {
        backend.convolution_forward(&self.operator);
        self.outputs.forward(backend, mode);
    }

    fn backward(&self, backend: &mut B, weights: bool) {
        if weights && let Some(gradient) = &self.gradient {
            self.outputs.backward(backend);
            backend.convolution_backward(&self.operator, gradient);
        }
    }

    fn bind(&mut self, values: &Values) {
        self.gradient = self
            .outputs
            .bind(values)
            .pop()
            .map(|cotangent| ConvolutionGradient { cotangent, weights: self.weights.gradient });
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Both, &mut self.operator.input.data);
        if let Some(gradient) = &mut self.gradient {
            visit_cotangent(&mut gradient.cotangent, visit);
        }
        self.outputs.slots(visit);
    }

    fn targets(&mut self, _: &mut dyn FnMut(&mut Target)) {}
}
