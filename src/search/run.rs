//! A whole search: epochs over the two halves of a data set, observed.

use std::sync::Arc;
use std::time::Instant;

use super::bilevel::{BatchResult, Bilevel};
use super::fit::{Fitted, fit};
use super::observer::{EpochRecord, Facts, Observer, StepRecord};
use super::plan::Plan;
use super::schedule::cosine;
use crate::backend::cpu::Cpu;
use crate::backend::{Backend, ImageBytes, Shape, Work, cuda};
use crate::data::{Dataset, Loader, halves};
use crate::plan::Device;
use crate::random::Stream;
use crate::space::SupernetShape;
use crate::space::alphas::Alphas;
use crate::space::derivation::{derive, mean_entropy, skip_connections};
use crate::{Error, Result};

/// Searches on `dataset` as `plan` says, and returns the alphas that the search ends with.
///
/// # Errors
/// A plan that does not fit the data, a device that is not there, a loss that is no longer a number, or
/// whatever the observer could not do.
pub fn run(plan: &Plan, dataset: Dataset, observer: &mut (dyn Observer + Send)) -> Result<Alphas> {
    if plan.resolve_device()? == Device::Cuda {
        let (gpu, backend) = (cuda::first()?, cuda::open(plan.precision)?);
        let mut search = Search::new(plan, dataset, backend)?;
        // One thread queues the work of the GPU.
        observer.started(&search.facts(gpu.to_string(), 1))?;
        return search.epochs(observer);
    }
    let cpu = Cpu::new(plan.threads)?;
    let (device, threads) = (format!("CPU, {}", cpu.instructions().name()), cpu.threads());
    let pool = cpu.thread_pool();
    let mut search = Search::new(plan, dataset, cpu)?;
    observer.started(&search.facts(device, threads))?;
    pool.install(|| search.epochs(observer))
}

/// The results of several batches.
#[derive(Default)]
pub(crate) struct Sum {
    loss: f64,
    first: f64,
    images: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, result: BatchResult, images: usize) {
        self.loss += result.loss * images as f64;
        self.first += result.first;
        self.images += images as f64;
    }

    pub(crate) fn images(&self) -> f64 {
        self.images
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.images
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.first / self.images
    }
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
    start: Instant,
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
        let Fitted { bilevel, work, peak_bytes, paints } =
            fit(backend, shape, plan.into(), &bytes, plan.seed)?;
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
        let (evaluation, start) = (prepared(in_order), Instant::now());
        Ok(Search { plan, bilevel, train, valid, evaluation, images_per_half, peak_bytes, work, start })
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

    fn epochs(&mut self, observer: &mut (dyn Observer + Send)) -> Result<Alphas> {
        self.start = Instant::now();
        for epoch in 1..=self.plan.epochs {
            self.epoch(epoch, observer)?;
        }
        Ok(self.alphas())
    }

    fn epoch(&mut self, epoch: usize, observer: &mut (dyn Observer + Send)) -> Result<()> {
        let start = Instant::now();
        let Plan { weight_lr, weight_lr_min, epochs, .. } = *self.plan;
        let weight_lr = cosine(weight_lr, weight_lr_min, epoch - 1, epochs);
        let mut train = Sum::default();
        self.train.start(epoch as u64);
        self.valid.start(epoch as u64);
        let steps = self.train.batches_per_pass();
        for step in 1..=steps {
            let (Some(train_batch), Some(valid_batch)) = (self.train.next_batch(), self.valid.next_batch())
            else {
                break;
            };
            let result = self.bilevel.step(train_batch, valid_batch, weight_lr)?;
            check_finite(result.loss, &format!("the training loss of step {step} of epoch {epoch}"))?;
            train.add(result, self.plan.batch_size);
            observer.step(&self.step_record(epoch, step, steps, &train, start))?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let valid = self.evaluate()?;
        check_finite(valid.loss(), &format!("the validation loss after epoch {epoch}"))?;
        let alphas = self.alphas();
        let genotype = derive(&alphas);
        let (entropy, skips) = (mean_entropy(&alphas), skip_connections(&genotype));
        let record = EpochRecord {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            valid_loss: valid.loss(),
            valid_accuracy: valid.accuracy(),
            entropy_normal: entropy.normal,
            entropy_reduce: entropy.reduce,
            skip_connections: skips.normal,
            skip_connections_reduce: skips.reduce,
            weight_lr,
            images_per_second: train.images / seconds,
            seconds: start.elapsed().as_secs_f64(),
            genotype,
        };
        observer.epoch(&record, &alphas)
    }

    fn step_record(
        &self,
        epoch: usize,
        step: usize,
        steps: usize,
        train: &Sum,
        start: Instant,
    ) -> StepRecord {
        let done = ((epoch - 1) * steps + step) as f64;
        let all = (self.plan.epochs * steps) as f64;
        StepRecord {
            epoch,
            epochs: self.plan.epochs,
            step,
            steps,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            images_per_second: train.images / start.elapsed().as_secs_f64(),
            seconds_left: self.start.elapsed().as_secs_f64() / done * (all - done),
        }
    }

    /// The validation half with the running statistics.
    fn evaluate(&mut self) -> Result<Sum> {
        let mut sum = Sum::default();
        self.evaluation.start(0);
        while let Some(batch) = self.evaluation.next_batch() {
            let result = self.bilevel.evaluate(batch, batch.real)?;
            sum.add(result, batch.real);
        }
        Ok(sum)
    }

    fn alphas(&self) -> Alphas {
        let values = self.bilevel.tape.read(self.bilevel.supernet.alphas);
        let (normal, reduce) = values.split_at(values.len() / 2);
        Alphas { nodes: self.plan.nodes, normal: normal.to_vec(), reduce: reduce.to_vec() }
    }
}

pub(crate) fn check_finite(loss: f64, what: &str) -> Result<()> {
    if loss.is_finite() {
        return Ok(());
    }
    Err(Error::Diverged(format!("{what} is {loss}; lower --weight-lr or --gradient-clip")))
}
