//! A whole training: epochs over the training images, measured on the test images, observed.

use std::sync::Arc;
use std::time::Instant;

use super::model::{Description, Model};
use super::observer::{EpochRecord, Facts, Observer, StepRecord};
use super::plan::Plan;
use super::trainer::Trainer;
use crate::Result;
use crate::backend::cpu::Cpu;
use crate::backend::{Backend, Shape, cuda};
use crate::data::{Batch, Dataset, Loader};
use crate::plan::Device;
use crate::random::Stream;
use crate::search::BatchView;
use crate::search::run::{Sum, check_finite};
use crate::search::schedule::cosine;
use crate::space::genotype::Genotype;
use crate::space::{Network, NetworkShape};

/// The accuracies that a training ends with, as fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The best on the test images, and its epoch.
    pub best: (f64, usize),
    /// That of the last epoch.
    pub last: f64,
}

/// Trains the network of a genotype on `dataset` as `plan` says.
///
/// # Errors
/// A genotype or a plan that does not fit the data, a device that is not there, a loss that is no longer a number, or
/// whatever the observer could not do.
pub fn run(
    plan: &Plan,
    genotype: &Genotype,
    dataset: Dataset,
    observer: &mut (dyn Observer + Send),
) -> Result<Outcome> {
    if plan.resolve_device()? == Device::Cuda {
        let (gpu, backend) = (cuda::first()?, cuda::open(plan.precision)?);
        let mut training = Training::new(plan, genotype, dataset, backend)?;
        // One thread queues the work of the GPU.
        observer.started(&training.facts(gpu.to_string(), 1))?;
        return training.epochs(observer);
    }
    let cpu = Cpu::new(plan.threads)?;
    let (device, threads) = (format!("CPU, {}", cpu.instructions().name()), cpu.threads());
    let pool = cpu.thread_pool();
    let mut training = Training::new(plan, genotype, dataset, cpu)?;
    observer.started(&training.facts(device, threads))?;
    pool.install(|| training.epochs(observer))
}

struct Training<'a, B: Backend<Scalar = f32>> {
    plan: &'a Plan,
    trainer: Trainer<B>,
    train: Loader,
    /// The test images as they are, in order.
    test: Loader,
    images: [usize; 2],
    description: Description,
    outcome: Outcome,
    start: Instant,
}

impl<'a, B: Backend<Scalar = f32>> Training<'a, B> {
    fn new(plan: &'a Plan, genotype: &Genotype, dataset: Dataset, backend: B) -> Result<Self> {
        if let Some(violation) = plan.violation_by_data(&dataset) {
            return Err(violation.into());
        }
        let description = Description::new(plan, genotype, &dataset);
        let normalisation = dataset.normalisation();
        let (train, test) = (Arc::new(dataset.train), Arc::new(dataset.test));
        let shape = NetworkShape {
            images: Shape::new(plan.batch_size, train.height, train.width, train.channels),
            classes: dataset.classes,
            init_channels: plan.init_channels,
            cells: plan.cells,
            auxiliary: plan.auxiliary(),
            drop_path: plan.drop_path > 0.0,
            rectified: false,
        };
        let images = [train.count(), test.count()];
        let all = |count: usize| (0..count as u32).collect::<Vec<_>>();
        Ok(Training {
            train: Loader::new(
                train,
                normalisation.clone(),
                plan.augmentation(),
                all(images[0]),
                plan.batch_size,
                plan.seed,
                Stream::TrainOrder,
            )?,
            test: Loader::sequential(test, normalisation, all(images[1]), plan.batch_size)?,
            trainer: Trainer::new(backend, genotype, shape, plan.into(), plan.seed)?,
            plan,
            images,
            description,
            outcome: Outcome::default(),
            start: Instant::now(),
        })
    }

    fn facts(&self, device: String, threads: usize) -> Facts {
        let weights = self.trainer.network.parameters.len();
        let auxiliary_weights = self.trainer.network.auxiliary_weights();
        Facts {
            weights: weights - auxiliary_weights,
            auxiliary_weights,
            peak_bytes: self.trainer.tape.peak_bytes(),
            device,
            threads,
            train_images: self.images[0],
            test_images: self.images[1],
            steps_per_epoch: self.train.batches_per_pass(),
        }
    }

    fn epochs(&mut self, observer: &mut (dyn Observer + Send)) -> Result<Outcome> {
        self.start = Instant::now();
        for epoch in 1..=self.plan.epochs {
            self.epoch(epoch, observer)?;
        }
        Ok(self.outcome)
    }

    fn epoch(&mut self, epoch: usize, observer: &mut (dyn Observer + Send)) -> Result<()> {
        let start = Instant::now();
        let Plan { weight_lr, weight_lr_min, epochs, .. } = *self.plan;
        let weight_lr = cosine(weight_lr, weight_lr_min, epoch - 1, epochs);
        let drop_path = self.plan.drop_path * (epoch - 1) as f64 / epochs as f64;
        let mut train = Sum::default();
        self.train.start(epoch as u64);
        let steps = self.train.batches_per_pass();
        for step in 1..=steps {
            let Some(batch) = self.train.next_batch() else { break };
            let result = self.trainer.step(view(batch), weight_lr, drop_path)?;
            check_finite(result.loss, &format!("the training loss of step {step} of epoch {epoch}"))?;
            train.add(result, self.plan.batch_size);
            observer.step(&self.step_record(epoch, step, steps, &train, start))?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let test = self.evaluate()?;
        check_finite(test.loss(), &format!("the test loss after epoch {epoch}"))?;
        let best = epoch == 1 || test.accuracy() > self.outcome.best.0;
        if best {
            self.outcome.best = (test.accuracy(), epoch);
        }
        self.outcome.last = test.accuracy();
        let record = EpochRecord {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            test_loss: test.loss(),
            test_accuracy: test.accuracy(),
            best,
            weight_lr,
            drop_path,
            images_per_second: train.images() / seconds,
            seconds: start.elapsed().as_secs_f64(),
        };
        let model = self.model(epoch, test.accuracy());
        observer.epoch(&record, &model)
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
            images_per_second: train.images() / start.elapsed().as_secs_f64(),
            seconds_left: self.start.elapsed().as_secs_f64() / done * (all - done),
        }
    }

    fn evaluate(&mut self) -> Result<Sum> {
        let mut sum = Sum::default();
        self.test.start(0);
        while let Some(batch) = self.test.next_batch() {
            let result = self.trainer.evaluate(view(batch), batch.real)?;
            sum.add(result, batch.real);
        }
        Ok(sum)
    }

    fn model(&self, epoch: usize, accuracy: f64) -> Model {
        let Network { parameters, spans, .. } = &self.trainer.network;
        let description =
            Description { epoch, steps: self.trainer.steps(), accuracy, ..self.description.clone() };
        Model {
            description,
            parameters: parameters.clone(),
            weights: self.trainer.tape.read(spans.weights),
            running: self.trainer.tape.read(spans.running),
        }
    }
}

/// The images of a batch that the loader has painted.
fn view(batch: &Batch) -> BatchView<'_, f32> {
    BatchView { images: &batch.images, labels: &batch.labels }
}
