//! The work of a study: its tasks, several at once, each of which can be interrupted and goes on.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::outcome::{Found, Trained, load, save};
use super::study::{Contender, Kind, MAX_STUDY, Study, Training};
use super::task::{Part, Task};
use crate::backend::Shape;
use crate::baseline::{self, Query};
use crate::benchmark::nasbench201::{Column, Entry, Part as Images, entry_of, table};
use crate::data::{Dataset, Source};
use crate::epochs::{Checkpoint, Control, Ended};
use crate::files::{read_text, remove_unfinished, write_whole};
use crate::plan::{PlanTable, Violation, search as search_plan, train as train_plan};
use crate::search::session as search;
use crate::space::architecture::{Architecture, EDGES, OPERATIONS};
use crate::space::cost::Cost;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::space::{NetworkShape, sampled};
use crate::store::genotype::load_genotype;
use crate::store::history::History;
use crate::store::place::PLAN;
use crate::store::resumption::Resumption;
use crate::store::run_directory::RunDirectory;
use crate::store::{search_run, training_run};
use crate::train::session as train;
use crate::{Error, Result};

/// How far the weights of a matched genotype may be from those of its model, as a share of these.
const NEAR: f64 = 0.05;
/// Genotypes that are drawn before none is said to be near enough.
const DRAWN: u64 = 10_000;
/// How often a long run stores its state.
const CHECKPOINT: Duration = Duration::from_secs(600);

/// How a study is worked on.
pub struct Work<'a> {
    /// The study.
    pub study: &'a Study,
    /// Its directory.
    pub directory: &'a Path,
    /// Tasks at once, which share the cores.
    pub jobs: usize,
    /// Whether to store the state and stop.
    pub interrupted: &'a (dyn Fn() -> bool + Sync),
    /// Follows the work.
    pub watch: &'a (dyn Watch + Sync),
}

/// Follows the work of a study; called from several threads.
pub trait Watch {
    /// A task has begun.
    fn begun(&self, task: Task);
    /// A task has ended, in this run directory if it has one.
    fn done(&self, task: Task, run: Option<&Path>);
    /// A task has failed, for this reason; the study goes on.
    fn failed(&self, task: Task, reason: &Error);
}

/// A task that failed, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The task.
    pub task: Task,
    /// Why.
    pub reason: String,
}

/// Where each task stands.
struct Standing {
    waiting: Vec<Task>,
    running: Vec<Task>,
    failures: Vec<Failure>,
    interrupted: bool,
}

