//! The sum of a derived cell's node, with drop path (Larsson, Maire, Shakhnarovich, FractalNet, 2017): each branch of
//! each image is multiplied by a factor of its own.
//!
//! Saves the branches, for the sums of their batch norms.

use super::batch_norm::visit_target;
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values};
use crate::backend::{
    Backend, Gradients, Mode, NodeSum, NodeSumBranch, NodeSumBranchGradient, NodeSumGradient, Slot, Span,
    Target,
};
use crate::{Error, Result};

struct Step {
    operator: NodeSum,
    branches: Vec<Value>,
    output: Value,
    gradient: NodeSumGradient,
}

impl<B: Backend> Recorder<B> {
    /// The sum of the branches; each image of a branch is multiplied by its element of the factors, where there are.
    pub fn node_sum(&mut self, branches: &[(Value, Option<Span>)]) -> Result<Value> {
        let fail = |reason| Err(Error::Shape { operator: "sum of a node", reason });
        let Some(&(first, _)) = branches.first() else { return fail("no branch".to_string()) };
        let shape = self.shape(first);
        if let Some(&(other, _)) = branches.iter().find(|(branch, _)| self.shape(*branch) != shape) {
            return fail(format!("branches of shapes {shape} and {} cannot be added", self.shape(other)));
        }
        if let Some(factors) = branches.iter().find_map(|(_, f)| f.filter(|f| f.len != shape.n as usize)) {
            return fail(format!("{} factors for the images of {shape}", factors.len));
        }
        let (count, most) = (branches.len(), B::LIMITS.summed);
        if count > most {
            return Err(Error::Device(format!(
                "a node of {count} edges is more than the {most} that its kernels take; use --device cpu"
            )));
        }
        let output = self.value(shape, None);
        let record = self.values.get(output);
        let (data, gradient) = (record.operand.data, record.gradient);
        let branch = |&(value, factors)| NodeSumBranch { input: self.operand(value), factors };
        let operator = NodeSum { branches: branches.iter().map(branch).collect(), output: data, shape };
        branches.iter().for_each(|&(value, _)| self.consume(value, BatchNormSums::Fused));
        self.push(Step {
            operator,
            branches: branches.iter().map(|(value, _)| *value).collect(),
            output,
            gradient: NodeSumGradient { output: gradient, branches: Vec::new() },
        });
        Ok(output)
    }
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "node sum"
    }

    fn forward(&self, backend: &mut B, _: Mode) {
        backend.node_sum_forward(&self.operator);
    }

    fn backward(&self, backend: &mut B, _: Gradients) {
        backend.node_sum_backward(&self.operator, &self.gradient);
    }

    fn bind(&mut self, values: &Values) {
        self.gradient.output = values.get(self.output).gradient;
        let gradient =
            |&value| NodeSumBranchGradient { input: values.target(value), sums: values.fused_sums(value) };
        self.gradient.branches = self.branches.iter().map(gradient).collect();
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        self.operator.branches.iter_mut().for_each(|branch| visit(Phase::Both, &mut branch.input.data));
        visit(Phase::Forward, &mut self.operator.output);
        visit(Phase::Backward, &mut self.gradient.output);
        self.gradient.branches.iter_mut().for_each(|branch| visit_target(&mut branch.input, visit));
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.branches.iter_mut().for_each(|branch| visit(&mut branch.input));
    }
}
