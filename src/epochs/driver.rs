//! The epochs of a run: steps, an evaluation, a record, a checkpoint; from the start or from where a checkpoint left off.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Identity, Numbers, Position, Progress};
use super::forecast::Forecast;
use super::observer::{Observer, Phase, StepRecord, Timing};
use super::sum::{BatchResult, Sum, check_finite};
use crate::autograd::Tape;
use crate::backend::{Backend, Device as _, Span};
use crate::{Error, Result};

/// The record of an epoch, and its result.
type Finished<P> = (<P as Phase>::Record, <P as Phase>::Artifact);

/// The epochs of a search or of a training, as the driver runs them.
pub trait Epochs {
    /// The phase.
    type Phase: Phase;
    /// Where it computes.
    type Device: Backend<Scalar = f32>;

    /// The network on its device.
    fn tape(&mut self) -> &mut Tape<Self::Device>;
    /// The vectors on the device that the next step depends on, by name.
    fn state(&self) -> Vec<(&'static str, Span)>;
    /// Those on the host.
    fn host_state(&mut self) -> Vec<(&'static str, &mut [f64])> {
        Vec::new()
    }
    /// Which epochs of the run these are, counted from 0, where others come before or after.
    fn part(&self) -> Range<usize> {
        0..usize::MAX
    }
    /// Steps in an epoch.
    fn steps_per_epoch(&self) -> usize;
    /// Batches of the evaluation at the end of an epoch.
    fn batches_per_evaluation(&self) -> usize;
    /// Begins an epoch, counted from 1, after so many of its steps.
    fn start_epoch(&mut self, epoch: usize, steps: usize);
    /// The next step of the epoch: its result, and how many images that is of.
    fn step(&mut self) -> Result<(BatchResult, usize)>;
    /// Begins the evaluation at the end of an epoch.
    fn start_evaluation(&mut self);
    /// The next batch of the evaluation, and how many of its images count.
    fn evaluate(&mut self) -> Result<Option<(BatchResult, usize)>>;
    /// What is evaluated, in words.
    fn evaluated(&self) -> &'static str;
    /// Ends an epoch; returns its record and its result.
    fn finish_epoch(&mut self, epoch: usize, train: &Sum, evaluation: &Sum) -> Result<Finished<Self::Phase>>;
    /// Whether the run has ended before its last epoch. Only the end of an epoch changes that.
    fn ended(&self) -> bool {
        false
    }
}

/// How a run is started, and when it stores its state.
#[derive(Clone, Copy, Default)]
pub struct Control<'a> {
    /// Where it goes on; at the start if there is none.
    pub from: Option<&'a Checkpoint>,
    /// How often the state is stored beside the ends of the epochs.
    pub every: Option<Duration>,
    /// Asked between steps and batches: whether to store the state and stop.
    pub interrupted: Option<&'a (dyn Fn() -> bool + Sync)>,
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended<T> {
    /// All epochs are done, or those that the run itself wanted.
    Finished(T),
    /// It was interrupted here, and its state is stored.
    Interrupted(Position),
}

impl<T> Ended<T> {
    /// The same end with another result.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Ended<U> {
        match self {
            Ended::Finished(result) => Ended::Finished(change(result)),
            Ended::Interrupted(position) => Ended::Interrupted(position),
        }
    }
}

/// Goes through all epochs that are left, unless the run ends itself.
///
/// # Errors
/// A checkpoint that does not fit, a loss that is no longer a number, or whatever run and observer could not do.
pub fn drive<E: Epochs>(
    run: &mut E,
    identity: Identity,
    epochs: usize,
    control: &Control,
    observer: &mut (dyn Observer<E::Phase> + Send),
) -> Result<Ended<()>> {
    let begin = Progress { position: Position { epochs: run.part().start, steps: 0 }, ..Progress::default() };
    let progress = control.from.map_or(begin, |checkpoint| checkpoint.progress);
    let identity = control.from.map_or(identity, |checkpoint| checkpoint.identity.clone());
    let now = Instant::now();
    let forecast = Forecast::new(epochs, run.steps_per_epoch(), run.batches_per_evaluation());
    let mut driver = Driver {
        run,
        identity,
        epochs,
        control,
        observer,
        progress,
        // What comes before a later part has stored its end.
        stored: (control.from.is_some() || begin.position.epochs > 0).then_some(progress.position),
        stored_at: now,
        forecast,
        forecast_at: now,
        epoch_started_at: now,
    };
    driver.restore()?;
    driver.forecast_at = Instant::now();
    driver.epochs()
}

struct Driver<'a, E: Epochs> {
    run: &'a mut E,
    identity: Identity,
    epochs: usize,
    control: &'a Control<'a>,
    observer: &'a mut (dyn Observer<E::Phase> + Send),
    /// Its seconds are those before `epoch_started_at`.
    progress: Progress,
    /// Where the state was last stored, and when.
    stored: Option<Position>,
    stored_at: Instant,
    /// The time left, and up to when it was told of the time that passed.
    forecast: Forecast,
    forecast_at: Instant,
    epoch_started_at: Instant,
}

