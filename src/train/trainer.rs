//! One step of the training of a derived network: gradient descent on the loss of both classifiers, with drop path.

use crate::Result;
use crate::autograd::{Recorder, Tape, dry_run};
use crate::backend::{
    Backend, GradientDescent, Gradients, ImageBytes, Mode, PlacedImage, Scalar, Shape, Span, Work,
};
use crate::data::AugmentedBy;
use crate::epochs::{BatchResult, BatchView, Budget, Input};
use crate::nn::DropFactors;
use crate::plan::train::Plan;
use crate::random::Stream;
use crate::space::genotype::Genotype;
use crate::space::{Network, NetworkShape};

/// What the optimiser needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainerSettings {
    /// Momentum of the weights.
    pub momentum: f64,
    /// Whether a step looks ahead along the momentum, as Nesterov's does.
    pub nesterov: bool,
    /// Decay of the weights.
    pub decay: f64,
    /// Largest norm of the gradient.
    pub gradient_clip: f64,
}

impl From<&Plan> for TrainerSettings {
    fn from(plan: &Plan) -> Self {
        TrainerSettings {
            momentum: plan.weight_momentum,
            nesterov: plan.weight_nesterov,
            decay: plan.weight_decay,
            gradient_clip: plan.gradient_clip,
        }
    }
}

/// A derived network, its weights and their optimiser.
pub struct Trainer<B: Backend> {
    /// The network on its device.
    pub tape: Tape<B>,
    /// Where its parts lie.
    pub network: Network,
    genotype: Genotype,
    settings: TrainerSettings,
    momentum: Span,
    gradient_norm: Span,
    seed: u64,
    steps: u64,
    factors: DropFactors<B>,
}

impl<B: Backend> AsMut<Tape<B>> for Trainer<B> {
    fn as_mut(&mut self) -> &mut Tape<B> {
        &mut self.tape
    }
}

impl<B: Backend> Budget for Trainer<B> {
    type Device = B;

    fn tape(&mut self) -> &mut Tape<B> {
        &mut self.tape
    }

    fn images(&self) -> Shape {
        self.network.shape.images
    }

    fn with_images(self, images: Shape) -> Result<Self> {
        let shape = NetworkShape { images, ..self.network.shape };
        Trainer::record(self.tape.into_backend(), &self.genotype, shape, self.settings)
    }

    fn dry_run(&mut self, augmented_by: AugmentedBy) -> Result<Work> {
        let images = self.network.shape.images;
        let (pixels, labels) = (vec![B::Scalar::default(); images.len()], vec![0; images.n as usize]);
        let placements = vec![PlacedImage::default(); images.n as usize];
        let tested = BatchView { images: &pixels, labels: &labels };
        let batch = match augmented_by {
            AugmentedBy::Device => Input::Device(&placements),
            AugmentedBy::Host => Input::Host(tested),
        };
        let step = dry_run(self, |trainer| trainer.step(batch, 0.0, 0.5).map(drop))?;
        // The last dry run decides the memory, so it does all that the training does.
        dry_run(self, |trainer| {
            trainer.step(batch, 0.0, 0.5)?;
            trainer.logits(tested).map(drop)
        })?;
        Ok(step)
    }

    fn start(&mut self, images: Option<&ImageBytes>, seed: u64) -> Result<()> {
        self.tape.reserve()?;
        if let (Some(images), Some(augmenter)) = (images, self.tape.backend().augmenter()) {
            augmenter.upload(images)?;
        }
        (self.seed, self.steps) = (seed, 0);
        let cast = |values: Vec<f32>| values.iter().map(|&x| B::Scalar::of(x.into())).collect::<Vec<_>>();
        let (spans, backend) = (self.network.spans, self.tape.backend());
        backend.write(spans.weights, &cast(self.network.parameters.initial(seed)));
        backend.write(spans.running, &cast(self.network.parameters.initial_running()));
        if let Some(weights) = self.network.class_weights {
            backend.fill(weights, 1.0);
        }
        self.factors.start(backend);
        self.tape.status()
    }
}

