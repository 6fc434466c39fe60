//! What `darts search` and `darts train` share: where a run is stored, how it goes on, and how it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::data::{Tolerance, surveyed};
use super::interruption::Interruption;
use super::output::{print, report, tell};
use super::pictures;
use super::plan::{PlanArguments, PlanFlags, number};
use crate::data::Dataset;
use crate::epochs::{Checkpoint, Control, Ended, Estimate, Observer, Observers, Phase, Position};
use crate::plan::PlanTable;
use crate::plan::merge::Given;
use crate::readable::{bytes, counted, duration, grouped};
use crate::space::Space;
use crate::store::checkpoints::resume_command;
use crate::store::place::PLAN;
use crate::store::resumption::Resumption;
use crate::store::run_directory::RunDirectory;
use crate::watch::progress::{Form, Progress};
use crate::watch::tensorboard::EventFile;
use crate::{Error, Result};

/// Where a run is stored, how it goes on, and what it prints.
#[derive(clap::Args)]
pub struct RunArguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// The run directory; new or empty [default: in runs, named after date, time and data].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with this run where it was interrupted, with the plan in it; or from one of its checkpoints,
    /// dropping what came later. Only --threads may differ.
    #[arg(long, value_name = "RUN", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Store a checkpoint to go on from after so many minutes, too; 0 for only after each epoch.
    #[arg(long, value_name = "N", value_parser = minutes, default_value = "10", allow_negative_numbers = true)]
    checkpoint_minutes: f64,
    /// End the run after the step at which the command has taken so many minutes, as Ctrl-C does: with a checkpoint
    /// and a report. Schedules follow the epochs of the plan all the same: they are not squeezed into this time, and
    /// --resume goes on to the same bytes, with another limit or none. The exit code is 124.
    #[arg(long, value_name = "N", value_parser = minutes, allow_negative_numbers = true)]
    max_minutes: Option<f64>,
    /// Say what the run takes of memory and time, by a few of its steps, and the largest batch that fits, and stop.
    /// Nothing is stored. On the processor the memory is that of the tensors, beside the program and the images.
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// The seed of a run of several.
    #[arg(skip)]
    seed: Option<i64>,
    /// When the command began.
    #[arg(skip = Instant::now())]
    begun: Instant,
    #[command(flatten)]
    tolerance: Tolerance,
    /// Print nothing but the result at the end.
    #[arg(long)]
    pub quiet: bool,
    /// Print JSON instead: a line for each epoch, as in metrics.jsonl, and one with the result at the end.
    #[arg(long)]
    pub json: bool,
    /// Also write an event file for TensorBoard into the run directory.
    #[arg(long)]
    tensorboard: bool,
}

/// How a run ended that did not fail.
pub enum Followed<T> {
    /// With its result, in this directory.
    Finished(T, PathBuf),
    /// Before its end; its state is stored.
    Stopped {
        /// The run directory.
        run: PathBuf,
        /// Where it stands.
        position: Position,
        /// Why, and how it goes on.
        why: Error,
    },
}

/// Where the run of a seed lies below the directory of several.
pub fn run_of_seed(below: &Path, seed: i64) -> PathBuf {
    below.join(format!("seed-{seed}"))
}

/// Reads a number of minutes.
fn minutes(text: &str) -> std::result::Result<f64, String> {
    const MOST: f64 = 1e6;
    let minutes = number(text)?;
    if (0.0..=MOST).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(format!("expected a number from 0 to {MOST}"))
    }
}

impl RunArguments {
    /// Makes this the run of a seed, in a directory of its own below one: a new run, or that which is there.
    pub fn take_seed(&mut self, seed: i64, below: &Path) {
        let place = run_of_seed(below, seed);
        let begun = place.join(PLAN).is_file();
        (self.resume, self.out) = if begun { (Some(place), None) } else { (None, Some(place)) };
        self.seed = Some(seed);
    }

    /// The plan of a new run, on `images` unless flags or plan file name others; or a run to resume, with its own plan.
    pub fn begin<P: PlanTable>(
        &self,
        flags: &PlanFlags<P>,
        images: toml::Table,
    ) -> Result<(Given<P>, Option<Resumption<P>>)> {
        let resumed = self.resume.as_deref().map(Resumption::<P>::open).transpose()?;
        let begun = resumed.as_ref().map(|resumed| (resumed.directory.path(), &resumed.plan));
        Ok((self.plan.with(flags, images, begun, self.seed)?, resumed))
    }

    /// The space that flags or plan file name.
    pub fn space<P: PlanTable>(&self, flags: &PlanFlags<P>) -> Result<Option<Arc<Space>>> {
        self.plan.written(flags)?.space()
    }

    /// The images of a run: if it goes on, those that it was begun with.
    pub fn dataset<P: PlanTable>(
        &self,
        given: &Given<P>,
        resumed: Option<&Resumption<P>>,
    ) -> Result<Dataset> {
        let tolerance = &self.tolerance;
        let planned = tolerance.of(given.plan.reading());
        let reading = match resumed {
            Some(resumed) => pictures::reading_of_run(resumed.directory.path(), planned)?,
            None => planned,
        };
        let dataset = given.dataset(&reading, tolerance, self.quiet)?;
        if let Some(resumed) = resumed {
            pictures::check_resumed(resumed.directory.path(), &dataset)?;
        }
        if let (Some(pictures), false) = (&dataset.pictures, self.quiet || self.json) {
            tell(&surveyed(pictures))?;
        }
        if !self.quiet {
            warn_of_threads(given.plan.threads());
        }
        Ok(dataset)
    }

