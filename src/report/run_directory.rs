//! The run directory: everything that a search stores.
//!
//! ```text
//! runs/2026-01-31-142500-digits-first/
//!   plan.toml                     the plan; `darts search --plan` repeats the run
//!   metrics.jsonl                 one line for each epoch
//!   genotype.json, genotype.txt   the genotype derived after the last finished epoch
//!   alphas/epoch-0001.safetensors the alphas after each epoch
//!   report.html                   what `darts report` made of these, with
//!   cell_normal.svg, .dot, ...    the cells as drawings
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files::{read_text, write_whole};
use crate::plan::PlanTable;
use crate::search::observer::{EpochRecord, Facts, Observer, StepRecord};
use crate::search::plan::Plan;
use crate::space::alphas::Alphas;
use crate::space::genotype::{Genotype, MAX_TEXT};
use crate::{Error, Result};

/// The directory that holds all runs whose place was not given.
pub const RUNS: &str = "runs";
/// The file of the plan.
pub(super) const PLAN: &str = "plan.toml";
/// The file of the epochs' records.
const METRICS: &str = "metrics.jsonl";

/// What a run directory begins with.
pub struct Beginning {
    /// What the name of a directory without a given place has behind date and time.
    pub name: String,
    /// Names and contents of files.
    pub files: Vec<(&'static str, String)>,
    /// Names of directories.
    pub directories: &'static [&'static str],
}

impl Beginning {
    fn of_search(plan: &Plan) -> Result<Self> {
        Ok(Beginning {
            name: format!("{}-{}", data_name(&plan.data), plan.order.name()),
            files: vec![(PLAN, plan.to_toml()?)],
            directories: &["alphas"],
        })
    }
}

/// A run directory that a search or a training writes.
pub struct RunDirectory {
    path: PathBuf,
    metrics: File,
    created: Created,
    beginning: Beginning,
    epochs: usize,
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
    pub fn begin(mut beginning: Beginning, parent: &Path) -> Result<Self> {
        let now = jiff::ZonedDateTime::now().strftime("%Y-%m-%d-%H%M%S");
        let name = format!("{now}-{}", beginning.name);
        let numbered = |number: usize| match number {
            1 => parent.join(&name),
            _ => parent.join(format!("{name}-{number}")),
        };
        let mut number = 1;
        loop {
            match Self::filled(numbered(number), beginning, Place::New) {
                Err((Error::Io { source, .. }, unused))
                    if source.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 =>
                {
                    (beginning, number) = (unused, number + 1);
                }
                result => return result.map_err(|(error, _)| error),
            }
        }
    }

    /// Creates exactly this directory, or takes it if it is empty.
    pub fn begin_at(beginning: Beginning, path: &Path) -> Result<Self> {
        Self::filled(path.to_owned(), beginning, Place::NewOrEmpty).map_err(|(error, _)| error)
    }

    fn filled(
        path: PathBuf,
        beginning: Beginning,
        place: Place,
    ) -> std::result::Result<Self, (Error, Beginning)> {
        let mut created = Created::default();
        let filled = created
            .run_directory(&path, place)
            .and_then(|()| Self::fill(&path, &beginning).inspect_err(|_| empty(&path, &beginning)));
        match filled {
            Ok(metrics) => Ok(RunDirectory { path, metrics, created, beginning, epochs: 0 }),
            Err(Error::Io { source, .. }) => {
                created.undo();
                let reason = format!("cannot create this run directory: {source}");
                Err((Error::io(path, std::io::Error::new(source.kind(), reason)), beginning))
            }
            Err(other) => {
                created.undo();
                Err((other, beginning))
            }
        }
    }

