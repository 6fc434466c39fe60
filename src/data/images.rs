//! Images as bytes, and how these become numbers.

use crate::backend::{ImageBytes, Shape};

/// How byte values become inputs of a network: `(value - mean) / deviation`, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// The mean of each channel, in units of byte values.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, in units of byte values.
    pub deviation: Vec<f32>,
}

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
    pub labels: Vec<u16>,
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

    /// The images in the form that a device takes.
    pub fn bytes<'a>(&'a self, normalisation: &'a Normalisation) -> ImageBytes<'a> {
        ImageBytes {
            pixels: &self.pixels,
            shape: Shape::new(self.count(), self.height, self.width, self.channels),
            mean: &normalisation.mean,
            deviation: &normalisation.deviation,
        }
    }

    /// Some of the images, in the order of their indices here.
    ///
    /// # Panics
    /// When there is no image of an index.
    pub(super) fn select(&self, indices: &[usize]) -> Images {
        let mut pixels = Vec::with_capacity(indices.len() * self.size());
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.image(index)));
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Images { height: self.height, width: self.width, channels: self.channels, pixels, labels }
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
    pub(super) fn statistics(&self) -> (Vec<f32>, Vec<f32>) {
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
