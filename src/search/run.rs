//! A whole search: epochs over the two halves of a data set, observed.

use std::sync::Arc;

use super::bilevel::Bilevel;
use super::observer::{self, EpochRecord, Facts, Observer};
use super::plan::Plan;
use crate::Result;
use crate::autograd::Tape;
use crate::backend::cpu::Cpu;
use crate::backend::{Backend, ImageBytes, Shape, Span, Work, cuda};
use crate::data::{Dataset, Loader, halves};
use crate::epochs::schedule::cosine;
use crate::epochs::{BatchResult, Control, Ended, Fitted, Identity, Kind, Run, Sum, drive, fit};
use crate::plan::Device;
use crate::random::Stream;
use crate::space::alphas::Alphas;
use crate::space::derivation::{derive, mean_entropies, skip_connections};
use crate::space::{Space, SupernetShape};

/// Whoever follows a search.
type Follower<'a> = dyn Observer<observer::Search> + Send + 'a;

/// Searches on `dataset` as `plan` says, and returns the alphas that the search ends with.
///
/// # Errors
/// A plan that does not fit the data, a device that is not there, a loss that is no longer a number, or
/// whatever the observer could not do.
pub fn run(plan: &Plan, dataset: Dataset, observer: &mut Follower) -> Result<Alphas> {
    match run_with(plan, dataset, &Control::default(), observer)? {
        Ended::Finished(alphas) => Ok(alphas),
        Ended::Interrupted(_) => unreachable!("nothing interrupts it"),
    }
}

/// Searches from a checkpoint on, or until it is interrupted.
///
/// # Errors
/// Those of [`run`], and a checkpoint that is not of this search.
pub fn run_with(
    plan: &Plan,
    dataset: Dataset,
    control: &Control,
    observer: &mut Follower,
) -> Result<Ended<Alphas>> {
    let identity = Identity::new(observer::Search::NAME, plan, None, &dataset)?;
    if let Some(checkpoint) = control.from {
        identity.check(&checkpoint.identity, plan)?;
    }
    if identity.device == Device::Cuda {
        let (gpu, backend) = (cuda::first()?, cuda::open(plan.precision)?);
        let mut search = Search::new(plan, dataset, backend)?;
        // One thread queues the work of the GPU.
        observer.started(&search.facts(gpu.to_string(), 1))?;
        return search.epochs(identity, control, observer);
    }
    let cpu = Cpu::new(plan.threads)?;
    let (device, threads) = (format!("CPU, {}", cpu.instructions().name()), cpu.threads());
    let mut search = Search::new(plan, dataset, cpu)?;
    observer.started(&search.facts(device, threads))?;
    search.epochs(identity, control, observer)
}

struct Search<'a, B: Backend<Scalar = f32>> {
    plan: &'a Plan,
    bilevel: Bilevel<B>,
    train: Loader,
    valid: Loader,
    /// The validation half as it is, in order.
    evaluation: Loader,
    images_per_half: usize,
    peak_bytes: usize,
    /// What a step launches.
    work: Work,
    weight_lr: f64,
}

impl<'a, B: Backend<Scalar = f32>> Search<'a, B> {
    fn new(plan: &'a Plan, dataset: Dataset, backend: B) -> Result<Self> {
        let (weight_half, alpha_half) = halves(dataset.train.count(), plan.seed);
        let images_per_half = weight_half.len();
        plan.check_against(images_per_half)?;
        let Dataset { classes, augmentation, .. } = dataset;
        let normalisation = dataset.normalisation();
        let images = Arc::new(dataset.train);
        let shape = SupernetShape {
            space: Space::darts(),
            images: Shape::new(plan.batch_size, images.height, images.width, images.channels),
            classes,
            init_channels: plan.init_channels,
            cells: plan.cells,
            nodes: plan.nodes,
        };
        let bytes = ImageBytes {
            pixels: &images.pixels,
            shape: Shape::new(images.count(), images.height, images.width, images.channels),
            mean: &normalisation.mean,
            deviation: &normalisation.deviation,
        };
        let bilevel = Bilevel::record(backend, shape, plan.into())?;
        let Fitted { subject: bilevel, work, peak_bytes, paints } = fit(bilevel, &bytes, plan.seed)?;
        // A device that paints is told which images; else the loaders paint.
        let prepared = |loader: Loader| if paints { loader.unpainted() } else { loader };
        let loader = |indices: &[u32], order| {
            let (images, normalisation, indices) =
                (Arc::clone(&images), normalisation.clone(), indices.to_vec());
            let Plan { batch_size, seed, .. } = *plan;
            Loader::new(images, normalisation, augmentation, indices, batch_size, seed, order).map(prepared)
        };
        let train = loader(&weight_half, Stream::TrainOrder)?;
        let valid = loader(&alpha_half, Stream::ValidOrder)?;
        let in_order =
            Loader::sequential(Arc::clone(&images), normalisation.clone(), alpha_half, plan.batch_size)?;
        let (evaluation, weight_lr) = (prepared(in_order), plan.weight_lr);
        Ok(Search { plan, bilevel, train, valid, evaluation, images_per_half, peak_bytes, work, weight_lr })
    }

