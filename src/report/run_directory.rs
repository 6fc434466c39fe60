//! The run directory: everything that a search stores.
//!
//! ```text
//! runs/2026-01-31-142500-digits-first/
//!   plan.toml                     the plan; `darts search --plan` repeats the run
//!   metrics.jsonl                 one line for each epoch, the same at every repetition
//!   timings.jsonl                 how long each epoch took
//!   checkpoints/                  the last two states to go on from, such as
//!     epoch-0003-step-00120.safetensors    after 3 epochs and 120 steps
//!   genotype.json, genotype.txt   the genotype derived after the last finished epoch
//!   alphas/epoch-0001.safetensors the alphas after each epoch
//!   report.html                   what `darts report` made of these, with
//!   cell_normal.svg, .dot, ...    the cells as drawings
//! ```
//!
//! After an epoch its files are stored first, then its line of the metrics, then a checkpoint. Whatever is beyond the
//! checkpoint that a run goes on from is dropped, and comes again.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checkpoints::{self, CHECKPOINTS};
use super::lines::{LineFile, epoch_of};
use super::place::{Created, Place};
use crate::files::{read_text, remove_unfinished, write_whole};
use crate::plan::PlanTable;
use crate::run::{Checkpoint, Position, Timing};
use crate::search::observer::{EpochRecord, Facts, Observer, Search, StepRecord};
use crate::search::plan::Plan;
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::space::genotype::{Genotype, MAX_TEXT};
use crate::{Error, Result};

/// The directory that holds all runs whose place was not given.
pub const RUNS: &str = "runs";
/// The file of the plan.
pub const PLAN: &str = "plan.toml";
/// The file of the epochs' records.
pub(super) const METRICS: &str = "metrics.jsonl";
/// The file of the epochs' durations.
pub(super) const TIMINGS: &str = "timings.jsonl";
/// The directory of the alphas.
pub(super) const ALPHAS: &str = "alphas";
/// The file of the genotype.
pub(super) const GENOTYPE: &str = "genotype.json";
/// The file of the genotype as a literal of Python.
const LITERAL: &str = "genotype.txt";

/// What a run directory begins with.
#[derive(Clone)]
pub struct Beginning {
    /// What the name of a directory without a given place has behind date and time.
    pub name: String,
    /// The plan as TOML.
    pub plan: String,
    /// Names and contents of other files.
    pub files: Vec<(&'static str, String)>,
    /// Names of directories beside that of the checkpoints.
    pub directories: &'static [&'static str],
}

impl Beginning {
    fn of_search(plan: &Plan) -> Result<Self> {
        Ok(Beginning {
            name: format!("{}-{}", data_name(&plan.data), plan.order.name()),
            plan: plan.to_toml()?,
            files: Vec::new(),
            directories: &[ALPHAS],
        })
    }
}

/// A run directory that a search or a training writes; no other process does as long as it is open.
pub struct RunDirectory {
    path: PathBuf,
    metrics: LineFile,
    timings: LineFile,
    _lock: File,
    epochs: usize,
    origin: Origin,
}

/// Where a run directory comes from.
enum Origin {
    /// Made for this run, and to be removed as long as nothing is stored in it.
    New(Created, Beginning),
    /// It holds something to go on from.
    Kept,
    /// To be taken back to this position when the run starts.
    Reopened(Position),
}

impl RunDirectory {
    /// Creates `runs/<date and time>-<data set>-<order>`; a number is appended if that exists.
    pub fn create(plan: &Plan, parent: &Path) -> Result<Self> {
        Self::begin(Beginning::of_search(plan)?, parent)
    }

    /// Creates exactly this directory, or takes it if it is empty.
    pub fn create_at(plan: &Plan, path: &Path) -> Result<Self> {
        Self::begin_at(Beginning::of_search(plan)?, path)
    }