impl<E: Epochs> Driver<'_, E> {
    fn epochs(&mut self) -> Result<Ended<()>> {
        while self.progress.position.epochs < self.epochs.min(self.run.part().end) && !self.run.ended() {
            if let Some(position) = self.epoch()? {
                return Ok(Ended::Interrupted(position));
            }
        }
        Ok(Ended::Finished(()))
    }

    /// What is left of an epoch. Where it was interrupted, if it was.
    fn epoch(&mut self) -> Result<Option<Position>> {
        self.epoch_started_at = Instant::now();
        let (epoch, steps) = (self.progress.position.epochs + 1, self.run.steps_per_epoch());
        self.run.start_epoch(epoch, self.progress.position.steps);
        while self.progress.position.steps < steps {
            if self.interrupted() {
                return self.store().map(Some);
            }
            self.step(epoch, steps)?;
            if self.control.every.is_some_and(|time| self.stored_at.elapsed() >= time) {
                self.store()?;
            }
        }
        let trained = self.seconds();
        let mut evaluation = Sum::default();
        self.run.start_evaluation();
        while let Some((result, images)) = self.run.evaluate()? {
            evaluation.add(result, images);
            let seconds = self.lap();
            self.forecast.add_batch(seconds);
            if self.interrupted() {
                // It is repeated from its start, and does not count as time of the steps.
                (self.progress.seconds, self.epoch_started_at) = (trained, Instant::now());
                return self.store().map(Some);
            }
        }
        let evaluated = self.run.evaluated();
        check_finite(evaluation.loss(), || format!("the {evaluated} loss after epoch {epoch}"))?;
        let (record, artifact) = self.run.finish_epoch(epoch, &self.progress.train, &evaluation)?;
        let images_per_second = self.progress.train.images() / trained;
        let timing = Timing { epoch, images_per_second, seconds: self.seconds() };
        self.observer.epoch(&record, &timing, &artifact)?;
        let position = Position { epochs: epoch, steps: 0 };
        self.progress = Progress { position, ..Progress::default() };
        self.epoch_started_at = Instant::now();
        self.store()?;
        let seconds = self.lap();
        self.forecast.add_end(seconds);
        Ok(None)
    }

    /// The time since the forecast was last told of any.
    fn lap(&mut self) -> f64 {
        let before = std::mem::replace(&mut self.forecast_at, Instant::now());
        (self.forecast_at - before).as_secs_f64()
    }

    fn step(&mut self, epoch: usize, steps: usize) -> Result<()> {
        let (result, images) = self.run.step()?;
        self.progress.position.steps += 1;
        let step = self.progress.position.steps;
        check_finite(result.loss, || format!("the training loss of step {step} of epoch {epoch}"))?;
        self.progress.train.add(result, images);
        let seconds = self.lap();
        self.forecast.add_step(seconds);
        let seconds_left = self.forecast.left(self.progress.position);
        let train = &self.progress.train;
        self.observer.step(&StepRecord {
            epoch,
            epochs: self.epochs,
            step,
            steps,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            images_per_second: train.images() / self.seconds(),
            seconds_left,
        })
    }

    /// How long the epoch has taken, before and after an interruption.
    fn seconds(&self) -> f64 {
        self.progress.seconds + self.epoch_started_at.elapsed().as_secs_f64()
    }

    fn interrupted(&self) -> bool {
        self.control.interrupted.is_some_and(|interrupted| interrupted())
    }

    /// Stores the state, unless it is; says where that is.
    fn store(&mut self) -> Result<Position> {
        let position = self.progress.position;
        if self.stored != Some(position) {
            let checkpoint = self.checkpoint()?;
            self.observer.checkpoint(&checkpoint)?;
            self.stored = Some(position);
        }
        self.stored_at = Instant::now();
        Ok(position)
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let spans = self.run.state();
        let tape = self.run.tape();
        let read = |&(name, span): &(&str, Span)| (name.to_owned(), Numbers::F32(tape.read(span)));
        let mut tensors: Vec<_> = spans.iter().map(read).collect();
        tape.status()?;
        let host = self.run.host_state().into_iter();
        tensors.extend(host.map(|(name, values)| (name.to_owned(), Numbers::F64(values.to_vec()))));
        // At the end of an epoch nothing of the next has been done, and the time does not make the bytes differ.
        let seconds = if self.progress.position.steps > 0 { self.seconds() } else { 0.0 };
        let progress = Progress { seconds, ..self.progress };
        Ok(Checkpoint { identity: self.identity.clone(), progress, tensors })
    }

    /// Puts the state of the checkpoint in place of the initial one.
    fn restore(&mut self) -> Result<()> {
        let Some(checkpoint) = self.control.from else { return Ok(()) };
        let (Position { epochs, steps }, all) = (self.progress.position, self.run.steps_per_epoch());
        let unfit = |reason: String| Err(Error::Plan(format!("the checkpoint does not fit: {reason}")));
        if epochs > self.epochs || steps > all || (epochs == self.epochs && steps > 0) {
            return unfit(format!(
                "it is {steps} steps behind epoch {epochs}, of {} epochs of {all} steps",
                self.epochs
            ));
        }
        let (spans, host) = (self.run.state(), self.run.host_state());
        let count = spans.len() + host.len();
        if checkpoint.tensors.len() != count {
            return unfit(format!("it holds {} tensors, not {count}", checkpoint.tensors.len()));
        }
        let find = |name: &str, len: usize| match checkpoint.tensor(name) {
            Some(numbers) if numbers.len() == len => Ok(numbers),
            Some(numbers) => Err(format!("{name} has {} values, not {len}", numbers.len())),
            None => Err(format!("it holds no {name}")),
        };
        for (name, values) in host {
            match find(name, values.len()) {
                Ok(Numbers::F64(stored)) => values.copy_from_slice(stored),
                Ok(Numbers::F32(stored)) => {
                    values.iter_mut().zip(stored).for_each(|(value, &stored)| *value = stored.into());
                }
                Err(reason) => return unfit(reason),
            }
        }
        for (name, span) in spans {
            match find(name, span.len) {
                Ok(Numbers::F32(stored)) => self.run.tape().backend().write(span, stored),
                Ok(Numbers::F64(_)) => return unfit(format!("{name} is F64, not F32")),
                Err(reason) => return unfit(reason),
            }
        }
        self.run.tape().status()
    }
}
