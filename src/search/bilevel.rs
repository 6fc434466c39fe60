//! The bilevel optimisation: a step of the alphas on a validation batch, then a step of the weights on a
//! training batch (DARTS, section 2.3 and algorithm 1).
//!
//! First order takes the gradient of the validation loss by the alphas at the present weights w. Second order
//! takes it at w' = w - xi * dw, one step of the weights ahead (equation 7), where it has a second part:
//! `-xi * d2 L_train / (d alpha d w) * grad_w' L_valid`, found by a finite difference of the alpha gradient at
//! w +- eps * grad_w' L_valid with eps = 0.01 / |grad_w' L_valid| (equation 8).

use crate::Result;
use crate::autograd::{Recorder, Tape};
use crate::backend::{Adam, Backend, GradientDescent, Mode, Scalar, Span};
use crate::space::{Supernet, SupernetShape};

/// The finite difference moves the weights by this Euclidean distance in each direction.
const FINITE_DIFFERENCE_DISTANCE: f64 = 0.01;
/// Adam's epsilon (PyTorch's default).
const ADAM_EPSILON: f64 = 1e-8;

/// What the two optimisers need to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BilevelSettings {
    /// Whether the alpha gradient looks one step of the weights ahead.
    pub second_order: bool,
    /// Momentum of the weights.
    pub weight_momentum: f64,
    /// Decay of the weights.
    pub weight_decay: f64,
    /// Largest norm of the weights' gradient.
    pub gradient_clip: f64,
    /// Adam's learning rate of the alphas.
    pub alpha_lr: f64,
    /// Adam's betas.
    pub alpha_betas: (f64, f64),
    /// Decay of the alphas.
    pub alpha_weight_decay: f64,
}

/// Images `[n][h][w][c]` and their classes.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a, T> {
    /// Pixels.
    pub images: &'a [T],
    /// Classes.
    pub labels: &'a [u32],
}

/// The loss of a batch and how many of its images were guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchResult {
    /// Mean loss.
    pub loss: f64,
    /// Images whose class was the first guess.
    pub first: f64,
    /// Images whose class was among the first five guesses.
    pub five: f64,
}

/// Where the optimisers and the second order keep their vectors.
#[derive(Clone, Copy, Debug)]
pub struct BilevelSpans {
    /// Momentum of the weights.
    pub momentum: Span,
    /// Adam's first moments of the alphas.
    pub first: Span,
    /// Adam's second moments of the alphas.
    pub second: Span,
    /// Norm of the weights' gradient, before clipping.
    pub gradient_norm: Span,
    /// What only the second order needs.
    pub second_order: Option<SecondOrderSpans>,
}

/// Vectors of the second order.
#[derive(Clone, Copy, Debug)]
pub struct SecondOrderSpans {
    /// The weights while others stand in their place.
    pub saved: Span,
    /// `grad_w' L_valid`.
    pub vector: Span,
    /// `grad_alpha L_valid` at w'.
    pub alpha_gradient: Span,
    /// The finite-difference product of the mixed second derivative and `vector`.
    pub product: Span,
    /// Norm of `vector`.
    pub norm: Span,
    /// The factor of `vector` in the finite difference.
    pub radius: Span,
    /// The number 1.
    one: Span,
}

/// A supernet, its weights and alphas, and the optimisers of both.
pub struct Bilevel<B: Backend> {
    /// The supernet on its device.
    pub tape: Tape<B>,
    /// Where its parts lie.
    pub supernet: Supernet,
    /// Where the optimisers' vectors lie.
    pub spans: BilevelSpans,
    settings: BilevelSettings,
    steps: u64,
}

impl<B: Backend> Bilevel<B> {
    /// Records the supernet and sets weights, running statistics and alphas to their initial values for `seed`.
    pub fn new(backend: B, shape: SupernetShape, settings: BilevelSettings, seed: u64) -> Result<Self> {
        let mut recorder = Recorder::new();
        let supernet = Supernet::record(&mut recorder, shape)?;
        let (weights, alphas) = (supernet.spans.weights.len, supernet.alphas.len);
        let second_order = settings.second_order.then(|| SecondOrderSpans {
            saved: recorder.span(weights),
            vector: recorder.span(weights),
            alpha_gradient: recorder.span(alphas),
            product: recorder.span(alphas),
            norm: recorder.span(1),
            radius: recorder.span(1),
            one: recorder.span(1),
        });
        let spans = BilevelSpans {
            momentum: recorder.span(weights),
            first: recorder.span(alphas),
            second: recorder.span(alphas),
            gradient_norm: recorder.span(1),
            second_order,
        };
        let tape = recorder.finish(backend)?;
        let mut bilevel = Bilevel { tape, supernet, spans, settings, steps: 0 };
        bilevel.restart(seed);
        Ok(bilevel)
    }

