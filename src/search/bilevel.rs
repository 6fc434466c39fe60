//! The bilevel optimisation: a step of the alphas on a validation batch, then a step of the weights on a
//! training batch (DARTS, section 2.3 and algorithm 1).
//!
//! First order takes the gradient of the validation loss by the alphas at the present weights; second order,
//! one step of the weights ahead: see [`hypergradient`](super::hypergradient).

use std::ops::Range;

use super::adam::{Adam, AdamSettings};
use super::architecture::Architecture;
use super::hypergradient::{AlphaGradient, Half, LookAhead, Problem, ProblemSpans, SecondOrderSpans};
use super::method::Method;
use super::mixture::Mixture;
use crate::Result;
use crate::autograd::{Recorder, Tape, dry_run};
use crate::backend::{
    Backend, GradientDescent, Gradients, ImageBytes, Mode, PlacedImage, Scalar, Shape, Span, Work,
};
use crate::data::AugmentedBy;
use crate::epochs::{BatchResult, BatchView, Budget, Input};
use crate::method::perturbation::{ASCENT_STEPS, Perturbation};
use crate::method::progress::Progress;
use crate::method::sampled::Draws;
use crate::method::step_order::StepOrder;
use crate::nn::{DropFactors, SkipDropoutKey};
use crate::plan::search::Plan;
use crate::random::Stream;
use crate::space::{Supernet, SupernetShape};

/// The name of the alphas in a checkpoint.
pub(super) const ALPHAS: &str = "alphas";
/// The name of the count of Adam's steps in a checkpoint.
pub(super) const ALPHA_STEPS: &str = "alpha_steps";

/// What the two optimisers need to know.
#[derive(Clone, Debug)]
pub struct BilevelSettings {
    /// What is done with the alphas.
    pub method: Method,
    /// Momentum of the weights.
    pub weight_momentum: f64,
    /// Whether a step of the weights looks ahead along the momentum, as Nesterov's does.
    pub weight_nesterov: bool,
    /// Decay of the weights.
    pub weight_decay: f64,
    /// Largest norm of the weights' gradient.
    pub gradient_clip: f64,
    /// The optimiser of the alphas.
    pub adam: AdamSettings,
}

impl From<&Plan> for BilevelSettings {
    fn from(plan: &Plan) -> Self {
        BilevelSettings {
            method: plan.into(),
            weight_momentum: plan.weight_momentum,
            weight_nesterov: plan.weight_nesterov,
            weight_decay: plan.weight_decay,
            gradient_clip: plan.gradient_clip,
            adam: AdamSettings {
                rate: plan.alpha_lr,
                betas: (plan.alpha_beta1, plan.alpha_beta2),
                decay: plan.alpha_weight_decay,
            },
        }
    }
}

/// Where the optimisers and the second order keep their vectors.
#[derive(Clone, Copy, Debug)]
pub struct BilevelSpans {
    /// Momentum of the weights.
    pub momentum: Span,
    /// Norm of the weights' gradient, before clipping.
    pub gradient_norm: Span,
    /// What only the second order needs.
    pub second_order: Option<SecondOrderSpans>,
}

/// A supernet and its weights on a device, the alphas on the host, and the optimisers of both.
pub struct Bilevel<B: Backend> {
    /// The supernet on its device.
    pub tape: Tape<B>,
    /// Where its parts lie.
    pub supernet: Supernet,
    /// Where the optimisers' vectors lie.
    pub spans: BilevelSpans,
    /// The alphas.
    pub architecture: Architecture,
    /// Their optimiser.
    pub adam: Adam,
    /// Where the search stands. Every step counts itself.
    pub progress: Progress,
    settings: BilevelSettings,
    /// For each edge the mixing weights that share its sum.
    nodes: Vec<Range<usize>>,
    /// What the supernet computes with.
    pub mixture: Mixture,
    /// Which branches the tape takes for active.
    active: Vec<bool>,
    /// The factors of drop path.
    factors: DropFactors<B>,
    /// The key of the masks of skip connections.
    skip_key: SkipDropoutKey,
    /// Room for mixing weights or slopes on their way to and from the device, in its numbers and in the host's.
    transfer: (Vec<B::Scalar>, Vec<f64>),
}