    /// Creates a directory that is named after date and time; a number is appended if that exists.
    pub fn begin(beginning: Beginning, parent: &Path) -> Result<Self> {
        let now = jiff::ZonedDateTime::now().strftime("%Y-%m-%d-%H%M%S");
        let name = format!("{now}-{}", beginning.name);
        let numbered = |number: usize| match number {
            1 => parent.join(&name),
            _ => parent.join(format!("{name}-{number}")),
        };
        let mut number = 1;
        loop {
            match Self::filled(numbered(number), &beginning, Place::New) {
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 =>
                {
                    number += 1;
                }
                result => return result,
            }
        }
    }

    /// Creates exactly this directory, or takes it if it is empty.
    pub fn begin_at(beginning: Beginning, path: &Path) -> Result<Self> {
        Self::filled(path.to_owned(), &beginning, Place::NewOrEmpty)
    }

    fn filled(path: PathBuf, beginning: &Beginning, place: Place) -> Result<Self> {
        let mut created = Created::default();
        let claimed = created.run_directory(&path, place).and_then(|()| claim(&path));
        let filled = claimed.and_then(|lock| {
            let lines = fill(&path, beginning).inspect_err(|_| empty(&path, beginning))?;
            Ok((lock, lines))
        });
        match filled {
            Ok((lock, [metrics, timings])) => {
                let origin = Origin::New(created, beginning.clone());
                Ok(RunDirectory { path, metrics, timings, _lock: lock, epochs: 0, origin })
            }
            Err(error) => {
                created.undo();
                let Error::Io { source, .. } = error else { return Err(error) };
                let reason = format!("cannot create this run directory: {source}");
                Err(Error::io(path, std::io::Error::new(source.kind(), reason)))
            }
        }
    }

    /// Goes on with a directory from a position. What is beyond that stays until the run starts.
    pub(super) fn reopen(path: PathBuf, lock: File, position: Position) -> Result<Self> {
        let (metrics, timings) = (LineFile::open(path.join(METRICS))?, LineFile::open(path.join(TIMINGS))?);
        let origin = Origin::Reopened(position);
        Ok(RunDirectory { path, metrics, timings, _lock: lock, epochs: 0, origin })
    }

    /// Drops what is beyond the position that the run goes on from, if it does, and what a process that was ended had not
    /// finished. Gives the number of epochs that stay.
    pub(super) fn rewind(&mut self) -> Result<Option<usize>> {
        let Origin::Reopened(position) = self.origin else { return Ok(None) };
        let epochs = position.epochs;
        let stored = self.metrics.count_while(|index, line| epoch_of(line) == Some(index + 1))?;
        if stored < epochs {
            let reason =
                format!("holds {stored} epochs one after the other; the checkpoint was saved after {epochs}");
            return Err(Error::Format { path: self.path.join(METRICS), reason });
        }
        self.metrics.keep_while(|index, _| index < epochs)?;
        self.timings.keep_while(|_, line| epoch_of(line).is_some_and(|epoch| epoch <= epochs))?;
        checkpoints::drop_beyond(&self.path, position)?;
        for directory in [self.path.clone(), self.path.join(ALPHAS), self.path.join(CHECKPOINTS)] {
            remove_unfinished(&directory);
        }
        self.origin = Origin::Kept;
        Ok(Some(epochs))
    }

    /// Appends the record of an epoch, whose other files are stored: an epoch in the metrics is stored altogether.
    pub(super) fn append(&mut self, record: &impl Serialize, timing: &Timing) -> Result<()> {
        self.timings.append(timing)?;
        self.metrics.append(record)?;
        self.epochs += 1;
        self.origin = Origin::Kept;
        Ok(())
    }

    /// Stores the state of the run.
    pub(super) fn save(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        checkpoints::save(&self.path, checkpoint)?;
        self.origin = Origin::Kept;
        Ok(())
    }

    /// Counts the epochs that a run goes on after as stored; called when everything is there that it needs.
    pub(super) fn count_stored(&mut self, epochs: usize) {
        self.epochs = epochs;
    }

