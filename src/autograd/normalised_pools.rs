//! 3x3 pooling. Maximum and average of a state, with their batch norms, are the same on every edge that
//! leaves it, so they are computed once a state. Saves the input and both results.

use super::batch_norm::{NormParameters, Outputs, visit_target, visit_unstored_gradient};
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{Backend, Gradients, Mode, NormalisedPools, NormalisedPoolsGradient, Slot, Target};

struct Step {
    operator: NormalisedPools,
    input: Value,
    outputs: Outputs,
    gradient: Option<NormalisedPoolsGradient>,
}

impl<B: Backend> Recorder<B> {
    /// The maximum and the average of 3x3 neighbourhoods, in this order.
    pub fn normalised_pools(
        &mut self,
        input: Value,
        stride: usize,
        norms: [NormParameters; 2],
    ) -> [Value; 2] {
        let shape = self.shape(input);
        let output_shape = shape.strided(stride, shape.c as usize);
        let [maximum, average] = norms.map(|norm| self.normalised_value(output_shape, norm));
        let operator = NormalisedPools {
            input: self.operand(input),
            stride,
            maximum: self.operand(maximum).data,
            average: self.operand(average).data,
            output_shape,
            maximum_statistics: self.statistics(maximum),
            average_statistics: self.statistics(average),
            maximum_gate: norms[0].gate,
            average_gate: norms[1].gate,
        };
        self.consume(input, BatchNormSums::Separate);
        self.push(Step { operator, input, outputs: Outputs::new(vec![maximum, average]), gradient: None });
        [maximum, average]
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "normalised pools"
    }

    fn forward(&self, backend: &mut B, mode: Mode) {
        backend.normalised_pools_forward(&self.operator);
        self.outputs.forward(backend, mode);
    }

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        if let Some(gradient) = &self.gradient {
            self.outputs.backward(backend, wanted);
            backend.normalised_pools_backward(&self.operator, gradient);
        }
    }

    fn bind(&mut self, values: &Values) {
        let input = values.target(self.input);
        if let Ok([maximum, average]) = <[_; 2]>::try_from(self.outputs.bind(values)) {
            self.gradient = Some(NormalisedPoolsGradient { maximum, average, input });
        }
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Both, &mut self.operator.input.data);
        visit(Phase::Forward, &mut self.operator.maximum);
        visit(Phase::Forward, &mut self.operator.average);
        if let Some(gradient) = &mut self.gradient {
            visit_unstored_gradient(&mut gradient.maximum, visit);
            visit_unstored_gradient(&mut gradient.average, visit);
            visit_target(&mut gradient.input, visit);
        }
        self.outputs.slots(visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.iter_mut().for_each(|gradient| visit(&mut gradient.input));
    }
}