impl Work<'_> {
    /// Refuses a study whose data or plans cannot be, before any work.
    ///
    /// # Errors
    /// The first reason, with the place in the study.
    pub fn check(&self) -> Result<()> {
        let seed = self.study.seeds[0];
        let within = |place: &str, violation: Option<Violation>| match violation {
            None => Ok(()),
            Some(violation) => Err(Error::Plan(format!("{place}: {}", violation))),
        };
        for Contender { name, kind } in &self.study.contenders {
            match kind {
                Kind::Gradient(plan) => {
                    let plan = search_plan::Plan { seed, ..(**plan).clone() };
                    plan.resolve_device()?;
                    within(&format!("contenders.{name}"), plan.violation_by_data(&dataset(&plan)?))?;
                }
                // Its genotypes are those of a space, whatever batches the plan has.
                Kind::Random { plan, .. } => drop(dataset(&search_plan::Plan { seed, ..(**plan).clone() })?),
                Kind::Table { .. } => {}
            }
        }
        for Training { name, plan } in &self.study.trainings {
            let plan = train_plan::Plan { seed, ..plan.clone() };
            plan.resolve_device()?;
            let place = if name.is_empty() { "train".to_owned() } else { format!("settings.{name}") };
            within(&place, plan.violation_by_data(&dataset(&plan)?))?;
        }
        Ok(())
    }

    /// Does what is left of the study. Gives the failures; nothing, where it was interrupted.
    ///
    /// # Errors
    /// The outcome of an earlier run is damaged.
    pub fn run(&self) -> Result<Option<Vec<Failure>>> {
        // A process that was killed may have been writing an outcome.
        remove_unfinished(self.directory);
        for contender in &self.study.contenders {
            remove_unfinished(&self.directory.join(&contender.name));
        }
        let mut waiting = Vec::new();
        for task in self.study.tasks() {
            if !self.study.outcome_file(self.directory, task).exists() {
                waiting.push(task);
            }
        }
        let standing = Standing { waiting, running: Vec::new(), failures: Vec::new(), interrupted: false };
        let (standing, changed) = (Mutex::new(standing), Condvar::new());
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| self.serve(&standing, &changed));
            }
        });
        let Standing { failures, interrupted, .. } =
            standing.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((!interrupted).then_some(failures))
    }

    /// Does one task after another, until none is left that this thread could do.
    fn serve(&self, standing: &Mutex<Standing>, changed: &Condvar) {
        let lock = || standing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = lock();
        loop {
            if (self.interrupted)() {
                state.interrupted = true;
                changed.notify_all();
            }
            if state.interrupted || state.waiting.is_empty() {
                return;
            }
            let Some(place) = state.waiting.iter().position(|&task| self.is_ready(task, &state)) else {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let task = state.waiting.remove(place);
            state.running.push(task);
            drop(state);
            let done = catch_unwind(AssertUnwindSafe(|| self.attempt(task)));
            state = lock();
            state.running.retain(|other| *other != task);
            match done {
                Ok(done) => self.settle(task, done, &mut state),
                Err(panic) => {
                    // Others must not wait for what never ends.
                    state.interrupted = true;
                    changed.notify_all();
                    resume_unwind(panic);
                }
            }
            changed.notify_all();
        }
    }

    /// Whether all is done that a task needs.
    fn is_ready(&self, task: Task, state: &MutexGuard<Standing>) -> bool {
        let before = self.study.before(task);
        before.is_none_or(|before| !state.waiting.contains(&before) && !state.running.contains(&before))
    }

    fn attempt(&self, task: Task) -> Result<Ended<Option<PathBuf>>> {
        if let Some(before) = self.study.before(task)
            && !self.study.outcome_file(self.directory, before).exists()
        {
            return Err(Error::Usage(format!("{} has failed", self.study.title(before))));
        }
        self.watch.begun(task);
        self.perform(task)
    }

    fn settle(&self, task: Task, done: Result<Ended<Option<PathBuf>>>, state: &mut Standing) {
        match done {
            Ok(Ended::Finished(run)) => self.watch.done(task, run.as_deref()),
            Ok(Ended::Interrupted(_)) => state.interrupted = true,
            Err(error) => {
                self.watch.failed(task, &error);
                state.failures.push(Failure { task, reason: error.to_string() });
            }
        }
    }

    /// Does a task and stores its outcome; gives its run directory, if it has one.
    fn perform(&self, task: Task) -> Result<Ended<Option<PathBuf>>> {
        let outcome = self.study.outcome_file(self.directory, task);
        let run = self.study.run_directory(self.directory, task);
        let above = self.directory.join(&self.study.contenders[task.contender].name);
        std::fs::create_dir_all(&above).map_err(|source| Error::io(above, source))?;
        let finished = |found: Found, run| save(&outcome, &found).map(|()| Ended::Finished(run));
        match (task.part, &self.study.contenders[task.contender].kind) {
            (Part::Train(place), _) => {
                let plan = train_plan::Plan {
                    seed: task.seed,
                    threads: self.threads(self.study.trainings[place].plan.threads),
                    ..self.study.trainings[place].plan.clone()
                };
                let found = self.found(Task { part: Part::Find, ..task })?;
                let Some(genotype) = found.genotype else {
                    return Err(Error::Usage("only the table knows its architecture".to_owned()));
                };
                match self.train(&plan, &genotype, &run)? {
                    Ended::Interrupted(position) => Ok(Ended::Interrupted(position)),
                    Ended::Finished(trained) => save(&outcome, &trained).map(|()| Ended::Finished(Some(run))),
                }
            }
            (Part::Find, Kind::Gradient(plan)) => {
                let plan = search_plan::Plan {
                    seed: task.seed,
                    threads: self.threads(plan.threads),
                    ..(**plan).clone()
                };
                match self.search(&plan, &run)? {
                    Ended::Interrupted(position) => Ok(Ended::Interrupted(position)),
                    Ended::Finished(found) => finished(found, Some(run)),
                }
            }
            (Part::Find, Kind::Random { plan, weights_of }) => {
                let like = match weights_of {
                    None => None,
                    Some(other) => Some(self.found(Task { contender: *other, ..task })?.weights),
                };
                let name = &self.study.contenders[task.contender].name;
                finished(self.draw(plan, name, task.seed, like)?, None)
            }
            (Part::Find, Kind::Table { search, queries }) => {
                finished(ask(*search, task.seed, *queries)?, None)
            }
        }
    }

    /// What an earlier task found.
    fn found(&self, task: Task) -> Result<Found> {
        let path = self.study.outcome_file(self.directory, task);
        load(&path)?.ok_or_else(|| Error::Format { path, reason: "is missing".to_owned() })
    }

    /// The threads of a run: its share of the cores, unless its plan names a number.
    fn threads(&self, planned: usize) -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if planned > 0 { planned } else { (cores / self.jobs.max(1)).max(1) }
    }

    fn search(&self, plan: &search_plan::Plan, run: &Path) -> Result<Ended<Found>> {
        let dataset = dataset(plan)?;
        let cost = self.weights_of_network(&dataset)?;
        let create = || search_run::create_at(plan, Some(&dataset), run);
        let (mut directory, checkpoint) = self.open(plan, run, create)?;
        let control = self.control(checkpoint.as_ref());
        let ended = search::run(plan, dataset, &control, &mut directory)?;
        drop(directory);
        let Ended::Finished(alphas) = ended else { return Ok(ended.map(|_| Found::default())) };
        let genotype = derive(&alphas);
        let history = History::load(run)?;
        Ok(Ended::Finished(Found {
            weights: cost(&genotype)?,
            networks: 1,
            valid_accuracy: Some(history.result().valid_accuracy),
            test_accuracy: tabulated(&genotype),
            course: history.records.iter().filter_map(|record| tabulated(&record.genotype)).collect(),
            genotype: Some(genotype),
            ..Found::default()
        }))
    }

    fn train(&self, plan: &train_plan::Plan, genotype: &Genotype, run: &Path) -> Result<Ended<Trained>> {
        let dataset = dataset(plan)?;
        let cost = Cost::of(genotype, &network_shape(plan, &dataset))?;
        let create = || training_run::create_at(plan, genotype, Some(&dataset), run);
        let (mut directory, checkpoint) = self.open(plan, run, create)?;
        let stored = load_genotype(run)?;
        if stored != *genotype {
            let reason = "holds another genotype than its search found".to_owned();
            return Err(Error::Format { path: run.into(), reason });
        }
        let control = self.control(checkpoint.as_ref());
        let ended = train::run(plan, genotype, dataset, &control, &mut directory)?;
        let Cost { weights, multiply_adds } = cost;
        Ok(ended.map(|outcome| Trained { test_accuracy: outcome.last, weights, multiply_adds }))
    }

    /// The directory of a run: new, or with the state that it goes on from.
    fn open<P: PlanTable + PartialEq>(
        &self,
        plan: &P,
        run: &Path,
        create: impl FnOnce() -> Result<RunDirectory>,
    ) -> Result<(RunDirectory, Option<Checkpoint>)> {
        if !run.join(PLAN).is_file() {
            // The plan is the last of the files that a run begins with: without it, a process was killed that had done
            // no work yet.
            if run.is_dir() {
                std::fs::remove_dir_all(run).map_err(|source| Error::io(run, source))?;
            }
            return Ok((create()?, None));
        }
        let resumed = Resumption::<P>::open(run)?;
        let (begun, given) = (resumed.plan.to_table()?, plan.to_table()?);
        if let Some(other) = P::keys().contradiction(&given, &begun) {
            let reason =
                format!("was begun with {} {}, and the study says {}", other.key, other.begun, other.given);
            return Err(Error::Format { path: run.into(), reason });
        }
        Ok((resumed.directory, resumed.checkpoint))
    }

    fn control<'b>(&'b self, from: Option<&'b Checkpoint>) -> Control<'b> {
        Control { from, every: Some(CHECKPOINT), interrupted: Some(self.interrupted) }
    }

    /// How many weights the network of a genotype has: as it is trained first, or by the small plan where none is.
    fn weights_of_network(&self, dataset: &Dataset) -> Result<impl Fn(&Genotype) -> Result<usize> + use<>> {
        let plan = self.study.trainings.first().map(|training| training.plan.clone()).unwrap_or_default();
        let shape = network_shape(&plan, dataset);
        Ok(move |genotype: &Genotype| Ok(Cost::of(genotype, &shape)?.weights))
    }

    /// A genotype drawn at random, with about so many weights if that is asked for.
    fn draw(&self, plan: &search_plan::Plan, name: &str, seed: u64, like: Option<usize>) -> Result<Found> {
        let space = plan.space()?;
        let plan = search_plan::Plan { seed, ..plan.clone() };
        let weights_of = self.weights_of_network(&dataset(&plan)?)?;
        // Each contender and seed has draws of its own.
        let own = crc32c::crc32c(format!("{name} {seed}").as_bytes());
        let tries = if like.is_some() { DRAWN } else { 1 };
        let mut nearest = usize::MAX;
        for number in (0..tries).map(|attempt| u64::from(own) << 32 | attempt) {
            let genotype = sampled::draw_nodes(number, &space, plan.nodes);
            let weights = weights_of(&genotype)?;
            let off = like.map_or(0, |like| weights.abs_diff(like));
            if like.is_none_or(|like| off as f64 <= NEAR * like as f64) {
                let name = (plan.nodes == space.nodes()).then(|| format!("{}{number}", sampled::PREFIX));
                let test_accuracy = tabulated(&genotype);
                return Ok(Found {
                    genotype: Some(genotype),
                    name,
                    weights,
                    test_accuracy,
                    ..Found::default()
                });
            }
            nearest = nearest.min(off);
        }
        let like = like.unwrap_or_default();
        Err(Error::Genotype(format!(
            "none of {DRAWN} genotypes drawn at random has {like} weights to within {:.0} %; the nearest is off by {nearest}",
            100.0 * NEAR
        )))
    }
}