    /// The number of epochs that were stored.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// Removes the directory if nothing was stored in it; what was stored stays. Says whether there is something to go
    /// on from.
    pub fn abandon(self) -> bool {
        if let Origin::New(created, beginning) = &self.origin {
            empty(&self.path, beginning);
            created.undo();
            return false;
        }
        true
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Observer<Search> for RunDirectory {
    fn started(&mut self, _: &Facts) -> Result<()> {
        let Some(last) = self.rewind()? else { return Ok(()) };
        for epoch in epochs(&self.path)?.into_iter().filter(|&epoch| epoch > last) {
            let path = alphas_file(&self.path, epoch);
            std::fs::remove_file(&path).map_err(|source| Error::io(path, source))?;
        }
        if last > 0 {
            let (alphas, _) = Alphas::load(&alphas_file(&self.path, last))?;
            self.write_genotype(&derive(&alphas))?;
        } else {
            let names = [GENOTYPE, LITERAL].map(|name| self.path.join(name));
            for name in names.iter().filter(|path| path.exists()) {
                std::fs::remove_file(name).map_err(|source| Error::io(name, source))?;
            }
        }
        self.count_stored(last);
        Ok(())
    }

    fn step(&mut self, _: &StepRecord) -> Result<()> {
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, alphas: &Alphas) -> Result<()> {
        alphas.save(&alphas_file(&self.path, record.epoch), record.epoch)?;
        self.write_genotype(&record.genotype)?;
        self.append(record, timing)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.save(checkpoint)
    }
}

impl RunDirectory {
    fn write_genotype(&self, genotype: &Genotype) -> Result<()> {
        for (name, text) in genotype_files(genotype) {
            write_whole(&self.path.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

/// Makes the directory of the checkpoints, which only one process can, and takes its lock.
fn claim(run: &Path) -> Result<File> {
    let directory = run.join(CHECKPOINTS);
    std::fs::create_dir(&directory).map_err(|source| Error::io(directory, source))?;
    checkpoints::lock(run).inspect_err(|_| checkpoints::remove_empty(run))
}

/// Writes what a run directory begins with; the plan last, by which it is known.
fn fill(path: &Path, beginning: &Beginning) -> Result<[LineFile; 2]> {
    for name in beginning.directories {
        let directory = path.join(name);
        std::fs::create_dir(&directory).map_err(|source| Error::io(directory, source))?;
    }
    for (name, text) in &beginning.files {
        write_whole(&path.join(name), text.as_bytes())?;
    }
    let lines = [LineFile::create(path.join(METRICS))?, LineFile::create(path.join(TIMINGS))?];
    write_whole(&path.join(PLAN), beginning.plan.as_bytes())?;
    Ok(lines)
}

/// Both forms of a genotype, with the names of their files.
pub(super) fn genotype_files(genotype: &Genotype) -> [(&'static str, String); 2] {
    [(GENOTYPE, format!("{}\n", genotype.to_json())), (LITERAL, format!("{genotype}\n"))]
}

/// Removes what a run directory holds before its first epoch, and nothing else.
fn empty(run: &Path, beginning: &Beginning) {
    let files = beginning.files.iter().map(|(name, _)| *name).chain([PLAN, METRICS, TIMINGS]);
    files.for_each(|name| drop(std::fs::remove_file(run.join(name))));
    beginning.directories.iter().for_each(|name| drop(std::fs::remove_dir(run.join(name))));
    checkpoints::remove_empty(run);
}

/// The name of a data set without its directory, with nothing in it that a file name should not hold.
pub(super) fn data_name(data: &str) -> String {
    let name = data.split(':').next().unwrap_or_default();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().take(32).map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "data".to_owned() } else { name.to_owned() }
}

/// Refuses a directory without a plan, which is the last of the files that a run begins with.
pub(super) fn check_run(directory: &Path) -> Result<()> {
    if directory.join(PLAN).is_file() {
        return Ok(());
    }
    let reason = format!("is not a run directory: it holds no {PLAN}");
    Err(Error::Format { path: directory.into(), reason })
}

/// The file of the alphas after an epoch.
pub fn alphas_file(run: &Path, epoch: usize) -> PathBuf {
    run.join(ALPHAS).join(format!("epoch-{epoch:04}.safetensors"))
}

/// The epochs whose alphas a run directory holds, ascending.
pub fn epochs(run: &Path) -> Result<Vec<usize>> {
    let directory = run.join(ALPHAS);
    if !directory.is_dir() {
        let reason = match check_run(run) {
            Ok(()) => "is the run of a training, which has no alphas".to_owned(),
            Err(_) => "is not a run directory: it holds no directory alphas".to_owned(),
        };
        return Err(Error::Format { path: run.into(), reason });
    }
    let entries = std::fs::read_dir(&directory).map_err(|source| Error::io(&directory, source))?;
    let mut epochs = Vec::new();
    for entry in entries {
        let name = entry.map_err(|source| Error::io(&directory, source))?.file_name();
        let number = name.to_str().and_then(|name| {
            name.strip_prefix("epoch-")?.strip_suffix(".safetensors")?.parse::<usize>().ok()
        });
        epochs.extend(number);
    }
    epochs.sort_unstable();
    Ok(epochs)
}

/// Reads the alphas of an epoch of a run, the last one if none is given; a file of alphas will do as a run.
pub fn load_alphas(run: &Path, epoch: Option<usize>) -> Result<(Alphas, usize)> {
    if !run.exists() {
        let reason = "no such run directory or file of alphas".to_owned();
        return Err(Error::Format { path: run.into(), reason });
    }
    if !run.is_dir() {
        let (alphas, stored) = Alphas::load(run)?;
        return match epoch {
            Some(epoch) if epoch != stored => Err(Error::Usage(format!(
                "--epoch {epoch}: {} holds the alphas of epoch {stored} only",
                run.display()
            ))),
            _ => Ok((alphas, stored)),
        };
    }
    let stored = epochs(run)?;
    let Some(&last) = stored.last() else {
        let reason = "holds no alphas: no epoch of this run was finished".to_owned();
        return Err(Error::Format { path: run.join(ALPHAS), reason });
    };
    let wanted = epoch.unwrap_or(last);
    if !stored.contains(&wanted) {
        let (run, stored) = (run.display(), listed(&stored));
        return Err(Error::Usage(format!("--epoch {wanted}: {run} holds the alphas of {stored}")));
    }
    Alphas::load(&alphas_file(run, wanted)).map_err(|error| match (epoch, error) {
        (None, Error::Format { path, reason }) => {
            Error::Format { path, reason: format!("{reason}{}", undamaged(run, &stored)) }
        }
        (_, error) => error,
    })
}

/// The way out where the newest alphas are damaged: the epoch before whose alphas are not.
fn undamaged(run: &Path, stored: &[usize]) -> String {
    let good = stored.iter().rev().find(|&&epoch| Alphas::load(&alphas_file(run, epoch)).is_ok());
    good.map_or("; nor can any other epoch of this run be read".to_owned(), |epoch| {
        format!("; --epoch {epoch} takes those before it")
    })
}

/// The epochs in words, as a span where none is missing.
fn listed(epochs: &[usize]) -> String {
    match epochs {
        [] => "no epoch".to_owned(),
        [only] => format!("epoch {only}"),
        [first, .., last] if last - first == epochs.len() - 1 => format!("epochs {first} to {last}"),
        [all @ .., last] if epochs.len() <= 12 => {
            let all: Vec<_> = all.iter().map(usize::to_string).collect();
            format!("epochs {} and {last}", all.join(", "))
        }
        [first, .., last] => format!("{} epochs from {first} to {last}, not this one", epochs.len()),
    }
}

/// Reads the genotype of a run.
pub fn load_genotype(run: &Path) -> Result<Genotype> {
    let path = run.join(GENOTYPE);
    if !path.exists() {
        let reason = "holds no genotype.json: it is no run directory, or no epoch of its run was finished";
        return Err(Error::Format { path: run.into(), reason: reason.to_owned() });
    }
    Genotype::from_json(&read_text(&path, MAX_TEXT)?).map_err(|error| error_in(&path, error))
}

/// The error with the file that holds the malformed genotype.
pub fn error_in(path: &Path, error: Error) -> Error {
    match error {
        Error::Genotype(reason) => Error::Genotype(format!("{}: {reason}", path.display())),
        other => other,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::space::alphas::ramp;
    use crate::space::derivation::derive;

    pub fn timing(epoch: usize) -> Timing {
        Timing { epoch, images_per_second: 100.0, seconds: 3.0 }
    }

    pub fn record(epoch: usize, genotype: Genotype) -> EpochRecord {
        EpochRecord {
            epoch,
            train_loss: 1.5,
            train_accuracy: 0.5,
            valid_loss: 1.25,
            valid_accuracy: 0.625,
            entropy_normal: 2.0,
            entropy_reduce: 2.0,
            skip_connections: 1,
            skip_connections_reduce: 0,
            weight_lr: 0.025,
            genotype,
        }
    }

    #[test]
    fn a_run_is_stored_and_read_back() {
        let parent = tempfile::tempdir().unwrap();
        let runs = parent.path().join("runs");
        let mut run = RunDirectory::create(&Plan::default(), &runs).unwrap();
        let name = run.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.len() == 30 && name.ends_with("-digits-first"), "{name}");
        let alphas = ramp(4);
        let genotype = derive(&alphas);
        let observer: &mut dyn Observer<Search> = &mut run;
        observer.epoch(&record(1, genotype.clone()), &timing(1), &alphas).unwrap();
        observer.epoch(&record(2, genotype.clone()), &timing(2), &alphas).unwrap();
        assert_eq!(epochs(run.path()).unwrap(), [1, 2]);
        assert_eq!(load_alphas(run.path(), None).unwrap(), (alphas, 2));
        assert_eq!(load_genotype(run.path()).unwrap(), genotype);
        let metrics = std::fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
        let records: Vec<EpochRecord> =
            metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records[1], record(2, genotype));
        let plan = std::fs::read_to_string(run.path().join("plan.toml")).unwrap();
        assert_eq!(Plan::from_toml(&plan, Path::new("plan.toml")).unwrap(), Plan::default());
    }

    #[test]
    fn runs_of_the_same_second_have_places_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let one = RunDirectory::create(&Plan::default(), parent.path()).unwrap();
        let other = RunDirectory::create(&Plan::default(), parent.path()).unwrap();
        assert_ne!(one.path(), other.path());
    }

    #[test]
    fn a_place_that_is_taken_is_refused_and_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        for place in [file.clone(), file.join("below"), file.join("far/below"), parent.path().to_owned()] {
            let refused = RunDirectory::create_at(&Plan::default(), &place).err().unwrap().to_string();
            assert!(refused.starts_with(&format!("{}: cannot create", place.display())), "{refused}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_without_an_epoch_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        RunDirectory::create(&Plan::default(), &parent.path().join("runs")).unwrap().abandon();
        RunDirectory::create_at(&Plan::default(), parent.path()).unwrap().abandon();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_directory_is_taken() {
        let parent = tempfile::tempdir().unwrap();
        assert!(RunDirectory::create_at(&Plan::default(), parent.path()).is_ok());
        let below = parent.path().join("new/er");
        assert!(RunDirectory::create_at(&Plan::default(), &below).is_ok());
    }

    #[test]
    fn data_names_suit_a_file_name() {
        assert_eq!(data_name("digits"), "digits");
        assert_eq!(data_name("fashion-mnist:/data/x"), "fashion-mnist");
        assert_eq!(data_name("../.."), "data");
    }
}
