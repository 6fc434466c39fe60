//! A whole search: epochs over the two halves of a data set, observed.

use std::sync::Arc;

use super::bilevel::{ALPHA_STEPS, ALPHAS, Bilevel, BilevelSettings};
use super::curvature::{ACCURACY, DISTANCE};
use super::lanczos::Eigenvalue;
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
use crate::method::guard::{Outcome, Watch};
use crate::method::progress::Progress;
use crate::method::projection::{Projections, Trial};
use crate::method::selection::{Criterion, Selection};
use crate::plan::DeviceChoice;
use crate::plan::search::Plan;
use crate::random::Stream;
use crate::space::alphas::{Alphas, Decision};
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

/// The name of what the guards know in a checkpoint.
const GUARDS: &str = "guards";
/// The name of what was decided of the edges in a checkpoint.
const DECIDED: &str = "decided";

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
    epochs_in_all: usize,
    /// What the guards know.
    watch: Watch,
    /// The choices of a selection by perturbation, and by what they are made; nothing where the alphas decide.
    selection: Option<(Projections, Criterion)>,
    /// What was decided of the edges when the last epoch ended, as numbers of a checkpoint.
    decided: Vec<f64>,
    /// What is tried after the evaluation, with how each of its supernets does, and what was decided there.
    trial: Option<(Trial, Vec<Sum>)>,
    selected: Vec<String>,
}

impl<'a, B: Backend<Scalar = f32>> SearchSession<'a, B> {
    fn new(plan: &'a Plan, dataset: Dataset, backend: B) -> Result<Self> {
        let (weight_half, alpha_half) = halves(dataset.train.count(), plan.seed);
        let images_per_half = weight_half.len();
        plan.check_against(images_per_half)?;
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
        let watch = Watch::new(architecture.method.guards.clone(), architecture.alphas.len());
        let selection = match architecture.method.selection {
            Selection::Strongest => None,
            Selection::Perturbation(criterion) => {
                let SupernetShape { space, nodes, .. } = &bilevel.supernet.shape;
                Some((Projections::new(space.wirings(*nodes), space.keep(), plan.seed), criterion))
            }
        };
        let decided = vec![0.0; architecture.decided.len()];
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
            epochs_in_all: plan.epochs_in_all()?,
            watch,
            selection,
            decided,
            trial: None,
            selected: Vec::new(),
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
        let completed = control.from.map(|checkpoint| self.completed(checkpoint.clone()));
        let control = Control { from: completed.as_ref(), ..*control };
        let ended = drive(self, identity, self.epochs_in_all, &control, observer)?;
        Ok(ended.map(|()| self.result()))
    }

    /// The largest eigenvalue of the validation loss's Hessian by the alphas, on the validation batch of the epoch's last step.
    fn eigenvalue(&mut self, epoch: usize) -> Result<Eigenvalue> {
        self.valid.start_after(epoch as u64, self.steps_per_epoch() - 1);
        let Some(batch) = self.valid.next_batch() else { unreachable!("there is a batch for each step") };
        self.bilevel.curvature(batch, DISTANCE, ACCURACY)
    }

    /// The alphas that a search has found: the last ones, unless a guard has ended it with others.
    fn result(&self) -> Alphas {
        self.alphas_with(self.watch.result().unwrap_or(&self.bilevel.architecture.alphas))
    }

    fn alphas(&self) -> Alphas {
        self.alphas_with(&self.bilevel.architecture.alphas)
    }

    fn alphas_with(&self, values: &[f64]) -> Alphas {
        let Bilevel { supernet, architecture, .. } = &self.bilevel;
        let (space, nodes) = (Arc::clone(&supernet.shape.space), supernet.shape.nodes);
        let mut decided = architecture.decided.iter().copied();
        let of_cells =
            supernet.wirings.iter().map(|wiring| decided.by_ref().take(wiring.edges.len()).collect());
        let decided = if self.selection.is_some() { of_cells.collect() } else { Vec::new() };
        Alphas { decided, ..filled(space, nodes, &architecture.method, values) }
    }

    /// The index of the choice of a selection by perturbation that is due after an epoch.
    fn due(&self, epoch: usize) -> Option<usize> {
        let (projections, _) = self.selection.as_ref()?;
        let Plan { epochs, selection_interval, .. } = *self.plan;
        let after = epoch.checked_sub(epochs)?;
        let index = after / selection_interval;
        (after.is_multiple_of(selection_interval) && index < projections.count()).then_some(index)
    }

