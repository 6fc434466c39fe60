//! A whole training: epochs over the training images, measured on the test images, observed.

use std::sync::Arc;

use super::classifier::first_guess;
use super::model::{Description, Model};
use super::observer::{EpochRecord, Observer, Summary, TrainingPhase};
use super::trainer::Trainer;
use crate::Result;
use crate::autograd::Tape;
use crate::backend::{Backend, Shape, Span};
use crate::data::balance::{balanced_accuracy, balanced_weights, uneven};
use crate::data::{Batch, Dataset, Loader};
use crate::epochs::checkpoint::ACCURACIES;
use crate::epochs::schedule::cosine;
use crate::epochs::{
    BatchResult, BatchView, Control, Ended, Epochs, Estimate, Identity, OpenDevice, Ready, Sum, drive,
    fit_memory, largest_batch, measure, open_cpu, open_gpu,
};
use crate::plan::train::{ClassWeights, Plan};
use crate::plan::{DeviceChoice, PlanTable};
use crate::random::Stream;
use crate::space::genotype::Genotype;
use crate::space::{Network, NetworkShape};

/// The accuracies on the test images that a training ends with, as fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The best, and its epoch.
    pub best: (f64, usize),
    /// That of the last epoch.
    pub last: f64,
}

/// Trains the network of a genotype on `dataset` as `plan` says, from the start or from a checkpoint, until the end or an
/// interruption.
///
/// # Errors
/// A genotype or a plan that does not fit the data, a device that is not there, a loss that is no longer a number, a
/// checkpoint of another run, or whatever the observer could not do.
pub fn run(
    plan: &Plan,
    genotype: &Genotype,
    dataset: Dataset,
    control: &Control,
    observer: &mut (dyn Observer<TrainingPhase> + Send),
) -> Result<Ended<Outcome>> {
    let identity = Identity::new(plan, Some(genotype), &dataset)?;
    if let Some(checkpoint) = control.from {
        identity.check(&checkpoint.identity, plan)?;
    }
    if let Some(violation) = plan.violation_by_data(&dataset) {
        return Err(violation.into());
    }
    let dataset = dataset.with_train_images(plan.train_images, plan.seed);
    match identity.device {
        DeviceChoice::Cuda => {
            run_on(open_gpu(plan.precision)?, plan, genotype, dataset, identity, control, observer)
        }
        _ => run_on(open_cpu(plan.threads)?, plan, genotype, dataset, identity, control, observer),
    }
}

fn run_on<B: Backend<Scalar = f32>>(
    OpenDevice { backend, name, threads }: OpenDevice<B>,
    plan: &Plan,
    genotype: &Genotype,
    dataset: Dataset,
    identity: Identity,
    control: &Control,
    observer: &mut (dyn Observer<TrainingPhase> + Send),
) -> Result<Ended<Outcome>> {
    let mut training = TrainingSession::new(plan, genotype, dataset, backend)?;
    observer.started(&training.summary(name, threads))?;
    training.epochs(identity, control, observer)
}

/// What a training will take, by some steps of its last epoch.
///
/// # Errors
/// A genotype or a plan that does not fit the data, a device that is not there or too small, or a loss that is no longer a
/// number.
pub fn estimate(plan: &Plan, genotype: &Genotype, dataset: Dataset) -> Result<Estimate> {
    if let Some(violation) = plan.violation_by_data(&dataset) {
        return Err(violation.into());
    }
    let dataset = dataset.with_train_images(plan.train_images, plan.seed);
    match plan.resolve_device()? {
        DeviceChoice::Cuda => estimate_on(open_gpu(plan.precision)?, plan, genotype, dataset),
        _ => estimate_on(open_cpu(plan.threads)?, plan, genotype, dataset),
    }
}

fn estimate_on<B: Backend<Scalar = f32>>(
    device: OpenDevice<B>,
    plan: &Plan,
    genotype: &Genotype,
    dataset: Dataset,
) -> Result<Estimate> {
    let mut training = TrainingSession::new(plan, genotype, dataset, device.backend)?;
    let pace = measure(&mut training, plan.epochs)?;
    let (epochs, steps) = (plan.epochs, training.steps_per_epoch());
    Ok(Estimate {
        peak_bytes: training.peak_bytes,
        batch_size: plan.batch_size,
        seconds_per_step: pace.step,
        seconds_per_evaluation: pace.evaluation,
        steps_per_epoch: steps,
        epochs,
        seconds: pace.seconds(epochs, steps),
        largest_batch: largest_batch(training.trainer, training.images[0])?,
    })
}

struct TrainingSession<'a, B: Backend<Scalar = f32>> {
    plan: &'a Plan,
    trainer: Trainer<B>,
    train: Loader,
    /// The test images as they are, in order.
    test: Loader,
    images: [usize; 2],
    uneven: bool,
    /// How many test images of each class were right in this epoch, and how many there were.
    classes: Vec<[usize; 2]>,
    peak_bytes: usize,
    description: Description,
    /// On the test images: the best, its epoch, and the last.
    accuracies: [f64; 3],
    weight_lr: f64,
    drop_path: f64,
}

