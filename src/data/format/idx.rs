//! The IDX format of MNIST (LeCun, Cortes and Burges), Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017) and EMNIST (Cohen,
//! Afshar, Tapson and van Schaik, 2017). Read [`file`](mod@file) for what a file is.

mod file;

use std::path::{Path, PathBuf};

use self::file::{Idx, Values};
use super::{Format, Location};
use crate::data::{Augmentation, Dataset, Images};
use crate::{Error, Result};

/// Where Debian's package puts Fashion-MNIST.
const INSTALLED: &str = "/usr/share/datasets/fashion-mnist";
const CLOTHES: [&str; 10] = [
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];
/// The most classes of a set without names.
const MOST_CLASSES: usize = 1000;
/// The longest side of an image.
const LONGEST_SIDE: usize = 1024;

/// A set: the beginnings of its files' names, and what its labels mean.
struct Set {
    name: &'static str,
    parts: [&'static str; 2],
    /// The names of the classes in the order of their labels; none for the labels themselves.
    classes: fn() -> Vec<String>,
    /// The label of the first class.
    first_label: usize,
    /// Whether the files hold columns where others hold rows.
    transposed: bool,
}

/// MNIST, and any set in files of the same names.
pub static MNIST: Format = Format {
    name: MNIST_SET.name,
    location: Location::Directory,
    note: "",
    files: "`train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same for `t10k`, plain or gzipped; images of any \
            size up to 1024x1024, of up to 1,000 classes",
    pictures: false,
    load: |request| MNIST_SET.load(request.directory),
};

/// Fashion-MNIST.
pub static FASHION_MNIST: Format = Format {
    name: FASHION_SET.name,
    location: Location::DirectoryOr(INSTALLED),
    note: "",
    files: "the same; without DIR those of Debian's package `dataset-fashion-mnist`",
    pictures: false,
    load: |request| fashion_mnist(request.directory, Path::new(INSTALLED)),
};

const MNIST_SET: Set =
    Set { name: "mnist", parts: ["train", "t10k"], classes: Vec::new, first_label: 0, transposed: false };
const FASHION_SET: Set = Set { name: "fashion-mnist", classes: || crate::data::names(&CLOTHES), ..MNIST_SET };

/// The sets of EMNIST: name, beginnings of the files' names, classes, the label of the first, and what is read.
macro_rules! emnist {
    ($($format:ident, $name:literal, $classes:expr, $first_label:literal, $files:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            pub static $format: Format = Format {
                name: $name,
                location: Location::Directory,
                note: "",
                files: $files,
                pictures: false,
                load: |request| {
                    const SET: Set = Set {
                        name: $name,
                        parts: [concat!($name, "-train"), concat!($name, "-test")],
                        classes: || $classes,
                        first_label: $first_label,
                        transposed: true,
                    };
                    SET.load(request.directory)
                },
            };
        )*
    };
}

emnist! {
    EMNIST_BALANCED, "emnist-balanced", letters(&['0'..='9', 'A'..='Z'], "abdefghnqrt"), 0,
        "`emnist-balanced-train-images-idx3-ubyte` and so on, plain or gzipped: 47 classes";
    EMNIST_BYMERGE, "emnist-bymerge", letters(&['0'..='9', 'A'..='Z'], "abdefghnqrt"), 0, "the same, 47 classes";
    EMNIST_BYCLASS, "emnist-byclass", letters(&['0'..='9', 'A'..='Z', 'a'..='z'], ""), 0, "the same, 62 classes";
    EMNIST_LETTERS, "emnist-letters", letters(&['A'..='Z'], ""), 1, "the same, 26 classes";
    EMNIST_DIGITS, "emnist-digits", letters(&['0'..='9'], ""), 0, "the same, 10 classes";
    EMNIST_MNIST, "emnist-mnist", letters(&['0'..='9'], ""), 0, "the same, 10 classes";
}

/// The letters of ranges, and more.
fn letters(ranges: &[std::ops::RangeInclusive<char>], more: &str) -> Vec<String> {
    ranges.iter().cloned().flatten().chain(more.chars()).map(String::from).collect()
}

/// Fashion-MNIST from a directory; `installed` is where Debian puts it.
fn fashion_mnist(directory: &Path, installed: &Path) -> Result<Dataset> {
    if directory == installed && !installed.is_dir() {
        let advice = "not there; install Debian's package dataset-fashion-mnist or name a directory: \
                      --data fashion-mnist:DIR";
        return Err(Error::Data { path: installed.to_path_buf(), reason: advice.into() });
    }
    FASHION_SET.load(directory)
}

impl Set {
    fn load(&self, directory: &Path) -> Result<Dataset> {
        let (train, train_path) = self.part(directory, self.parts[0])?;
        let (test, path) = self.part(directory, self.parts[1])?;
        if (train.height, train.width) != (test.height, test.width) {
            let reason = format!(
                "images of {} x {} pixels; expected {} x {} as in the training part",
                test.height, test.width, train.height, train.width
            );
            return Err(Error::Data { path, reason });
        }
        let (mean, deviation) = train.statistics();
        if deviation.contains(&0.0) {
            let reason = "has the same value in every training pixel".into();
            return Err(Error::Data { path: train_path, reason });
        }
        let mut class_names = (self.classes)();
        if class_names.is_empty() {
            let labels = train.labels.iter().chain(&test.labels);
            let count = labels.max().map_or(0, |&label| usize::from(label) + 1);
            class_names = (0..count).map(|class| class.to_string()).collect();
        }
        Ok(Dataset {
            name: self.name.into(),
            class_names,
            train,
            test,
            mean,
            deviation,
            white: u8::MAX,
            augmentation: Augmentation::default(),
            pictures: None,
        })
    }

