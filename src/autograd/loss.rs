//! From the last feature maps to the loss: global average pooling, classifier, cross-entropy.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{
    Backend, CrossEntropy, GlobalPool, GlobalPoolGradient, Gradients, Linear, LinearGradient, Mode, Shape,
    Slot, Span, Target,
};
use crate::{Error, Result};

/// Where the loss of a batch and its counts of right guesses lie.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// `[3]`: mean loss, images right at the first guess, images right within five.
    pub result: Span,
}

struct GlobalPoolStep {
    operator: GlobalPool,
    inputs: Vec<Value>,
    output: Value,
    gradient: GlobalPoolGradient,
}

struct LinearStep {
    operator: Linear,
    input: Value,
    gradient: LinearGradient,
}

struct LossStep {
    operator: CrossEntropy,
}

impl<B: Backend> Recorder<B> {
    /// The mean over all pixels, of the concatenated channels of all inputs.
    pub fn global_pool(&mut self, inputs: &[Value]) -> Result<Value> {
        let images = inputs.first().map_or(0, |&input| self.shape(input).n);
        if images == 0 || inputs.iter().any(|&input| self.shape(input).n != images) {
            let reason = format!("{} inputs that do not agree on a number of images", inputs.len());
            return Err(Error::Shape { operator: "global average pooling", reason });
        }
        let channels = inputs.iter().map(|&input| self.shape(input).c as usize).sum();
        let output = self.value(Shape::new(images as usize, 1, 1, channels), None);
        let record = self.values.get(output);
        let (data, gradient) = (record.operand.data, record.gradient);
        let operands = inputs.iter().map(|&input| self.operand(input)).collect();
        inputs.iter().for_each(|&input| self.consume(input, BatchNormSums::Separate));
        self.push(GlobalPoolStep {
            operator: GlobalPool { inputs: operands, output: data },
            inputs: inputs.to_vec(),
            output,
            gradient: GlobalPoolGradient { output: gradient, inputs: Vec::new() },
        });
        Ok(output)
    }

    /// The classifier: weights `[features][outputs]` and a bias.
    pub fn linear(&mut self, input: Value, weights: Weight, bias: Weight) -> Result<Value> {
        let shape = self.shape(input);
        let (features, outputs) = (shape.len() / (shape.n as usize).max(1), bias.value.len);
        if weights.value.len != features * outputs {
            let reason =
                format!("{} weights for {features} features and {outputs} results", weights.value.len);
            return Err(Error::Shape { operator: "linear", reason });
        }
        let output = self.value(Shape::new(shape.n as usize, 1, 1, outputs), None);
        let operator = Linear {
            input: self.operand(input).data,
            rows: shape.n as usize,
            inputs: features,
            outputs,
            weights: weights.value,
            bias: bias.value,
            output: self.operand(output).data,
        };
        let gradient = LinearGradient {
            output: self.values.get(output).gradient,
            input: self.values.target(input),
            weights: weights.gradient,
            bias: bias.gradient,
        };
        self.consume(input, BatchNormSums::Separate);
        self.push(LinearStep { operator, input, gradient });
        Ok(output)
    }

    /// Mean cross-entropy with the labels of the batch. `weight` is its share in the sum that is minimised.
    pub fn cross_entropy(&mut self, logits: Value, weight: f64) -> Loss {
        let shape = self.shape(logits);
        let record = self.values.get(logits);
        let (data, gradient) = (record.operand.data, record.gradient);
        let result = self.span(3);
        let operator = CrossEntropy {
            logits: data,
            rows: shape.n as usize,
            classes: shape.c as usize,
            result,
            gradient,
            weight,
        };
        self.consume(logits, BatchNormSums::Separate);
        self.push(LossStep { operator });
        Loss { result }
    }
}

impl<B: Backend> Operator<B> for GlobalPoolStep {
    fn name(&self) -> &'static str {
        "global pool"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.global_pool_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, _: Gradients) {
        backend.global_pool_backward(&self.operator, &self.gradient);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.output = values.get(self.output).gradient;
        self.gradient.inputs = self.inputs.iter().map(|&input| values.target(input)).collect();
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        self.operator.inputs.iter_mut().for_each(|input| visit(Phase::Forward, &mut input.data));
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        self.gradient.inputs.iter_mut().for_each(|target| visit_target(target, visit));
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.inputs.iter_mut().for_each(visit);
    }
}

impl<B: Backend> Operator<B> for LinearStep {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.linear_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        backend.linear_backward(&self.operator, &self.gradient, wanted);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.input = values.target(self.input);
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Both, &mut self.operator.input);
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        visit_target(&mut self.gradient.input, visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        visit(&mut self.gradient.input);
    }
}

impl<B: Backend> Operator<B> for LossStep {
    fn name(&self) -> &'static str {
        "cross entropy"
    }

    /// Also leaves the gradient of the loss, which costs nothing more.
    fn forward(&self, backend: &mut B, _: Mode) {
        let weight = self.operator.weight * backend.loss_scale();
        backend.cross_entropy(&CrossEntropy { weight, ..self.operator.clone() });
    }

    fn backward(&self, _: &mut B, _: Gradients) {}
    fn bind(&mut self, _: &Values) {}

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Forward, &mut self.operator.logits);
        visit(Phase::Both, &mut self.operator.gradient);
    }

    fn targets(&mut self, _: &mut dyn FnMut(&mut Target)) {}
}