/// The test accuracy of a genotype on CIFAR-10 after 200 epochs, as a fraction, where the table has it.
fn tabulated(genotype: &Genotype) -> Option<f64> {
    entry_of(genotype).map(|entry| entry.accuracy(Column::judging(0)) / 100.0)
}

/// The network that a plan trains.
fn network_shape(plan: &train_plan::Plan, dataset: &Dataset) -> NetworkShape {
    let images = &dataset.train;
    NetworkShape {
        images: Shape::new(1, images.height, images.width, images.channels),
        classes: dataset.classes(),
        init_channels: plan.init_channels,
        cells: plan.cells,
        auxiliary: None,
        drop_path: false,
        official_inplace_relu: false,
        class_weights: false,
    }
}

/// The images of a plan.
fn dataset(plan: &impl PlanTable) -> Result<Dataset> {
    plan.data().parse::<Source>()?.load(plan.seed(), &plan.reading(), &())
}

/// A search on the table of NAS-Bench-201, by the validation accuracy on CIFAR-10 after 12 epochs.
fn ask(kind: baseline::Kind, seed: u64, budget: usize) -> Result<Found> {
    let entry = |candidate: &[usize]| -> &'static Entry {
        let places = candidate.try_into().expect("a choice for each edge");
        table().entry(Architecture::new(places))
    };
    let known = Column { data_set: 0, epochs: 12, part: Images::Validation };
    let judged = |query: &Query| entry(&query.candidate).accuracy(Column::judging(0)) / 100.0;
    let score = |candidate: &[usize]| Ok(entry(candidate).accuracy(known));
    let queries =
        baseline::run(kind, &[OPERATIONS.len(); EDGES.len()], seed, budget, Vec::new(), score, |_| Ok(()))?;
    let course = queries.iter().scan(&queries[0], |best, query| {
        if query.score > best.score {
            *best = query;
        }
        Some(judged(best))
    });
    let course: Vec<f64> = course.collect();
    let best = baseline::best(&queries).map(|query| entry(&query.candidate));
    let best = best.expect("a search asks at least once");
    Ok(Found {
        name: Some(best.architecture.to_string()),
        weights: best.parameters,
        networks: budget,
        valid_accuracy: Some(best.accuracy(known) / 100.0),
        test_accuracy: course.last().copied(),
        course,
        ..Found::default()
    })
}

