//! 1x1 convolution behind a ReLU: ReLUConvBN over a cell's concatenated nodes, and FactorizedReduce.
//!
//! The concatenation is never made: the matrix product is a sum over the inputs. Saves inputs and output.

use super::batch_norm::{NormParameters, Outputs, visit_target, visit_unstored_gradient};
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{Backend, Gradients, Mode, Pointwise, PointwiseGradient, Shape, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: Pointwise,
    inputs: Vec<Value>,
    weights: Vec<Weight>,
    outputs: Outputs,
    gradient: Option<PointwiseGradient>,
}

impl<B: Backend> Recorder<B> {
    /// ReLU and a 1x1 convolution over the channels of all `inputs`. One matrix `[c_in][channels]` keeps the
    /// resolution; two matrices `[c_in][channels / 2]` halve it (FactorizedReduce): the second reads the image
    /// shifted by one pixel.
    pub fn pointwise(
        &mut self,
        inputs: &[Value],
        weights: &[Weight],
        channels: usize,
        norm: NormParameters,
    ) -> Result<Value> {
        let shapes: Vec<Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        check(&shapes, weights, channels)?;
        let output = self.normalised_value(shapes[0].strided(weights.len(), channels), norm);
        let operator = Pointwise {
            inputs: inputs.iter().map(|&input| self.operand(input)).collect(),
            weights: weights.iter().map(|weight| weight.value).collect(),
            output: self.operand(output).data,
            output_shape: self.shape(output),
            statistics: self.statistics(output),
            gate: norm.gate,
        };
        inputs.iter().for_each(|&input| self.consume(input, BatchNormSums::Separate));
        self.push(Step {
            operator,
            inputs: inputs.to_vec(),
            weights: weights.to_vec(),
            outputs: Outputs::new(vec![output]),
            gradient: None,
        });
        Ok(output)
    }
}

fn check(shapes: &[Shape], weights: &[Weight], channels: usize) -> Result<()> {
    let fail = |reason| Err(Error::Shape { operator: "pointwise convolution", reason });
    let Some(first) = shapes.first() else { return fail("no input".to_string()) };
    if let Some(other) = shapes.iter().find(|s| (s.n, s.h, s.w) != (first.n, first.h, first.w)) {
        return fail(format!("inputs of shapes {first} and {other} cannot be concatenated"));
    }
    let inputs: usize = shapes.iter().map(|shape| shape.c as usize).sum();
    let columns = |matrix: usize| if weights.len() == 1 { channels } else { (channels + matrix) / 2 };
    let fits = weights.iter().enumerate().all(|(i, weight)| weight.value.len == inputs * columns(i));
    if !(1..=2).contains(&weights.len()) || !fits {
        let lengths: Vec<usize> = weights.iter().map(|weight| weight.value.len).collect();
        return fail(format!("matrices of {lengths:?} weights for {inputs} channels and {channels} results"));
    }
    Ok(())
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn forward(&self, backend: &mut B, mode: Mode) {
        backend.pointwise_forward(&self.operator);
        self.outputs.forward(backend, mode);
    }

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        if let Some(gradient) = &self.gradient {
            self.outputs.backward(backend, wanted);
            backend.pointwise_backward(&self.operator, gradient, wanted);
        }
    }

    fn bind(&mut self, values: &Values) {
        let inputs = self.inputs.iter().map(|&input| values.target(input)).collect();
        let weights = self.weights.iter().map(|weight| weight.gradient).collect();
        let output = self.outputs.bind(values).pop();
        self.gradient = output.map(|output| PointwiseGradient { output, weights, inputs });
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        self.operator.inputs.iter_mut().for_each(|input| visit(Phase::Both, &mut input.data));
        visit(Phase::Forward, &mut self.operator.output);
        if let Some(gradient) = &mut self.gradient {
            visit_unstored_gradient(&mut gradient.output, visit);
            gradient.inputs.iter_mut().for_each(|target| visit_target(target, visit));
        }
        self.outputs.slots(visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.iter_mut().flat_map(|gradient| &mut gradient.inputs).for_each(visit);
    }
}
