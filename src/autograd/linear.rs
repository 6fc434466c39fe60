//! The classifier. Saves the input.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{Backend, Gradients, Linear, LinearGradient, Mode, Shape, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: Linear,
    input: Value,
    gradient: LinearGradient,
}

impl<B: Backend> Recorder<B> {
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
        self.push(Step { operator, input, gradient });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
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
