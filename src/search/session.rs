//! A whole search: epochs over the two halves of a data set, observed.

use std::ops::Range;
use std::sync::Arc;

use super::architecture::Architecture;
use super::bilevel::{ALPHA_STEPS, ALPHAS, Bilevel, BilevelSettings};
use super::curvature::{ACCURACY, DISTANCE};
use super::data::Data;
use super::lanczos::Eigenvalue;
use super::method::Method;
use super::observer::{EpochRecord, Observer, SearchPhase, Summary};
use super::selecting::{DECIDED, Selecting};
use super::stages::{Stage, left, stages};
use crate::autograd::Tape;
use crate::backend::{Backend, Shape, Span, Work};
use crate::data::{Dataset, Loader};
use crate::epochs::schedule::cosine;
use crate::epochs::{
    BatchResult, Checkpoint, Control, Ended, Epochs, Estimate, Identity, Numbers, OpenDevice, Position,
    Ready, Sum, check_finite, drive, fit_memory, largest_batch, measure, open_cpu, open_gpu,
};
use crate::method::guard::{Outcome, Watch};
use crate::method::progress::Progress;
use crate::plan::search::Plan;
use crate::plan::{DeviceChoice, PlanTable};
use crate::random::Stream;
use crate::space::alphas::{Alphas, Decision};
use crate::space::derivation::{derive, mean_entropies, skip_connections};
use crate::space::pruning::GONE;
use crate::space::{Edge, Space, SupernetShape};
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
    OpenDevice { mut backend, name, threads }: OpenDevice<B>,
    plan: &Plan,
    dataset: Dataset,
    identity: Identity,
    control: &Control,
    observer: &mut (dyn Observer<SearchPhase> + Send),
) -> Result<Ended<Alphas>> {
    let data = Data::new(plan, dataset);
    let mut whole = Method::from(plan).describe(Alphas::zeros(plan.space()?, plan.nodes));
    let (mut from, mut started) = (control.from, false);
    let stages = stages(plan)?;
    for (index, stage) in stages.iter().enumerate() {
        if let Some(checkpoint) = from {
            // The end of a stage is stored with that stage.
            let Position { epochs, steps } = checkpoint.progress.position;
            let behind = epochs > stage.epochs.end || (epochs == stage.epochs.end && steps > 0);
            if behind && index + 1 < stages.len() {
                continue;
            }
            whole = begun_with(checkpoint, whole)?;
        }
        let mut search = SearchSession::new(stage, index, whole, &data, backend)?;
        if !std::mem::replace(&mut started, true) {
            observer.started(&search.summary(name.clone(), threads))?;
        }
        let control = Control { from: from.take(), ..*control };
        let ended = search.epochs(identity.clone(), plan.epochs_in_all()?, &control, observer)?;
        let Ended::Finished(alphas) = ended else { return Ok(ended) };
        let Some(keep) = stage.keep.filter(|_| !search.watch.ended()) else {
            return Ok(Ended::Finished(alphas));
        };
        whole = alphas;
        whole.prune(keep);
        backend = search.bilevel.tape.into_backend();
    }
    unreachable!("the last stage ends the search")
}

/// What a search will take, by some steps of its last epoch, in which the alphas move; of each stage, where it has several.
///
/// # Errors
/// A plan that does not fit the data, a device that is not there or too small, or a loss that is no longer a number.
pub fn estimate(plan: &Plan, dataset: Dataset) -> Result<Estimate> {
    if let Some(violation) = plan.violation_by_data(&dataset) {
        return Err(violation.into());
    }
    let dataset = dataset.with_train_images(plan.train_images, plan.seed);
    match plan.resolve_device()? {
        DeviceChoice::Cuda => estimate_on(|| open_gpu(plan.precision), plan, dataset),
        _ => estimate_on(|| open_cpu(plan.threads), plan, dataset),
    }
}

