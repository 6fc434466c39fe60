//! CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in their official binary formats: records of labels and three planes of
//! 32 x 32 bytes, red, green and blue. CIFAR-10 has one label byte, CIFAR-100 two: the coarse and the fine class, of
//! which the fine one is used.
//!
//! A directory in which a file has the official number of records must be the whole official set; otherwise any whole
//! number of records is a file, so that a subset made with `head -c` is a data set too.

use std::io::ErrorKind;
use std::path::Path;

use super::{Format, Location};
use crate::data::{Augmentation, Dataset, Images, names};
use crate::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const CHANNELS: usize = 3;
/// Images of the official test part.
const OFFICIAL_TEST: usize = 10_000;
/// Images of the official training part.
const OFFICIAL_TRAIN: usize = 50_000;
/// The customary constants of the 50,000 training images of CIFAR-10, in units of 255 byte values.
const MEAN: [f32; CHANNELS] = [0.49139968, 0.48215827, 0.44653124];
const DEVIATION: [f32; CHANNELS] = [0.24703233, 0.24348505, 0.26158768];

const LAYOUT10: Layout = Layout {
    name: "CIFAR-10",
    directory: "cifar-10-batches-bin",
    python: ["data_batch_1", "cifar-10-batches-py"],
    archive: "cifar-10-binary.tar.gz",
    labels: 1,
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
};

#[rustfmt::skip]
const LAYOUT100: Layout = Layout {
    name: "CIFAR-100",
    directory: "cifar-100-binary",
    python: ["train", "cifar-100-python"],
    archive: "cifar-100-binary.tar.gz",
    labels: 2,
    train: &["train.bin"],
    test: "test.bin",
    classes: &[
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
        "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
        "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
        "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
        "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ],
};

/// How a set lies in its files.
struct Layout {
    name: &'static str,
    /// The directory that its archive makes.
    directory: &'static str,
    /// A file and a directory by which the format for Python is known.
    python: [&'static str; 2],
    /// The archive of the binary format.
    archive: &'static str,
    /// Label bytes of a record; the last one is the class.
    labels: usize,
    train: &'static [&'static str],
    test: &'static str,
    classes: &'static [&'static str],
}

/// CIFAR-10.
pub static CIFAR10: Format = Format {
    name: "cifar10",
    location: Location::Directory,
    note: "",
    files: "`data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`: records of a label byte and 32x32 bytes of red, \
            green and blue",
    pictures: false,
    load: |request| cifar10(request.directory),
};

/// CIFAR-100 by its fine labels.
pub static CIFAR100: Format = Format {
    name: "cifar100",
    location: Location::Directory,
    note: "",
    files: "`train.bin` and `test.bin`: the same with two label bytes, of which the second, the fine class, is used",
    pictures: false,
    load: |request| cifar100(request.directory),
};

/// The files `data_batch_1.bin` to at most `data_batch_5.bin`, and `test_batch.bin`.
fn cifar10(directory: &Path) -> Result<Dataset> {
    let (train, test) = LAYOUT10.read(directory)?;
    let [mean, deviation] = [MEAN, DEVIATION].map(|values| values.map(|value| value * 255.0).to_vec());
    Ok(LAYOUT10.dataset(CIFAR10.name, train, test, (mean, deviation)))
}

/// The files `train.bin` and `test.bin`.
fn cifar100(directory: &Path) -> Result<Dataset> {
    let (train, test) = LAYOUT100.read(directory)?;
    let constants = train.statistics();
    Ok(LAYOUT100.dataset(CIFAR100.name, train, test, constants))
}

impl Layout {
    fn dataset(&self, name: &str, train: Images, test: Images, constants: (Vec<f32>, Vec<f32>)) -> Dataset {
        Dataset {
            name: name.into(),
            class_names: names(self.classes),
            train,
            test,
            mean: constants.0,
            deviation: constants.1,
            white: u8::MAX,
            augmentation: Augmentation { crop_padding: 4, flip: true, cutout: None },
            pictures: None,
        }
    }

