//! A whole search: epochs over the two halves of a data set, observed.

use std::sync::Arc;

use super::bilevel::{ALPHA_STEPS, ALPHAS, Bilevel, BilevelSettings};
use super::method::Method;
use super::observer::{EpochRecord, Observer, SearchPhase, Summary};
use crate::autograd::Tape;
use crate::backend::{Backend, Shape, Span, Work};
use crate::data::{Dataset, Loader, halves};
use crate::epochs::schedule::cosine;
use crate::epochs::{
    BatchResult, Checkpoint, Control, Ended, Epochs, Identity, Numbers, OpenDevice, Position, Ready, Sum,
    drive, fit_memory, open_cpu, open_gpu,
};
use crate::method::guard::Watch;
use crate::method::progress::Progress;
use crate::plan::DeviceChoice;
use crate::plan::search::Plan;
use crate::random::Stream;
use crate::space::alphas::Alphas;
use crate::space::derivation::{derive, mean_entropies, skip_connections};
use crate::space::{Space, SupernetShape};
use crate::{Error, Result};

/// Searches on `dataset` as `plan` says, from the start or from a checkpoint, until the end or an interruption. Returns the
/// alphas that the search ends with.
///
/// # Errors
/// A plan that does not fit the data, a device that is not there, a loss that is no longer a number, a checkpoint of
/// another run, or whatever the observer could not do.
pub fn run(
    plan: &Plan,
    dataset: Dataset,
    control: &Control,
    observer: &mut (dyn Observer<SearchPhase> + Send),
) -> Result<Ended<Alphas>> {
    let identity = Identity::new(plan, None, &dataset)?;
    if let Some(checkpoint) = control.from {
        identity.check(&checkpoint.identity, plan)?;
    }
    if let Some(violation) = plan.violation_by_data(&dataset) {
        return Err(violation.into());
    }
    let dataset = dataset.with_train_images(plan.train_images, plan.seed);
    match identity.device {
        DeviceChoice::Cuda => run_on(open_gpu(plan.precision)?, plan, dataset, identity, control, observer),
        _ => run_on(open_cpu(plan.threads)?, plan, dataset, identity, control, observer),
    }
}

fn run_on<B: Backend<Scalar = f32>>(
    OpenDevice { backend, name, threads }: OpenDevice<B>,
    plan: &Plan,
    dataset: Dataset,
    identity: Identity,
    control: &Control,
    observer: &mut (dyn Observer<SearchPhase> + Send),
) -> Result<Ended<Alphas>> {
    let mut search = SearchSession::new(plan, dataset, backend)?;
    observer.started(&search.summary(name, threads))?;
    search.epochs(identity, control, observer)
}

struct SearchSession<'a, B: Backend<Scalar = f32>> {
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
    /// What the guard knows, where there is one.
    watch: Option<Watch>,
}

impl<'a, B: Backend<Scalar = f32>> SearchSession<'a, B> {
    fn new(plan: &'a Plan, dataset: Dataset, backend: B) -> Result<Self> {
        let (weight_half, alpha_half) = halves(dataset.train.count(), plan.seed);
        let images_per_half = weight_half.len();
        let (classes, augmentation) = (dataset.classes(), plan.augmentation(dataset.augmentation));
        let normalisation = dataset.normalisation();
        let images = Arc::new(dataset.train);
        let settings = BilevelSettings::from(plan);
        let shape = SupernetShape {
            space: plan.space()?,
            images: Shape::new(plan.batch_size, images.height, images.width, images.channels),
            classes,
            init_channels: plan.init_channels,
            cells: plan.cells,
            nodes: plan.nodes,
            edges: settings.method.edges(),
        };
        let bilevel = Bilevel::record(backend, shape, settings)?;
        let Ready { subject: bilevel, work, peak_bytes, augmented_by } =
            fit_memory(bilevel, &images.bytes(&normalisation), plan.seed)?;
        let loader = |indices: &[u32], order| {
            let (images, normalisation, indices) =
                (Arc::clone(&images), normalisation.clone(), indices.to_vec());
            let Plan { batch_size, seed, .. } = *plan;
            Loader::new(images, normalisation, augmentation, indices, batch_size, seed, order)
                .map(|loader| loader.augmented_by(augmented_by))
        };
        let train = loader(&weight_half, Stream::TrainOrder)?;
        let valid = loader(&alpha_half, Stream::ValidOrder)?;
        let in_order =
            Loader::sequential(Arc::clone(&images), normalisation.clone(), alpha_half, plan.batch_size)?;
        let architecture = &bilevel.architecture;
        let watch = architecture.method.guard.map(|_| Watch::new(architecture.alphas.len()));
        let (evaluation, weight_lr) = (in_order.augmented_by(augmented_by), plan.weight_lr);
        Ok(SearchSession {
            plan,
            bilevel,
            train,
            valid,
            evaluation,
            images_per_half,
            peak_bytes,
            work,
            weight_lr,
            watch,
        })
    }

