//! Batch norm on the tape. It is no operator of its own: it belongs to the value in front of it, whose
//! readers apply `scale * x + shift`. Nothing normalised is ever stored.

use super::recorder::{Phase, Recorder, Value, Values, Weight};
use crate::backend::{
    Backend, BatchNorm, BatchNormGradient, BatchNormReduce, BatchNormTerm, Gradients, Mode, Norm, Shape,
    Slot, Span, Sums, Target, Term, UnstoredGradient,
};

/// The parameters of one batch norm.
#[derive(Clone, Copy, Debug)]
pub struct NormParameters {
    /// `[2][c]`: running mean and variance.
    pub running: Span,
    /// Learned factor and offset.
    pub affine: Option<(Weight, Weight)>,
    /// Closed where neither this batch norm nor the value in front of it is computed: see [`Recorder::gate`].
    pub gate: Option<Span>,
}

/// A value's batch norm: what the forward pass needs, and whom its gradient comes from.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// Statistics and coefficients.
    pub forward: BatchNorm,
    /// Coefficients of the gradient of the stored value.
    pub raw_factor: Span,
    /// Coefficients of the gradient of the stored value.
    pub constant: Span,
    /// Gradients of gamma and beta.
    pub affine_gradient: Option<(Span, Span)>,
    /// The term of the consumers that add to the value's own gradient.
    pub direct: BatchNormTerm,
    /// The terms of nodes that mix the value in: their gradient serves all their branches.
    pub mixed: Vec<(BatchNormTerm, Slot)>,
}

impl Normalised {
    fn backward(&self, terms: Vec<BatchNormTerm>) -> BatchNormGradient {
        BatchNormGradient {
            norm: self.forward.norm,
            count: self.forward.count,
            terms,
            raw_factor: self.raw_factor,
            constant: self.constant,
            gamma: self.affine_gradient.map(|(gamma, _)| gamma),
            beta: self.affine_gradient.map(|(_, beta)| beta),
            gate: self.forward.gate,
        }
    }

    /// The backward of this batch norm, if its value is read by nodes only and `sums` are those of the node recorded first.
    /// That node runs backward last, so it alone computes this backward: one call for the branches of all its edges.
    pub(super) fn completed_by(&self, sums: Sums) -> Option<BatchNormGradient> {
        let (first, _) = self.mixed.first()?;
        let terms = || self.mixed.iter().map(|(term, _)| *term).collect();
        (first.sums.products == sums.products).then(|| self.backward(terms()))
    }
}

impl<B: Backend> Recorder<B> {
    /// A new value of `shape` with a batch norm behind it.
    pub(super) fn normalised_value(&mut self, shape: Shape, parameters: NormParameters) -> Value {
        let channels = shape.c as usize;
        let norm = Norm {
            mean: self.span(channels),
            inverse_deviation: self.span(channels),
            scale: self.span(channels),
            shift: self.span(channels),
            gamma: parameters.affine.map(|(gamma, _)| gamma.value),
            beta: parameters.affine.map(|(_, beta)| beta.value),
        };
        let statistics = self.span(2 * channels);
        let normalised = Normalised {
            forward: BatchNorm {
                statistics,
                running: parameters.running,
                norm,
                count: shape.pixels(),
                gate: parameters.gate,
            },
            raw_factor: self.span(channels),
            constant: self.span(channels),
            affine_gradient: parameters.affine.map(|(gamma, beta)| (gamma.gradient, beta.gradient)),
            direct: self.batch_norm_term(channels, None, None),
            mixed: Vec::new(),
        };
        self.value(shape, Some(normalised))
    }

    pub(super) fn batch_norm_term(
        &mut self,
        channels: usize,
        weight: Option<Span>,
        gate: Option<Span>,
    ) -> BatchNormTerm {
        let sums = Sums { total: self.span(channels), products: self.span(channels) };
        BatchNormTerm { sums, weight, factor: self.span(channels), gate }
    }

    /// Where the producer of a normalised value leaves its mean and variance.
    pub(super) fn statistics(&self, value: Value) -> Span {
        let record = self.values.get(value);
        record
            .normalised
            .as_ref()
            .expect("producers ask for the statistics of their own outputs")
            .forward
            .statistics
    }
}

/// The batch norms behind an operator's outputs, replayed together.
pub struct Outputs {
    values: Vec<Value>,
    forward: Vec<BatchNorm>,
    backward: Vec<BatchNormGradient>,
    reduces: Vec<BatchNormReduce>,
}

impl Outputs {
    /// The outputs of an operator, all of them normalised.
    pub fn new(values: Vec<Value>) -> Self {
        Outputs { values, forward: Vec::new(), backward: Vec::new(), reduces: Vec::new() }
    }

    /// Learns who reads the outputs; returns the gradient of each stored value.
    pub fn bind(&mut self, values: &Values) -> Vec<UnstoredGradient> {
        self.values.clone().into_iter().map(|value| self.bind_value(value, values)).collect()
    }

    fn bind_value(&mut self, value: Value, values: &Values) -> UnstoredGradient {
        let record = values.get(value);
        let normalised = record.normalised.as_ref().expect("every output has a batch norm");
        let mut terms: Vec<(BatchNormTerm, Slot)> = normalised.mixed.clone();
        if record.consumers > 0 {
            terms.push((normalised.direct, record.gradient));
            if values.fused_sums(value).is_none() {
                let (gradient, sums) = (record.gradient, normalised.direct.sums);
                let gate = record.gate;
                self.reduces.push(BatchNormReduce { gradient, input: record.operand, sums, gate });
            }
        }
        self.forward.push(normalised.forward.clone());
        if record.consumers > 0 || normalised.mixed.is_empty() {
            self.backward.push(normalised.backward(terms.iter().map(|(term, _)| *term).collect()));
        }
        UnstoredGradient {
            terms: terms.iter().map(|&(term, gradient)| Term { gradient, factor: term.factor }).collect(),
            raw: record.operand.data,
            raw_factor: normalised.raw_factor,
            constant: normalised.constant,
        }
    }

    /// Turns fresh statistics into what readers apply.
    pub fn forward(&self, backend: &mut impl Backend, mode: Mode) {
        backend.batch_norm_forward(&self.forward, mode);
    }

    /// Turns the consumers' sums into the coefficients of the outputs' gradients.
    pub fn backward(&self, backend: &mut impl Backend, wanted: Gradients) {
        for reduce in &self.reduces {
            backend.batch_norm_reduce(reduce);
        }
        backend.batch_norm_backward(&self.backward, wanted);
    }

    /// Shows every slot that [`Outputs::backward`] touches.
    pub fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        for reduce in &mut self.reduces {
            visit(Phase::Backward, &mut reduce.gradient);
            visit(Phase::Backward, &mut reduce.input.data);
        }
    }
}

/// Shows the slots of a gradient that is computed while reading.
pub(super) fn visit_unstored_gradient(
    gradient: &mut UnstoredGradient,
    visit: &mut dyn FnMut(Phase, &mut Slot),
) {
    for term in &mut gradient.terms {
        visit(Phase::Backward, &mut term.gradient);
    }
    visit(Phase::Backward, &mut gradient.raw);
}

/// Shows the slot of a delivered gradient.
pub(super) fn visit_target(target: &mut Target, visit: &mut dyn FnMut(Phase, &mut Slot)) {
    visit(Phase::Backward, &mut target.slot);
}
