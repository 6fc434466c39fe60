//! Dropout of elements. Saves nothing: the backward pass computes the mask anew.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{Backend, Dropout, DropoutGradient, DropoutMask, Gradients, Mode, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: Dropout,
    input: Value,
    output: Value,
    gradient: DropoutGradient,
}

impl<B: Backend> Recorder<B> {
    /// What a mask keeps of a value, in every mode of a replay: a key says whether anything is dropped.
    pub fn dropout(&mut self, input: Value, mask: DropoutMask) -> Result<Value> {
        let shape = self.shape(input);
        if let Some(given) = mask.given.filter(|given| given.len != shape.len()) {
            let reason = format!("a mask of {} elements for {shape}", given.len);
            return Err(Error::Shape { operator: "dropout", reason });
        }
        let output = self.value(shape, None);
        let record = self.values.get(output);
        let operator = Dropout { input: self.operand(input), output: record.operand.data, mask };
        let gradient = DropoutGradient { output: record.gradient, input: self.values.target(input) };
        self.consume(input, BatchNormSums::Separate);
        self.push(Step { operator, input, output, gradient });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.dropout_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, _: Gradients) {
        backend.dropout_backward(&self.operator, &self.gradient);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.output = values.get(self.output).gradient;
        self.gradient.input = values.target(self.input);
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Forward, &mut self.operator.input.data);
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        visit_target(&mut self.gradient.input, visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        visit(&mut self.gradient.input);
    }
}