    fn facts(&self, device: String, threads: usize) -> Facts {
        Facts {
            weights: self.bilevel.supernet.parameters.len(),
            alphas: self.bilevel.supernet.alphas.len,
            peak_bytes: self.peak_bytes,
            device,
            threads,
            train_images: self.images_per_half,
            valid_images: self.images_per_half,
            steps_per_epoch: self.train.batches_per_pass(),
            kernels_per_step: self.work.kernels,
            launches_per_step: self.work.launches,
        }
    }

    fn epochs(
        &mut self,
        identity: Identity,
        control: &Control,
        observer: &mut Follower,
    ) -> Result<Ended<Alphas>> {
        let ended = drive(self, identity, self.plan.epochs, control, observer)?;
        Ok(ended.map(|()| self.alphas()))
    }

    fn alphas(&self) -> Alphas {
        let values = self.bilevel.tape.read(self.bilevel.supernet.alphas);
        let supernet = &self.bilevel.supernet;
        let mut values = values.into_iter().map(f64::from);
        let tables = supernet.wirings.iter().map(|wiring| values.by_ref().take(wiring.len()).collect());
        Alphas {
            space: Arc::clone(&supernet.shape.space),
            nodes: supernet.shape.nodes,
            tables: tables.collect(),
        }
    }
}

impl<B: Backend<Scalar = f32>> Run for Search<'_, B> {
    type Kind = observer::Search;
    type Device = B;

    fn tape(&mut self) -> &mut Tape<B> {
        &mut self.bilevel.tape
    }

    fn state(&self) -> Vec<(&'static str, Span)> {
        self.bilevel.state()
    }

    fn steps_per_epoch(&self) -> usize {
        self.train.batches_per_pass()
    }

    fn start_epoch(&mut self, epoch: usize, steps: usize) {
        let Plan { weight_lr, weight_lr_min, epochs, .. } = *self.plan;
        self.weight_lr = cosine(weight_lr, weight_lr_min, epoch - 1, epochs);
        self.bilevel.set_steps(((epoch - 1) * self.train.batches_per_pass() + steps) as u64);
        self.train.start_behind(epoch as u64, steps);
        self.valid.start_behind(epoch as u64, steps);
    }

    fn step(&mut self) -> Result<(BatchResult, usize)> {
        let (Some(train), Some(valid)) = (self.train.next_batch(), self.valid.next_batch()) else {
            unreachable!("both halves have a batch for each step");
        };
        Ok((self.bilevel.step(train, valid, self.weight_lr)?, self.plan.batch_size))
    }

    fn start_evaluation(&mut self) {
        self.evaluation.start(0);
    }

    /// The validation half with the running statistics.
    fn evaluate(&mut self) -> Result<Option<(BatchResult, usize)>> {
        let Some(batch) = self.evaluation.next_batch() else { return Ok(None) };
        Ok(Some((self.bilevel.evaluate(batch, batch.real)?, batch.real)))
    }

    fn evaluated(&self) -> &'static str {
        "validation"
    }

    fn finish_epoch(&mut self, epoch: usize, train: &Sum, valid: &Sum) -> (EpochRecord, Alphas) {
        let alphas = self.alphas();
        let genotype = derive(&alphas);
        let record = EpochRecord {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            valid_loss: valid.loss(),
            valid_accuracy: valid.accuracy(),
            entropy: mean_entropies(&alphas),
            skip_connections: skip_connections(&genotype),
            weight_lr: self.weight_lr,
            genotype,
        };
        (record, alphas)
    }
}
