//! The files of the training or the test part, and how they become images.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::layout::{is_left_alone, subdirectories};
use crate::data::format::ReadingProgress;
use crate::data::manifest::Content;
use crate::data::picture::Taken;
use crate::data::sniff::{HEAD, Kind, READ, has_picture_ending, kind};
use crate::data::split::{is_set_apart, stratified};
use crate::data::{Dealing, Images, Reading};
use crate::readable::counted;
use crate::{Error, Result};

/// The most classes: labels are 16-bit numbers.
const MOST_CLASSES: usize = 1 << 16;
/// The fewest training images of a class: one for the weights and one for the alphas.
pub const FEWEST: usize = 2;

/// A path below a directory, with `/` between its parts, each [escaped](escaped).
pub fn name_below(directory: &Path, path: &Path) -> String {
    let below = path.strip_prefix(directory).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| escaped(part.as_os_str())).collect();
    parts.join("/")
}

/// A name as text that no other name has: bytes that are no UTF-8 as `\xff`, and a backslash twice.
pub fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text += &chunk.valid().replace('\\', r"\\");
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Counts the files that were read.
pub struct Counted<'a> {
    /// How many were read.
    pub done: AtomicUsize,
    /// How many there are.
    pub all: usize,
    /// Who is told.
    pub progress: &'a dyn ReadingProgress,
}

/// Images and the files that they are of, in the same order.
pub struct Read {
    /// The images.
    pub images: Images,
    /// Their files.
    pub files: Vec<(PathBuf, Taken)>,
    /// Why other files could not be read, with their labels, in the order of the files.
    unreadable: Vec<(u16, Error)>,
}

impl Read {
    fn select(&self, indices: &[usize]) -> Read {
        let files = indices.iter().map(|&index| self.files[index].clone()).collect();
        Read { images: self.images.select(indices), files, unreadable: Vec::new() }
    }

    /// Why files could not be read, in their order.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        self.unreadable.iter().map(|(_, error)| error)
    }

    /// The files by their names below the directory of the data set.
    pub fn named(&self, directory: &Path) -> BTreeMap<String, Content> {
        self.files.iter().map(|(path, taken)| (name_below(directory, path), taken.content)).collect()
    }
}

/// The files of the training or the test part.
pub struct Part {
    /// The directory of the part.
    pub directory: PathBuf,
    /// The classes in the order of their labels.
    pub classes: Vec<Class>,
    /// The files that are pictures, or meant as such, with their labels, class after class, ascending.
    pub files: Vec<(PathBuf, u16)>,
    /// Other files.
    pub others: Vec<PathBuf>,
}

/// A class.
#[derive(Clone)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its directory.
    place: PathBuf,
}

