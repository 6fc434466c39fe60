//! Where a data set comes from: the value of `--data`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::format::{FORMATS, Format, Location, ReadingProgress, Request, usages};
use super::{Dataset, Reading};
use crate::{Error, Result};

/// Where a data set comes from; as text, the value of `--data`.
#[derive(Clone, Debug)]
pub struct Source {
    format: &'static Format,
    /// The directory that was named.
    directory: Option<PathBuf>,
}

impl Source {
    /// Reads and checks the data set. The seed splits sets that come undivided.
    pub fn load(&self, seed: u64, reading: &Reading, progress: &dyn ReadingProgress) -> Result<Dataset> {
        let installed = match self.format.location {
            Location::DirectoryOr(installed) => installed,
            Location::BuiltIn | Location::Directory => "",
        };
        let directory = self.directory.as_deref().unwrap_or(Path::new(installed));
        if directory.is_file() {
            let reason =
                "is a file; expected a directory: unpack it, if it is an archive, and name where".to_owned();
            return Err(Error::Data { path: directory.to_path_buf(), reason });
        }
        let dataset = (self.format.load)(&Request { directory, seed, reading, progress })?;
        dataset.check()?;
        Ok(dataset)
    }

    /// Its format.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// Whether it is found without a directory.
    pub fn is_found_by_name(&self) -> bool {
        self.directory.is_none()
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, directory) = match text.split_once(':') {
            Some((name, directory)) => (name, Some(directory)),
            None => (text, None),
        };
        let found = FORMATS.iter().copied().find(|format| format.name == name).filter(|format| {
            match (format.location, directory) {
                (Location::BuiltIn | Location::DirectoryOr(_), None) => true,
                (Location::Directory | Location::DirectoryOr(_), Some(directory)) => !directory.is_empty(),
                (Location::BuiltIn, Some(_)) | (Location::Directory, None) => false,
            }
        });
        match found {
            Some(format) => Ok(Source { format, directory: directory.map(PathBuf::from) }),
            None => Err(Error::Usage(format!("--data: '{text}' is none of {}", usages()))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.directory {
            Some(directory) => write!(f, "{}:{}", self.format.name, directory.display()),
            None => write!(f, "{}", self.format.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_its_text() {
        for format in FORMATS {
            let (alone, with) = (format.name.to_owned(), format!("{}:a b:c", format.name));
            let texts = match format.location {
                Location::BuiltIn => vec![alone],
                Location::Directory => vec![with],
                Location::DirectoryOr(_) => vec![alone, with],
            };
            for text in texts {
                let source: Source = text.parse().unwrap();
                assert_eq!(
                    (source.to_string(), source.is_found_by_name()),
                    (text.clone(), !text.contains(':'))
                );
            }
        }
        assert_eq!("cifar10:x".parse::<Source>().unwrap().directory, Some("x".into()));
        assert_eq!("fashion-mnist:c:d".parse::<Source>().unwrap().directory, Some("c:d".into()));
    }

    #[test]
    fn an_archive_is_to_be_unpacked() {
        let archive = tempfile::NamedTempFile::new().unwrap();
        for format in FORMATS.iter().filter(|format| format.location != Location::BuiltIn) {
            let source: Source = format!("{}:{}", format.name, archive.path().display()).parse().unwrap();
            let sentence = source.load(0, &Reading::default(), &()).unwrap_err().to_string();
            assert!(sentence.contains("is a file; expected a directory: unpack it"), "{sentence}");
        }
    }

    #[test]
    fn a_wrong_source_is_told_what_is_allowed() {
        let wrong = [
            "",
            "digit",
            "digits:x",
            "digits:",
            "cifar10",
            "cifar10:",
            "cifar100",
            "mnist",
            "fashion-mnist:",
            "folder",
            "folder:",
            "CIFAR10:x",
        ];
        for text in wrong {
            let error = text.parse::<Source>().unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            let sentence = error.to_string();
            assert!(sentence.starts_with(&format!("--data: '{text}' is none of digits, ")), "{sentence}");
            assert!(FORMATS.iter().all(|format| sentence.contains(&format.usage())), "{sentence}");
        }
    }
}