    /// Sets everything to its start for `seed`.
    pub fn restart(&mut self, seed: u64) {
        self.steps = 0;
        let cast = |values: Vec<f32>| values.iter().map(|&x| B::Scalar::of(x.into())).collect::<Vec<_>>();
        let backend = self.tape.backend();
        backend.write(self.supernet.spans.weights, &cast(self.supernet.parameters.initial(seed)));
        backend.write(self.supernet.spans.running, &cast(self.supernet.parameters.initial_running()));
        backend.write(self.supernet.alphas, &cast(self.supernet.initial_alphas(seed)));
        for span in [self.spans.momentum, self.spans.first, self.spans.second] {
            backend.fill(span, 0.0);
        }
    }

    /// One iteration: a step of the alphas, then one of the weights. Returns the training batch's result.
    pub fn step(
        &mut self,
        train: BatchView<B::Scalar>,
        valid: BatchView<B::Scalar>,
        weight_lr: f64,
    ) -> Result<BatchResult> {
        self.alpha_step(train, valid, weight_lr)?;
        self.weight_step(train, weight_lr)
    }

    /// A step of the alphas. `weight_lr` is the xi of the second order.
    pub fn alpha_step(
        &mut self,
        train: BatchView<B::Scalar>,
        valid: BatchView<B::Scalar>,
        weight_lr: f64,
    ) -> Result<()> {
        match self.spans.second_order {
            None => self.differentiate(valid, Mode::Train, false)?,
            Some(spans) => self.second_order_gradient(spans, train, valid, weight_lr)?,
        }
        self.update_alphas();
        Ok(())
    }

    /// Adam's step along the alpha gradient.
    pub fn update_alphas(&mut self) {
        self.steps += 1;
        let step = Adam {
            parameters: self.supernet.alphas,
            gradient: self.supernet.alpha_gradient,
            first: self.spans.first,
            second: self.spans.second,
            rate: self.settings.alpha_lr,
            betas: self.settings.alpha_betas,
            epsilon: ADAM_EPSILON,
            decay: self.settings.alpha_weight_decay,
            step: self.steps,
        };
        self.tape.backend().adam(&step);
    }

    /// A step of the weights.
    pub fn weight_step(&mut self, train: BatchView<B::Scalar>, weight_lr: f64) -> Result<BatchResult> {
        self.differentiate(train, Mode::Train, true)?;
        let step = GradientDescent {
            weights: self.supernet.spans.weights,
            gradient: self.supernet.spans.gradients,
            momentum_buffer: self.spans.momentum,
            clip: Some((self.spans.gradient_norm, self.settings.gradient_clip)),
            rate: weight_lr,
            momentum: self.settings.weight_momentum,
            decay: self.settings.weight_decay,
        };
        let backend = self.tape.backend();
        backend.norm(step.gradient, self.spans.gradient_norm);
        backend.gradient_descent(&step);
        Ok(self.result())
    }

