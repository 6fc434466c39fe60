//! Loading a data set while the user looks on.

use super::output::{plain, report};
use crate::data::format::FORMATS;
use crate::data::survey::{ClassCount, LeftOut};
use crate::data::{Dataset, Fit, Pictures, Reading, ReadingProgress, Source};
use crate::readable::grouped;
use crate::watch::progress::Bar;
use crate::{Error, Result};

/// The most files that are named one by one.
const MOST_NAMES: usize = 10;
/// The most classes that are listed.
const MOST_CLASSES: usize = 20;

/// What is borne of the pictures of a folder.
#[derive(clap::Args)]
pub struct Tolerance {
    /// Stop at the first picture of a folder that cannot be read, instead of leaving it out.
    #[arg(long, conflicts_with = "allow_unreadable")]
    strict: bool,
    /// Go on where more than a fifth of the pictures of a class cannot be read.
    #[arg(long)]
    allow_unreadable: bool,
}

impl Tolerance {
    /// A reading that bears as much.
    pub fn of(&self, reading: Reading) -> Reading {
        Reading { strict: self.strict, allow_unreadable: self.allow_unreadable, ..reading }
    }

    /// The flag that the user gave, if any.
    pub fn flag(&self) -> Option<&'static str> {
        let flags = [(self.strict, "strict"), (self.allow_unreadable, "allow_unreadable")];
        flags.into_iter().find(|(given, _)| *given).map(|(_, flag)| flag)
    }
}

/// Loads a data set on so many threads, 0 for all cores. Shows a progress bar unless `quiet`, and names the files that were
/// skipped.
pub fn load(source: &Source, seed: u64, reading: &Reading, threads: usize, quiet: bool) -> Result<Dataset> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Device(format!("no {threads} threads: {error}")))?;
    let watch = Watch { bar: Bar::new(!quiet) };
    let dataset = pool.install(|| source.load(seed, reading, &watch))?;
    warn_of_cut(&dataset);
    Ok(dataset)
}

/// Refuses a flag that says how the pictures of a folder are read, where a data set has its own images.
pub fn refuse_for_own_images(source: &Source, flag: Option<&str>) -> Result<()> {
    let Some(flag) = flag.filter(|_| !source.format().pictures) else { return Ok(()) };
    let pictures = FORMATS.iter().filter(|format| format.pictures).map(|format| format.usage());
    let (flag, pictures) = (flag.replace('_', "-"), pictures.collect::<Vec<_>>().join(" or "));
    Err(Error::Usage(format!("--{flag} is for --data {pictures}; {source} has its own images")))
}

/// What is known of the pictures of a folder, for a reader.
pub fn surveyed(pictures: &Pictures) -> String {
    let Pictures { survey, reading, .. } = pictures;
    let counts = |class: &ClassCount| format!("{} {}+{}", plain(&class.name), class.train, class.test);
    let listed: Vec<_> = survey.classes.iter().take(MOST_CLASSES).map(counts).collect();
    let more = match survey.classes.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let [[width, height], [widest, highest]] = [survey.smallest, survey.largest];
    let side = reading.image_size;
    let fitted = match reading.fit {
        Fit::Crop => "cut to the square in their centre",
        Fit::Pad => "padded to squares",
        Fit::Stretch => "stretched to squares",
    };
    let mut text = format!(
        "classes   {}, as training + test pictures: {}{more}\n",
        survey.classes.len(),
        listed.join(", ")
    );
    if let Some([fewest, most]) = survey.extremes().filter(|[fewest, most]| fewest.train < most.train) {
        let (few, many) = (plain(&fewest.name), plain(&most.name));
        text += &format!(
            "          the smallest is {few} with {}, the largest {many} with {}\n",
            fewest.train, most.train
        );
    }
    text += &format!(
        "pictures  {} of {width}x{height} to {widest}x{highest} pixels, {fitted} and resized to {side}x{side}\n\
         test      {}\n",
        grouped(survey.pictures()),
        plain(&survey.test)
    );
    for LeftOut { reason, count, names } in &survey.left_out {
        let more = if *count > names.len() { ", ..." } else { "" };
        text += &format!("left out  {} × {reason}: {}{more}\n", grouped(*count), plain(&names.join(", ")));
    }
    text
}

/// Says when the cut to squares loses much.
fn warn_of_cut(dataset: &Dataset) {
    let Some(Pictures { survey, reading, .. }) = &dataset.pictures else { return };
    if reading.fit == Fit::Crop && survey.elongated > 0 {
        report(&format!(
            "more than a fifth of the area is cut away from {} of {} pictures; a search and a training keep all of \
             it with --fit pad or --fit stretch",
            grouped(survey.elongated),
            grouped(survey.pictures()),
        ));
    }
}

struct Watch {
    bar: Bar,
}

impl ReadingProgress for Watch {
    fn read(&self, done: usize, all: usize) {
        self.bar.show(done, all, || format!("{done} of {all} pictures read"));
    }

    fn skipped(&self, errors: &[&Error]) {
        if !errors.is_empty() {
            self.bar.suspend(|| name(errors));
        }
    }

    fn notice(&self, sentence: &str) {
        self.bar.suspend(|| report(sentence));
    }
}

/// Names the first files that were skipped, and counts all.
fn name(errors: &[&Error]) {
    for error in errors.iter().take(MOST_NAMES) {
        report(&format!("skipped {error}"));
    }
    let files = match errors.len() {
        1 => "1 file was skipped because it".to_owned(),
        count => format!("{count} files were skipped because they"),
    };
    report(&format!("{files} cannot be read; --strict makes that an error"));
}
