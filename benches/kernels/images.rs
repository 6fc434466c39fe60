//! Batches made on the device.

use darts::backend::*;

use crate::layout::Layout;
use crate::timer::{Device, Timer};

/// Images of the data set: CIFAR-10's.
const IMAGES: usize = 50_000;

/// The augmentation of a batch from a data set on the device, where the device augments: cropped with a padding of 4, mirrored
/// every second image, with a cutout of 16 pixels a side. The placements go to the device with each call.
pub fn augmentation<B: Device>(device: &mut Timer<B>) {
    if device.backend.augmenter().is_none() {
        return;
    }
    let mut layout = Layout::default();
    let batch = device.batch;
    let shape = Shape::new(batch, 32, 32, 3);
    let output = layout.slot(shape.len());
    let placements: Vec<_> = (0..batch).map(placement).collect();
    let prepare = |backend: &mut B| {
        layout.fill(backend, batch);
        let all = Shape::new(IMAGES, 32, 32, 3);
        let pixels: Vec<u8> = (0..all.len()).map(|index| (index * 37 % 251) as u8).collect();
        let images =
            ImageBytes { pixels: &pixels, shape: all, mean: &[125.0, 123.0, 114.0], deviation: &[63.0; 3] };
        augmenter(backend).upload(&images).expect("memory for the images");
    };
    // A byte of an image becomes an activation.
    let bytes = shape.len() + device.activations(shape.len());
    device.time_prepared("augment", shape, bytes, prepare, |backend| {
        augmenter(backend).augment(output, &placements);
    });
}

fn augmenter<B: Device>(backend: &mut B) -> &mut dyn Augmenter {
    backend.augmenter().expect("a device that augments")
}

fn placement(index: usize) -> PlacedImage {
    let [down, right] = [index * 5 % 9, index * 7 % 9].map(|move_by| move_by as i32 - 4);
    let [top, left] = [index * 3 % 17, index * 11 % 17].map(|corner| corner as u32);
    PlacedImage {
        image: (index * 7919 % IMAGES) as u32,
        label: (index % 10) as u32,
        down,
        right,
        flip: (index % 2) as u32,
        cutout: [top, top + 16, left, left + 16],
    }
}