    fn summary(&self, device: String, threads: usize) -> Summary {
        Summary {
            weights: self.bilevel.supernet.parameters.len(),
            alphas: self.bilevel.architecture.alphas.len(),
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
        observer: &mut (dyn Observer<SearchPhase> + Send),
    ) -> Result<Ended<Alphas>> {
        let counted =
            control.from.and_then(|checkpoint| with_alpha_steps(checkpoint, self.steps_per_epoch()));
        let control = Control { from: counted.as_ref().or(control.from), ..*control };
        let ended = drive(self, identity, self.plan.epochs, &control, observer)?;
        Ok(ended.map(|()| self.alphas()))
    }

    fn alphas(&self) -> Alphas {
        let Bilevel { supernet, architecture, .. } = &self.bilevel;
        let (space, nodes) = (Arc::clone(&supernet.shape.space), supernet.shape.nodes);
        filled(space, nodes, &architecture.method, &architecture.alphas)
    }
}

/// Alphas of which these are the values, one table after another.
fn filled(space: Arc<Space>, nodes: usize, method: &Method, values: &[f64]) -> Alphas {
    let mut alphas = Alphas { weighing: method.relaxation.weighing(), ..Alphas::zeros(space, nodes) };
    let places = alphas.tables.iter_mut().flatten();
    places.zip(values).for_each(|(place, value)| *place = *value);
    alphas
}

/// The alphas in a checkpoint of a search.
///
/// # Errors
/// It is the checkpoint of a training, or holds other alphas than its plan has.
pub fn alphas_of(checkpoint: &Checkpoint) -> Result<Alphas> {
    let plan: Plan = checkpoint.identity.plan()?;
    let values = match checkpoint.tensor(ALPHAS) {
        Some(Numbers::F64(values)) => values.clone(),
        // The first version of the format had no other numbers.
        Some(Numbers::F32(values)) => values.iter().map(|&value| value.into()).collect(),
        None => Vec::new(),
    };
    let alphas = filled(plan.space()?, plan.nodes, &Method::from(&plan), &values);
    if alphas.len() != values.len() {
        let (found, expected) = (values.len(), alphas.len());
        return Err(Error::Plan(format!("the checkpoint holds {found} alphas, and its plan has {expected}")));
    }
    Ok(alphas)
}

/// A checkpoint of an earlier format with the count of Adam's steps, which it does not hold: there every step of the search
/// was one of the alphas.
fn with_alpha_steps(checkpoint: &Checkpoint, steps_per_epoch: usize) -> Option<Checkpoint> {
    if checkpoint.tensor(ALPHA_STEPS).is_some() {
        return None;
    }
    let Position { epochs, steps } = checkpoint.progress.position;
    let steps = epochs.saturating_mul(steps_per_epoch).saturating_add(steps);
    let mut counted = checkpoint.clone();
    counted.tensors.push((ALPHA_STEPS.to_owned(), Numbers::F64(vec![steps as f64])));
    Some(counted)
}

impl<B: Backend<Scalar = f32>> Epochs for SearchSession<'_, B> {
    type Phase = SearchPhase;
    type Device = B;

    fn tape(&mut self) -> &mut Tape<B> {
        &mut self.bilevel.tape
    }

    fn state(&self) -> Vec<(&'static str, Span)> {
        self.bilevel.state()
    }

    fn host_state(&mut self) -> Vec<(&'static str, &mut [f64])> {
        let mut state = self.bilevel.host_state();
        state.extend(self.watch.as_mut().map(|watch| ("guard", &mut watch.state[..])));
        state
    }

    fn ended(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::ended)
    }

    fn steps_per_epoch(&self) -> usize {
        self.train.batches_per_pass()
    }

    fn batches_per_evaluation(&self) -> usize {
        self.evaluation.batches_per_pass()
    }

    fn start_epoch(&mut self, epoch: usize, steps: usize) {
        let Plan { weight_lr, weight_lr_min, epochs, .. } = *self.plan;
        self.weight_lr = cosine(weight_lr, weight_lr_min, epoch - 1, epochs);
        let step = ((epoch - 1) * self.steps_per_epoch() + steps) as u64;
        self.bilevel.progress = Progress { seed: self.plan.seed, epoch: epoch - 1, epochs, step };
        self.train.start_after(epoch as u64, steps);
        self.valid.start_after(epoch as u64, steps);
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
        if let (Some(watch), Some(guard)) = (&mut self.watch, self.bilevel.architecture.method.guard) {
            watch.show(guard, &genotype, &alphas);
        }
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