impl<B: Backend> Trainer<B> {
    /// Records the network of a genotype, takes the memory, and sets weights and running statistics to their initial values
    /// for `seed`.
    pub fn new(
        backend: B,
        genotype: &Genotype,
        shape: NetworkShape,
        settings: TrainerSettings,
        seed: u64,
    ) -> Result<Self> {
        let mut trainer = Self::record(backend, genotype, shape, settings)?;
        trainer.dry_run(AugmentedBy::Host)?;
        trainer.start(None, seed)?;
        Ok(trainer)
    }

    /// Records the network; takes no memory of the device yet.
    pub fn record(
        backend: B,
        genotype: &Genotype,
        shape: NetworkShape,
        settings: TrainerSettings,
    ) -> Result<Self> {
        genotype.check_operands(B::LIMITS.operands)?;
        let mut recorder = Recorder::new();
        let network = Network::record(&mut recorder, genotype, shape)?;
        let momentum = recorder.span(network.spans.weights.len);
        let gradient_norm = recorder.span(1);
        Ok(Trainer {
            tape: recorder.lay_out(backend),
            factors: DropFactors::new(network.drop_path),
            network,
            genotype: genotype.clone(),
            settings,
            momentum,
            gradient_norm,
            seed: 0,
            steps: 0,
        })
    }

    /// Sets how often the losses count the images of each class, where the network was recorded with class weights; each
    /// counts once without this.
    pub fn weigh_classes(&mut self, weights: &[f64]) -> Result<()> {
        if let Some(span) = self.network.class_weights {
            let weights: Vec<_> = weights.iter().map(|&weight| B::Scalar::of(weight)).collect();
            self.tape.backend().write(span, &weights);
        }
        self.tape.status()
    }

    /// A step of the weights; branches are dropped with this probability. Returns the batch's result, whose loss is
    /// the sum that is minimised.
    pub fn step<'a>(
        &mut self,
        batch: impl Into<Input<'a, B::Scalar>>,
        rate: f64,
        dropped: f64,
    ) -> Result<BatchResult> {
        let address = (self.seed, Stream::DropPath, self.steps);
        self.factors.draw(self.tape.backend(), dropped, address);
        batch.into().load(&mut self.tape, self.network.images)?;
        self.tape.differentiate(Mode::Train, Gradients::All);
        let step = GradientDescent {
            weights: self.network.spans.weights,
            gradient: self.network.spans.gradients,
            momentum_buffer: self.momentum,
            clip: Some((self.gradient_norm, self.settings.gradient_clip)),
            rate,
            momentum: self.settings.momentum,
            decay: self.settings.decay,
            nesterov: self.settings.nesterov,
        };
        let backend = self.tape.backend();
        backend.euclidean_norm(step.gradient, self.gradient_norm);
        backend.gradient_descent(&step);
        self.steps += 1;
        let mut result = self.result(self.network.loss.result);
        if let (Some((_, loss)), Some(weight)) = (self.network.auxiliary, self.network.shape.auxiliary) {
            result.loss += weight * self.result(loss.result).loss;
        }
        self.tape.status()?;
        Ok(result)
    }

    /// The logits of a batch in inference, `[n][classes]`: with the running statistics, and nothing dropped.
    pub fn logits(&mut self, batch: BatchView<B::Scalar>) -> Result<Vec<B::Scalar>> {
        self.factors.keep_all(self.tape.backend());
        Input::Host(batch).load(&mut self.tape, self.network.images)?;
        self.tape.forward(Mode::Inference);
        let logits = self.tape.read_value(self.network.logits);
        self.tape.status()?;
        Ok(logits)
    }

    /// Number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Says how many steps came before, which the branches that drop path drops depend on.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// All that the next step depends on, by name: weights, running statistics and the optimiser's vector.
    pub fn state(&self) -> Vec<(&'static str, Span)> {
        let spans = self.network.spans;
        vec![("weights", spans.weights), ("running_statistics", spans.running), ("momentum", self.momentum)]
    }

    fn result(&self, span: Span) -> BatchResult {
        let mut values = [B::Scalar::default(); 3];
        self.tape.read_into(span, &mut values);
        let [loss, top1, top5] = values.map(Scalar::wide);
        BatchResult { loss, top1, top5 }
    }
}
