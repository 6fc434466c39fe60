//! The digits inside the program: 1,797 real handwritten digits of 8 x 8 pixels.
//!
//! They are the test part of *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak, 1998;
//! UCI Machine Learning Repository, doi:10.24432/C50P49), licensed CC BY 4.0; see `digits8x8.LICENSE.md`.

use rand::seq::SliceRandom;

use super::{Augmentation, Dataset, Images};
use crate::Result;
use crate::random::{Stream, generator};

/// Records of one label byte and 64 values from 0 to 16.
static RECORDS: &[u8] = include_bytes!("digits8x8.bin");
const SIDE: usize = 8;
const RECORD: usize = 1 + SIDE * SIDE;
const CLASSES: usize = 10;
/// One image in this many goes into the test part.
const TEST_SHARE: usize = 5;

/// All digits; the seed decides which fifth of each class is the test part.
pub fn load(seed: u64) -> Result<Dataset> {
    let (train, test) = split(seed);
    let (train, test) = (collect(&train), collect(&test));
    let (mean, deviation) = train.statistics();
    Ok(Dataset {
        name: "digits".into(),
        classes: CLASSES,
        class_names: (0..CLASSES).map(|digit| digit.to_string()).collect(),
        train,
        test,
        mean,
        deviation,
        // A flipped digit is another character, and at 8 pixels a side a shifted one loses its strokes.
        augmentation: Augmentation::default(),
    })
}

/// The records of the training and of the test part, each in the order of the file.
fn split(seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut generator = generator(seed, Stream::Split, 0);
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for class in 0..CLASSES {
        let labels = RECORDS.iter().step_by(RECORD).enumerate();
        let mut members: Vec<usize> =
            labels.filter(|&(_, &label)| usize::from(label) == class).map(|(record, _)| record).collect();
        members.shuffle(&mut generator);
        // Rounded to the nearest whole number of images.
        let tested = (members.len() + TEST_SHARE / 2) / TEST_SHARE;
        test.extend_from_slice(&members[..tested]);
        train.extend_from_slice(&members[tested..]);
    }
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

/// The images of some records.
fn collect(records: &[usize]) -> Images {
    let mut images = Images { height: SIDE, width: SIDE, channels: 1, ..Images::default() };
    for &record in records {
        let bytes = &RECORDS[record * RECORD..(record + 1) * RECORD];
        images.labels.push(bytes[0]);
        images.pixels.extend_from_slice(&bytes[1..]);
    }
    images
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
            assert!(record[0] < 10 && record[1..].iter().all(|&value| value <= 16));
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
    fn the_parts_are_disjoint_and_follow_the_seed() {
        let (train, test) = split(1);
        let mut all = [train, test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1797).collect::<Vec<_>>());
        assert_eq!(split(1).1, test);
        assert_ne!(split(2).1, test);
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
