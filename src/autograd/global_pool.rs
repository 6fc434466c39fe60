//! Global average pooling.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{Backend, GlobalPool, GlobalPoolGradient, Gradients, Mode, Shape, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: GlobalPool,
    inputs: Vec<Value>,
    output: Value,
    gradient: GlobalPoolGradient,
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
        self.push(Step {
            operator: GlobalPool { inputs: operands, output: data },
            inputs: inputs.to_vec(),
            output,
            gradient: GlobalPoolGradient { output: gradient, inputs: Vec::new() },
        });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
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