impl<B: Backend> AsMut<Tape<B>> for Bilevel<B> {
    fn as_mut(&mut self) -> &mut Tape<B> {
        &mut self.tape
    }
}

impl<B: Backend> Budget for Bilevel<B> {
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

    fn dry_run(&mut self, augmented_by: AugmentedBy) -> Result<Work> {
        let images = self.supernet.shape.images;
        let (pixels, labels) = (vec![B::Scalar::default(); images.len()], vec![0; images.n as usize]);
        let placements = vec![PlacedImage::default(); images.n as usize];
        let batch = match augmented_by {
            AugmentedBy::Device => Input::Device(&placements),
            AugmentedBy::Host => Input::Host(BatchView { images: &pixels, labels: &labels }),
        };
        let step = dry_run(self, |bilevel| bilevel.step(batch, batch, 0.0).map(drop))?;
        // The last dry run decides the memory, so it does all that the search does.
        let all = |bilevel: &mut Self| {
            bilevel.step(batch, batch, 0.0)?;
            bilevel.without(batch, 0..0)?;
            bilevel.evaluate(batch, 1).map(drop)
        };
        dry_run(self, all)?;
        Ok(step)
    }

    fn start(&mut self, images: Option<&ImageBytes>, seed: u64) -> Result<()> {
        self.tape.reserve()?;
        self.active.fill(true);
        if let (Some(images), Some(augmenter)) = (images, self.tape.backend().augmenter()) {
            augmenter.upload(images)?;
        }
        self.factors.start(self.tape.backend());
        self.restart(seed);
        self.tape.status()
    }
}

impl<B: Backend> Bilevel<B> {
    /// Records the supernet, takes the memory, and sets weights, running statistics and alphas to their initial values
    /// for `seed`.
    pub fn new(backend: B, shape: SupernetShape, settings: BilevelSettings, seed: u64) -> Result<Self> {
        let mut bilevel = Self::record(backend, shape, settings)?;
        bilevel.dry_run(AugmentedBy::Host)?;
        bilevel.start(None, seed)?;
        Ok(bilevel)
    }

    /// Records the supernet; takes no memory of the device yet.
    pub fn record(backend: B, shape: SupernetShape, settings: BilevelSettings) -> Result<Self> {
        let mut recorder = Recorder::new();
        let supernet = Supernet::record(&mut recorder, shape)?;
        let (weights, mixing) = (supernet.spans.weights.len, supernet.mixing.value.len);
        let second_order = match settings.method.gradient {
            AlphaGradient::First => None,
            AlphaGradient::Second(_) => Some(SecondOrderSpans::new(&mut recorder, weights, mixing)),
        };
        let spans =
            BilevelSpans { momentum: recorder.span(weights), gradient_norm: recorder.span(1), second_order };
        let mut architecture = Architecture::new(settings.method.clone(), supernet.rows(), supernet.nodes());
        if settings.method.samples_genotypes() {
            architecture.draws = Some(Draws::new(&supernet.shape.space, supernet.shape.nodes));
        }
        let mixture = Mixture::new(mixing, &supernet.rows(), supernet.auxiliary_skips.clone());
        Ok(Bilevel {
            tape: recorder.lay_out(backend),
            spans,
            adam: Adam::new(architecture.alphas.len(), settings.adam),
            architecture,
            nodes: supernet.rows_of_sums(),
            factors: DropFactors::new(supernet.drop_path),
            skip_key: SkipDropoutKey(supernet.skip_dropout.as_ref().map(|masks| masks.key)),
            supernet,
            progress: Progress::default(),
            active: mixture.active.clone(),
            mixture,
            settings,
            transfer: (vec![B::Scalar::default(); mixing], vec![0.0; mixing]),
        })
    }

