//! Loss scaling (Micikevicius et al., Mixed precision training, ICLR 2018, section 3.2): small gradients of feature maps
//! vanish in a storage type of few exponents, so the gradient of the loss is [multiplied] where the
//! backward replay begins, and the gradients of weights and mixing weights, which are kept in the accumulation type,
//! are divided where it ends. All of the backward replay in between is linear in the gradient of the loss.
//!
//! [multiplied]: crate::backend::Device::loss_scale

use super::mixed::MixingWeights;
use super::recorder::{Operator, Phase, Recorder, Values};
use crate::backend::{Backend, Gradients, Mode, Slot, Span, Target};

struct UnscaleStep {
    weights: Span,
    mixing: Option<MixingWeights>,
}

impl<B: Backend> Recorder<B> {
    /// Takes the loss scale out of the gradients of all weights and mixing weights. Recorded before whatever computes them, as a
    /// backward replay runs against the order of recording.
    pub fn unscale(&mut self, weights: Span, mixing: Option<MixingWeights>) {
        self.push(UnscaleStep { weights, mixing });
    }
}

impl<B: Backend> Operator<B> for UnscaleStep {
    fn name(&self) -> &'static str {
        "loss scale"
    }

    fn forward(&self, _: &mut B, _: Mode) {}

    fn backward(&self, backend: &mut B, wanted: Gradients) {
        let scale = backend.loss_scale();
        if scale == 1.0 {
            return;
        }
        let weights = wanted.of_weights().then_some(self.weights);
        let mixing = self.mixing.map(|mixing| [mixing.gradient, mixing.sums]);
        for span in weights.into_iter().chain(mixing.into_iter().flatten()) {
            // With a power of two as scale both the factor and the sum are exact.
            backend.scaled_add(span, 1.0 / scale - 1.0, None, span);
        }
    }

    fn bind(&mut self, _: &Values) {}
    fn slots(&mut self, _: &mut dyn FnMut(Phase, &mut Slot)) {}
    fn targets(&mut self, _: &mut dyn FnMut(&mut Target)) {}
}
