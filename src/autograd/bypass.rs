//! A node with partial channel connections (Xu et al., PC-DARTS, ICLR 2020): the mixed operation computes some channels,
//! and the others pass it by on each edge.
//!
//! Saves what passes by, for the gradients of the edges' weights.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{
    Backend, Bypass, BypassGradient, BypassSource, BypassSourceGradient, Gradients, Mode, Slot, Target,
};
use crate::{Error, Result};

struct Step {
    operator: Bypass,
    mixed: Value,
    sources: Vec<Value>,
    output: Value,
    gradient: BypassGradient,
}

impl<B: Backend> Recorder<B> {
    /// The node whose first channels before the shuffle are `mixed`, and whose others are those of `sources`, weighted and
    /// added. Gradients of weights, of one element each, are added.
    pub fn bypass(&mut self, mixed: Value, sources: &[(Value, Weight)]) -> Result<Value> {
        let fail = |reason| Err(Error::Shape { operator: "bypass", reason });
        let Some(&(first, _)) = sources.first() else { return fail("no edge".to_string()) };
        let (shape, part) = (self.shape(first), self.shape(mixed));
        if let Some(&(other, _)) = sources.iter().find(|(source, _)| self.shape(*source) != shape) {
            return fail(format!("edges of shapes {shape} and {} cannot be added", self.shape(other)));
        }
        if part.c == 0
            || !shape.c.is_multiple_of(part.c)
            || (part.n, part.h, part.w) != (shape.n, shape.h, shape.w)
        {
            return fail(format!("{part} is no part of {shape}"));
        }
        if (1..sources.len())
            .any(|place| sources[..place].iter().any(|(value, _)| *value == sources[place].0))
        {
            return fail("two edges from the same value".to_string());
        }
        let (count, most) = (sources.len(), B::LIMITS.operands);
        if count > most {
            return Err(Error::Device(format!(
                "a node of {count} edges is more than the {most} that its kernels take; use fewer nodes or --device cpu"
            )));
        }
        let output = self.value(shape, None);
        let record = self.values.get(output);
        let (data, gradient) = (record.operand.data, record.gradient);
        let source = |&(value, weight): &(Value, Weight)| BypassSource {
            input: self.operand(value),
            weight: weight.value,
        };
        let operator = Bypass {
            mixed: self.operand(mixed).data,
            sources: sources.iter().map(source).collect(),
            output: data,
            shape,
            groups: (shape.c / part.c) as usize,
        };
        let target = |&(value, weight): &(Value, Weight)| BypassSourceGradient {
            input: self.values.target(value),
            weight: weight.gradient,
        };
        let gradient = BypassGradient {
            output: gradient,
            mixed: self.values.target(mixed),
            sources: sources.iter().map(target).collect(),
        };
        let sources: Vec<_> = sources.iter().map(|(value, _)| *value).collect();
        sources.iter().chain([&mixed]).for_each(|&value| self.consume(value, BatchNormSums::Separate));
        self.push(Step { operator, mixed, sources, output, gradient });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "bypass"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.bypass_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, _: Gradients) {
        backend.bypass_backward(&self.operator, &self.gradient);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.output = values.get(self.output).gradient;
        self.gradient.mixed = values.target(self.mixed);
        for (gradient, &value) in self.gradient.sources.iter_mut().zip(&self.sources) {
            gradient.input = values.target(value);
        }
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        visit(Phase::Forward, &mut self.operator.mixed);
        self.operator.sources.iter_mut().for_each(|source| visit(Phase::Both, &mut source.input.data));
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        visit_target(&mut self.gradient.mixed, visit);
        self.gradient.sources.iter_mut().for_each(|source| visit_target(&mut source.input, visit));
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        visit(&mut self.gradient.mixed);
        self.gradient.sources.iter_mut().for_each(|source| visit(&mut source.input));
    }
}