    /// Sets everything to its start for `seed`.
    pub fn restart(&mut self, seed: u64) {
        let cast = |values: Vec<f32>| values.iter().map(|&x| B::Scalar::of(x.into())).collect::<Vec<_>>();
        let backend = self.tape.backend();
        backend.write(self.supernet.spans.weights, &cast(self.supernet.parameters.initial(seed)));
        backend.write(self.supernet.spans.running, &cast(self.supernet.parameters.initial_running()));
        backend.fill(self.spans.momentum, 0.0);
        self.architecture.restart(seed);
        self.adam.restart();
        self.progress = Progress { seed, ..Progress::default() };
        self.draw(Stream::AlphaSample);
    }

    /// What the next step depends on and lies on the device, by name: weights, running statistics and momentum.
    pub fn state(&self) -> Vec<(&'static str, Span)> {
        let spans = self.supernet.spans;
        vec![
            ("weights", spans.weights),
            ("running_statistics", spans.running),
            ("momentum", self.spans.momentum),
        ]
    }

    /// What the next step depends on and lies on the host, by name: alphas and betas, their moments and the count of their
    /// steps.
    pub fn host_state(&mut self) -> Vec<(&'static str, &mut [f64])> {
        vec![
            (ALPHAS, &mut self.architecture.alphas),
            ("alpha_first_moments", &mut self.adam.first),
            ("alpha_second_moments", &mut self.adam.second),
            (ALPHA_STEPS, std::slice::from_mut(&mut self.adam.steps)),
        ]
    }

    /// One iteration: a step of the alphas, unless these are frozen, and one of the weights, in the order of the method.
    /// Returns the training batch's result.
    pub fn step<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        valid: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<BatchResult> {
        let (train, valid) = (train.into(), valid.into());
        let moves_alphas = self.architecture.method.moves_alphas(self.progress);
        let alphas_first = self.architecture.method.step_order == StepOrder::AlphasFirst;
        if moves_alphas && alphas_first {
            self.alpha_step(train, valid, weight_lr)?;
        }
        let result = self.weight_step(train, weight_lr)?;
        if moves_alphas && !alphas_first {
            self.alpha_step(train, valid, weight_lr)?;
        }
        self.progress.step += 1;
        Ok(result)
    }

    /// A step of the alphas, with a sample of its own. `weight_lr` is the xi of the second order.
    pub fn alpha_step<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        valid: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<()> {
        self.draw(Stream::AlphaSample);
        self.alpha_step_at_sample(train, valid, weight_lr)
    }

    /// A step of the alphas with the sample that the supernet has. All of its passes are at that sample.
    pub fn alpha_step_at_sample<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        valid: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<()> {
        let (train, valid) = (train.into(), valid.into());
        match (self.architecture.method.gradient, self.spans.second_order) {
            (AlphaGradient::Second(product), Some(spans)) => {
                let step = self.look_ahead(weight_lr);
                spans.gradient(&mut self.problem(train, valid), step, product)?;
            }
            _ => self.differentiate(valid, Mode::Train, Gradients::Inputs)?,
        }
        self.update_alphas();
        Ok(())
    }

    /// Hands the supernet a new sample, and what is dropped with it.
    pub fn draw(&mut self, stream: Stream) {
        self.architecture.draw(self.progress, stream);
        self.load_sample();
        self.load_drops(stream);
    }

    /// Hands the supernet what it drops in passes with a sample of this stream, of edges and of skip connections: nothing in
    /// an evaluation.
    fn load_drops(&mut self, stream: Stream) {
        let backend = self.tape.backend();
        let [edges, skips] = match stream {
            Stream::AlphaSample => [Stream::AlphaDropPath, Stream::AlphaSkipDropout],
            Stream::WeightSample => [Stream::WeightDropPath, Stream::WeightSkipDropout],
            _ => {
                self.skip_key.keep_all(backend);
                return self.factors.keep_all(backend);
            }
        };
        let (method, Progress { seed, step, .. }) = (&self.architecture.method, self.progress);
        self.factors.draw(backend, method.edge_drop_path.at(self.progress), (seed, edges, step));
        self.skip_key.draw(backend, method.dropped_of_skips(self.progress), (seed, skips, step));
    }