    /// Does the work of a run in its directory: it is stored, shown, and stopped by signals.
    ///
    /// # Errors
    /// Whatever the work could not do.
    pub fn follow<K: Phase, T>(
        &self,
        epochs: usize,
        mut directory: RunDirectory,
        checkpoint: Option<&Checkpoint>,
        work: impl FnOnce(&Control, &mut Observers<K>) -> Result<Ended<T>>,
    ) -> Result<Followed<T>>
    where
        RunDirectory: Observer<K>,
        Progress: Observer<K>,
        EventFile: Observer<K>,
    {
        let interruption = match Interruption::watch() {
            Ok(interruption) => interruption,
            Err(error) => return Err(self.failed::<K>(directory, error)),
        };
        if let (Some(checkpoint), false) = (checkpoint, self.quiet || self.json) {
            tell(&going_on(directory.path(), checkpoint.progress.position, epochs))?;
        }
        let form = if self.json { Form::Json } else { Form::Text };
        let mut progress = (!self.quiet).then(|| Progress::new(epochs, form));
        let mut events = self.tensorboard.then(|| EventFile::new(directory.path()));
        // Stored before it is shown: whatever was seen can be found again.
        let mut observers = Observers(vec![&mut directory]);
        observers.0.extend(events.as_mut().map(|events| events as &mut (dyn Observer<K> + Send)));
        observers.0.extend(progress.as_mut().map(|progress| progress as &mut (dyn Observer<K> + Send)));
        let control = Control {
            from: checkpoint,
            every: (self.checkpoint_minutes > 0.0)
                .then(|| Duration::from_secs_f64(60.0 * self.checkpoint_minutes)),
            interrupted: Some(&|| interruption.signal() > 0 || self.time_is_over()),
        };
        let ended = work(&control, &mut observers);
        drop(progress);
        match ended {
            Ok(Ended::Finished(result)) => Ok(Followed::Finished(result, directory.path().to_owned())),
            Ok(Ended::Interrupted(position)) => {
                let run = directory.path().to_owned();
                let command = resume_command(K::Plan::COMMAND, &run);
                let why = match interruption.signal() {
                    0 => Error::TimeOver(format!(
                        "the time of --max-minutes is over {position}; `{command}` goes on"
                    )),
                    signal => Error::Interrupted {
                        signal,
                        sentence: format!("interrupted {position}; `{command}` goes on"),
                    },
                };
                Ok(Followed::Stopped { run, position, why })
            }
            Err(error) => Err(self.failed::<K>(directory, error)),
        }
    }

    /// Prints what a run takes.
    pub fn print_estimate(&self, estimate: &Estimate) -> Result<()> {
        print(&if self.json { format!("{}\n", serde_json::json!(estimate)) } else { estimated(estimate) })
    }

    /// Whether the command has taken all the time that it was given.
    fn time_is_over(&self) -> bool {
        self.max_minutes.is_some_and(|most| self.begun.elapsed().as_secs_f64() >= 60.0 * most)
    }

    /// Says what is left of a run that failed; gives back why it did.
    fn failed<K: Phase>(&self, directory: RunDirectory, error: Error) -> Error {
        let (epochs, run) = (directory.epochs(), directory.path().to_owned());
        let kept = directory.abandon();
        if epochs > 0 && !self.quiet && !self.json {
            let place = run.display();
            // A loss of NaN would recur; a full disk may have room again.
            let way_on = match &error {
                Error::Io { .. } if kept => format!("; `{}` goes on", resume_command(K::Plan::COMMAND, &run)),
                _ => String::new(),
            };
            let stored = match epochs {
                1 => "epoch 1 is".to_owned(),
                _ => format!("epochs 1 to {epochs} are"),
            };
            // Why the run failed matters more than a failure to print this.
            let _ = tell(&format!("The run failed; {stored} stored in {place}{way_on}.\n"));
        }
        error
    }
}

/// Says when a run is to have more threads than there are cores, which wait for each other.
fn warn_of_threads(threads: usize) {
    let cores = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    if threads > cores {
        let cores = counted(cores, "core");
        report(&format!(
            "{threads} threads share {cores}, which makes a run slower; --threads 0 takes one for each"
        ));
    }
}

/// What a run takes, for a reader.
fn estimated(estimate: &Estimate) -> String {
    let Estimate { batch_size, largest_batch, epochs, .. } = *estimate;
    let steps = grouped(estimate.steps_per_epoch);
    format!(
        "memory    {}\n\
         batch     {batch_size}; the largest that fits memory and images is {largest_batch}\n\
         speed     {} a step, {steps} steps an epoch, and {} for the evaluation at its end\n\
         time      about {} for {}\n\
         Nothing was stored.\n",
        bytes(estimate.peak_bytes),
        short(estimate.seconds_per_step),
        short(estimate.seconds_per_evaluation),
        duration(estimate.seconds),
        counted(epochs, "epoch"),
    )
}

/// A duration that may be far below a second.
fn short(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", 1000.0 * seconds) } else { duration(seconds) }
}

fn going_on(run: &Path, position: Position, epochs: usize) -> String {
    let run = run.display();
    if position.epochs == epochs {
        return format!("The run in {run} is complete: all {epochs} epochs are done.\n");
    }
    format!("The run in {run} goes on {position}.\n")
}