    /// A batch of the trials that are due after the evaluation of an epoch; nothing at their end.
    fn select(&mut self) -> Result<Option<()>> {
        let Some((projections, criterion)) = &self.selection else { return Ok(None) };
        let Some(index) = self.due(self.bilevel.progress.epoch + 1) else { return Ok(None) };
        loop {
            let Some((trial, sums)) = &mut self.trial else {
                let next = projections.trial(index, &self.bilevel.architecture.decided);
                let Some(trial) = next else { return Ok(None) };
                let sums = vec![Sum::default(); trial.removed.len()];
                self.trial = Some((trial, sums));
                self.evaluation.start(0);
                continue;
            };
            // The statistics of a batch are those of all its images, so all must count.
            if let Some(batch) =
                self.evaluation.next_batch().filter(|batch| batch.real == self.plan.batch_size)
            {
                for (sum, removed) in sums.iter_mut().zip(&trial.removed) {
                    sum.add(self.bilevel.without(batch, removed.clone())?, batch.real);
                }
                return Ok(Some(()));
            }
            let space = &self.bilevel.supernet.shape.space;
            let name = space.cells()[trial.cell].name;
            let outcomes: Vec<_> = sums.iter().map(|sum| (sum.loss(), sum.accuracy())).collect();
            let decided = &mut self.bilevel.architecture.decided;
            let sentence = projections.decide(trial, (*criterion, &outcomes), decided, space.inputs());
            self.selected.push(format!("{name} {sentence}"));
            self.trial = None;
        }
    }

    /// A checkpoint of an earlier format with what it does not hold: the count of Adam's steps, as there every step of the
    /// search was one of the alphas; and guards that have seen no epoch yet.
    fn completed(&self, mut checkpoint: Checkpoint) -> Checkpoint {
        let Position { epochs, steps } = checkpoint.progress.position;
        let steps = epochs.saturating_mul(self.steps_per_epoch()).saturating_add(steps);
        let guards = Watch::new(
            self.bilevel.architecture.method.guards.clone(),
            self.bilevel.architecture.alphas.len(),
        );
        for (name, values) in [(ALPHA_STEPS, vec![steps as f64]), (GUARDS, guards.state)] {
            if checkpoint.tensor(name).is_none() {
                checkpoint.tensors.push((name.to_owned(), Numbers::F64(values)));
            }
        }
        checkpoint
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
        state.push((GUARDS, &mut self.watch.state));
        state.extend(self.selection.as_ref().map(|_| (DECIDED, &mut self.decided[..])));
        state
    }

    fn ended(&self) -> bool {
        self.watch.ended()
    }

    fn steps_per_epoch(&self) -> usize {
        self.train.batches_per_pass()
    }

    fn batches_per_evaluation(&self) -> usize {
        self.evaluation.batches_per_pass()
    }

    fn start_epoch(&mut self, epoch: usize, steps: usize) {
        let Plan { weight_lr, weight_lr_min, epochs, seed, .. } = *self.plan;
        self.weight_lr = match (epoch - 1).checked_sub(epochs) {
            None => cosine(weight_lr, weight_lr_min, epoch - 1, epochs),
            // The official code goes on with a tenth of the rate, and an optimiser that knows nothing of the search.
            Some(after) => {
                if after == 0 && steps == 0 {
                    let momentum = self.bilevel.spans.momentum;
                    self.bilevel.tape.backend().fill(momentum, 0.0);
                }
                let first = weight_lr / 10.0;
                cosine(first, weight_lr_min.min(first), after, self.epochs_in_all - epochs)
            }
        };
        let decided = self.bilevel.architecture.decided.iter_mut().zip(&self.decided);
        decided.for_each(|(decision, &number)| *decision = Decision::from_number(number));
        let step = ((epoch - 1) * self.steps_per_epoch() + steps) as u64;
        self.bilevel.progress = Progress { seed, epoch: epoch - 1, epochs, step };
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
        self.trial = None;
        self.selected.clear();
    }

    /// The validation half with the running statistics.
    fn evaluate(&mut self) -> Result<Option<(BatchResult, usize)>> {
        if self.trial.is_none()
            && let Some(batch) = self.evaluation.next_batch()
        {
            return Ok(Some((self.bilevel.evaluate(batch, batch.real)?, batch.real)));
        }
        Ok(self.select()?.map(|()| (BatchResult::default(), 0)))
    }

    fn evaluated(&self) -> &'static str {
        "validation"
    }

    fn finish_epoch(&mut self, epoch: usize, train: &Sum, valid: &Sum) -> Result<(EpochRecord, Alphas)> {
        let decided = self.decided.iter_mut().zip(&self.bilevel.architecture.decided);
        decided.for_each(|(number, decision)| *number = decision.to_number());
        let alphas = self.alphas();
        let genotype = derive(&alphas);
        let epochs = self.plan.epochs;
        let measures = epoch <= epochs && self.watch.measures(epoch, epochs);
        let eigenvalue = measures.then(|| self.eigenvalue(epoch)).transpose()?;
        let outcome = Outcome {
            epoch,
            epochs,
            genotype: &genotype,
            alphas: &alphas,
            eigenvalue: eigenvalue.map(|eigenvalue| eigenvalue.value),
        };
        let guards = if epoch <= epochs { self.watch.show(&outcome) } else { Vec::new() };
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
            eigenvalue,
            selected: std::mem::take(&mut self.selected),
            guards,
        };
        Ok((record, alphas))
    }
}
