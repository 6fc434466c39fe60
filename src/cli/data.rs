//! Loading a data set while the user looks on.

use super::output::report;
use crate::data::format::FORMATS;
use crate::data::{Dataset, Reading, ReadingProgress, Source};
use crate::watch::progress::Bar;
use crate::{Error, Result};

/// Loads a data set on so many threads, 0 for all cores. Shows a progress bar unless `quiet`, and names the files that were
/// skipped.
pub fn load(source: &Source, seed: u64, reading: &Reading, threads: usize, quiet: bool) -> Result<Dataset> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Device(format!("no {threads} threads: {error}")))?;
    let watch = Watch { bar: Bar::new(!quiet) };
    pool.install(|| source.load(seed, reading, &watch))
}

/// Refuses a flag that says how the pictures of a folder are read, where a data set has its own images.
pub fn refuse_for_own_images(source: &Source, flag: Option<&str>) -> Result<()> {
    let Some(flag) = flag.filter(|_| !source.format().pictures) else { return Ok(()) };
    let pictures = FORMATS.iter().filter(|format| format.pictures).map(|format| format.usage());
    let (flag, pictures) = (flag.replace('_', "-"), pictures.collect::<Vec<_>>().join(" or "));
    Err(Error::Usage(format!("--{flag} is for --data {pictures}; {source} has its own images")))
}

struct Watch {
    bar: Bar,
}

impl ReadingProgress for Watch {
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