/// Makes the directory of a study, which holds its file; or takes the one that is there, if it is of the same study. As long
/// as the file is open that this gives, no other process works on the study.
///
/// # Errors
/// It holds something else, it is to be resumed and is not there, or another process works on it.
pub fn open(directory: &Path, text: &str, resume: bool) -> Result<File> {
    const STUDY: &str = "study.toml";
    let path = directory.join(STUDY);
    let refused = |reason: &str| Err(Error::Format { path: directory.into(), reason: reason.to_owned() });
    if resume && !directory.is_dir() {
        return refused("no such directory of a study; without --resume it begins there");
    }
    if path.is_file() {
        let begun = read_text(&path, MAX_STUDY)?;
        return match (begun == text, resume) {
            (true, true) => lock(directory),
            (true, false) => refused("holds this study already; --resume goes on with it"),
            (false, _) => refused("is the directory of another study; its study.toml differs"),
        };
    }
    // A process that was killed while it wrote the file had done no work yet.
    remove_unfinished(directory);
    let strange = |name: &OsStr| name != LOCK;
    let mut entries = directory.read_dir().into_iter().flatten().flatten();
    if entries.any(|entry| strange(&entry.file_name())) {
        return refused("is not empty, and no directory of a study: it holds no study.toml");
    }
    std::fs::create_dir_all(directory).map_err(|source| Error::io(directory, source))?;
    let lock = lock(directory)?;
    write_whole(&path, text.as_bytes())?;
    Ok(lock)
}

/// The file that the process holds a lock on that works on a study.
const LOCK: &str = ".lock";

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(|source| Error::io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let reason = "another process works on this study; end it first, or wait for its end".to_owned();
            Err(Error::Format { path: directory.into(), reason })
        }
        // Some file systems know no locks.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(Error::io(path, source)),
    }
}