    fn fill(path: &Path, beginning: &Beginning) -> Result<File> {
        for (name, text) in &beginning.files {
            write_whole(&path.join(name), text.as_bytes())?;
        }
        for name in beginning.directories {
            let directory = path.join(name);
            std::fs::create_dir(&directory).map_err(|source| Error::io(directory, source))?;
        }
        let metrics = path.join(METRICS);
        OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&metrics)
            .map_err(|source| Error::io(metrics, source))
    }

    /// Appends the record of an epoch, whose other files are stored: an epoch in the metrics is stored altogether.
    pub(super) fn append(&mut self, record: &impl Serialize) -> Result<()> {
        let unwritten = |source| Error::io(self.path.join(METRICS), source);
        let mut line = serde_json::to_string(record).map_err(|error| unwritten(error.into()))?;
        line.push('\n');
        let before = self.metrics.metadata().map_err(unwritten)?.len();
        let written = self.metrics.write_all(line.as_bytes()).and_then(|()| self.metrics.sync_data());
        if let Err(error) = written {
            // Half a line would spoil the records before it.
            let _ = self.metrics.set_len(before);
            return Err(unwritten(error));
        }
        self.epochs += 1;
        Ok(())
    }

    /// The number of epochs that were stored.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// Removes the directory if no epoch was stored in it; what was stored stays.
    pub fn abandon(self) {
        if self.epochs == 0 {
            empty(&self.path, &self.beginning);
            self.created.undo();
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Observer for RunDirectory {
    fn started(&mut self, _: &Facts) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, _: &StepRecord) -> Result<()> {
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, alphas: &Alphas) -> Result<()> {
        alphas.save(&alphas_file(&self.path, record.epoch), record.epoch)?;
        for (name, text) in genotype_files(&record.genotype) {
            write_whole(&self.path.join(name), text.as_bytes())?;
        }
        self.append(record)
    }
}

/// Both forms of a genotype, with the names of their files.
pub(super) fn genotype_files(genotype: &Genotype) -> [(&'static str, String); 2] {
    [("genotype.json", format!("{}\n", genotype.to_json())), ("genotype.txt", format!("{genotype}\n"))]
}

/// Removes what a run directory holds before its first epoch, and nothing else.
fn empty(run: &Path, beginning: &Beginning) {
    let files = beginning.files.iter().map(|(name, _)| *name).chain([METRICS]);
    files.for_each(|name| drop(std::fs::remove_file(run.join(name))));
    beginning.directories.iter().for_each(|name| drop(std::fs::remove_dir(run.join(name))));
}

/// What a run directory may find in its place.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Nothing; a search that started in the same second owns what is there.
    New,
    /// Nothing or an empty directory.
    NewOrEmpty,
}

/// The directories that were made for a run, so that a failure leaves nothing behind.
#[derive(Default)]
struct Created {
    directories: Vec<PathBuf>,
}

impl Created {
    /// Creates the directory and what is missing above it.
    fn run_directory(&mut self, path: &Path, place: Place) -> Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
            .collect();
        for above in missing.into_iter().rev() {
            match std::fs::create_dir(above) {
                Ok(()) => self.directories.push(above.to_owned()),
                Err(_) if above.is_dir() => {}
                Err(source) => return Err(Error::io(above, source)),
            }
        }
        let source = match std::fs::create_dir(path) {
            Ok(()) => {
                self.directories.push(path.to_owned());
                return Ok(());
            }
            Err(source) => source,
        };
        if source.kind() != std::io::ErrorKind::AlreadyExists {
            return Err(Error::io(path, source));
        }
        let reason = match std::fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) if place == Place::NewOrEmpty => return Ok(()),
            Ok(_) => "it exists and is not empty",
            Err(_) => "a file is in its place",
        };
        Err(Error::io(path, std::io::Error::new(source.kind(), reason)))
    }

    /// Removes what was created; a directory that someone has put something into stays.
    fn undo(&self) {
        for directory in self.directories.iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// The name of a data set without its directory, with nothing in it that a file name should not hold.
pub(super) fn data_name(data: &str) -> String {
    let name = data.split(':').next().unwrap_or_default();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().take(32).map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "data".to_owned() } else { name.to_owned() }
}

/// The file of the alphas after an epoch.
pub fn alphas_file(run: &Path, epoch: usize) -> PathBuf {
    run.join("alphas").join(format!("epoch-{epoch:04}.safetensors"))
}

/// The epochs whose alphas a run directory holds, ascending.
pub fn epochs(run: &Path) -> Result<Vec<usize>> {
    let directory = run.join("alphas");
    if !directory.is_dir() {
        let reason = "is not a run directory: it holds no directory alphas".to_owned();
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
        return Err(Error::Format { path: run.join("alphas"), reason });
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
    let path = run.join("genotype.json");
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
            images_per_second: 100.0,
            seconds: 3.0,
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
        run.epoch(&record(1, genotype.clone()), &alphas).unwrap();
        run.epoch(&record(2, genotype.clone()), &alphas).unwrap();
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
