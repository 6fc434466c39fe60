//! The alphas of a run directory, one file for each epoch.

use std::path::{Path, PathBuf};

use super::checkpoints;
use super::lines::{MAX_LINES, whole_lines};
use super::place::{METRICS, check_run};
use crate::epochs::Position;
use crate::files::read_bounded;
use crate::plan::Command;
use crate::search::observer::EpochRecord;
use crate::search::session::alphas_of;
use crate::space::alphas::Alphas;
use crate::{Error, Result};

/// The directory of the alphas.
pub(super) const ALPHAS: &str = "alphas";
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

/// Reads the alphas of an epoch of a run, and says after which step they were stored. If no epoch is given, these are those
/// of the last finished epoch, or with which a guard ended the search, or of the newest checkpoint where no epoch is
/// finished. A file of alphas will do as a run.
pub fn load_alphas(run: &Path, epoch: Option<usize>) -> Result<(Alphas, Position)> {
    let after = |(alphas, epochs)| (alphas, Position { epochs, steps: 0 });
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
            _ => Ok(after((alphas, stored))),
        };
    }
    let stored = epochs(run)?;
    let Some(&last) = stored.last() else {
        if let (None, Some((_, checkpoint))) = (epoch, checkpoints::newest(run, Command::Search)?) {
            return Ok((alphas_of(&checkpoint)?, checkpoint.progress.position));
        }
        let reason = "holds no alphas: no epoch of this run was finished".to_owned();
        return Err(Error::Format { path: run.join(ALPHAS), reason });
    };
    let wanted = epoch.unwrap_or_else(|| result(run, last));
    if !stored.contains(&wanted) {
        let (run, stored) = (run.display(), listed(&stored));
        return Err(Error::Usage(format!("--epoch {wanted}: {run} holds the alphas of {stored}")));
    }
    Alphas::load(&alphas_file(run, wanted)).map(after).map_err(|error| match (epoch, error) {
        (None, Error::Format { path, reason }) => {
            Error::Format { path, reason: format!("{reason}{}", undamaged(run, &stored)) }
        }
        (_, error) => error,
    })
}

/// The epoch whose alphas are the result of a run, of which this is the last one. Where the metrics cannot be read it is that.
pub(super) fn result(run: &Path, last: usize) -> usize {
    let lines = read_bounded(&run.join(METRICS), MAX_LINES).unwrap_or_default();
    let records = whole_lines(&lines).filter_map(|line| serde_json::from_slice::<EpochRecord>(line).ok());
    records.last().filter(|record| record.epoch == last).map_or(last, |record| record.result())
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
