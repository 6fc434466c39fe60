//! The loss. Its forward leaves its gradient, so its backward has nothing to do.

use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{Backend, CrossEntropy, Gradients, Mode, Slot, Span, Target};

/// Where the loss of a batch and its counts of right guesses lie.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// `[3]`: mean loss, images right at the first guess, images right within five.
    pub result: Span,
}

struct Step {
    operator: CrossEntropy,
}

impl<B: Backend> Recorder<B> {
    /// Mean cross-entropy with the labels of the batch. `weight` is its share in the sum that is minimised; of the
    /// `class_weights`, if there are any, each class has one that its images count with.
    pub fn cross_entropy(&mut self, logits: Value, weight: f64, class_weights: Option<Span>) -> Loss {
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
            class_weights,
        };
        self.consume(logits, BatchNormSums::Separate);
        self.push(Step { operator });
        Loss { result }
    }
}

impl<B: Backend> Operator<B> for Step {
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
