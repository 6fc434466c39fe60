//! Loading a data set while the user looks on.

use super::output::report;
use crate::data::{Dataset, Follower, Reading, Source};
use crate::watch::progress::Bar;
use crate::{Error, Result};

/// Loads a data set on so many threads, 0 for all cores; shows how far it is unless it is to be quiet,
/// and names what had to be left out.
pub fn load(source: &Source, seed: u64, reading: &Reading, threads: usize, quiet: bool) -> Result<Dataset> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Device(format!("no {threads} threads: {error}")))?;
    let watch = Watch { bar: Bar::new(!quiet) };
    pool.install(|| source.load(seed, reading, &watch))
}

/// Refuses a flag that says how the pictures of a folder are read, where a data set has its own images.
pub fn refuse_for_own_images(source: &Source, flag: Option<&str>) -> Result<()> {
    match flag {
        Some(flag) if !matches!(source, Source::Folder(_)) => Err(Error::Usage(format!(
            "--{} is for --data folder:DIR; {source} has its own images",
            flag.replace('_', "-")
        ))),
        _ => Ok(()),
    }
}

struct Watch {
    bar: Bar,
}

impl Follower for Watch {
    fn read(&self, done: usize, all: usize) {
        self.bar.show(done, all, || format!("{done} of {all} pictures read"));
    }

    fn skipped(&self, errors: &[Error]) {
        if !errors.is_empty() {
            self.bar.suspend(|| name(errors));
        }
    }
}

/// Names files that were skipped, and counts them.
fn name(errors: &[Error]) {
    for error in errors {
        report(&format!("skipped {error}"));
    }
    let files = match errors.len() {
        1 => "1 file was".to_owned(),
        count => format!("{count} files were"),
    };
    report(&format!("{files} skipped because they cannot be read; --strict makes that an error"));
}
