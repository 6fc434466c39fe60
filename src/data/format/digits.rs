//! The digits inside the program: 1,797 real handwritten digits of 8 x 8 pixels.
//!
//! They are the test part of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak, 1998;
//! UCI Machine Learning Repository, doi:10.24432/C50P49), licensed CC BY 4.0; see `digits8x8.LICENSE.md`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{GrayImage, ImageFormat};

use super::{Format, Location};
use crate::data::split::stratified;
use crate::data::{Augmentation, Dataset, Images};
use crate::{Error, Result};

/// Records of one label byte and 64 values from 0 to 16.
static RECORDS: &[u8] = include_bytes!("digits8x8.bin");
/// The value of ink at its fullest.
const WHITE: u8 = 16;
const SIDE: usize = 8;
const RECORD: usize = 1 + SIDE * SIDE;
const CLASSES: usize = 10;
/// One picture in so many is written into the test part.
const HELD_OUT: usize = 5;

/// The digits inside the program.
pub static DIGITS: Format = Format {
    name: "digits",
    location: Location::BuiltIn,
    note: "(built in)",
    files: "the built-in digits",
    pictures: false,
    load: |request| load(request.seed),
};

/// All digits; the seed decides which fifth of each class is the test part.
fn load(seed: u64) -> Result<Dataset> {
    let digits = all();
    let (train, test) = stratified(&digits.labels, CLASSES, seed);
    let (train, test) = (digits.select(&train), digits.select(&test));
    let (mean, deviation) = train.statistics();
    Ok(Dataset {
        name: DIGITS.name.into(),
        class_names: (0..CLASSES).map(|digit| digit.to_string()).collect(),
        train,
        test,
        mean,
        deviation,
        white: WHITE,
        // A flipped digit is another character, and at 8 pixels a side a shifted one loses its strokes.
        augmentation: Augmentation::default(),
        pictures: None,
    })
}

/// All images in the order of the file.
fn all() -> Images {
    let mut images = Images { height: SIDE, width: SIDE, channels: 1, ..Images::default() };
    for record in RECORDS.chunks_exact(RECORD) {
        images.labels.push(u16::from(record[0]));
        images.pixels.extend_from_slice(&record[1..]);
    }
    images
}

/// Writes the digits as pictures, `train/CLASS/INDEX.png` and every fifth as `test/CLASS/INDEX.png`, into a directory that
/// exists; gives how many are in each part.
pub fn write_pictures(directory: &Path) -> Result<[usize; 2]> {
    let mut counts = [0; 2];
    let mut made = BTreeSet::new();
    for (index, record) in RECORDS.chunks_exact(RECORD).enumerate() {
        let part = usize::from(index % HELD_OUT == HELD_OUT - 1);
        let class = directory.join(["train", "test"][part]).join(record[0].to_string());
        if made.insert((part, record[0])) {
            fs::create_dir_all(&class).map_err(|error| Error::io(&class, error))?;
        }
        let path = class.join(format!("{index:04}.png"));
        fs::write(&path, png(&record[1..])).map_err(|error| Error::io(&path, error))?;
        counts[part] += 1;
    }
    Ok(counts)
}

/// A digit as a file, a pixel for each of its own; the fullest ink is white.
fn png(values: &[u8]) -> Vec<u8> {
    let pixels = values.iter().map(|value| value.saturating_mul(u8::MAX / WHITE + 1)).collect();
    let picture = GrayImage::from_vec(SIDE as u32, SIDE as u32, pixels).expect("a record holds a digit");
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).expect("memory takes a picture of 64 pixels");
    file.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each digit occurs in the file, as scikit-learn documents the set.
    const COUNTS: [usize; CLASSES] = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];

    #[test]
    fn the_file_is_what_it_should_be() {
        assert_eq!(RECORDS.len(), 1797 * RECORD);
        for record in RECORDS.chunks_exact(RECORD) {
            assert!(record[0] < 10 && record[1..].iter().all(|&value| value <= WHITE));
        }
        // The first row of the first image, a zero.
        assert_eq!(RECORDS[..9], [0, 0, 0, 5, 13, 9, 1, 0, 0]);
    }

    #[test]
    fn a_fifth_of_every_class_is_tested() {
        let dataset = load(1).unwrap();
        let (train, test) = (dataset.train.class_counts(CLASSES), dataset.test.class_counts(CLASSES));
        for class in 0..CLASSES {
            assert_eq!(train[class] + test[class], COUNTS[class]);
            assert_eq!(test[class], (COUNTS[class] as f64 / 5.0).round() as usize);
        }
    }

    #[test]
    fn the_parts_follow_the_seed() {
        assert_eq!(load(1).unwrap(), load(1).unwrap());
        assert_ne!(load(1).unwrap().test, load(2).unwrap().test);
    }

    #[test]
    fn constants_are_those_of_the_training_part() {
        let dataset = load(1).unwrap();
        let values: Vec<f64> = dataset.train.pixels.iter().map(|&v| f64::from(v)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((f64::from(dataset.mean[0]) - mean).abs() < 1e-5);
        assert!((f64::from(dataset.deviation[0]) - variance.sqrt()).abs() < 1e-5);
        assert_eq!(dataset.augmentation, Augmentation::default());
    }
}
