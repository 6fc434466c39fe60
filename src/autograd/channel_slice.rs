//! The first channels of a value, such as those that a partial channel connection computes with.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{Backend, ChannelSlice, ChannelSliceGradient, Gradients, Mode, Shape, Slot, Target};
use crate::{Error, Result};

struct Step {
    operator: ChannelSlice,
    input: Value,
    output: Value,
    gradient: ChannelSliceGradient,
}

impl<B: Backend> Recorder<B> {
    /// So many channels of a value, from the first on.
    pub fn channel_slice(&mut self, input: Value, channels: usize) -> Result<Value> {
        let shape = self.shape(input);
        if channels == 0 || channels > shape.c as usize {
            let reason = format!("{channels} channels of {shape}");
            return Err(Error::Shape { operator: "slice of channels", reason });
        }
        let output_shape = Shape { c: channels as u32, ..shape };
        let output = self.value(output_shape, None);
        let record = self.values.get(output);
        let operator = ChannelSlice { input: self.operand(input), output: record.operand.data, output_shape };
        let gradient = ChannelSliceGradient { output: record.gradient, input: self.values.target(input) };
        self.consume(input, BatchNormSums::Separate);
        self.push(Step { operator, input, output, gradient });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "channel slice"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.channel_slice_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, _: Gradients) {
        backend.channel_slice_backward(&self.operator, &self.gradient);
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