fn estimate_on<B: Backend<Scalar = f32>>(
    open: impl Fn() -> Result<OpenDevice<B>>,
    plan: &Plan,
    dataset: Dataset,
) -> Result<Estimate> {
    let data = Data::new(plan, dataset);
    let mut whole = Method::from(plan).describe(Alphas::zeros(plan.space()?, plan.nodes));
    let mut estimates = Vec::new();
    for (index, stage) in stages(plan)?.iter().enumerate() {
        let mut search = SearchSession::new(stage, index, whole.clone(), &data, open()?.backend)?;
        let pace = measure(&mut search, stage.epochs.start + stage.plan.epochs)?;
        let (epochs, steps) = (stage.epochs.len(), search.steps_per_epoch());
        estimates.push(Estimate {
            peak_bytes: search.peak_bytes,
            batch_size: plan.batch_size,
            seconds_per_step: pace.step,
            seconds_per_evaluation: pace.evaluation,
            steps_per_epoch: steps,
            epochs,
            seconds: pace.seconds(epochs, steps),
            largest_batch: largest_batch(search.bilevel, search.images_per_half)?,
        });
        // Of candidates that weigh the same the last ones stay, which compute the most in the spaces of this program.
        stage.keep.into_iter().for_each(|keep| whole.prune(keep));
    }
    Ok(estimates.into_iter().reduce(Estimate::and_then).expect("a search has a stage"))
}

/// The alphas that the stage of a checkpoint began with, where stages are.
fn begun_with(checkpoint: &Checkpoint, mut whole: Alphas) -> Result<Alphas> {
    if let Some(Numbers::F64(values)) = checkpoint.tensor(BEGUN) {
        let count = whole.len();
        if values.len() != count {
            let found = values.len();
            return Err(Error::Plan(format!(
                "the checkpoint's stage began with {found} alphas, and its plan has {count}"
            )));
        }
        whole.tables.iter_mut().flatten().zip(values).for_each(|(place, &value)| *place = value);
    }
    Ok(whole)
}

/// The name of what the guards know in a checkpoint.
const GUARDS: &str = "guards";
/// The name of the alphas with which a stage began in a checkpoint.
const BEGUN: &str = "stage_alphas";

/// A stage of a search.
struct SearchSession<'a, B: Backend<Scalar = f32>> {
    stage: &'a Stage,
    plan: &'a Plan,
    /// The alphas of the whole space with which the stage began. In later stages some candidates are gone.
    whole: Alphas,
    /// The same as numbers of a checkpoint, where there are stages.
    begun: Vec<f64>,
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
    /// What the guards know.
    watch: Watch,
    /// What goes on behind the search, where the genotype is found by perturbation.
    selecting: Option<Selecting>,
}

impl<'a, B: Backend<Scalar = f32>> SearchSession<'a, B> {
    fn new(stage: &'a Stage, index: usize, whole: Alphas, data: &Data, backend: B) -> Result<Self> {
        let plan = &stage.plan;
        let Data { images, normalisation, augmentation, classes, weight_half, alpha_half } = data;
        let settings = BilevelSettings::from(plan);
        let shape = SupernetShape {
            space: if index == 0 { Arc::clone(&whole.space) } else { left(&whole)? },
            images: Shape::new(plan.batch_size, images.height, images.width, images.channels),
            classes: *classes,
            init_channels: plan.init_channels,
            cells: plan.cells,
            nodes: plan.nodes,
            edges: settings.method.edges(),
        };
        let bilevel = Bilevel::record(backend, shape, settings)?;
        let Ready { subject: bilevel, work, peak_bytes, augmented_by } =
            fit_memory(bilevel, &images.bytes(normalisation), plan.seed.wrapping_add(index as u64))?;
        let loader = |indices: &[u32], order| {
            let (images, normalisation, indices) =
                (Arc::clone(images), normalisation.clone(), indices.to_vec());
            let Plan { batch_size, seed, .. } = *plan;
            Loader::new(images, normalisation, *augmentation, indices, batch_size, seed, order)
                .map(|loader| loader.augmented_by(augmented_by))
        };
        let train = loader(weight_half, Stream::TrainOrder)?;
        let valid = loader(alpha_half, Stream::ValidOrder)?;
        let in_order = Loader::sequential(
            Arc::clone(images),
            normalisation.clone(),
            alpha_half.clone(),
            plan.batch_size,
        )?;
        let architecture = &bilevel.architecture;
        let watch = Watch::new(architecture.method.guards.clone(), &whole);
        let selecting = Selecting::new(plan, &bilevel.supernet.shape.space, architecture.method.selection);
        let (evaluation, weight_lr) = (in_order.augmented_by(augmented_by), plan.weight_lr);
        let begun = if stage.plan.stages == "none" { Vec::new() } else { whole.tables.concat() };
        Ok(SearchSession {
            stage,
            plan,
            whole,
            begun,
            bilevel,
            train,
            valid,
            evaluation,
            images_per_half: weight_half.len(),
            peak_bytes,
            work,
            weight_lr,
            watch,
            selecting,
        })
    }

