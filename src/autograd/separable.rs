//! Depthwise separable convolution: ReLU, depthwise window, 1x1 convolution.
//!
//! Saves its input and its output. The ReLU and the depthwise result are recomputed in the backward replay:
//! keeping them would double the memory of the search.

use super::batch_norm::{NormParameters, Outputs, visit_target, visit_unstored_gradient};
use super::recorder::{BatchNormSums, Operator, Phase, Recorder, Value, Values, Weight};
use crate::backend::{
    Backend, Gradients, Mode, Separable, SeparableBranch, SeparableBranchGradient, SeparableGradient,
    SeparableSource, SeparableSourceGradient, Slot, Target,
};
use crate::{Error, Result};

/// The parameters of one separable convolution and of the batch norm behind it.
#[derive(Clone, Copy, Debug)]
pub struct SeparableParameters {
    /// Side of the depthwise window.
    pub kernel: usize,
    /// Distance between its taps.
    pub dilation: usize,
    /// `[kernel][kernel][c_in]`.
    pub depthwise: Weight,
    /// `[c_in][c_out]`.
    pub pointwise: Weight,
    /// The batch norm.
    pub norm: NormParameters,
}

struct Step {
    operator: Separable,
    inputs: Vec<Value>,
    weights: Vec<Vec<(Weight, Weight)>>,
    outputs: Outputs,
    gradient: SeparableGradient,
}

impl<B: Backend> Recorder<B> {
    /// Separable convolutions of several sources of one shape, each with its branches, as one operator:
    /// branches share the reading of their source, and a device can run all of them at once.
    /// Returns the branches' values in order.
    pub fn separable(
        &mut self,
        sources: &[(Value, Vec<SeparableParameters>)],
        stride: usize,
        channels: usize,
    ) -> Result<Vec<Value>> {
        let Some((first, _)) = sources.first() else { return Ok(Vec::new()) };
        let shape = self.shape(*first);
        let output_shape = shape.strided(stride, channels);
        let mut operator = Separable { sources: Vec::new(), stride, output_shape };
        let mut outputs = Vec::new();
        for (input, parameters) in sources {
            if self.shape(*input) != shape {
                let reason = format!("sources of shapes {shape} and {}", self.shape(*input));
                return Err(Error::Shape { operator: "separable convolution", reason });
            }
            let mut branches = Vec::new();
            for branch in parameters {
                check(branch, shape.c as usize, channels)?;
                check_window(branch.kernel, B::LIMITS.window)?;
                let output = self.normalised_value(output_shape, branch.norm);
                outputs.push(output);
                branches.push(SeparableBranch {
                    kernel: branch.kernel,
                    dilation: branch.dilation,
                    depthwise: branch.depthwise.value,
                    pointwise: branch.pointwise.value,
                    output: self.operand(output).data,
                    statistics: self.statistics(output),
                    gate: branch.norm.gate,
                });
            }
            self.consume(*input, BatchNormSums::Fused);
            operator.sources.push(SeparableSource { input: self.operand(*input), branches });
        }
        let weights = sources.iter().map(|(_, p)| p.iter().map(|b| (b.depthwise, b.pointwise)).collect());
        self.push(Step {
            operator,
            inputs: sources.iter().map(|(input, _)| *input).collect(),
            weights: weights.collect(),
            outputs: Outputs::new(outputs.clone()),
            gradient: SeparableGradient { sources: Vec::new() },
        });
        Ok(outputs)
    }
}

fn check_window(kernel: usize, most: usize) -> Result<()> {
    if kernel <= most {
        return Ok(());
    }
    Err(Error::Device(format!(
        "a {kernel}x{kernel} window is larger than the {most}x{most} that its kernels take; use --device cpu"
    )))
}

fn check(branch: &SeparableParameters, inputs: usize, outputs: usize) -> Result<()> {
    let SeparableParameters { kernel, depthwise, pointwise, .. } = branch;
    let fits = depthwise.value.len == kernel * kernel * inputs && pointwise.value.len == inputs * outputs;
    if fits && kernel % 2 == 1 {
        return Ok(());
    }
    let reason = format!(
        "{} depthwise and {} pointwise weights for a {kernel}x{kernel} window (which must be odd) over {inputs} \
         channels with {outputs} results",
        depthwise.value.len, pointwise.value.len
    );
    Err(Error::Shape { operator: "separable convolution", reason })
}

impl<B: Backend> Operator<B> for Step {
    fn name(&self) -> &'static str {
        "separable"
    }

    fn forward(&self, backend: &mut B, mode: Mode) {
        backend.separable_forward(&self.operator);
        self.outputs.forward(backend, mode);
    }

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        self.outputs.backward(backend, wanted);
        backend.separable_backward(&self.operator, &self.gradient, wanted);
    }

    fn bind(&mut self, values: &Values) {
        let mut outputs = self.outputs.bind(values).into_iter();
        for (&input, weights) in self.inputs.iter().zip(&self.weights) {
            let branches = weights
                .iter()
                .zip(outputs.by_ref())
                .map(|(&(depthwise, pointwise), output)| SeparableBranchGradient {
                    output,
                    depthwise: depthwise.gradient,
                    pointwise: pointwise.gradient,
                })
                .collect();
            let (target, sums) = (values.target(input), values.fused_sums(input));
            self.gradient.sources.push(SeparableSourceGradient { input: target, sums, branches });
        }
    }

    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot)) {
        for source in &mut self.operator.sources {
            visit(Phase::Both, &mut source.input.data);
            source.branches.iter_mut().for_each(|branch| visit(Phase::Forward, &mut branch.output));
        }
        for source in &mut self.gradient.sources {
            visit_target(&mut source.input, visit);
            source.branches.iter_mut().for_each(|branch| visit_unstored_gradient(&mut branch.output, visit));
        }
        self.outputs.slots(visit);
    }

    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target)) {
        self.gradient.sources.iter_mut().for_each(|source| visit(&mut source.input));
    }
}
