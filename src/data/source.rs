//! Where a data set comes from: the value of `--data`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Dataset, Follower, Reading, cifar, digits, folder, idx};
use crate::{Error, Result};

/// Where a data set comes from; as text, the value of `--data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `digits`: the 8 x 8 digits inside the program.
    Digits,
    /// `cifar10:DIR`: CIFAR-10 in its binary format.
    Cifar10(PathBuf),
    /// `cifar100:DIR`: CIFAR-100 in its binary format, by its fine labels.
    Cifar100(PathBuf),
    /// `mnist:DIR`: MNIST in the IDX format.
    Mnist(PathBuf),
    /// `fashion-mnist` as installed, or `fashion-mnist:DIR`, in the IDX format.
    FashionMnist(Option<PathBuf>),
    /// `folder:DIR`: pictures in `DIR/train/CLASS/` and, if it is there, `DIR/test/CLASS/`.
    Folder(PathBuf),
}

impl Source {
    /// Reads and checks the data set. The seed splits sets that come undivided; `reading` says what becomes of
    /// pictures of any size, and `follower` is told how far it is and which files are skipped.
    pub fn load(&self, seed: u64, reading: &Reading, follower: &dyn Follower) -> Result<Dataset> {
        let dataset = match self {
            Source::Digits => digits::load(seed)?,
            Source::Cifar10(directory) => cifar::cifar10(directory)?,
            Source::Cifar100(directory) => cifar::cifar100(directory)?,
            Source::Mnist(directory) => idx::mnist(directory)?,
            Source::FashionMnist(directory) => idx::fashion_mnist(directory.as_deref())?,
            Source::Folder(directory) => folder::load(directory, seed, reading, follower)?,
        };
        dataset.check()?;
        Ok(dataset)
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, directory) = match text.split_once(':') {
            Some((name, directory)) => (name, Some(directory)),
            None => (text, None),
        };
        let directory = directory.map(|d| (!d.is_empty()).then(|| PathBuf::from(d)));
        match (name, directory) {
            ("digits", None) => Ok(Source::Digits),
            ("cifar10", Some(Some(directory))) => Ok(Source::Cifar10(directory)),
            ("cifar100", Some(Some(directory))) => Ok(Source::Cifar100(directory)),
            ("mnist", Some(Some(directory))) => Ok(Source::Mnist(directory)),
            ("fashion-mnist", None) => Ok(Source::FashionMnist(None)),
            ("fashion-mnist", Some(Some(directory))) => Ok(Source::FashionMnist(Some(directory))),
            ("folder", Some(Some(directory))) => Ok(Source::Folder(directory)),
            _ => Err(Error::Usage(format!(
                "--data: '{text}' is none of digits, cifar10:DIR, cifar100:DIR, mnist:DIR, fashion-mnist[:DIR] and \
                 folder:DIR"
            ))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Digits => write!(f, "digits"),
            Source::Cifar10(directory) => write!(f, "cifar10:{}", directory.display()),
            Source::Cifar100(directory) => write!(f, "cifar100:{}", directory.display()),
            Source::Mnist(directory) => write!(f, "mnist:{}", directory.display()),
            Source::FashionMnist(None) => write!(f, "fashion-mnist"),
            Source::FashionMnist(Some(directory)) => write!(f, "fashion-mnist:{}", directory.display()),
            Source::Folder(directory) => write!(f, "folder:{}", directory.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_its_text() {
        let texts = [
            "digits",
            "cifar10:a/b",
            "cifar100:a",
            "mnist:/m",
            "fashion-mnist",
            "fashion-mnist:c:d",
            "folder:my pictures",
        ];
        for text in texts {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!("cifar10:x".parse::<Source>().unwrap(), Source::Cifar10("x".into()));
        assert_eq!("fashion-mnist:c:d".parse::<Source>().unwrap(), Source::FashionMnist(Some("c:d".into())));
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
            let allowed = [
                "--data",
                "digits",
                "cifar10:DIR",
                "cifar100:DIR",
                "mnist:DIR",
                "fashion-mnist[:DIR]",
                "folder:DIR",
            ];
            assert!(sentence.contains(&format!("'{text}'")), "{sentence}");
            assert!(allowed.iter().all(|part| sentence.contains(part)), "{sentence}");
        }
    }
}