    /// The training and the test part.
    fn read(&self, directory: &Path) -> Result<(Images, Images)> {
        let below = directory.join(self.directory);
        let directory = if below.is_dir() { &below } else { directory };
        let mut train = empty();
        // The first file that is not there ends the training part, unless a later one is.
        let mut absent: Option<&str> = None;
        for &name in self.train {
            match (self.bytes(&directory.join(name))?, absent) {
                (Some(bytes), None) => self.append(&mut train, &bytes, &directory.join(name))?,
                (Some(_), Some(earlier)) => {
                    return Err(self.missing(directory, earlier, &format!(", though {name} is there")));
                }
                (None, _) => absent = absent.or(Some(name)),
            }
            if train.count() == 0 {
                return Err(self.missing(directory, self.train[0], ""));
            }
        }
        let path = directory.join(self.test);
        let bytes = self.bytes(&path)?.ok_or_else(|| self.missing(directory, self.test, ""))?;
        let mut test = empty();
        self.append(&mut test, &bytes, &path)?;
        self.check_complete(directory, &train, &test)?;
        Ok((train, test))
    }

    /// Refuses the official set when part of it is missing.
    fn check_complete(&self, directory: &Path, train: &Images, test: &Images) -> Result<()> {
        let in_a_file = OFFICIAL_TRAIN / self.train.len();
        let official = test.count() == OFFICIAL_TEST || train.count() >= in_a_file;
        if !official || (test.count(), train.count()) == (OFFICIAL_TEST, OFFICIAL_TRAIN) {
            return Ok(());
        }
        let (first, last) = (self.train[0], self.train[self.train.len() - 1]);
        let files = if first == last { first.to_owned() } else { format!("{first} to {last}") };
        let reason = format!(
            "{} training and {} test images; expected {OFFICIAL_TRAIN} in {files} and {OFFICIAL_TEST} in {}",
            train.count(),
            test.count(),
            self.test
        );
        Err(Error::Data { path: directory.to_path_buf(), reason })
    }

    fn missing(&self, directory: &Path, name: &str, though: &str) -> Error {
        let is_python = self.python.iter().any(|name| directory.join(name).exists());
        let found = match () {
            () if !though.is_empty() => String::new(),
            () if is_python && !directory.join(self.python[0]).is_dir() => {
                format!("; this is the format for Python: download {}", self.archive)
            }
            () if holds_directories(directory) => {
                "; pictures in directories of classes are read with --data folder:DIR".to_owned()
            }
            () => String::new(),
        };
        let reason = format!("missing{though}; expected {} in its binary format{found}", self.name);
        Error::Data { path: directory.join(name), reason }
    }

    /// Bytes of a record.
    fn record(&self) -> usize {
        self.labels + CHANNELS * PLANE
    }

