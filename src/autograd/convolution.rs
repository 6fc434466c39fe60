//! Dense convolution: of the images, which need no gradient (the stem), and behind a ReLU (the auxiliary head).

use super::batch_norm::{NormParameters, Outputs, visit_target, visit_unstored_gradient};
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{Backend, Convolution, ConvolutionGradient, Gradients, Mode, Shape, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: Convolution,
    /// Where the input gets a gradient.
    input: Option<Value>,
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
        if kernel.is_multiple_of(2) {
            let reason = format!("a {kernel}x{kernel} window over {shape} has no middle");
            return Err(Error::Shape { operator: "convolution", reason });
        }
        let output_shape = shape.strided(1, channels);
        self.dense(input, weights, [kernel, kernel / 2], output_shape, norm, false)
    }

    /// ReLU and a `kernel` x `kernel` convolution at stride 1, only where the window lies within the image, with
    /// `channels` results. Weights as above.
    pub fn activated_convolution(
        &mut self,
        input: Value,
        weights: Weight,
        kernel: usize,
        channels: usize,
        norm: NormParameters,
    ) -> Result<Value> {
        let shape = self.shape(input);
        let Some(output_shape) = shape.windows(kernel, 1, 0, channels) else {
            let reason = format!("a {kernel}x{kernel} window does not fit into {shape}");
            return Err(Error::Shape { operator: "convolution", reason });
        };
        self.dense(input, weights, [kernel, 0], output_shape, norm, true)
    }

    fn dense(
        &mut self,
        input: Value,
        weights: Weight,
        [kernel, padding]: [usize; 2],
        output_shape: Shape,
        norm: NormParameters,
        relu: bool,
    ) -> Result<Value> {
        let (shape, channels) = (self.shape(input), output_shape.c);
        let expected = kernel * kernel * shape.c as usize * channels as usize;
        if weights.value.len != expected {
            let reason = format!(
                "{} weights for a {kernel}x{kernel} window over {shape} with {channels} results; {expected} expected",
                weights.value.len
            );
            return Err(Error::Shape { operator: "convolution", reason });
        }
        let output = self.normalised_value(output_shape, norm);
        let operator = Convolution {
            input: self.operand(input),
            relu,
            kernel,
            stride: 1,
            padding,
            weights: weights.value,
            output: self.operand(output).data,
            output_shape,
            statistics: self.statistics(output),
        };
        if relu {
            self.consume(input, BatchNormSums::Separate);
        }
        let outputs = Outputs::new(vec![output]);
        self.push(Step { operator, input: relu.then_some(input), weights, outputs, gradient: None });
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

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        if let Some(gradient) =
            self.gradient.as_ref().filter(|gradient| wanted.of_weights() || gradient.input.is_some())
        {
            self.outputs.backward(backend, wanted);
            backend.convolution_backward(&self.operator, gradient);
        }
    }

    fn bind(&mut self, values: &Values) {
        let input = self.input.map(|input| values.target(input));
        let weights = self.weights.gradient;
        let output = self.outputs.bind(values).pop();
        self.gradient = output.map(|output| ConvolutionGradient { output, weights, input });
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Both, &mut self.operator.input.data);
        if let Some(gradient) = &mut self.gradient {
            visit_unstored_gradient(&mut gradient.output, visit);
            gradient.input.iter_mut().for_each(|target| visit_target(target, visit));
        }
        self.outputs.slots(visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.iter_mut().filter_map(|gradient| gradient.input.as_mut()).for_each(visit);
    }
}
