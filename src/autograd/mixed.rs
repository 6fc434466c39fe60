//! The mixed operation (DARTS, equation 2), summed over all edges of a node: one weighted sum over every
//! branch of every incoming edge.
//!
//! All branches share the node's gradient, so a branch gets no gradient of its own: its batch norm's backward
//! reads the node's, scaled by the mixing weight. The gradient of that weight falls out of the same sums, and the
//! backward of all batch norms that wait for nothing else is one call.

use super::gates::Gates;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{
    Backend, BatchNormGradient, Gradients, Mixed, MixedBranch, MixedBranchGradient, MixedGradient, Mode,
    Slot, Span, Sums, Target,
};
use crate::{Error, Result};

/// Mixing weights, such as those of a type of cell: row after row, a number for each candidate of an edge.
#[derive(Clone, Copy, Debug)]
pub struct MixingWeights {
    /// Any numbers, written from outside.
    pub value: Span,
    /// The gradient of the loss by them, summed over all nodes that read them.
    pub gradient: Span,
    /// The sums of the gradients of the nodes that read them, a node's at the place of the first of its branches: what the
    /// gradient of each of its mixing weights would be if the branch were all ones.
    pub sums: Span,
    /// Their branches' gates; without, every branch is always computed.
    pub gates: Option<Gates>,
}

impl MixingWeights {
    /// Those of `len` branches from `start` on.
    pub fn part(self, start: usize, len: usize) -> MixingWeights {
        MixingWeights {
            value: self.value.part(start, len),
            gradient: self.gradient.part(start, len),
            sums: self.sums.part(start, len),
            gates: self.gates.map(|gates| gates.part(start, len)),
        }
    }
}

struct MixStep {
    operator: Mixed,
    branches: Vec<Value>,
    output: Value,
    gradient: MixedGradient,
    norms: Vec<BatchNormGradient>,
}

impl<B: Backend> Recorder<B> {
    /// Mixing weights of so many branches, which are written from outside, each with a gate; and behind them the weights of
    /// so many edges, past whose branches channels go.
    pub fn mixing(&mut self, branches: usize, edges: usize) -> MixingWeights {
        MixingWeights { gates: Some(self.gates(branches)), ..self.ungated_mixing(branches + edges) }
    }

    /// So many mixing weights, all of whose branches are always computed.
    pub fn ungated_mixing(&mut self, len: usize) -> MixingWeights {
        let [gradient, sums] = [(); 2].map(|()| self.accumulator(len));
        MixingWeights { value: self.span(len), gradient, sums, gates: None }
    }

    /// The weighted sum of `branches`, each with the index of its mixing weight.
    pub fn mixed(&mut self, branches: &[(Value, usize)], weights: MixingWeights) -> Result<Value> {
        let fail = |reason| Err(Error::Shape { operator: "mixed operation", reason });
        let Some(&(first, first_mixing)) = branches.first() else { return fail("no branch".to_string()) };
        let shape = self.shape(first);
        if let Some(&(other, _)) = branches.iter().find(|(branch, _)| self.shape(*branch) != shape) {
            return fail(format!("branches of shapes {shape} and {} cannot be added", self.shape(other)));
        }
        let (count, most) = (branches.len(), B::LIMITS.mixed);
        if count > most {
            return Err(Error::Device(format!(
                "a node of {count} branches is more than the {most} that its kernels take; use fewer nodes, fewer \
                 candidates or --device cpu"
            )));
        }
        let channels = shape.c as usize;
        let output = self.value(shape, None);
        let node_gradient = self.values.get(output).gradient;
        let total = self.span(channels);
        let mut operator = Mixed {
            branches: Vec::with_capacity(branches.len()),
            output: self.operand(output).data,
            shape,
            workspace: self.span((branches.len() + 1) * channels),
        };
        let mut gradients = Vec::with_capacity(branches.len());
        for &(branch, index) in branches {
            let operand = self.operand(branch);
            let weight = weights.value.part(index, 1);
            let gate = weights.gates.map(|gates| gates.own(index));
            operator.branches.push(MixedBranch { data: operand.data, norm: operand.norm, weight, gate });
            let mut term = self.batch_norm_term(channels, Some(weight), gate);
            term.sums = Sums { total, products: term.sums.products };
            match &mut self.record_of(branch).normalised {
                Some(normalised) => normalised.mixed.push((term, node_gradient)),
                None => self.consume(branch, BatchNormSums::Separate),
            }
            let weight = weights.gradient.part(index, 1);
            gradients.push(MixedBranchGradient { products: term.sums.products, weight, identity: None });
        }
        self.push(MixStep {
            operator,
            branches: branches.iter().map(|(branch, _)| *branch).collect(),
            output,
            gradient: MixedGradient {
                output: node_gradient,
                total,
                sum: weights.sums.part(first_mixing, 1),
                branches: gradients,
            },
            norms: Vec::new(),
        });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for MixStep {
    fn name(&self) -> &'static str {
        "mixed"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.mixed_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        backend.mixed_backward(&self.operator, &self.gradient);
        backend.batch_norm_backward(&self.norms, wanted);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.output = values.get(self.output).gradient;
        for (&branch, gradient) in self.branches.iter().zip(&mut self.gradient.branches) {
            let record = values.get(branch);
            let Some(normalised) = &record.normalised else {
                gradient.identity = Some(values.target(branch));
                continue;
            };
            if record.consumers == 0 {
                let sums = Sums { total: self.gradient.total, products: gradient.products };
                self.norms.extend(normalised.completed_by(sums));
            }
        }
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        self.operator.branches.iter_mut().for_each(|branch| visit(Phase::Both, &mut branch.data));
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        for target in self.gradient.branches.iter_mut().filter_map(|branch| branch.identity.as_mut()) {
            visit(Phase::Backward, &mut target.slot);
        }
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.branches.iter_mut().filter_map(|branch| branch.identity.as_mut()).for_each(visit);
    }
}
