//! Dense convolution, in front of a batch norm or plain. Saves the input.

use super::batch_norm::{NormParameters, Outputs, visit_target, visit_unstored_gradient};
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{
    Backend, Convolution, ConvolutionGradient, ConvolutionWindow, Gradients, Mode, ResultGradient, Shape,
    Slot, Span, Target,
};
use crate::{Error, Result};

/// What a dense convolution is beside its input.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionParameters {
    /// The window; its padding is less than its sides.
    pub window: ConvolutionWindow,
    /// Channels of the result.
    pub channels: usize,
    /// `[kernel rows][kernel columns][c_in][channels]`.
    pub weights: Weight,
    /// Whether the input is read through a ReLU.
    pub relu: bool,
    /// The batch norm of the result, if there is one; its gate is that of the convolution.
    pub norm: Option<NormParameters>,
    /// Whether the input is images, which get no gradient.
    pub of_images: bool,
    /// Closed where the result is not computed: see [`Recorder::gate`].
    pub gate: Option<Span>,
}

struct Step {
    operator: Convolution,
    input: Value,
    of_images: bool,
    weights: Weight,
    output: Value,
    /// The batch norm, if there is one.
    outputs: Outputs,
    gradient: Option<ConvolutionGradient>,
}

impl<B: Backend> Recorder<B> {
    /// A dense convolution. Every window must fit into the padded images.
    pub fn convolution(&mut self, input: Value, parameters: ConvolutionParameters) -> Result<Value> {
        let ConvolutionParameters { window, weights, relu, norm, of_images, gate, .. } = parameters;
        let output_shape = check(self.shape(input), &parameters)?;
        let output = match norm {
            Some(norm) => self.normalised_value(output_shape, NormParameters { gate, ..norm }),
            None => self.gated_value(output_shape, gate),
        };
        let operator = Convolution {
            input: self.operand(input),
            relu,
            window,
            weights: weights.value,
            output: self.operand(output).data,
            output_shape,
            statistics: norm.map(|_| self.statistics(output)),
            gate,
        };
        if !of_images {
            self.consume(input, BatchNormSums::Separate);
        }
        let outputs = Outputs::new(norm.map(|_| output).into_iter().collect());
        self.push(Step { operator, input, of_images, weights, output, outputs, gradient: None });
        Ok(output)
    }
}

/// The shape of the result.
fn check(images: Shape, parameters: &ConvolutionParameters) -> Result<Shape> {
    let fail = |reason| Err(Error::Shape { operator: "convolution", reason });
    let &ConvolutionParameters { window, channels, weights, .. } = parameters;
    if (0..2).any(|axis| window.padding[axis] >= window.kernel[axis] || window.stride[axis] == 0) {
        return fail(format!("a {window} and steps of {:?} reads nothing or stands still", window.stride));
    }
    let Some(shape) = window.over(images, channels) else {
        return fail(format!("a {window} does not fit into {images}"));
    };
    let expected = window.taps() * images.c as usize * channels;
    if weights.value.len != expected {
        let found = weights.value.len;
        return fail(format!(
            "{found} weights for a {window} over {images} with {channels} results; {expected} expected"
        ));
    }
    Ok(shape)
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
            backend.convolution_backward(&self.operator, gradient, wanted);
        }
    }

    fn bind(&mut self, values: &Values) {
        let input = (!self.of_images).then(|| values.target(self.input));
        let record = values.get(self.output);
        let output = match &record.normalised {
            Some(_) => self.outputs.bind(values).pop().map(ResultGradient::Unstored),
            None => Some(ResultGradient::Stored(record.gradient)),
        };
        let weights = self.weights.gradient;
        self.gradient = output.map(|output| ConvolutionGradient { output, weights, input });
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Both, &mut self.operator.input.data);
        if let Some(gradient) = &mut self.gradient {
            match &mut gradient.output {
                ResultGradient::Stored(slot) => visit(Phase::Backward, slot),
                ResultGradient::Unstored(output) => visit_unstored_gradient(output, visit),
            }
            gradient.input.iter_mut().for_each(|target| visit_target(target, visit));
        }
        self.outputs.slots(visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.iter_mut().filter_map(|gradient| gradient.input.as_mut()).for_each(visit);
    }
}
