//! CIFAR-10 (Krizhevsky, 2009) in its official binary format: records of one label byte and three planes of
//! 32 x 32 bytes, red, green and blue.
//!
//! The official files hold 10,000 records each. A directory in which any file is of that size must hold all six so;
//! otherwise any whole number of records is a file, so that a subset made with `head -c` is a data set too.

use std::io::ErrorKind;
use std::path::Path;

use super::{Augmentation, Dataset, Images, names};
use crate::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const CHANNELS: usize = 3;
const RECORD: usize = 1 + CHANNELS * PLANE;
const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// Records of an official file, and the most that a file may hold.
const OFFICIAL: usize = 10_000;
/// The customary constants of the 50,000 training images, in units of 255 byte values.
const MEAN: [f32; CHANNELS] = [0.49139968, 0.48215827, 0.44653124];
const DEVIATION: [f32; CHANNELS] = [0.24703233, 0.24348505, 0.26158768];

/// The files `data_batch_1.bin` to at most `data_batch_5.bin`, and `test_batch.bin`.
pub fn load(directory: &Path) -> Result<Dataset> {
    let mut train = empty();
    // The first file that is not there ends the training part, unless a later one is.
    let mut absent: Option<String> = None;
    for number in 1..=5 {
        let name = format!("data_batch_{number}.bin");
        match (read(&directory.join(&name))?, &absent) {
            (Some(bytes), None) => append(&mut train, &bytes, &directory.join(&name))?,
            (Some(_), Some(earlier)) => {
                return Err(missing(directory, earlier, &format!(", though {name} is there")));
            }
            (None, _) => absent = absent.or(Some(name)),
        }
        if train.count() == 0 {
            return Err(missing(directory, "data_batch_1.bin", ""));
        }
    }
    let name = "test_batch.bin";
    let bytes = read(&directory.join(name))?.ok_or_else(|| missing(directory, name, ""))?;
    let mut test = empty();
    append(&mut test, &bytes, &directory.join(name))?;
    check_complete(directory, &train, &test)?;
    Ok(Dataset {
        name: "cifar10".into(),
        classes: CLASSES.len(),
        class_names: names(&CLASSES),
        train,
        test,
        mean: MEAN.map(|value| value * 255.0).to_vec(),
        deviation: DEVIATION.map(|value| value * 255.0).to_vec(),
        augmentation: Augmentation { crop_padding: 4, flip: true, cutout: None },
    })
}

/// Refuses the official set when part of it is missing.
fn check_complete(directory: &Path, train: &Images, test: &Images) -> Result<()> {
    let official = test.count() == OFFICIAL || train.count() >= OFFICIAL;
    if !official || (test.count(), train.count()) == (OFFICIAL, 5 * OFFICIAL) {
        return Ok(());
    }
    let reason = format!(
        "{} training and {} test images; expected 10,000 in each of data_batch_1.bin to data_batch_5.bin and in \
         test_batch.bin",
        train.count(),
        test.count()
    );
    Err(Error::Data { path: directory.to_path_buf(), reason })
}

fn empty() -> Images {
    Images { height: SIDE, width: SIDE, channels: CHANNELS, ..Images::default() }
}

fn missing(directory: &Path, name: &str, though: &str) -> Error {
    let reason = format!("missing{though}; expected CIFAR-10 in its binary format");
    Error::Data { path: directory.join(name), reason }
}

/// The bytes of a file, or none when there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match crate::files::read_bounded(path, OFFICIAL * RECORD) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks the records of a file and appends them.
fn append(images: &mut Images, bytes: &[u8], path: &Path) -> Result<()> {
    let fail = |reason: String| Err(Error::Data { path: path.to_path_buf(), reason });
    if bytes.is_empty() {
        return fail(format!("empty; expected {RECORD}-byte records"));
    }
    if !bytes.len().is_multiple_of(RECORD) {
        return fail(format!("{} bytes are not a whole number of {RECORD}-byte records", bytes.len()));
    }
    images.pixels.reserve_exact(bytes.len() / RECORD * CHANNELS * PLANE);
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if usize::from(label) >= CLASSES.len() {
            return fail(format!("record {index} has label {label}; expected 0 to 9"));
        }
        images.labels.push(label);
        for pixel in 0..PLANE {
            images.pixels.extend((0..CHANNELS).map(|channel| planes[channel * PLANE + pixel]));
        }
    }
    Ok(())
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

    fn directory(files: &[(&str, Vec<u8>)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        directory
    }

    fn error(files: &[(&str, Vec<u8>)]) -> String {
        let directory = directory(files);
        let error = load(directory.path()).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        error.to_string()
    }

    #[test]
    fn planes_become_pixels() {
        let directory = directory(&[("data_batch_1.bin", records(3)), ("test_batch.bin", records(2))]);
        let dataset = load(directory.path()).unwrap();
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
        let dataset = load(directory(&files).path()).unwrap();
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
        label[2 * RECORD] = 10;
        let label = error(&[("data_batch_1.bin", records(1)), ("data_batch_2.bin", label)]);
        assert!(label.contains("data_batch_2.bin: record 2 has label 10; expected 0 to 9"), "{label}");
    }

    #[test]
    fn a_directory_in_place_of_a_file_is_an_error() {
        let directory = directory(&[]);
        fs::create_dir(directory.path().join("data_batch_1.bin")).unwrap();
        assert!(load(directory.path()).unwrap_err().to_string().contains("data_batch_1.bin"));
    }
}