impl<'a, B: Backend<Scalar = f32>> TrainingSession<'a, B> {
    fn new(plan: &'a Plan, genotype: &Genotype, dataset: Dataset, backend: B) -> Result<Self> {
        let description = Description::new(plan, genotype, &dataset);
        let normalisation = dataset.normalisation();
        let class_counts = dataset.train.class_counts(description.class_names.len());
        let (train, test) = (Arc::new(dataset.train), Arc::new(dataset.test));
        let shape = NetworkShape {
            images: Shape::new(plan.batch_size, train.height, train.width, train.channels),
            classes: description.class_names.len(),
            init_channels: plan.init_channels,
            cells: plan.cells,
            auxiliary: plan.auxiliary(),
            drop_path: plan.drop_path > 0.0,
            official_inplace_relu: false,
            class_weights: plan.class_weights == ClassWeights::Balanced,
        };
        let images = [train.count(), test.count()];
        let trainer = Trainer::record(backend, genotype, shape, plan.into())?;
        let Ready { subject: mut trainer, peak_bytes, augmented_by, .. } =
            fit_memory(trainer, &train.bytes(&normalisation), plan.seed)?;
        trainer.weigh_classes(&balanced_weights(&class_counts))?;
        let all = |count: usize| (0..count as u32).collect::<Vec<_>>();
        let train = Loader::new(
            train,
            normalisation.clone(),
            plan.augmentation(),
            all(images[0]),
            plan.batch_size,
            plan.seed,
            Stream::TrainOrder,
        )?;
        Ok(TrainingSession {
            train: train.augmented_by(augmented_by),
            test: Loader::sequential(test, normalisation, all(images[1]), plan.batch_size)?,
            trainer,
            peak_bytes,
            plan,
            images,
            uneven: uneven(&class_counts).is_some(),
            classes: vec![[0; 2]; class_counts.len()],
            description,
            accuracies: [0.0; 3],
            weight_lr: plan.weight_lr,
            drop_path: 0.0,
        })
    }

    fn summary(&self, device: String, threads: usize) -> Summary {
        let weights = self.trainer.network.parameters.len();
        let auxiliary_weights = self.trainer.network.auxiliary_weights();
        Summary {
            weights: weights - auxiliary_weights,
            auxiliary_weights,
            peak_bytes: self.peak_bytes,
            device,
            threads,
            train_images: self.images[0],
            test_images: self.images[1],
            steps_per_epoch: self.train.batches_per_pass(),
            uneven: self.uneven,
        }
    }

    fn epochs(
        &mut self,
        identity: Identity,
        control: &Control,
        observer: &mut (dyn Observer<TrainingPhase> + Send),
    ) -> Result<Ended<Outcome>> {
        let ended = drive(self, identity, self.plan.epochs, control, observer)?;
        let [best, epoch, last] = self.accuracies;
        Ok(ended.map(|()| Outcome { best: (best, epoch as usize), last }))
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

impl<B: Backend<Scalar = f32>> Epochs for TrainingSession<'_, B> {
    type Phase = TrainingPhase;
    type Device = B;

    fn tape(&mut self) -> &mut Tape<B> {
        &mut self.trainer.tape
    }

    fn state(&self) -> Vec<(&'static str, Span)> {
        self.trainer.state()
    }

    fn host_state(&mut self) -> Vec<(&'static str, &mut [f64])> {
        vec![(ACCURACIES, &mut self.accuracies)]
    }

    fn steps_per_epoch(&self) -> usize {
        self.train.batches_per_pass()
    }

    fn batches_per_evaluation(&self) -> usize {
        self.test.batches_per_pass()
    }

    fn start_epoch(&mut self, epoch: usize, steps: usize) {
        let Plan { weight_lr, weight_lr_min, drop_path, epochs, .. } = *self.plan;
        self.weight_lr = cosine(weight_lr, weight_lr_min, epoch - 1, epochs);
        self.drop_path = drop_path * (epoch - 1) as f64 / epochs as f64;
        self.trainer.set_steps(((epoch - 1) * self.train.batches_per_pass() + steps) as u64);
        self.train.start_after(epoch as u64, steps);
    }

    fn step(&mut self) -> Result<(BatchResult, usize)> {
        let Some(batch) = self.train.next_batch() else {
            unreachable!("there is a batch for each step");
        };
        let result = self.trainer.step(batch, self.weight_lr, self.drop_path)?;
        Ok((result, self.plan.batch_size))
    }

    fn start_evaluation(&mut self) {
        self.classes.fill([0; 2]);
        self.test.start(0);
    }

    fn evaluate(&mut self) -> Result<Option<(BatchResult, usize)>> {
        let Some(batch) = self.test.next_batch() else { return Ok(None) };
        let (logits, classes) = (self.trainer.logits(view(batch))?, self.classes.len());
        let labels = batch.labels.iter().map(|&label| label as usize);
        let rows = || logits.chunks(classes).zip(labels.clone()).take(batch.real);
        for (row, label) in rows() {
            let [right, all] = &mut self.classes[label];
            *right += usize::from(first_guess(row) == label);
            *all += 1;
        }
        Ok(Some((BatchResult::of(rows()), batch.real)))
    }

    fn evaluated(&self) -> &'static str {
        "test"
    }

    fn finish_epoch(&mut self, epoch: usize, train: &Sum, test: &Sum) -> Result<(EpochRecord, Model)> {
        let [highest, of, last] = &mut self.accuracies;
        let best = epoch == 1 || test.accuracy() > *highest;
        if best {
            (*highest, *of) = (test.accuracy(), epoch as f64);
        }
        *last = test.accuracy();
        let record = EpochRecord {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            test_loss: test.loss(),
            test_accuracy: test.accuracy(),
            test_balanced_accuracy: balanced_accuracy(self.classes.iter().copied()),
            best,
            weight_lr: self.weight_lr,
            drop_path: self.drop_path,
        };
        Ok((record, self.model(epoch, test.accuracy())))
    }
}

/// The images of a batch that the loader has augmented.
fn view(batch: &Batch) -> BatchView<'_, f32> {
    BatchView { images: &batch.images, labels: &batch.labels }
}