    /// Hands the supernet the sample of the architecture, and what else its mixing weights are made of.
    pub fn load_sample(&mut self) {
        let Architecture { sample, edge_weights, method, .. } = &self.architecture;
        self.mixture.take(sample, edge_weights, method.auxiliary_skip.at(self.progress));
        let Mixture { weights, active, .. } = &self.mixture;
        let (values, _) = &mut self.transfer;
        values.iter_mut().zip(weights).for_each(|(value, &weight)| *value = B::Scalar::of(weight));
        self.tape.backend().write(self.supernet.mixing.value, values);
        if self.active != *active {
            self.active.copy_from_slice(active);
            self.tape.set_active(&self.active).expect("a gate for each mixing weight");
        }
    }

    /// Reads a gradient by the mixing weights, and leaves that by the alphas and betas in the architecture.
    pub fn pull_back(&mut self, gradient: Span) {
        self.read_slopes(gradient);
        let [by_weights, by_edges] = &self.mixture.slopes;
        self.architecture.pull_back(by_weights, by_edges);
    }

    /// Reads a gradient by the mixing weights, and gives that by the weights of the candidates. Where the relaxation takes branches that are not active for ones,
    /// it must be that of the last pass.
    pub fn read_slopes(&mut self, gradient: Span) -> &[f64] {
        let (values, slopes) = &mut self.transfer;
        self.tape.read_into(gradient, values);
        slopes.iter_mut().zip(values.iter()).for_each(|(slope, value)| *slope = value.wide());
        if self.architecture.method.relaxation.inactive_as_ones() {
            self.tape.read_into(self.supernet.mixing.sums, values);
            let sum = |edge: usize| values[self.nodes[edge].clone()].iter().map(|sum| sum.wide()).sum();
            self.architecture.complete(slopes, sum);
        }
        self.mixture.pull_back(slopes);
        &self.mixture.slopes[0]
    }

    /// Adam's step along the alpha gradient of the passes before and of the penalties.
    pub fn update_alphas(&mut self) {
        self.pull_back(self.supernet.mixing.gradient);
        self.architecture.penalise(self.progress);
        self.adam.step(&mut self.architecture.alphas, &self.architecture.gradient);
    }

    /// A step of the weights, with a sample of its own.
    pub fn weight_step<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<BatchResult> {
        let train = train.into();
        self.architecture.draw(self.progress, Stream::WeightSample);
        self.architecture.draw_disturbance();
        match self.architecture.method.perturbation {
            Perturbation::Adversarial(_) => self.attack(train).map(drop)?,
            _ => self.architecture.disturb(),
        }
        self.load_sample();
        self.load_drops(Stream::WeightSample);
        self.weight_step_at_sample(train, weight_lr)
    }

