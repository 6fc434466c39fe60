//! Data sets, splits, augmentation and batches.
//!
//! Read in this order: this file ([`Images`], [`Dataset`], [`Source`]); where images come from, `digits`,
//! `cifar10` and `idx`; [`halves`], the two parts of the bilevel search; [`Augmentation`]; and last
//! [`Loader`], which turns indices into batches on a thread of its own.
//!
//! Images stay bytes until a batch is made of them: an epoch reads every image once, so normalising on the
//! way costs little and keeps a data set at a quarter of the memory.

mod augment;
mod cifar10;
mod digits;
mod idx;
mod loader;
mod split;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use augment::{Augmentation, Normalisation, Placement};
pub use loader::{Batch, Loader};
pub use split::halves;

use crate::{Error, Result};

/// Labelled images of one size, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// The values as `[image][row][column][channel]`.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u8>,
}

impl Images {
    /// How many images there are.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// How many values an image has.
    pub fn size(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The values of one image.
    ///
    /// # Panics
    /// When there is no image of that index.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.size();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// How many images each class has; labels from `classes` on are not counted.
    pub fn class_counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        for &label in &self.labels {
            if let Some(count) = counts.get_mut(usize::from(label)) {
                *count += 1;
            }
        }
        counts
    }

    /// Mean and (population) standard deviation of each channel, in units of byte values.
    fn statistics(&self) -> (Vec<f32>, Vec<f32>) {
        // Sums of bytes and of their squares are whole numbers, so the result does not depend on the order.
        let mut sums = vec![(0u64, 0u64); self.channels];
        for pixel in self.pixels.chunks_exact(self.channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                sum.0 += u64::from(value);
                sum.1 += u64::from(value).pow(2);
            }
        }
        let count = (self.count() * self.height * self.width) as f64;
        sums.iter()
            .map(|&(sum, squares)| {
                let mean = sum as f64 / count;
                let variance = (squares as f64 / count - mean * mean).max(0.0);
                (mean as f32, variance.sqrt() as f32)
            })
            .unzip()
    }
}

/// A data set: two parts and what is needed to make inputs of a network of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The name, without any directory.
    pub name: String,
    /// How many classes there are; labels are less than this.
    pub classes: usize,
    /// What the classes are called.
    pub class_names: Vec<String>,
    /// The images to search and train on.
    pub train: Images,
    /// The images that are only ever measured on.
    pub test: Images,
    /// The mean of each channel, in units of byte values.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, in units of byte values.
    pub deviation: Vec<f32>,
    /// The augmentation that is customary for the training images.
    pub augmentation: Augmentation,
}

impl Dataset {
    /// How byte values become inputs of a network.
    pub fn normalisation(&self) -> Normalisation {
        Normalisation { mean: self.mean.clone(), deviation: self.deviation.clone() }
    }

    /// Checks that the parts fit together: geometry, counts, labels and constants.
    pub fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Data { path: PathBuf::from(&self.name), reason });
        for (part, images) in [("train", &self.train), ("test", &self.test)] {
            if images.count() == 0 || images.size() == 0 {
                return fail(format!("the {part} part holds no pixels"));
            }
            if images.pixels.len() != images.count() * images.size() {
                let (bytes, count, size) = (images.pixels.len(), images.count(), images.size());
                return fail(format!("{bytes} bytes are not {count} {part} images of {size}"));
            }
            if let Some(index) = images.labels.iter().position(|&l| usize::from(l) >= self.classes) {
                let (label, classes) = (images.labels[index], self.classes);
                return fail(format!("{part} image {index} has label {label} of {classes} classes"));
            }
        }
        let shape = |i: &Images| (i.height, i.width, i.channels);
        if shape(&self.train) != shape(&self.test) {
            let (train, test) = (shape(&self.train), shape(&self.test));
            return fail(format!(
                "train images are {train:?} and test images {test:?} (rows, columns, channels)"
            ));
        }
        if self.class_names.len() != self.classes {
            return fail(format!("{} names for {} classes", self.class_names.len(), self.classes));
        }
        let channels = self.train.channels;
        if self.mean.len() != channels || self.deviation.len() != channels {
            return fail(format!("mean and deviation are not those of {channels} channels"));
        }
        if !self.mean.iter().all(|m| m.is_finite())
            || !self.deviation.iter().all(|d| d.is_finite() && *d > 0.0)
        {
            return fail("a channel has the same value in every training pixel, or no finite one".into());
        }
        Ok(())
    }
}

/// Where a data set comes from; as text, the value of `--data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `digits`: the 8 x 8 digits inside the program.
    Digits,
    /// `cifar10:DIR`: CIFAR-10 in its binary format.
    Cifar10(PathBuf),
    /// `mnist:DIR`: MNIST in the IDX format.
    Mnist(PathBuf),
    /// `fashion-mnist` as installed, or `fashion-mnist:DIR`, in the IDX format.
    FashionMnist(Option<PathBuf>),
}

