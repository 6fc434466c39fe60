//! The data layer from outside: whole data sets through [`Source`], splits and loaders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use darts::Error;
use darts::data::{Augmentation, Dataset, Loader, Reading, Source, halves};
use darts::random::Stream;

fn load(text: &str) -> darts::Result<Dataset> {
    text.parse::<Source>()?.load(7, &Reading::default(), &())
}

/// Real files that are not part of the repository: the folder named by DARTS_TEST_DATA, or `shared/data`
/// beside the repository.
fn real_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DARTS_TEST_DATA")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.join("shared").join("data")));
    let path = folder.map(|folder| folder.join(name)).filter(|path| path.is_file());
    if path.is_none() {
        println!("skipped: {name} is neither in DARTS_TEST_DATA nor beside the repository");
    }
    path
}

#[test]
fn the_digits_are_all_there() {
    let digits = load("digits").unwrap();
    assert_eq!(digits.train.count() + digits.test.count(), 1797);
    assert_eq!((digits.train.height, digits.train.width, digits.train.channels), (8, 8, 1));
    let (train, test) = (digits.train.class_counts(10), digits.test.class_counts(10));
    assert!(train.iter().all(|&count| count > 130) && test.iter().all(|&count| count > 30));
    let images = |dataset: &Dataset| dataset.test.pixels.clone();
    assert_eq!(
        images(&digits),
        images(&"digits".parse::<Source>().unwrap().load(7, &Reading::default(), &()).unwrap())
    );
    assert_ne!(
        images(&digits),
        images(&"digits".parse::<Source>().unwrap().load(8, &Reading::default(), &()).unwrap())
    );
}

/// The classes of the digits are far apart: the nearest class mean already tells most of them. Labels that
/// do not belong to their images would give one in ten.
#[test]
fn the_digits_belong_to_their_labels() {
    let Dataset { train, test, .. } = load("digits").unwrap();
    let mut means = vec![[0f32; 64]; 10];
    let counts = train.class_counts(10);
    for index in 0..train.count() {
        let class = usize::from(train.labels[index]);
        for (mean, &value) in means[class].iter_mut().zip(train.image(index)) {
            *mean += f32::from(value) / counts[class] as f32;
        }
    }
    let nearest = |image: &[u8]| {
        let distance = |mean: &[f32; 64]| -> f32 {
            mean.iter().zip(image).map(|(m, &value)| (m - f32::from(value)).powi(2)).sum()
        };
        (0..10).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b]))).unwrap()
    };
    let right = (0..test.count()).filter(|&i| nearest(test.image(i)) == usize::from(test.labels[i])).count();
    assert!(right * 10 > test.count() * 8, "{right} of {} are right", test.count());
}

#[test]
fn real_cifar10_images_are_read() {
    let (Some(train), Some(test)) = (real_data("cifar10-mini-train.bin"), real_data("cifar10-mini-test.bin"))
    else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    fs::copy(&train, directory.path().join("data_batch_1.bin")).unwrap();
    fs::copy(&test, directory.path().join("test_batch.bin")).unwrap();
    let cifar = load(&format!("cifar10:{}", directory.path().display())).unwrap();
    assert_eq!((cifar.train.class_counts(10), cifar.test.class_counts(10)), (vec![100; 10], vec![50; 10]));
    let bytes = fs::read(&train).unwrap();
    for (index, row, column, channel) in [(0, 0, 0, 0), (999, 31, 31, 2), (123, 4, 17, 1)] {
        let expected = bytes[index * 3073 + 1 + channel * 1024 + row * 32 + column];
        assert_eq!(cifar.train.image(index)[(row * 32 + column) * 3 + channel], expected);
    }
    // The customary constants are those of all 50,000 images; a thousand come close to them. Pixels in
    // another order would pass this, planes taken for one another would not.
    for channel in 0..3 {
        let values = cifar.train.pixels.iter().skip(channel).step_by(3);
        let mean = values.map(|&v| f64::from(v)).sum::<f64>() / (1000.0 * 1024.0);
        assert!((mean - f64::from(cifar.mean[channel])).abs() < 5.0, "channel {channel}: {mean}");
    }
    // Neighbouring pixels of a photograph are alike; those of scrambled planes are not.
    let image = cifar.train.image(0);
    let step: f64 = image.windows(4).map(|w| f64::from(w[0].abs_diff(w[3]))).sum::<f64>() / 3069.0;
    assert!(step < 40.0, "neighbouring pixels differ by {step}");
}

