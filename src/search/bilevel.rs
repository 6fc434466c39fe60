//! The bilevel optimisation: a step of the alphas on a validation batch, then a step of the weights on a
//! training batch (DARTS, section 2.3 and algorithm 1).
//!
//! First order takes the gradient of the validation loss by the alphas at the present weights; second order,
//! one step of the weights ahead: see [`hypergradient`](super::hypergradient).

use super::hypergradient::{Half, LookAhead, Problem, ProblemSpans, SecondOrderSpans};
use super::plan::{Order, Plan};
use crate::Result;
use crate::autograd::{Recorder, Tape, dry_run};
use crate::backend::{
    Adam, Backend, GradientDescent, ImageBytes, Mode, PlacedImage, Scalar, Shape, Span, Work,
};
use crate::epochs::{BatchResult, BatchView, Fit, Input};
use crate::space::{Supernet, SupernetShape};

/// How far the official code moves the weights for the finite difference. It is too far for the true product,
/// which a smaller distance in f64 approaches, and part of what its search is.
pub const FINITE_DIFFERENCE: f64 = 0.01;
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
    /// How far the second order's finite difference moves the weights: [`FINITE_DIFFERENCE`].
    pub finite_difference: f64,
}

impl From<&Plan> for BilevelSettings {
    fn from(plan: &Plan) -> Self {
        BilevelSettings {
            second_order: plan.order == Order::Second,
            weight_momentum: plan.weight_momentum,
            weight_decay: plan.weight_decay,
            gradient_clip: plan.gradient_clip,
            alpha_lr: plan.alpha_lr,
            alpha_betas: (plan.alpha_beta1, plan.alpha_beta2),
            alpha_weight_decay: plan.alpha_weight_decay,
            finite_difference: FINITE_DIFFERENCE,
        }
    }
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

impl<B: Backend> AsMut<Tape<B>> for Bilevel<B> {
    fn as_mut(&mut self) -> &mut Tape<B> {
        &mut self.tape
    }
}

impl<B: Backend> Fit for Bilevel<B> {
    type Device = B;

    fn tape(&mut self) -> &mut Tape<B> {
        &mut self.tape
    }

    fn images(&self) -> Shape {
        self.supernet.shape.images
    }

    fn with_images(self, images: Shape) -> Result<Self> {
        let shape = SupernetShape { images, ..self.supernet.shape.clone() };
        Bilevel::record(self.tape.into_backend(), shape, self.settings)
    }

    fn measure(&mut self, painted_by_device: bool) -> Result<Work> {
        let images = self.supernet.shape.images;
        let (pixels, labels) = (vec![B::Scalar::default(); images.len()], vec![0; images.n as usize]);
        let placements = vec![PlacedImage::default(); images.n as usize];
        let batch = match painted_by_device {
            true => Input::Placed(&placements),
            false => Input::Painted(BatchView { images: &pixels, labels: &labels }),
        };
        let step = dry_run(self, |bilevel| bilevel.step(batch, batch, 0.0).map(drop))?;
        // The last dry run is the one that counts for the memory.
        let all = |bilevel: &mut Self| {
            bilevel.step(batch, batch, 0.0)?;
            bilevel.evaluate(batch, 1).map(drop)
        };
        dry_run(self, all)?;
        self.steps = 0;
        Ok(step)
    }

    fn start(&mut self, images: Option<&ImageBytes>, seed: u64) -> Result<()> {
        self.tape.reserve()?;
        if let (Some(images), Some(painter)) = (images, self.tape.backend().painter()) {
            painter.hold(images)?;
        }
        self.restart(seed);
        self.tape.status()
    }
}

impl<B: Backend> Bilevel<B> {
    /// Records the supernet, takes the memory, and sets weights, running statistics and alphas to their initial values
    /// for `seed`.
    pub fn new(backend: B, shape: SupernetShape, settings: BilevelSettings, seed: u64) -> Result<Self> {
        let mut bilevel = Self::record(backend, shape, settings)?;
        bilevel.measure(false)?;
        bilevel.start(None, seed)?;
        Ok(bilevel)
    }