impl Source {
    /// Reads and checks the data set; the seed splits sets that come undivided.
    pub fn load(&self, seed: u64) -> Result<Dataset> {
        let dataset = match self {
            Source::Digits => digits::load(seed)?,
            Source::Cifar10(directory) => cifar10::load(directory)?,
            Source::Mnist(directory) => idx::mnist(directory)?,
            Source::FashionMnist(directory) => idx::fashion_mnist(directory.as_deref())?,
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
            ("mnist", Some(Some(directory))) => Ok(Source::Mnist(directory)),
            ("fashion-mnist", None) => Ok(Source::FashionMnist(None)),
            ("fashion-mnist", Some(Some(directory))) => Ok(Source::FashionMnist(Some(directory))),
            _ => Err(Error::Usage(format!(
                "--data: '{text}' is none of digits, cifar10:DIR, mnist:DIR and fashion-mnist[:DIR]"
            ))),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Digits => write!(f, "digits"),
            Source::Cifar10(directory) => write!(f, "cifar10:{}", directory.display()),
            Source::Mnist(directory) => write!(f, "mnist:{}", directory.display()),
            Source::FashionMnist(None) => write!(f, "fashion-mnist"),
            Source::FashionMnist(Some(directory)) => write!(f, "fashion-mnist:{}", directory.display()),
        }
    }
}

/// Owned names from a table of them.
fn names(table: &[&str]) -> Vec<String> {
    table.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_its_text() {
        for text in ["digits", "cifar10:a/b", "mnist:/m", "fashion-mnist", "fashion-mnist:c:d"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        assert_eq!("cifar10:x".parse::<Source>().unwrap(), Source::Cifar10("x".into()));
        assert_eq!("fashion-mnist:c:d".parse::<Source>().unwrap(), Source::FashionMnist(Some("c:d".into())));
    }

    #[test]
    fn a_wrong_source_is_told_what_is_allowed() {
        for text in [
            "",
            "digit",
            "digits:x",
            "digits:",
            "cifar10",
            "cifar10:",
            "mnist",
            "fashion-mnist:",
            "CIFAR10:x",
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(matches!(error, Error::Usage(_)));
            let sentence = error.to_string();
            let all = [format!("'{text}'"), "--data".into(), "digits".into(), "cifar10:DIR".into()];
            assert!(all.iter().all(|part| sentence.contains(part)), "{sentence}");
            assert!(sentence.contains("mnist:DIR") && sentence.contains("fashion-mnist[:DIR]"), "{sentence}");
        }
    }

    #[test]
    fn statistics_are_per_channel() {
        let images = Images { height: 1, width: 2, channels: 2, pixels: vec![0, 7, 4, 7], labels: vec![0] };
        assert_eq!(images.statistics(), (vec![2.0, 7.0], vec![2.0, 0.0]));
    }

    fn small() -> Dataset {
        let images =
            Images { height: 2, width: 1, channels: 1, pixels: vec![1, 2, 3, 4], labels: vec![0, 1] };
        Dataset {
            name: "small".into(),
            classes: 2,
            class_names: names(&["a", "b"]),
            train: images.clone(),
            test: images,
            mean: vec![2.5],
            deviation: vec![1.0],
            augmentation: Augmentation::default(),
        }
    }

    #[test]
    fn every_broken_invariant_is_found() {
        small().check().unwrap();
        type Change = fn(&mut Dataset);
        let breaks: [(&str, Change); 8] = [
            ("train part holds no pixels", |d| d.train.labels.clear()),
            ("test part holds no pixels", |d| d.test.height = 0),
            ("3 bytes are not 2 train images of 2", |d| d.train.pixels.truncate(3)),
            ("test image 1 has label 2 of 2 classes", |d| d.test.labels[1] = 2),
            ("(2, 1, 1) and test images (1, 2, 1)", |d| (d.test.height, d.test.width) = (1, 2)),
            ("1 names for 2 classes", |d| d.class_names.truncate(1)),
            ("not those of 1 channels", |d| d.mean.push(0.0)),
            ("the same value in every training pixel", |d| d.deviation[0] = 0.0),
        ];
        for (expected, change) in breaks {
            let mut dataset = small();
            change(&mut dataset);
            let sentence = dataset.check().unwrap_err().to_string();
            assert!(sentence.contains(expected), "{sentence} lacks {expected}");
        }
    }

    #[test]
    fn classes_are_counted() {
        assert_eq!(small().train.class_counts(3), [1, 1, 0]);
    }
}