impl Part {
    /// Finds classes and files.
    pub fn list(directory: &Path) -> Result<Part> {
        let fail = |reason: String| Err(Error::Data { path: directory.to_path_buf(), reason });
        let places = match subdirectories(directory) {
            Ok(places) => places,
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                let from = seen_from(directory);
                return fail(format!("no such directory{from}; expected the pictures in train/CLASS/"));
            }
            Err(error) => return Err(Error::io(directory, error)),
        };
        match places.len() {
            0 => return fail("holds no classes; expected a directory of pictures for each class".into()),
            count => check_count(directory, count)?,
        }
        let mut part =
            Part { directory: directory.into(), classes: Vec::new(), files: Vec::new(), others: Vec::new() };
        for (label, place) in places.into_iter().enumerate() {
            let before = part.files.len();
            part.collect(&place, label as u16)?;
            if part.files.len() == before {
                let reason = format!("holds no pictures; expected files of the formats {READ}");
                return Err(Error::Data { path: place, reason });
            }
            part.classes.push(Class { name: escaped(place.file_name().unwrap_or_default()), place });
        }
        Ok(part)
    }

    /// Collects the files below the directory of a class.
    fn collect(&mut self, class: &Path, label: u16) -> Result<()> {
        let [pictures, others] = files_below(class)?;
        self.files.extend(pictures.into_iter().map(|path| (path, label)));
        self.others.extend(others);
        Ok(())
    }

    /// The part with the labels that its classes have in another one.
    pub fn numbered_as(mut self, other: &Part) -> Result<Part> {
        let mut labels = Vec::new();
        for class in &self.classes {
            let Some(label) = other.classes.iter().position(|known| known.name == class.name) else {
                let reason = format!("is no class of {}", other.directory.display());
                return Err(Error::Data { path: class.place.clone(), reason });
            };
            labels.push(label as u16);
        }
        self.files.iter_mut().for_each(|(_, label)| *label = labels[usize::from(*label)]);
        let own = |class: &Class| {
            let place =
                class.place.file_name().map_or(self.directory.clone(), |name| self.directory.join(name));
            Class { place, ..class.clone() }
        };
        self.classes = other.classes.iter().map(own).collect();
        Ok(self)
    }

    /// Decodes all files. What a thread decodes has its place before: the order does not depend on threads.
    pub fn read(&self, reading: &Reading, counted: &Counted) -> Result<Read> {
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
        let (mut files, mut unreadable) = (Vec::with_capacity(self.files.len()), Vec::new());
        for (index, (outcome, (path, label))) in outcomes.into_iter().zip(&self.files).enumerate() {
            match outcome {
                Ok(()) => {
                    files.push((path.clone(), all_taken[index]));
                    pixels.copy_within(index * size..(index + 1) * size, labels.len() * size);
                    labels.push(*label);
                }
                Err(error) => unreadable.push((*label, error)),
            }
        }
        pixels.truncate(labels.len() * size);
        let (side, channels) = (reading.image_size, reading.colour.channels());
        Ok(Read { images: Images { height: side, width: side, channels, pixels, labels }, files, unreadable })
    }

    /// Sets some of the images apart for the test.
    pub fn deal(&self, read: Read, dealing: Dealing, seed: u64) -> Result<(Read, Read)> {
        let (train, test) = match dealing {
            Dealing::ByPlace => stratified(&read.images.labels, self.classes.len(), seed),
            Dealing::ByName => (0..read.images.count()).partition(|&index| {
                let class = &self.classes[usize::from(read.images.labels[index])];
                let name = name_below(&class.place, &read.files[index].0);
                !is_set_apart(seed, class.name.as_bytes(), name.as_bytes())
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
            return Err(Error::Data { path: self.classes[class].place.clone(), reason });
        }
        Ok((train, test))
    }

    /// Refuses a class of which more than one picture in `borne` cannot be read.
    pub fn check_readable(&self, read: &Read, borne: usize) -> Result<()> {
        for (label, class) in self.classes.iter().enumerate() {
            let is_own = |own: u16| usize::from(own) == label;
            let all = self.files.iter().filter(|(_, own)| is_own(*own)).count();
            let mut unreadable =
                read.unreadable.iter().filter(|(own, _)| is_own(*own)).map(|(_, error)| error);
            let Some(first) = unreadable.next() else { continue };
            let count = 1 + unreadable.count();
            if count * borne > all {
                let reason = format!(
                    "{count} of {} cannot be read, the first of them: {first}; --allow-unreadable goes on without them",
                    counted(all, "picture")
                );
                return Err(Error::Data { path: class.place.clone(), reason });
            }
        }
        Ok(())
    }

    /// Refuses a class with too few images for a search.
    pub fn check_classes(&self, images: &Images) -> Result<()> {
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
        Err(Error::Data { path: self.classes[class].place.clone(), reason })
    }
}

/// Refuses more classes than there are labels.
pub(super) fn check_count(directory: &Path, classes: usize) -> Result<()> {
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

/// The link to a picture that is not there, which counts as one that cannot be read; any other error is one of the
/// directory.
fn dangling(class: &Path, error: walkdir::Error) -> Result<Option<PathBuf>> {
    let path = error.path().unwrap_or(class).to_path_buf();
    if let Some(ancestor) = error.loop_ancestor() {
        let reason = format!("is a link that leads back to {}", ancestor.display());
        return Err(Error::Data { path, reason });
    }
    match error.io_error().map(std::io::Error::kind) {
        Some(ErrorKind::NotFound) if path.is_symlink() => {
            Ok(Some(path).filter(|path| has_picture_ending(path)))
        }
        _ => Err(Error::io(path, error.into())),
    }
}

/// The files below a directory that are meant as pictures, and the others; each ascending.
pub fn files_below(directory: &Path) -> Result<[Vec<PathBuf>; 2]> {
    let visible = |entry: &DirEntry| entry.depth() == 0 || !is_left_alone(entry.file_name());
    let entries = WalkDir::new(directory).follow_links(true).sort_by_file_name().into_iter();
    let [mut pictures, mut others] = [const { Vec::new() }; 2];
    for entry in entries.filter_entry(visible) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                let path = entry.into_path();
                if is_picture(&path) { pictures.push(path) } else { others.push(path) }
            }
            Ok(_) => {}
            Err(error) => pictures.extend(dangling(directory, error)?),
        }
    }
    Ok([pictures, others])
}

/// Whether a file is a picture by its content, or meant as one by its ending. What cannot be opened may be one.
fn is_picture(path: &Path) -> bool {
    let mut head = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    has_picture_ending(path) || opened.is_err() || kind(&head) != Kind::Other
}