    /// The images and labels of one part, and the file of the images.
    fn part(&self, directory: &Path, prefix: &str) -> Result<(Images, PathBuf)> {
        let mut images = Idx::open(directory, &format!("{prefix}-images"), 3, Values::Bytes)?;
        let mut labels = Idx::open(directory, &format!("{prefix}-labels"), 1, Values::Whole)?;
        let (count, height, width) = (images.sizes[0], images.sizes[1], images.sizes[2]);
        if height > LONGEST_SIDE || width > LONGEST_SIDE {
            return images.fail(format!(
                "images of {height} x {width} pixels; expected at most {LONGEST_SIDE} a side"
            ));
        }
        // Before the values are read: a header that lies is cheaper to find than its values are to keep.
        if labels.sizes[0] != count {
            let found = labels.sizes[0];
            return labels.fail(format!("{found} labels; expected {count}, one for each image"));
        }
        let values = labels.whole_numbers()?;
        let known = (self.classes)().len();
        let last = self.first_label + if known == 0 { MOST_CLASSES } else { known } - 1;
        let expected = self.first_label as i64..=last as i64;
        if let Some(index) = values.iter().position(|label| !expected.contains(label)) {
            let (label, first) = (values[index], self.first_label);
            return labels.fail(format!("label {index} is {label}; expected {first} to {last}"));
        }
        let pixels = images.values()?;
        let labels = values.into_iter().map(|label| (label - self.first_label as i64) as u16).collect();
        let images_of_file = Images { height, width, channels: 1, pixels, labels };
        Ok((if self.transposed { transposed(images_of_file) } else { images_of_file }, images.path))
    }
}

/// Images of one channel whose rows become columns.
fn transposed(images: Images) -> Images {
    let Images { height, width, .. } = images;
    let turned = |image: &[u8]| -> Vec<u8> {
        (0..width).flat_map(|x| (0..height).map(move |y| (y, x))).map(|(y, x)| image[y * width + x]).collect()
    };
    let pixels = images.pixels.chunks_exact(height * width).flat_map(turned).collect();
    Images { height: width, width: height, pixels, ..images }
}

#[cfg(test)]
mod tests;