    /// Disturbs the mixing weights of the sample by its disturbance and an attack from there: see
    /// [`Perturbation::Adversarial`]. All passes are in inference on this batch. Returns the loss before, at each step, and
    /// behind the last.
    pub fn attack<'a>(&mut self, train: impl Into<Input<'a, B::Scalar>>) -> Result<[f64; ASCENT_STEPS + 2]> {
        let mut losses = [0.0; ASCENT_STEPS + 2];
        train.into().load(&mut self.tape, self.supernet.images)?;
        self.load_drops(Stream::EvaluationSample);
        let [before, steps @ .., after] = &mut losses;
        *before = self.loss_in_inference();
        self.architecture.disturb();
        for loss in steps {
            self.load_sample();
            self.tape.differentiate(Mode::Inference, Gradients::InputsInInference);
            *loss = self.result().loss;
            self.read_slopes(self.supernet.mixing.gradient);
            self.architecture.ascend(&self.mixture.slopes[0]);
        }
        *after = self.loss_in_inference();
        if *before > *after {
            self.architecture.restore();
        }
        self.tape.status()?;
        Ok(losses)
    }

    /// The loss of the batch that the supernet has, with the sample of the architecture.
    fn loss_in_inference(&mut self) -> f64 {
        self.load_sample();
        self.tape.forward(Mode::Inference);
        self.result().loss
    }

    /// A step of the weights with the sample that the supernet has. A branch that is not active has no gradient; decay and
    /// momentum still move its weights, as in PyTorch before version 2, under which the official codes of methods that sample
    /// branches ran, once a branch has had a gradient.
    pub fn weight_step_at_sample<'a>(
        &mut self,
        train: impl Into<Input<'a, B::Scalar>>,
        weight_lr: f64,
    ) -> Result<BatchResult> {
        self.differentiate(train, Mode::Train, Gradients::All)?;
        let step = GradientDescent {
            weights: self.supernet.spans.weights,
            gradient: self.supernet.spans.gradients,
            momentum_buffer: self.spans.momentum,
            clip: Some((self.spans.gradient_norm, self.settings.gradient_clip)),
            rate: weight_lr,
            momentum: self.settings.weight_momentum,
            decay: self.settings.weight_decay,
            nesterov: self.settings.weight_nesterov,
        };
        let backend = self.tape.backend();
        backend.euclidean_norm(step.gradient, self.spans.gradient_norm);
        backend.gradient_descent(&step);
        self.checked_result()
    }

    /// The result of the first `images` images of a batch in inference: with the running statistics. All batches between two
    /// steps have the same sample.
    pub fn evaluate<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        images: usize,
    ) -> Result<BatchResult> {
        self.draw(Stream::EvaluationSample);
        self.evaluate_at_sample(batch, images)
    }

    /// Hands the supernet the genotype of this number of those that a random search tries at its end.
    pub fn draw_trial(&mut self, number: u64) {
        let progress = Progress { step: number, ..self.progress };
        self.architecture.draw(progress, Stream::GenotypeTrials);
        self.load_sample();
        self.load_drops(Stream::EvaluationSample);
    }

    /// As [`Bilevel::evaluate`], with the sample that the supernet has.
    pub fn evaluate_at_sample<'a>(
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

    /// The result of a batch whose images all count, of a supernet that lacks a run of mixing weights, with the statistics of
    /// the batch. Running statistics stay as they are.
    pub fn without<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        removed: Range<usize>,
    ) -> Result<BatchResult> {
        self.draw(Stream::EvaluationSample);
        self.architecture.remove(removed);
        self.load_sample();
        batch.into().load(&mut self.tape, self.supernet.images)?;
        self.tape.forward(Mode::TrainKeepRunning);
        self.checked_result()
    }

    /// Forward and backward; leaves the gradients of the mixing weights and, where wanted, of the weights.
    pub fn differentiate<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        mode: Mode,
        wanted: Gradients,
    ) -> Result<()> {
        batch.into().load(&mut self.tape, self.supernet.images)?;
        self.tape.differentiate(mode, wanted);
        Ok(())
    }

    /// The result of the last forward replay; no numbers where the device has failed.
    pub fn result(&self) -> BatchResult {
        let mut values = [B::Scalar::default(); 3];
        self.tape.read_into(self.supernet.loss.result, &mut values);
        let [loss, top1, top5] = values.map(Scalar::wide);
        BatchResult { loss, top1, top5 }
    }

    fn checked_result(&self) -> Result<BatchResult> {
        let result = self.result();
        self.tape.status()?;
        Ok(result)
    }

    /// The look-ahead step of the second order.
    pub fn look_ahead(&self, xi: f64) -> LookAhead {
        LookAhead { xi, momentum: self.settings.weight_momentum, decay: self.settings.weight_decay }
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
            mixing_gradient: supernet.mixing.gradient,
        }
    }

    fn differentiate(&mut self, half: Half, mode: Mode, wanted: Gradients) -> Result<()> {
        let batch = if half == Half::Train { self.train } else { self.valid };
        self.bilevel.differentiate(batch, mode, wanted)
    }
}
