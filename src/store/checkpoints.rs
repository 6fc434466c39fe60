//! The checkpoints of a run directory: the last two are kept, so that a damaged one costs little.

use std::fs::{File, TryLockError, create_dir_all};
use std::path::{Path, PathBuf};

use crate::epochs::{Checkpoint, Position};
use crate::files::write_whole;
use crate::plan::Command;
use crate::readable::shell_word;
use crate::{Error, Result};

/// Where they are in a run directory.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// The file that the process holds a lock on that writes the run.
const LOCK: &str = ".lock";
/// How many are kept.
const KEPT: usize = 2;

/// The file of a checkpoint.
pub fn checkpoint_file(run: &Path, position: Position) -> PathBuf {
    let Position { epochs, steps } = position;
    run.join(CHECKPOINTS).join(format!("epoch-{epochs:04}-step-{steps:05}.safetensors"))
}

fn position(name: &str) -> Option<Position> {
    let (epochs, steps) = name.strip_prefix("epoch-")?.strip_suffix(".safetensors")?.split_once("-step-")?;
    Some(Position { epochs: epochs.parse().ok()?, steps: steps.parse().ok()? })
}

/// The checkpoints that a run directory holds, ascending.
pub fn stored(run: &Path) -> Result<Vec<(Position, PathBuf)>> {
    let directory = run.join(CHECKPOINTS);
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| Error::io(&directory, source))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::io(&directory, source))?;
        let position = entry.file_name().to_str().and_then(position);
        found.extend(position.map(|position| (position, entry.path())));
    }
    found.sort();
    Ok(found)
}

/// Writes a checkpoint, then removes all but the last two.
pub(super) fn save(run: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let path = checkpoint_file(run, checkpoint.progress.position);
    let bytes = checkpoint.to_bytes().map_err(|reason| Error::Format { path: path.clone(), reason })?;
    write_whole(&path, &bytes)?;
    let stored = stored(run)?;
    for (_, old) in &stored[..stored.len().saturating_sub(KEPT)] {
        std::fs::remove_file(old).map_err(|source| Error::io(old, source))?;
    }
    Ok(())
}

/// Removes the checkpoints beyond a position.
pub(super) fn drop_beyond(run: &Path, position: Position) -> Result<()> {
    for (_, path) in stored(run)?.iter().filter(|(stored, _)| *stored > position) {
        std::fs::remove_file(path).map_err(|source| Error::io(path, source))?;
    }
    Ok(())
}

/// The newest checkpoint, if there is any. Where it cannot be read, the error offers another one.
pub(super) fn newest(run: &Path, command: Command) -> Result<Option<(PathBuf, Checkpoint)>> {
    let Some((_, path)) = stored(run)?.pop() else { return Ok(None) };
    let checkpoint = load(run, &path, command)?;
    Ok(Some((path, checkpoint)))
}

/// Reads one of the checkpoints of a run. Where it cannot be read, the error offers the command that goes on from the newest
/// of the others that can.
pub(super) fn load(run: &Path, file: &Path, command: Command) -> Result<Checkpoint> {
    let (path, reason) = match Checkpoint::load(file) {
        Err(Error::Format { path, reason }) => (path, reason),
        Err(Error::Io { path, source }) => (path, source.to_string()),
        outcome => return outcome,
    };
    let damaged = file.file_name().and_then(|name| position(name.to_str()?));
    let stored = stored(run)?;
    let mut others = stored.iter().rev().filter(|(position, _)| Some(*position) != damaged);
    let way_out = match others.find(|(_, path)| Checkpoint::load(path).is_ok()) {
        Some((position, other)) => {
            let side = if Some(*position) < damaged { "before" } else { "after" };
            format!("`{}` goes on from the one {side} it", resume_command(command, other))
        }
        None => "nor can any other checkpoint of this run be read".to_owned(),
    };
    Err(Error::Format { path, reason: format!("{reason}; {way_out}") })
}

/// The command line that resumes a run or a checkpoint.
pub fn resume_command(command: Command, from: &Path) -> String {
    format!("darts {} --resume {}", command.name(), shell_word(&from.display().to_string()))
}

/// The right to write a run, for as long as the file is open: another process is refused.
pub(super) fn lock(run: &Path) -> Result<File> {
    let directory = run.join(CHECKPOINTS);
    let path = directory.join(LOCK);
    // A user may have removed all checkpoints.
    let file = create_dir_all(directory)
        .and_then(|()| File::create(&path))
        .map_err(|source| Error::io(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let reason = "another process is writing this run; end it first, or wait for its end";
            Err(Error::Format { path: run.into(), reason: reason.to_owned() })
        }
        // Some file systems know no locks.
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(source)) => Err(Error::io(path, source)),
    }
}

/// Removes the directory, if it holds no checkpoint.
pub(super) fn remove_empty(run: &Path) {
    let directory = run.join(CHECKPOINTS);
    if stored(run).is_ok_and(|stored| stored.is_empty()) {
        let _ = std::fs::remove_file(directory.join(LOCK));
        let _ = std::fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_positions_and_order_by_them() {
        let name = |epochs, steps| {
            let path = checkpoint_file(Path::new("run"), Position { epochs, steps });
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name(3, 120), "epoch-0003-step-00120.safetensors");
        for (epochs, steps) in [(0, 0), (12, 7), (12_345, 678_901)] {
            assert_eq!(position(&name(epochs, steps)), Some(Position { epochs, steps }));
        }
        assert!(["epoch-1.safetensors", ".lock", "epoch-x-step-1.safetensors"].map(position) == [None; 3]);
        let order = [(0, 5), (1, 0), (1, 99_999), (1, 100_000), (10_000, 0)];
        assert!(order.map(|(epochs, steps)| Position { epochs, steps }).is_sorted());
    }
}
