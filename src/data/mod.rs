//! Data sets, splits, augmentation and batches.
//!
//! Read in this order: [`Images`]; this file ([`Dataset`]); [`Source`], the value of `--data`; the formats of
//! data sets, [`mod@format`]; [`halves`], the two parts of the bilevel search; [`Augmentation`];
//! and last [`Loader`], which turns indices into batches on a thread of its own.
//!
//! Images stay bytes until a batch is made of them: an epoch reads every image once, so normalising on the
//! way costs little and keeps a data set at a quarter of the memory.

mod augment;
pub mod balance;
mod fit;
pub mod format;
mod images;
mod loader;
pub mod manifest;
mod picture;
pub mod sheet;
mod sniff;
mod source;
mod split;
pub mod survey;

use std::path::PathBuf;

pub use augment::{Augmentation, Placement};
pub use fit::{Background, Fit};
pub use format::{Format, ReadingProgress};
pub use images::{Images, Normalisation};
pub use loader::{AugmentedBy, Batch, Loader};
pub use manifest::{Manifest, Provenance};
pub use picture::{Colour, Reading};
pub use source::Source;
pub use split::{Dealing, halves};
pub use survey::Survey;

use crate::{Error, Result};

/// A data set: two parts and what is needed to make inputs of a network of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The name, without any directory.
    pub name: String,
    /// What the classes are called; labels are indices of these.
    pub class_names: Vec<String>,
    /// The images to search and train on.
    pub train: Images,
    /// The images that are only ever measured on.
    pub test: Images,
    /// The mean of each channel, in units of byte values.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, in units of byte values.
    pub deviation: Vec<f32>,
    /// The byte of the brightest pixel: 255 in pictures.
    pub white: u8,
    /// The augmentation that is customary for the training images.
    pub augmentation: Augmentation,
    /// What is known of the pictures, where these are files of their own.
    pub pictures: Option<Pictures>,
}

/// What is known of the pictures of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Pictures {
    /// Which they are.
    pub manifest: Manifest,
    /// How they were read.
    pub reading: Reading,
    /// How many and how large they are.
    pub survey: Survey,
}

impl Dataset {
    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// How byte values become inputs of a network.
    pub fn normalisation(&self) -> Normalisation {
        Normalisation { mean: self.mean.clone(), deviation: self.deviation.clone() }
    }

    /// The same with only so many of the training images, 0 for all: of each class its share, which the seed chooses. What
    /// turns byte values into inputs stays.
    pub fn with_train_images(mut self, count: usize, seed: u64) -> Self {
        if (1..self.train.count()).contains(&count) {
            let taken = split::some_of_each_class(&self.train, self.classes(), count, seed);
            self.train = self.train.select(&taken);
        }
        self
    }

    /// A checksum (CRC-32C) of both parts and of all that turns them into inputs of a network.
    pub fn checksum(&self) -> u32 {
        let constants = format!("{:?}", (&self.class_names, &self.mean, &self.deviation, self.augmentation));
        [&self.train, &self.test].into_iter().fold(crc32c::crc32c(constants.as_bytes()), |sum, images| {
            let sizes = [images.count(), images.height, images.width, images.channels];
            let sum = crc32c::crc32c_append(sum, format!("{sizes:?}").as_bytes());
            let sum = crc32c::crc32c_append(sum, &images.pixels);
            let labels = images.labels.iter().map(|label| label.to_le_bytes());
            labels.fold(sum, |sum, label| crc32c::crc32c_append(sum, &label))
        })
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
            if let Some(byte) = images.pixels.iter().find(|&&byte| byte > self.white) {
                let white = self.white;
                return fail(format!("a {part} image holds the value {byte}; expected at most {white}"));
            }
            if let Some(index) = images.labels.iter().position(|&l| usize::from(l) >= self.classes()) {
                let (label, classes) = (images.labels[index], self.classes());
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

/// Owned names from a table of them.
fn names(table: &[&str]) -> Vec<String> {
    table.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            class_names: names(&["a", "b"]),
            train: images.clone(),
            test: images,
            mean: vec![2.5],
            deviation: vec![1.0],
            white: 4,
            augmentation: Augmentation::default(),
            pictures: None,
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
            ("a test image holds the value 4; expected at most 3", |d| {
                d.white = 3;
                d.train.pixels[3] = 3;
            }),
            ("test image 1 has label 2 of 2 classes", |d| d.test.labels[1] = 2),
            ("(2, 1, 1) and test images (1, 2, 1)", |d| (d.test.height, d.test.width) = (1, 2)),
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
    fn every_part_is_in_the_checksum() {
        type Change = fn(&mut Dataset);
        let changes: [Change; 7] = [
            |d| d.train.pixels[3] ^= 1,
            |d| d.test.pixels[0] ^= 128,
            |d| d.train.labels.swap(0, 1),
            |d| d.test.labels[1] = 0,
            |d| d.mean[0] += 1e-6,
            |d| d.class_names.swap(0, 1),
            |d| (d.train.height, d.train.width) = (1, 2),
        ];
        assert_eq!(small().checksum(), small().checksum());
        for (index, change) in changes.into_iter().enumerate() {
            let mut dataset = small();
            change(&mut dataset);
            assert_ne!(dataset.checksum(), small().checksum(), "change {index}");
        }
    }

    #[test]
    fn classes_are_counted() {
        assert_eq!(small().train.class_counts(3), [1, 1, 0]);
    }
}