#[test]
fn installed_fashion_mnist_is_read() {
    let installed = Path::new("/usr/share/datasets/fashion-mnist").is_dir();
    let source = match std::env::var("DARTS_TEST_FASHION_MNIST") {
        Ok(directory) => format!("fashion-mnist:{directory}"),
        Err(_) if installed => "fashion-mnist".into(),
        Err(_) => {
            println!("skipped: Debian's package dataset-fashion-mnist is not installed");
            let sentence = load("fashion-mnist").unwrap_err().to_string();
            assert!(sentence.contains("dataset-fashion-mnist"), "{sentence}");
            return;
        }
    };
    let fashion = load(&source).unwrap();
    assert_eq!((fashion.train.height, fashion.train.width), (28, 28));
    assert_eq!(
        (fashion.train.class_counts(10), fashion.test.class_counts(10)),
        (vec![6000; 10], vec![1000; 10])
    );
    // As others report them: 0.2860 and 0.3530 of 255.
    assert!((fashion.mean[0] / 255.0 - 0.2860).abs() < 1e-4, "{:?}", fashion.mean);
    assert!((fashion.deviation[0] / 255.0 - 0.3530).abs() < 1e-4, "{:?}", fashion.deviation);
}

#[test]
fn errors_name_the_file_and_the_flag() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display();
    for (source, file) in [
        ("cifar10", "data_batch_1.bin"),
        ("mnist", "train-images-idx3-ubyte"),
        ("fashion-mnist", "train-images-idx3-ubyte"),
    ] {
        let error = load(&format!("{source}:{place}")).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let sentence = error.to_string();
        assert!(sentence.contains(&format!("{place}/{file}: missing")), "{sentence}");
    }
    let error = load("imagenet:x").unwrap_err();
    assert!(matches!(error, Error::Usage(_)) && error.exit_code() == 2);
    assert!(error.to_string().contains("imagenet:x"));
}

#[test]
fn a_constant_training_part_is_an_error_of_the_data() {
    let directory = tempfile::tempdir().unwrap();
    for part in ["train", "t10k"] {
        let images = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2][..], &[9; 4]].concat();
        fs::write(directory.path().join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        let labels = [0, 0, 8, 1, 0, 0, 0, 1, 3];
        fs::write(directory.path().join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
    let error = load(&format!("mnist:{}", directory.path().display())).unwrap_err();
    let expected = "train-images-idx3-ubyte: has the same value in every training pixel";
    assert!(error.to_string().contains(expected), "{error}");
}

/// The way of a search: two loaders over the halves of one data set.
#[test]
fn two_halves_are_read_side_by_side() {
    let digits = load("digits").unwrap();
    let normalisation = digits.normalisation();
    let (weights, alphas) = halves(digits.train.count(), 7);
    let images = Arc::new(digits.train);
    let augmentation = Augmentation { crop_padding: 1, flip: false, cutout: None };
    let loader = |indices: &[u32], order| {
        let (images, normalisation) = (images.clone(), normalisation.clone());
        Loader::new(images, normalisation, augmentation, indices.to_vec(), 32, 7, order).unwrap()
    };
    let mut train = loader(&weights, Stream::TrainOrder);
    let mut valid = loader(&alphas, Stream::ValidOrder);
    assert_eq!(train.batches_per_pass(), weights.len() / 32);
    assert_eq!(train.batches_per_pass(), valid.batches_per_pass());
    for epoch in 0..2 {
        train.start(epoch);
        valid.start(epoch);
        let mut steps = 0;
        while let (Some(one), Some(two)) = (train.next_batch(), valid.next_batch()) {
            assert_eq!((one.images.len(), two.labels.len(), one.real), (32 * 64, 32, 32));
            assert_ne!(one.images, two.images);
            assert!(one.images.iter().all(|value| value.is_finite()));
            steps += 1;
        }
        assert_eq!(steps, train.batches_per_pass());
    }
}

#[test]
fn a_test_pass_counts_every_image_once() {
    let digits = load("digits").unwrap();
    let (normalisation, count) = (digits.normalisation(), digits.test.count());
    let expected = digits.test.class_counts(10);
    let indices = (0..count as u32).collect();
    let mut loader = Loader::sequential(Arc::new(digits.test), normalisation, indices, 64).unwrap();
    loader.start(0);
    let (mut classes, mut sizes) = (vec![0; 10], BTreeSet::new());
    while let Some(batch) = loader.next_batch() {
        batch.labels[..batch.real].iter().for_each(|&label| classes[label as usize] += 1);
        sizes.insert(batch.labels.len());
    }
    assert_eq!(classes, expected);
    assert_eq!(sizes, BTreeSet::from([64]));
}
