//! Pooling of one kind over windows of any size, without a batch norm behind: of derived cells, and of the auxiliary
//! head. Saves the input.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{Backend, Gradients, Mode, Pool, PoolGradient, PoolKind, Slot, Target};
use crate::{Error, Result};

/// A square window that moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its side.
    pub kernel: usize,
    /// Its step.
    pub stride: usize,
    /// Rows and columns by which it may reach beyond the image.
    pub padding: usize,
}

impl Window {
    /// A 3x3 window in the middle of each pixel that it stops at.
    pub fn around(stride: usize) -> Self {
        Window { kernel: 3, stride, padding: 1 }
    }
}

struct Step {
    operator: Pool,
    input: Value,
    output: Value,
    gradient: PoolGradient,
}

impl<B: Backend> Recorder<B> {
    /// The maximum or the average of each window, behind a ReLU where asked for. Pixels outside the image count for
    /// neither.
    pub fn pool(&mut self, input: Value, kind: PoolKind, window: Window, relu: bool) -> Result<Value> {
        let shape = self.shape(input);
        let Window { kernel, stride, padding } = window;
        let Some(output_shape) = shape.windows(kernel, stride, padding, shape.c as usize) else {
            let reason =
                format!("a {kernel}x{kernel} window with padding {padding} does not fit into {shape}");
            return Err(Error::Shape { operator: "pooling", reason });
        };
        let output = self.value(output_shape, None);
        let record = self.values.get(output);
        let operator = Pool {
            input: self.operand(input),
            relu,
            kind,
            kernel,
            stride,
            padding,
            output: record.operand.data,
            output_shape,
        };
        let gradient = PoolGradient { output: record.gradient, input: self.values.target(input) };
        self.consume(input, BatchNormSums::Separate);
        self.push(Step { operator, input, output, gradient });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.pool_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, _: Gradients) {
        backend.pool_backward(&self.operator, &self.gradient);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.output = values.get(self.output).gradient;
        self.gradient.input = values.target(self.input);
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Both, &mut self.operator.input.data);
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        visit_target(&mut self.gradient.input, visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        visit(&mut self.gradient.input);
    }
}
