//! The run directory: everything that a search or a training stores.
//!
//! After an epoch its files are stored first, then its line of the metrics, then a checkpoint. Whatever is beyond the
//! checkpoint that a run goes on from is dropped, and comes again.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::alphas::ALPHAS;
use super::checkpoints::{self, CHECKPOINTS};
use super::lines::{LineFile, epoch_of};
use super::place::{Created, METRICS, PLAN, TIMINGS, Vacancy};
use crate::epochs::{Checkpoint, Position, Timing};
use crate::files::{remove_unfinished, write_whole};
use crate::{Error, Result};

/// The directory that holds all runs whose place was not given.
pub const RUNS: &str = "runs";

/// The first contents of a run directory.
#[derive(Clone)]
pub struct NewRun {
    /// The end of the directory's name, after date and time, where the user names no directory.
    pub name: String,
    /// The plan as TOML.
    pub plan: String,
    /// Names and contents of other files.
    pub files: Vec<(&'static str, String)>,
    /// Names of directories beside that of the checkpoints.
    pub directories: &'static [&'static str],
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
    New(Created, NewRun),
    /// It holds something to go on from.
    Kept,
    /// To be taken back to this position when the run starts.
    Reopened(Position),
}

impl RunDirectory {
    /// Creates a directory that is named after date and time; a number is appended if that exists.
    pub fn create(new_run: NewRun, parent: &Path) -> Result<Self> {
        let now = jiff::ZonedDateTime::now().strftime("%Y-%m-%d-%H%M%S");
        let name = format!("{now}-{}", new_run.name);
        let numbered = |number: usize| match number {
            1 => parent.join(&name),
            _ => parent.join(format!("{name}-{number}")),
        };
        let mut number = 1;
        loop {
            match Self::filled(numbered(number), &new_run, Vacancy::Absent) {
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
    pub fn create_at(new_run: NewRun, path: &Path) -> Result<Self> {
        Self::filled(path.to_owned(), &new_run, Vacancy::AbsentOrEmpty)
    }

    fn filled(path: PathBuf, new_run: &NewRun, vacancy: Vacancy) -> Result<Self> {
        let mut created = Created::default();
        let claimed = created.run_directory(&path, vacancy).and_then(|()| claim(&path));
        let filled = claimed.and_then(|lock| {
            let lines = fill(&path, new_run).inspect_err(|_| empty(&path, new_run))?;
            Ok((lock, lines))
        });
        match filled {
            Ok((lock, [metrics, timings])) => {
                let origin = Origin::New(created, new_run.clone());
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
            let reason = format!("holds {stored} epochs in order; the checkpoint was saved after {epochs}");
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
        if let Origin::New(created, new_run) = &self.origin {
            empty(&self.path, new_run);
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

/// Makes the directory of the checkpoints, which only one process can, and takes its lock.
fn claim(run: &Path) -> Result<File> {
    let directory = run.join(CHECKPOINTS);
    std::fs::create_dir(&directory).map_err(|source| Error::io(directory, source))?;
    checkpoints::lock(run).inspect_err(|_| checkpoints::remove_empty(run))
}

/// Writes what a run directory begins with; the plan last, by which it is known.
fn fill(path: &Path, new_run: &NewRun) -> Result<[LineFile; 2]> {
    for name in new_run.directories {
        let directory = path.join(name);
        std::fs::create_dir(&directory).map_err(|source| Error::io(directory, source))?;
    }
    for (name, text) in &new_run.files {
        write_whole(&path.join(name), text.as_bytes())?;
    }
    let lines = [LineFile::create(path.join(METRICS))?, LineFile::create(path.join(TIMINGS))?];
    write_whole(&path.join(PLAN), new_run.plan.as_bytes())?;
    Ok(lines)
}

/// Removes what a run directory holds before its first epoch, and nothing else.
fn empty(run: &Path, new_run: &NewRun) {
    let files = new_run.files.iter().map(|(name, _)| *name).chain([PLAN, METRICS, TIMINGS]);
    files.for_each(|name| drop(std::fs::remove_file(run.join(name))));
    new_run.directories.iter().for_each(|name| drop(std::fs::remove_dir(run.join(name))));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_names_suit_a_file_name() {
        assert_eq!(data_name("digits"), "digits");
        assert_eq!(data_name("fashion-mnist:/data/x"), "fashion-mnist");
        assert_eq!(data_name("../.."), "data");
    }
}
