//! Batches that the device augments, against those that the host augments: the same bytes.

use darts::backend::gpu::Precision;
use darts::backend::{CrossEntropy, CrossEntropyKernels, Device, ImageBytes, PlacedImage, Shape, Slot, Span};
use darts::data::{Augmentation, Images, Normalisation, Placement};
use darts::random::{Stream, generator};
use half::{bf16, f16};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{backend, tell_launches};

/// A data set of random geometry.
fn images(random: &mut ChaCha8Rng) -> Images {
    let side = |random: &mut ChaCha8Rng| [1, 2, 3, 5, 8, 13, 32][random.random_range(0..7)];
    let (height, width) = (side(random), side(random));
    let channels = random.random_range(1..5);
    let count = random.random_range(1..20);
    let pixels = (0..count * height * width * channels).map(|_| random.random()).collect();
    let labels = (0..count).map(|_| random.random_range(0..10)).collect();
    Images { height, width, channels, pixels, labels }
}

/// What the storage type makes of a value.
fn stored(precision: Precision, value: f32) -> f32 {
    match precision {
        Precision::F32 => value,
        Precision::Bf16 => bf16::from_f32(value).to_f32(),
        Precision::F16 => f16::from_f32(value).to_f32(),
    }
}

#[test]
fn a_batch_augmented_by_the_device_is_that_of_the_host() {
    for precision in Precision::ALL {
        let Some(mut device) = backend(precision) else { return };
        let mut cut = 0;
        for case in 0..30 {
            let mut random = generator(31, Stream::Test, case);
            let images = images(&mut random);
            let size = images.size();
            let constant = |random: &mut ChaCha8Rng| random.random_range(10.0f32..200.0);
            let normalisation = Normalisation {
                mean: (0..images.channels).map(|_| constant(&mut random)).collect(),
                deviation: (0..images.channels).map(|_| constant(&mut random)).collect(),
            };
            let smaller = images.height.min(images.width);
            let augmentation = Augmentation {
                crop_padding: random.random_range(0..smaller),
                flip: random.random(),
                cutout: random.random::<bool>().then(|| random.random_range(1..=smaller)),
            };
            let batch = random.random_range(1..9);
            let drawn: Vec<(Placement, usize)> = (0..batch)
                .map(|_| {
                    let placement = augmentation.draw(images.height, images.width, &mut random);
                    (placement, random.random_range(0..images.count()))
                })
                .collect();
            cut += drawn.iter().filter(|(placement, _)| placement.cutout.is_some()).count();
            let mut expected = vec![0.0; batch * size];
            for ((placement, index), out) in drawn.iter().zip(expected.chunks_exact_mut(size)) {
                placement.apply(&images, *index, &normalisation, out);
            }
            // Places that 16 bytes divide, and others; what lies around is left alone. Behind it, logits that name the
            // labels.
            let offset = 16 * random.random_range(0usize..3) + if random.random() { 0 } else { 5 };
            let around = Slot { offset: 0, len: offset + batch * size + 7 };
            let logits = Slot { offset: around.len, len: 10 * batch };
            let gradient = Slot { offset: logits.offset + logits.len, len: logits.len };
            let mut named = vec![0.0; logits.len];
            for (row, (_, index)) in drawn.iter().enumerate() {
                named[10 * row + usize::from(images.labels[*index])] = 1.0;
            }
            device.reserve(gradient.offset + gradient.len, 16).unwrap();
            device.write_activations(around, &vec![7.0; around.len]);
            device.write_activations(logits, &named);
            let augmenter = device.augmenter().unwrap();
            let shape = Shape::new(images.count(), images.height, images.width, images.channels);
            let Normalisation { mean, deviation } = &normalisation;
            augmenter.upload(&ImageBytes { pixels: &images.pixels, shape, mean, deviation }).unwrap();
            let placements: Vec<PlacedImage> =
                drawn.iter().map(|(placement, index)| placement.on_device(&images, *index)).collect();
            augmenter.augment(Slot { offset, len: batch * size }, &placements);
            let mut found = vec![0.0; around.len];
            device.read_activations(around, &mut found);
            for (index, &found) in found.iter().enumerate() {
                let inside = index.checked_sub(offset).and_then(|index| expected.get(index));
                let wanted = inside.map_or(7.0, |&value| stored(precision, value));
                assert_eq!(found.to_bits(), wanted.to_bits(), "case {case}, {precision:?}, value {index}");
            }
            let result = Span { offset: 0, len: 3 };
            device.cross_entropy(&CrossEntropy {
                logits,
                rows: batch,
                classes: 10,
                weight: 1.0,
                class_weights: None,
                result,
                gradient,
            });
            let mut counts = [0.0; 3];
            device.read(result, &mut counts);
            assert_eq!(counts[1], batch as f32, "case {case}: the labels are others");
            device.status().unwrap();
        }
        tell_launches(precision, &device);
        assert!(cut > 10, "{cut} cutouts");
    }
}
