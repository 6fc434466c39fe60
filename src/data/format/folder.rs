//! Pictures of one's own: one directory for each class.
//!
//! ```text
//! DIR/train/CLASS/x.png    any depth below CLASS
//! DIR/test/CLASS/y.jpg     if there is no DIR/test, about a fifth of each class is set apart by seed and name
//! ```
//!
//! Classes are numbered in the order of their names. Links are followed. What begins with a dot is left alone. Read
//! [`layout`] for which directories are the parts, [`part`] for the files of a part and how they are read.

mod layout;
mod part;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use unicode_normalization::UnicodeNormalization;

use self::layout::Layout;
pub use self::part::files_below;
use self::part::{Class, Counted, Part, Read};
use super::{Format, Location, Request};
use crate::data::survey::{ClassCount, LeftOut, Survey};
use crate::data::{Augmentation, Dataset, Manifest, Pictures, Reading};
use crate::machine::available_memory;
use crate::{Error, Result};

/// One unreadable picture in so many of a class is borne.
const BORNE: usize = 5;
/// Why there is no test part.
const NONE_SET_APART: &str = "too few pictures to set some apart for a test: about one in five is, and of these none; add \
                              some, choose another --seed, or name test pictures in a directory test";

/// Pictures, one directory for each class.
pub static FOLDER: Format = Format {
    name: "folder",
    location: Location::Directory,
    note: "for pictures of your own in DIR/train/CLASS/ and, if there, DIR/test/CLASS/",
    files: "pictures: `DIR/train/CLASS/*.png` and, if there, `DIR/test/CLASS/*.png`; see below",
    pictures: true,
    load,
};

/// Reads the pictures of a directory.
fn load(&Request { directory, seed, reading, progress }: &Request) -> Result<Dataset> {
    let layout = Layout::of(directory)?;
    layout.notices.iter().for_each(|notice| progress.notice(notice));
    let listed = Part::list(&layout.train)?;
    if let [class] = &listed.classes[..] {
        let reason = format!("holds one class, {}; expected two at least", class.name);
        return Err(Error::Data { path: listed.directory, reason });
    }
    alike(&listed).iter().for_each(|notice| progress.notice(notice));
    let tested = layout.test.as_deref().map(|test| Part::list(test)?.numbered_as(&listed)).transpose()?;
    let all = listed.files.len() + tested.as_ref().map_or(0, |part| part.files.len());
    check_memory(directory, all, reading)?;
    let counted = Counted { done: AtomicUsize::new(0), all, progress };
    let train = listed.read(reading, &counted)?;
    let test = tested.as_ref().map(|part| part.read(reading, &counted)).transpose()?;
    let skipped: Vec<&Error> =
        [Some(&train), test.as_ref()].into_iter().flatten().flat_map(Read::errors).collect();
    progress.skipped(&skipped);
    let left_out = left_out(&layout.directory, &listed, tested.as_ref(), &skipped);
    listed.check_classes(&train.images)?;
    if let (Some(part), Some(0)) = (&tested, test.as_ref().map(|read| read.images.count())) {
        let reason = "holds no picture that can be read".to_owned();
        return Err(Error::Data { path: part.directory.clone(), reason });
    }
    if !reading.allow_unreadable {
        listed.check_readable(&train, BORNE)?;
        tested.iter().zip(&test).try_for_each(|(part, read)| part.check_readable(read, BORNE))?;
    }
    let dealing = test.is_none().then_some(reading.dealing);
    let (train, test) = match test {
        Some(test) => (train, test),
        None => listed.deal(train, reading.dealing, seed)?,
    };
    if test.images.count() == 0 {
        return Err(Error::Data { path: listed.directory, reason: NONE_SET_APART.to_owned() });
    }
    let [train_names, test_names] = [&train, &test].map(|part| part.named(&layout.directory));
    let manifest = Manifest { dealing, train: train_names, test: test_names };
    let from = match &tested {
        Some(part) => part.directory.display().to_string(),
        None => format!("set apart from {} by seed and name", listed.directory.display()),
    };
    let class_names: Vec<_> = listed.classes.iter().map(|class| class.name.clone()).collect();
    let survey = Survey { left_out, ..survey(&class_names, [&train, &test], from) };
    let (train, test) = (train.images, test.images);
    let (mean, deviation) = train.statistics();
    Ok(Dataset {
        name: directory
            .file_name()
            .map_or("folder".into(), |name| format!("folder:{}", name.to_string_lossy())),
        class_names,
        train,
        test,
        mean,
        deviation,
        white: u8::MAX,
        // Of unknown pictures it is only known that a small shift does not change what they show: writing must not
        // be mirrored.
        augmentation: Augmentation { crop_padding: reading.image_size / 8, ..Augmentation::default() },
        pictures: Some(Pictures { manifest, reading: *reading, survey }),
    })
}

/// Sentences about classes whose names differ by case or by the spelling of an accent alone.
fn alike(part: &Part) -> Vec<String> {
    let (mut known, mut notices) = (HashMap::new(), Vec::new());
    for Class { name, .. } in &part.classes {
        let plain: String = name.to_lowercase().nfc().collect();
        if let Some(first) = known.insert(plain, name) {
            notices.push(format!(
                "the classes {first} and {name} differ by case or by the spelling of accents alone; they stay two"
            ));
        }
    }
    notices
}

/// The files that do not become images, by reason, the most frequent first.
fn left_out(directory: &Path, listed: &Part, tested: Option<&Part>, skipped: &[&Error]) -> Vec<LeftOut> {
    let mut all: Vec<LeftOut> = Vec::new();
    let mut count = |reason: &str, path: &Path| {
        let name = part::name_below(directory, path);
        match all.iter_mut().find(|left_out| left_out.reason == reason) {
            Some(left_out) => left_out.add(name),
            None => all.push(LeftOut::new(reason, name)),
        }
    };
    for error in skipped {
        match error {
            // What a decoder says of a file differs from file to file.
            Error::Data { path, reason } => count(reason.split(": ").next().unwrap_or(reason), path),
            Error::Io { path, source } => count(&source.kind().to_string(), path),
            other => count(&other.to_string(), directory),
        }
    }
    let others = listed.others.iter().chain(tested.iter().flat_map(|part| &part.others));
    others.for_each(|path| count("is no picture", path));
    all.sort_by_key(|left_out| std::cmp::Reverse(left_out.count));
    all
}

fn survey(classes: &[String], parts: [&Read; 2], test: String) -> Survey {
    let mut survey = Survey { test, ..Survey::default() };
    parts.iter().flat_map(|part| &part.files).for_each(|(_, taken)| survey.add(taken.size));
    let counts = parts.map(|part| part.images.class_counts(classes.len()));
    let class = |(label, name): (usize, &String)| ClassCount {
        name: name.clone(),
        train: counts[0][label],
        test: counts[1][label],
    };
    survey.classes = classes.iter().enumerate().map(class).collect();
    survey
}

/// Refuses images that the machine has no memory for.
fn check_memory(directory: &Path, count: usize, reading: &Reading) -> Result<()> {
    let needed = count.saturating_mul(reading.size());
    match available_memory() {
        // The parts are copied once when one is set apart.
        Some(bytes) if needed > bytes / 2 => Err(Error::Data {
            path: directory.to_path_buf(),
            reason: format!(
                "{count} images of {0} x {0} pixels take {1} MiB, more than half of the memory to spare; lower \
                 --image-size",
                reading.image_size,
                needed >> 20
            ),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
