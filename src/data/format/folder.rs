//! Pictures of one's own: one directory for each class.
//!
//! ```text
//! DIR/train/CLASS/x.png    any depth below CLASS; also .jpg, .jpeg, .webp, .bmp and .gif
//! DIR/test/CLASS/y.jpg     if there is no DIR/test, about a fifth of each class is set apart by seed and name
//! ```
//!
//! Classes are numbered in the order of their names. Links are followed. Names that begin with a dot and files with
//! other endings are left alone.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::{Format, Location, ReadingProgress, Request};
use crate::data::manifest::Content;
use crate::data::picture::Taken;
use crate::data::split::{is_set_apart, stratified};
use crate::data::survey::{ClassCount, Survey};
use crate::data::{Augmentation, Dataset, Dealing, Images, Manifest, Pictures, Reading};
use crate::machine::available_memory;
use crate::readable::counted;
use crate::{Error, Result};

const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "bmp", "gif"];
/// The most classes: labels are 16-bit numbers.
const MOST_CLASSES: usize = 1 << 16;
/// The fewest training images of a class: one for the weights and one for the alphas.
const FEWEST: usize = 2;
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
    let listed = Part::list(&directory.join("train"))?;
    if let [class] = &listed.classes[..] {
        let reason = format!("holds one class, {class}; expected two at least");
        return Err(Error::Data { path: listed.directory, reason });
    }
    let tested = directory.join("test");
    let tested = if tested.exists() { Some(Part::list(&tested)?.numbered_as(&listed)?) } else { None };
    let all = listed.files.len() + tested.as_ref().map_or(0, |part| part.files.len());
    check_memory(directory, all, reading)?;
    let counted = Counted { done: AtomicUsize::new(0), all, progress };
    let train = listed.read(reading, &counted)?;
    listed.check_classes(&train.images)?;
    let test = tested.as_ref().map(|part| part.read(reading, &counted)).transpose()?;
    let dealing = test.is_none().then_some(reading.dealing);
    let (train, test) = match test {
        Some(test) => (train, test),
        None => listed.deal(train, reading.dealing, seed)?,
    };
    if test.images.count() == 0 {
        let (path, reason) = match tested {
            Some(part) => (part.directory, "holds no picture that can be read".to_owned()),
            None => (listed.directory, NONE_SET_APART.to_owned()),
        };
        return Err(Error::Data { path, reason });
    }
    let manifest = Manifest { dealing, train: train.named(directory), test: test.named(directory) };
    let from = match &tested {
        Some(part) => part.directory.display().to_string(),
        None => format!("set apart from {} by seed and name", listed.directory.display()),
    };
    let survey = survey(&listed.classes, [&train, &test], from);
    let (train, test) = (train.images, test.images);
    let (mean, deviation) = train.statistics();
    Ok(Dataset {
        name: directory
            .file_name()
            .map_or("folder".into(), |name| format!("folder:{}", name.to_string_lossy())),
        class_names: listed.classes,
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

/// A path below a directory, with `/` between its parts.
fn name_below(directory: &Path, path: &Path) -> String {
    let below = path.strip_prefix(directory).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
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

/// Counts the files that were read.
struct Counted<'a> {
    done: AtomicUsize,
    all: usize,
    progress: &'a dyn ReadingProgress,
}

/// Images and the files that they are of, in the same order.
struct Read {
    images: Images,
    files: Vec<(PathBuf, Taken)>,
}

impl Read {
    fn select(&self, indices: &[usize]) -> Read {
        let files = indices.iter().map(|&index| self.files[index].clone()).collect();
        Read { images: self.images.select(indices), files }
    }

    /// The files by their names below the directory of the data set.
    fn named(&self, directory: &Path) -> BTreeMap<String, Content> {
        self.files.iter().map(|(path, taken)| (name_below(directory, path), taken.content)).collect()
    }
}

/// The files of the training or the test part.
struct Part {
    directory: PathBuf,
    /// The names of the classes, ascending.
    classes: Vec<String>,
    /// The files with their labels, class after class, ascending.
    files: Vec<(PathBuf, u16)>,
}

impl Part {
    /// Finds classes and files.
    fn list(directory: &Path) -> Result<Part> {
        let fail = |reason: String| Err(Error::Data { path: directory.to_path_buf(), reason });
        let mut places = match subdirectories(directory) {
            Ok(places) => places,
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                let from = seen_from(directory);
                return fail(format!("no such directory{from}; expected the pictures in train/CLASS/"));
            }
            Err(error) => return Err(Error::io(directory, error)),
        };
        places.sort_unstable();
        match places.len() {
            0 => return fail("holds no classes; expected a directory of pictures for each class".into()),
            count => check_count(directory, count)?,
        }
        let mut part = Part { directory: directory.into(), classes: Vec::new(), files: Vec::new() };
        for (label, place) in places.iter().enumerate() {
            let files = pictures(place)?;
            if files.is_empty() {
                let reason =
                    format!("holds no pictures; expected files with the ending {}", ENDINGS.join(", "));
                return Err(Error::Data { path: place.clone(), reason });
            }
            part.files.extend(files.into_iter().map(|file| (file, label as u16)));
            part.classes.push(name(place));
        }
        Ok(part)
    }

    /// The part with the labels that its classes have in another one.
    fn numbered_as(mut self, other: &Part) -> Result<Part> {
        let mut labels = Vec::new();
        for class in &self.classes {
            let Ok(label) = other.classes.binary_search(class) else {
                let reason = format!("is no class of {}", other.directory.display());
                return Err(Error::Data { path: self.directory.join(class), reason });
            };
            labels.push(label as u16);
        }
        self.files.iter_mut().for_each(|(_, label)| *label = labels[usize::from(*label)]);
        self.classes.clone_from(&other.classes);
        Ok(self)
    }

    /// Decodes all files. What a thread decodes has its place before: the order does not depend on threads.
    fn read(&self, reading: &Reading, counted: &Counted) -> Result<Read> {
        let size = reading.size();
        let mut pixels = vec![0; self.files.len() * size];
        let mut all_taken = vec![Taken::default(); self.files.len()];
        let places = pixels.par_chunks_exact_mut(size).zip(&mut all_taken).zip(&self.files);
        let decoded = places.map(|((place, taken), (file, _))| {
            let outcome = reading.read(file, place).map(|found| *taken = found);
            counted.progress.read(counted.done.fetch_add(1, Ordering::Relaxed) + 1, counted.all);
            outcome
        });
        let outcomes: Vec<Result<()>> = if reading.strict {
            // The first file in order, whichever thread was faster; no file after it is started.
            match decoded.find_first(Result::is_err) {
                Some(Err(error)) => return Err(error),
                _ => self.files.iter().map(|_| Ok(())).collect(),
            }
        } else {
            decoded.collect()
        };
        let mut labels = Vec::with_capacity(self.files.len());
        let (mut files, mut skipped) = (Vec::with_capacity(self.files.len()), Vec::new());
        for (index, (outcome, (path, label))) in outcomes.into_iter().zip(&self.files).enumerate() {
            match outcome {
                Ok(()) => {
                    files.push((path.clone(), all_taken[index]));
                    pixels.copy_within(index * size..(index + 1) * size, labels.len() * size);
                    labels.push(*label);
                }
                Err(error) => skipped.push(error),
            }
        }
        pixels.truncate(labels.len() * size);
        counted.progress.skipped(&skipped);
        let (side, channels) = (reading.image_size, reading.colour.channels());
        Ok(Read { images: Images { height: side, width: side, channels, pixels, labels }, files })
    }

    /// Sets some of the images apart for the test.
    fn deal(&self, read: Read, dealing: Dealing, seed: u64) -> Result<(Read, Read)> {
        let (train, test) = match dealing {
            Dealing::ByPlace => stratified(&read.images.labels, self.classes.len(), seed),
            Dealing::ByName => (0..read.images.count()).partition(|&index| {
                let class = &self.classes[usize::from(read.images.labels[index])];
                let name = name_below(&self.directory.join(class), &read.files[index].0);
                !is_set_apart(seed, class.as_bytes(), name.as_bytes())
            }),
        };
        let (all, train, test) = (&read.images, read.select(&train), read.select(&test));
        let counts = [all, &train.images].map(|images| images.class_counts(self.classes.len()));
        if let Some(class) = counts[1].iter().position(|&count| count < FEWEST) {
            let (all, trained) = (counts[0][class], counts[1][class]);
            let reason = format!(
                "holds {} of which the test takes {}; expected at least {FEWEST} to train on: add some, choose another \
                 --seed, or name test pictures in a directory test",
                counted(all, "picture"),
                all - trained
            );
            return Err(Error::Data { path: self.directory.join(&self.classes[class]), reason });
        }
        Ok((train, test))
    }

    /// Refuses a class with too few images for a search.
    fn check_classes(&self, images: &Images) -> Result<()> {
        let counts = images.class_counts(self.classes.len());
        let Some(class) = counts.iter().position(|&count| count < FEWEST) else { return Ok(()) };
        let (files, count) =
            (self.files.iter().filter(|(_, label)| usize::from(*label) == class).count(), counts[class]);
        let found = match (files, count) {
            (1, 1) => "holds one picture".to_owned(),
            _ => format!("holds {files} pictures of which {count} can be read"),
        };
        let reason = format!(
            "{found}; expected at least {FEWEST}, one for the weights and one for the alphas of a search"
        );
        Err(Error::Data { path: self.directory.join(&self.classes[class]), reason })
    }
}

/// Refuses more classes than there are labels.
fn check_count(directory: &Path, classes: usize) -> Result<()> {
    if classes <= MOST_CLASSES {
        return Ok(());
    }
    let reason = format!("holds {classes} classes; expected at most {MOST_CLASSES}");
    Err(Error::Data { path: directory.into(), reason })
}

/// Where a relative path begins, which the plan of a run does not say.
fn seen_from(path: &Path) -> String {
    let here = std::env::current_dir().ok().filter(|_| path.is_relative());
    here.map_or_else(String::new, |here| format!(" in {}", here.display()))
}

/// The last part of a path.
fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The directories in a directory, in no order.
fn subdirectories(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !name(&path).starts_with('.') {
            found.push(path);
        }
    }
    Ok(found)
}

/// The pictures below the directory of a class, ascending.
fn pictures(class: &Path) -> Result<Vec<PathBuf>> {
    let visible =
        |entry: &DirEntry| entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.');
    let mut found = Vec::new();
    for entry in WalkDir::new(class).follow_links(true).sort_by_file_name().into_iter().filter_entry(visible)
    {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_picture(entry.path()) => {
                found.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) => found.extend(dangling(class, error)?),
        }
    }
    Ok(found)
}

/// The link to a picture that is not there, which counts as one that cannot be read; any other error is one of the
/// directory.
fn dangling(class: &Path, error: walkdir::Error) -> Result<Option<PathBuf>> {
    let path = error.path().unwrap_or(class).to_path_buf();
    if let Some(ancestor) = error.loop_ancestor() {
        let reason = format!("is a link that leads back to {}", ancestor.display());
        return Err(Error::Data { path, reason });
    }
    match error.io_error().map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) if path.is_symlink() => Ok(Some(path).filter(|path| is_picture(path))),
        _ => Err(Error::io(path, error.into())),
    }
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests;