    fn summary(&self, device: String, threads: usize) -> Summary {
        Summary {
            weights: self.bilevel.supernet.parameters.len(),
            alphas: self.bilevel.architecture.alpha_count(),
            betas: self.bilevel.architecture.alphas.len() - self.bilevel.architecture.alpha_count(),
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
        epochs: usize,
        control: &Control,
        observer: &mut (dyn Observer<SearchPhase> + Send),
    ) -> Result<Ended<Alphas>> {
        let completed = control.from.map(|checkpoint| self.completed(checkpoint.clone()));
        let control = Control { from: completed.as_ref(), ..*control };
        let ended = drive(self, identity, epochs, &control, observer)?;
        Ok(ended.map(|()| self.result()))
    }

    /// The largest eigenvalue of the validation loss's Hessian by the alphas, on the validation batch of the epoch's last step.
    fn eigenvalue(&mut self, epoch: usize) -> Result<Eigenvalue> {
        self.valid.start_after(epoch as u64, self.steps_per_epoch() - 1);
        let Some(batch) = self.valid.next_batch() else { unreachable!("there is a batch for each step") };
        let found = self.bilevel.curvature(batch, DISTANCE, ACCURACY)?;
        check_finite(found.value, || format!("the eigenvalue after epoch {epoch}"))?;
        Ok(found)
    }

    /// The alphas that the stage has found: the last ones, unless a guard has ended it with others.
    fn result(&self) -> Alphas {
        let mut alphas = self.alphas();
        if let Some(values) = self.watch.result() {
            alphas.values_mut().zip(values).for_each(|(place, &value)| *place = value);
        }
        alphas
    }

    /// The alphas of the whole space, in which candidates that are gone stay so.
    fn alphas(&self) -> Alphas {
        let Architecture { alphas: values, method, .. } = &self.bilevel.architecture;
        let mut alphas = method.describe(self.whole.clone());
        let kept = alphas.values_mut().filter(|alpha| **alpha != GONE);
        kept.zip(values).for_each(|(place, &value)| *place = value);
        if let Some(selecting) = &self.selecting {
            let mut decided = selecting.decided.iter().map(|&number| Decision::from_number(number));
            for cell in 0..alphas.tables.len() {
                let of_edge = |edge: Edge| {
                    let row = &alphas.tables[cell][edge.row];
                    let mut kept = (0..row.len()).filter(|&place| row[place] != GONE);
                    match decided.next() {
                        Some(Decision::Chosen(place)) => {
                            Decision::Chosen(kept.nth(place).unwrap_or_default())
                        }
                        other => other.unwrap_or_default(),
                    }
                };
                let edges = alphas.wiring(cell).edges.into_iter().map(of_edge).collect();
                alphas.decided.push(edges);
            }
        }
        alphas
    }

    /// A checkpoint of an earlier format with what it does not hold: the count of Adam's steps, as there every step of the
    /// search was one of the alphas; and guards that have seen no epoch yet.
    fn completed(&self, mut checkpoint: Checkpoint) -> Checkpoint {
        let Position { epochs, steps } = checkpoint.progress.position;
        let steps = epochs.saturating_mul(self.steps_per_epoch()).saturating_add(steps);
        let guards = Watch::new(self.bilevel.architecture.method.guards.clone(), &self.whole);
        for (name, values) in [(ALPHA_STEPS, vec![steps as f64]), (GUARDS, guards.state)] {
            if checkpoint.tensor(name).is_none() {
                checkpoint.tensors.push((name.to_owned(), Numbers::F64(values)));
            }
        }
        checkpoint
    }
}

/// Alphas of which these are the values, one table after another, and then the betas.
fn filled(space: Arc<Space>, nodes: usize, method: &Method, values: &[f64]) -> Alphas {
    let mut alphas = method.describe(Alphas::zeros(space, nodes));
    let places = alphas.values_mut();
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
    if alphas.values().count() != values.len() {
        let (found, expected) = (values.len(), alphas.values().count());
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
        if !self.begun.is_empty() {
            state.push((BEGUN, &mut self.begun));
        }
        state.extend(self.selecting.as_mut().map(|selecting| (DECIDED, &mut selecting.decided[..])));
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

    fn part(&self) -> Range<usize> {
        self.stage.epochs.clone()
    }

    fn start_epoch(&mut self, epoch: usize, steps: usize) {
        let step = ((epoch - 1) * self.steps_per_epoch() + steps) as u64;
        self.train.start_after(epoch as u64, steps);
        self.valid.start_after(epoch as u64, steps);
        // From here on, epochs of the stage.
        let epoch = epoch - self.stage.epochs.start;
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
                cosine(first, weight_lr_min.min(first), after, self.stage.epochs.len() - epochs)
            }
        };
        if let Some(selecting) = &self.selecting {
            selecting.restore(&mut self.bilevel.architecture.decided);
        }
        self.bilevel.progress = Progress { seed, epoch: epoch - 1, epochs, step };
    }