    /// Records the supernet; takes no memory of the device yet.
    pub fn record(backend: B, shape: SupernetShape, settings: BilevelSettings) -> Result<Self> {
        let mut recorder = Recorder::new();
        let supernet = Supernet::record(&mut recorder, shape)?;
        let (weights, alphas) = (supernet.spans.weights.len, supernet.alphas.len);
        let second_order =
            settings.second_order.then(|| SecondOrderSpans::new(&mut recorder, weights, alphas));
        let spans = BilevelSpans {
            momentum: recorder.span(weights),
            first: recorder.span(alphas),
            second: recorder.span(alphas),
            gradient_norm: recorder.span(1),
            second_order,
        };
        Ok(Bilevel { tape: recorder.lay_out(backend), supernet, spans, settings, steps: 0 })
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

    /// Says how many steps of the alphas came before, which Adam's corrections depend on.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// All that the next step depends on, by name: weights and alphas, running statistics and the optimisers' vectors.
    pub fn state(&self) -> Vec<(&'static str, Span)> {
        let (supernet, own) = (&self.supernet, &self.spans);
        vec![
            ("weights", supernet.spans.weights),
            ("running_statistics", supernet.spans.running),
            ("momentum", own.momentum),
            ("alphas", supernet.alphas),
            ("alpha_first_moments", own.first),
            ("alpha_second_moments", own.second),
        ]
    }

    /// One iteration: a step of the alphas, then one of the weights. Returns the training batch's result.
    pub fn step<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        valid: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<BatchResult> {
        let (train, valid) = (train.into(), valid.into());
        self.alpha_step(train, valid, weight_lr)?;
        self.weight_step(train, weight_lr)
    }

    /// A step of the alphas. `weight_lr` is the xi of the second order.
    pub fn alpha_step<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        valid: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<()> {
        let (train, valid) = (train.into(), valid.into());
        match self.spans.second_order {
            None => self.differentiate(valid, Mode::Train, false)?,
            Some(spans) => {
                let step = self.look_ahead(weight_lr);
                spans.gradient(&mut self.problem(train, valid), step)?;
            }
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
    pub fn weight_step<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<BatchResult> {
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
        self.checked_result()
    }

    /// The result of the first `images` images of a batch in inference: with the running statistics.
    pub fn evaluate<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        images: usize,
    ) -> Result<BatchResult> {
        let batch = batch.into();
        batch.load(&mut self.tape, self.supernet.images)?;
        self.tape.forward(Mode::Inference);
        if images == batch.count() {
            return self.checked_result();
        }
        // The last batch of a pass is filled up with images that do not count.
        let logits = self.tape.read_value(self.supernet.logits);
        self.tape.status()?;
        let rows = logits.chunks(self.supernet.shape.classes).take(images);
        Ok(BatchResult::of(rows.enumerate().map(|(index, row)| (row, batch.label(index)))))
    }

    /// Forward and backward; leaves the gradients of the alphas and, where asked for, of the weights.
    pub fn differentiate<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        mode: Mode,
        weights: bool,
    ) -> Result<()> {
        batch.into().load(&mut self.tape, self.supernet.images)?;
        self.tape.differentiate(mode, weights);
        Ok(())
    }

    /// The result of the last forward replay; no numbers where the device has failed.
    pub fn result(&self) -> BatchResult {
        let mut values = [B::Scalar::default(); 3];
        self.tape.read_into(self.supernet.loss.result, &mut values);
        let [loss, first, five] = values.map(Scalar::wide);
        BatchResult { loss, first, five }
    }

    fn checked_result(&self) -> Result<BatchResult> {
        let result = self.result();
        self.tape.status()?;
        Ok(result)
    }

    /// The look-ahead step of the second order.
    pub fn look_ahead(&self, xi: f64) -> LookAhead {
        LookAhead {
            xi,
            momentum: self.settings.weight_momentum,
            decay: self.settings.weight_decay,
            distance: self.settings.finite_difference,
        }
    }

    /// The two losses of the supernet on a pair of batches.
    pub fn problem<'a>(
        &'a mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        valid: impl Into<Input<'a, B::Scalar>>,
    ) -> SupernetProblem<'a, B> {
        SupernetProblem { bilevel: self, train: train.into(), valid: valid.into() }
    }
}

/// The training and the validation loss of a supernet.
pub struct SupernetProblem<'a, B: Backend> {
    bilevel: &'a mut Bilevel<B>,
    train: Input<'a, B::Scalar>,
    valid: Input<'a, B::Scalar>,
}

impl<B: Backend> Problem for SupernetProblem<'_, B> {
    type Device = B;

    fn device(&mut self) -> &mut B {
        self.bilevel.tape.backend()
    }

    fn spans(&self) -> ProblemSpans {
        let supernet = &self.bilevel.supernet;
        ProblemSpans {
            weights: supernet.spans.weights,
            gradients: supernet.spans.gradients,
            momentum: self.bilevel.spans.momentum,
            alpha_gradient: supernet.alpha_gradient,
        }
    }

    fn differentiate(&mut self, half: Half, mode: Mode, weights: bool) -> Result<()> {
        let batch = if half == Half::Train { self.train } else { self.valid };
        self.bilevel.differentiate(batch, mode, weights)
    }
}