    /// The result of the first `images` images of a batch in inference: with the running statistics.
    pub fn evaluate(&mut self, batch: BatchView<B::Scalar>, images: usize) -> Result<BatchResult> {
        self.load(batch)?;
        self.tape.forward(Mode::Inference);
        if images == batch.labels.len() {
            return Ok(self.result());
        }
        // The last batch of a pass is filled up with images that do not count.
        let logits = self.tape.read_value(self.supernet.logits);
        let rows = logits.chunks(self.supernet.shape.classes).zip(batch.labels).take(images);
        let mut sum = BatchResult::default();
        for (row, &label) in rows {
            let row: Vec<f64> = row.iter().map(|x| x.wide()).collect();
            let label = label as usize;
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - largest).exp()).sum();
            let before = |i: usize| row[i] > row[label] || (row[i] == row[label] && i < label);
            let rank = (0..row.len()).filter(|&i| before(i)).count();
            sum.loss += (total.ln() + largest - row[label]) / images as f64;
            sum.first += f64::from(rank < 1);
            sum.five += f64::from(rank < 5);
        }
        Ok(sum)
    }

    /// Forward and backward; leaves the gradients of the alphas and, where asked for, of the weights.
    pub fn differentiate(&mut self, batch: BatchView<B::Scalar>, mode: Mode, weights: bool) -> Result<()> {
        self.load(batch)?;
        self.tape.forward(mode);
        self.tape.backward(weights);
        Ok(())
    }

    /// The result of the last forward replay.
    pub fn result(&self) -> BatchResult {
        let mut values = [B::Scalar::default(); 3];
        self.tape.read_into(self.supernet.loss.result, &mut values);
        let [loss, first, five] = values.map(Scalar::wide);
        BatchResult { loss, first, five }
    }

    fn load(&mut self, batch: BatchView<B::Scalar>) -> Result<()> {
        self.tape.write_value(self.supernet.images, batch.images)?;
        self.tape.backend().write_labels(batch.labels);
        Ok(())
    }

    /// Leaves `grad_alpha L_valid(w') - xi * product` in the alpha gradient; the weights are as before.
    fn second_order_gradient(
        &mut self,
        spans: SecondOrderSpans,
        train: BatchView<B::Scalar>,
        valid: BatchView<B::Scalar>,
        xi: f64,
    ) -> Result<()> {
        let gradients = self.supernet.spans.gradients;
        let alpha_gradient = self.supernet.alpha_gradient;
        self.look_ahead(spans, train, xi)?;
        self.differentiate(valid, Mode::TrainKeepRunning, true)?;
        let backend = self.tape.backend();
        backend.copy(spans.vector, gradients);
        backend.copy(spans.alpha_gradient, alpha_gradient);
        backend.norm(spans.vector, spans.norm);
        self.finite_difference(spans, train)?;
        let backend = self.tape.backend();
        backend.copy(alpha_gradient, spans.alpha_gradient);
        backend.scaled_add(alpha_gradient, -xi, None, spans.product);
        Ok(())
    }

    /// `w' = w - xi * (momentum * buffer + gradient + decay * w)`: the next step of the weights, without
    /// clipping. Saves w.
    pub fn look_ahead(
        &mut self,
        spans: SecondOrderSpans,
        train: BatchView<B::Scalar>,
        xi: f64,
    ) -> Result<()> {
        self.tape.backend().copy(spans.saved, self.supernet.spans.weights);
        self.differentiate(train, Mode::Train, true)?;
        let (weights, gradients) = (self.supernet.spans.weights, self.supernet.spans.gradients);
        let (momentum, decay) = (self.settings.weight_momentum, self.settings.weight_decay);
        let buffer = self.spans.momentum;
        let backend = self.tape.backend();
        backend.scaled_add(weights, -xi * momentum, None, buffer);
        backend.scaled_add(weights, -xi, None, gradients);
        backend.scaled_add(weights, -xi * decay, None, spans.saved);
        Ok(())
    }

    /// `product = (grad_alpha L_train(w + r * vector) - grad_alpha L_train(w - r * vector)) / 2r` with
    /// `r = 0.01 / norm`.
    fn finite_difference(&mut self, spans: SecondOrderSpans, train: BatchView<B::Scalar>) -> Result<()> {
        let (weights, alpha_gradient) = (self.supernet.spans.weights, self.supernet.alpha_gradient);
        let distance = FINITE_DIFFERENCE_DISTANCE;
        let backend = self.tape.backend();
        backend.fill(spans.one, 1.0);
        backend.fill(spans.radius, 0.0);
        backend.scaled_add(spans.radius, distance, Some(spans.norm), spans.one);
        backend.copy(weights, spans.saved);
        backend.scaled_add(weights, distance, Some(spans.norm), spans.vector);
        self.differentiate(train, Mode::Train, false)?;
        let backend = self.tape.backend();
        backend.fill(spans.product, 0.0);
        backend.scaled_add(spans.product, 0.5, Some(spans.radius), alpha_gradient);
        backend.copy(weights, spans.saved);
        backend.scaled_add(weights, -distance, Some(spans.norm), spans.vector);
        self.differentiate(train, Mode::Train, false)?;
        let backend = self.tape.backend();
        backend.scaled_add(spans.product, -0.5, Some(spans.radius), alpha_gradient);
        backend.copy(weights, spans.saved);
        Ok(())
    }
}