    /// The bytes of a file, or none when there is no such file.
    fn bytes(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let most = OFFICIAL_TEST.max(OFFICIAL_TRAIN / self.train.len());
        match crate::files::read_bounded(path, most * self.record()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks the records of a file and appends them.
    fn append(&self, images: &mut Images, bytes: &[u8], path: &Path) -> Result<()> {
        let fail = |reason: String| Err(Error::Data { path: path.to_path_buf(), reason });
        let length = self.record();
        if bytes.is_empty() {
            return fail(format!("empty; expected {length}-byte records"));
        }
        if !bytes.len().is_multiple_of(length) {
            return fail(format!("{} bytes are not a whole number of {length}-byte records", bytes.len()));
        }
        images.pixels.reserve_exact(bytes.len() / length * CHANNELS * PLANE);
        for (index, record) in bytes.chunks_exact(length).enumerate() {
            let (label, planes) = (record[self.labels - 1], &record[self.labels..]);
            if usize::from(label) >= self.classes.len() {
                let last = self.classes.len() - 1;
                return fail(format!("record {index} has label {label}; expected 0 to {last}"));
            }
            images.labels.push(u16::from(label));
            for pixel in 0..PLANE {
                images.pixels.extend((0..CHANNELS).map(|channel| planes[channel * PLANE + pixel]));
            }
        }
        Ok(())
    }
}

/// Whether a directory holds others.
fn holds_directories(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().is_dir())
}

fn empty() -> Images {
    Images { height: SIDE, width: SIDE, channels: CHANNELS, ..Images::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// Records whose label is their index and whose bytes name plane and place.
    fn records(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for index in 0..count {
            bytes.push((index % 10) as u8);
            for channel in 0..CHANNELS {
                bytes.extend((0..PLANE).map(|pixel| (index * 7 + channel * 50 + pixel % 43) as u8));
            }
        }
        bytes
    }

    /// The same as records of CIFAR-100, with another number as the coarse label.
    fn records_of_100(count: usize) -> Vec<u8> {
        let record = |record: &[u8]| [&[99 - record[0]], record].concat();
        records(count).chunks(3073).flat_map(record).collect()
    }

    fn directory(files: &[(&str, Vec<u8>)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        directory
    }

    fn error(files: &[(&str, Vec<u8>)]) -> String {
        let directory = directory(files);
        let error = cifar10(directory.path()).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        error.to_string()
    }

    #[test]
    fn planes_become_pixels() {
        let directory = directory(&[("data_batch_1.bin", records(3)), ("test_batch.bin", records(2))]);
        let dataset = cifar10(directory.path()).unwrap();
        dataset.check().unwrap();
        assert_eq!((dataset.train.count(), dataset.test.count()), (3, 2));
        assert_eq!(dataset.train.labels, [0, 1, 2]);
        for (index, pixel, channel) in [(0, 0, 0), (2, 1023, 2), (1, 33, 1)] {
            let expected = (index * 7 + channel * 50 + pixel % 43) as u8;
            assert_eq!(dataset.train.image(index)[pixel * 3 + channel], expected);
        }
        assert!((dataset.mean[0] - 125.307).abs() < 1e-3 && (dataset.deviation[2] - 66.705).abs() < 1e-3);
        assert_eq!(dataset.augmentation, Augmentation { crop_padding: 4, flip: true, cutout: None });
    }

    #[test]
    fn batches_are_joined_in_order() {
        let files = [2, 1, 3].map(records);
        let [one, two, test] = files;
        let files = [("data_batch_1.bin", one), ("data_batch_2.bin", two), ("test_batch.bin", test)];
        let dataset = cifar10(directory(&files).path()).unwrap();
        assert_eq!(dataset.train.labels, [0, 1, 0]);
        assert_eq!(dataset.test.count(), 3);
    }

    #[test]
    fn missing_files_are_named() {
        let nothing = error(&[]);
        assert!(nothing.contains("data_batch_1.bin: missing"), "{nothing}");
        let first = error(&[("data_batch_2.bin", records(1)), ("test_batch.bin", records(1))]);
        assert!(first.contains("data_batch_1.bin: missing"), "{first}");
        let test = error(&[("data_batch_1.bin", records(1))]);
        assert!(test.contains("test_batch.bin: missing"), "{test}");
        let gap = error(&[("data_batch_1.bin", records(1)), ("data_batch_4.bin", records(1))]);
        assert!(gap.contains("data_batch_2.bin: missing, though data_batch_4.bin is there"), "{gap}");
    }

    #[test]
    fn broken_files_say_what_was_found() {
        let mut short = records(2);
        short.pop();
        let short = error(&[("data_batch_1.bin", short)]);
        assert!(short.contains("data_batch_1.bin: 6145 bytes are not a whole number of 3073"), "{short}");
        let empty = error(&[("data_batch_1.bin", records(1)), ("test_batch.bin", Vec::new())]);
        assert!(empty.contains("test_batch.bin: empty"), "{empty}");
        let mut label = records(3);
        label[2 * 3073] = 10;
        let label = error(&[("data_batch_1.bin", records(1)), ("data_batch_2.bin", label)]);
        assert!(label.contains("data_batch_2.bin: record 2 has label 10; expected 0 to 9"), "{label}");
    }

    #[test]
    fn a_directory_in_place_of_a_file_is_an_error() {
        let directory = directory(&[]);
        fs::create_dir(directory.path().join("data_batch_1.bin")).unwrap();
        assert!(cifar10(directory.path()).unwrap_err().to_string().contains("data_batch_1.bin"));
    }

    #[test]
    fn other_forms_are_told_the_way_out() {
        let files = [
            ("cifar-10-batches-bin/data_batch_1.bin", records(3)),
            ("cifar-10-batches-bin/test_batch.bin", records(2)),
        ];
        let above = tempfile::tempdir().unwrap();
        fs::create_dir(above.path().join("cifar-10-batches-bin")).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(above.path().join(name), bytes).unwrap());
        assert_eq!(cifar10(above.path()).unwrap().train.count(), 3);
        let python = error(&[("data_batch_1", vec![0x80, 2])]);
        assert!(
            python.ends_with("this is the format for Python: download cifar-10-binary.tar.gz"),
            "{python}"
        );
        let python = directory(&[("train", vec![0x80, 2])]);
        let python = cifar100(python.path()).unwrap_err().to_string();
        assert!(python.ends_with("download cifar-100-binary.tar.gz"), "{python}");
        let pictures = tempfile::tempdir().unwrap();
        fs::create_dir(pictures.path().join("train")).unwrap();
        for error in [cifar10(pictures.path()), cifar100(pictures.path())] {
            let sentence = error.unwrap_err().to_string();
            assert!(sentence.ends_with("read with --data folder:DIR"), "{sentence}");
        }
    }

    #[test]
    fn the_fine_label_of_cifar100_is_the_class() {
        let files = [("train.bin", records_of_100(7)), ("test.bin", records_of_100(2))];
        let dataset = cifar100(directory(&files).path()).unwrap();
        dataset.check().unwrap();
        assert_eq!((dataset.classes(), dataset.train.count(), dataset.test.count()), (100, 7, 2));
        assert_eq!(dataset.train.labels, [0, 1, 2, 3, 4, 5, 6]);
        let files = [("data_batch_1.bin", records(7)), ("test_batch.bin", records(2))];
        assert_eq!(dataset.train.pixels, cifar10(directory(&files).path()).unwrap().train.pixels);
        assert_eq!((dataset.class_names[0].as_str(), dataset.class_names[99].as_str()), ("apple", "worm"));
        assert!(dataset.class_names.is_sorted(), "the official labels are in the order of the alphabet");
    }

    #[test]
    fn broken_files_of_cifar100_are_named() {
        let error = |files: &[(&str, Vec<u8>)]| cifar100(directory(files).path()).unwrap_err().to_string();
        assert!(error(&[]).contains("train.bin: missing; expected CIFAR-100"));
        assert!(error(&[("train.bin", records_of_100(1))]).contains("test.bin: missing"));
        let short = error(&[("train.bin", records(2))]);
        assert!(
            short.contains("train.bin: 6146 bytes are not a whole number of 3074-byte records"),
            "{short}"
        );
        let mut label = records_of_100(2);
        label[3074 + 1] = 100;
        let label = error(&[("train.bin", label)]);
        assert!(label.contains("train.bin: record 1 has label 100; expected 0 to 99"), "{label}");
        let half = error(&[("train.bin", records_of_100(1)), ("test.bin", vec![0; 3074 * 10_000])]);
        assert!(half.contains("expected 50000 in train.bin and 10000 in test.bin"), "{half}");
    }
}
