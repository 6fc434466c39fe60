//! The formats of data sets, in one table: [`FORMATS`]. A format is a reader in a file of this directory and its entry here;
//! [`Source`](super::Source), the help of `--data` and its refusals follow from the table.

mod cifar;
mod digits;
mod folder;
mod idx;

use std::path::Path;

pub use digits::write_pictures as write_digits;
pub use folder::files_below as pictures_below;

use super::{Dataset, Reading};
use crate::{Error, Result};

/// All formats.
pub static FORMATS: &[&Format] = &[
    &digits::DIGITS,
    &cifar::CIFAR10,
    &cifar::CIFAR100,
    &idx::MNIST,
    &idx::FASHION_MNIST,
    &idx::EMNIST_BALANCED,
    &idx::EMNIST_BYMERGE,
    &idx::EMNIST_BYCLASS,
    &idx::EMNIST_LETTERS,
    &idx::EMNIST_DIGITS,
    &idx::EMNIST_MNIST,
    &folder::FOLDER,
];

/// A format of data sets.
#[derive(Debug)]
pub struct Format {
    /// Its name in `--data`.
    pub name: &'static str,
    /// Where its files are.
    pub location: Location,
    /// What the help of `--data` adds to the name; may be empty.
    pub note: &'static str,
    /// The files that are read, in Markdown.
    pub files: &'static str,
    /// Whether the files are pictures of any size and colour, which [`Reading`] makes alike.
    pub pictures: bool,
    /// Reads a data set.
    pub load: fn(&Request) -> Result<Dataset>,
}

/// Where the files of a format are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the program.
    BuiltIn,
    /// In the directory that `--data` names.
    Directory,
    /// In the directory that `--data` names, or else here.
    DirectoryOr(&'static str),
}

/// What a reader needs to know.
pub struct Request<'a> {
    /// Where the files are; empty for a format inside the program.
    pub directory: &'a Path,
    /// Splits data sets that are not divided into a training and a test part.
    pub seed: u64,
    /// How pictures of any size and colour become images of one.
    pub reading: &'a Reading,
    /// The observer of a reading that takes long.
    pub progress: &'a dyn ReadingProgress,
}

/// Observes the reading of pictures, which may take minutes.
pub trait ReadingProgress: Sync {
    /// So many files of all have been read; called from several threads.
    fn read(&self, done: usize, all: usize);
    /// These files were skipped; each error names its file. In the order of the files.
    fn skipped(&self, errors: &[&Error]);
    /// A sentence about what was found.
    fn notice(&self, sentence: &str);
}

/// No observer.
impl ReadingProgress for () {
    fn read(&self, _: usize, _: usize) {}
    fn skipped(&self, _: &[&Error]) {}
    fn notice(&self, _: &str) {}
}

impl Format {
    /// The values of `--data` that are of this format, such as `cifar10:DIR`.
    pub fn usage(&self) -> String {
        let place = match self.location {
            Location::BuiltIn => "",
            Location::Directory => ":DIR",
            Location::DirectoryOr(_) => "[:DIR]",
        };
        format!("{}{place}", self.name)
    }
}

/// The help of `--data`.
pub fn help() -> String {
    let noted = |format: &&Format| [&format.usage(), format.note].join(" ").trim_end().to_owned();
    format!("Data set: {}", listed(FORMATS.iter().map(noted).collect(), ", or"))
}

/// All values of `--data`, for a refusal.
pub(super) fn usages() -> String {
    listed(FORMATS.iter().map(|format| format.usage()).collect(), " and")
}

fn listed(mut items: Vec<String>, conjunction: &str) -> String {
    let last = items.pop().unwrap_or_default();
    if items.is_empty() { last } else { format!("{}{conjunction} {last}", items.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the formats in the README.
    fn table() -> String {
        let row = |format: &&Format| format!("| `{}` | {} |\n", format.usage(), format.files);
        let rows: String = FORMATS.iter().map(row).collect();
        format!("| `--data` | what is read |\n| --- | --- |\n{rows}")
    }

    #[test]
    fn the_readme_lists_the_formats() {
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&table()), "README.md lacks this table:\n{}", table());
    }

    #[test]
    fn the_help_names_every_format_and_its_place() {
        let help = help();
        assert!(help.starts_with("Data set: digits (built in), cifar10:DIR, "), "{help}");
        for format in FORMATS {
            assert!(help.contains(&format.usage()) && help.contains(format.note), "{help}");
        }
        let usage = |location| Format { location, name: "x", ..*FORMATS[0] }.usage();
        let locations = [Location::BuiltIn, Location::Directory, Location::DirectoryOr("/usr")];
        assert_eq!(locations.map(usage), ["x", "x:DIR", "x[:DIR]"]);
        let of = |items: &[&str]| listed(items.iter().map(ToString::to_string).collect(), " and");
        assert_eq!([of(&["a"]), of(&["a", "b"]), of(&["a", "b", "c"])], ["a", "a and b", "a, b and c"]);
    }

    #[test]
    fn a_name_is_taken_once_and_is_no_path() {
        for (index, format) in FORMATS.iter().enumerate() {
            assert!(FORMATS[..index].iter().all(|other| other.name != format.name), "{} twice", format.name);
            assert!(!format.name.contains([':', '/', ' ']), "{}", format.name);
        }
    }
}