    fn step(&mut self) -> Result<(BatchResult, usize)> {
        let (Some(train), Some(valid)) = (self.train.next_batch(), self.valid.next_batch()) else {
            unreachable!("both halves have a batch for each step");
        };
        Ok((self.bilevel.step(train, valid, self.weight_lr)?, self.plan.batch_size))
    }

    fn start_evaluation(&mut self) {
        self.evaluation.start(0);
        if let Some(selecting) = &mut self.selecting {
            selecting.begin();
        }
    }

    /// The validation half with the running statistics.
    fn evaluate(&mut self) -> Result<Option<(BatchResult, usize)>> {
        let tries = self.selecting.as_ref().is_some_and(Selecting::tries);
        if let Some(batch) = if tries { None } else { self.evaluation.next_batch() } {
            return Ok(Some((self.bilevel.evaluate(batch, batch.real)?, batch.real)));
        }
        let Some(selecting) = &mut self.selecting else { return Ok(None) };
        let more = selecting.batch(&mut self.bilevel, &mut self.evaluation)?;
        Ok(more.then(|| (BatchResult::default(), 0)))
    }

    fn evaluated(&self) -> &'static str {
        "validation"
    }

    fn finish_epoch(&mut self, epoch: usize, train: &Sum, valid: &Sum) -> Result<(EpochRecord, Alphas)> {
        let mut selected = Vec::new();
        if let Some(selecting) = &mut self.selecting {
            selected = selecting.commit(&self.bilevel.architecture.decided);
        }
        let alphas = self.alphas();
        let genotype = derive(&alphas);
        let (epochs, of_stage) = (self.plan.epochs, epoch - self.stage.epochs.start);
        let measures = of_stage <= epochs && self.watch.measures(of_stage, epochs);
        let eigenvalue = measures.then(|| self.eigenvalue(epoch)).transpose()?;
        let outcome = Outcome {
            epoch: of_stage,
            epochs,
            genotype: &genotype,
            alphas: &alphas,
            eigenvalue: eigenvalue.map(|eigenvalue| eigenvalue.value),
        };
        // Alphas that have not moved say nothing of the search.
        let moves = !self.bilevel.architecture.method.samples_genotypes();
        let judges = moves && of_stage <= epochs && of_stage > self.plan.frozen_epochs;
        let mut guards = if judges { self.watch.show(&outcome) } else { Vec::new() };
        let results = guards.iter_mut().filter_map(|remark| remark.result.as_mut());
        results.for_each(|result| *result += self.stage.epochs.start);
        if let (Some(keep), true) = (self.stage.keep, of_stage == epochs && !self.watch.ended()) {
            selected.push(format!("{keep} candidates of each edge for the next stage"));
        }
        let record = EpochRecord {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            valid_loss: valid.loss(),
            valid_accuracy: valid.accuracy(),
            entropy: mean_entropies(&alphas),
            edge_weights: (0..alphas.betas.len()).filter_map(|cell| alphas.edge_weights(cell)).collect(),
            skip_connections: skip_connections(&genotype),
            weight_lr: self.weight_lr,
            genotype,
            eigenvalue,
            selected,
            guards,
        };
        Ok((record, alphas))
    }
}
