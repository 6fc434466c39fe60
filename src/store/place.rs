//! Where a run directory is made, how it is recognised, and how it is unmade.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The file of the plan.
pub const PLAN: &str = "plan.toml";
/// The file of the epochs' records.
pub(super) const METRICS: &str = "metrics.jsonl";
/// The file of the epochs' durations.
pub(super) const TIMINGS: &str = "timings.jsonl";
/// The longest plan that is read, in bytes.
pub const MAX_PLAN: usize = 64 * 1024;

/// What a run directory may find in its place.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Vacancy {
    /// Nothing; a search that started in the same second owns what is there.
    Absent,
    /// Nothing or an empty directory.
    AbsentOrEmpty,
}

/// The directories that were made for a run, so that a failure leaves nothing behind.
#[derive(Default)]
pub(super) struct Created {
    directories: Vec<PathBuf>,
}

impl Created {
    /// Creates the directory and what is missing above it.
    pub fn run_directory(&mut self, path: &Path, vacancy: Vacancy) -> Result<()> {
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
            Ok(true) if vacancy == Vacancy::AbsentOrEmpty => return Ok(()),
            Ok(_) => "it exists and is not empty",
            Err(_) => "a file is in its place",
        };
        Err(Error::io(path, std::io::Error::new(source.kind(), reason)))
    }

    /// Removes what was created; a directory that someone has put something into stays.
    pub fn undo(&self) {
        for directory in self.directories.iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// Refuses a directory without a plan, which is the last of the files that a run begins with.
pub(super) fn check_run(directory: &Path) -> Result<()> {
    if directory.join(PLAN).is_file() {
        return Ok(());
    }
    let reason = format!("is not a run directory: it holds no {PLAN}");
    Err(Error::Format { path: directory.into(), reason })
}
