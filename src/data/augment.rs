//! Augmentation and normalisation of one image: crop with padding, flip, cutout.
//!
//! Drawing and computing are apart: [`Augmentation::draw`] turns random numbers into a [`Placement`], and
//! [`Placement::apply`] is plain arithmetic.

use std::ops::Range;

use rand::Rng;

use super::images::{Images, Normalisation};
use crate::backend::PlacedImage;
use crate::{Error, Result};

/// How training images are varied; the default leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Black pixels put around an image before a part of its own size is cut out at a random place.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
    /// The side of a square set to zero (the mean) around a random pixel (DeVries and Taylor, 2017).
    pub cutout: Option<usize>,
}

/// What was drawn for one image; the default shows it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// How many rows the view is moved down the image; the rows that leave it are black.
    pub down: isize,
    /// How many columns the view is moved to the right.
    pub right: isize,
    /// Whether the view is mirrored left to right.
    pub flip: bool,
    /// Row, column and side of the square that is set to zero.
    pub cutout: Option<(usize, usize, usize)>,
}

impl Augmentation {
    /// Checks that something of an image of this size is always left to see.
    pub fn check(&self, height: usize, width: usize) -> Result<()> {
        let side = height.min(width);
        if self.crop_padding >= side {
            let padding = self.crop_padding;
            return Err(Error::Plan(format!(
                "crop_padding is {padding}; expected less than {side}, the side of an image"
            )));
        }
        match self.cutout {
            Some(cut) if cut == 0 || cut > side => {
                Err(Error::Plan(format!("cutout is {cut}; expected 1 to {side}, the side of an image")))
            }
            _ => Ok(()),
        }
    }

    /// Draws where to show an image of this size. Always takes five words from the generator, whatever is
    /// asked for, so that one setting does not move the random numbers of another.
    pub fn draw(&self, height: usize, width: usize, generator: &mut impl Rng) -> Placement {
        let mut below = |bound: usize| ((u64::from(generator.next_u32()) * bound as u64) >> 32) as usize;
        let shifts = 2 * self.crop_padding + 1;
        let down = below(shifts) as isize - self.crop_padding as isize;
        let right = below(shifts) as isize - self.crop_padding as isize;
        let flip = below(2) == 1 && self.flip;
        let (row, column) = (below(height), below(width));
        Placement { down, right, flip, cutout: self.cutout.map(|side| (row, column, side)) }
    }
}

impl Placement {
    /// Writes image `index`, augmented and normalised, as `[row][column][channel]`.
    ///
    /// Pixels outside the image are black before they are normalised; the cutout is zero after that.
    ///
    /// # Panics
    /// When `out` is not as long as an image, or the constants are not those of its channels.
    pub fn apply(&self, images: &Images, index: usize, normalisation: &Normalisation, out: &mut [f32]) {
        let (height, width, channels) = (images.height, images.width, images.channels);
        let image = images.image(index);
        assert_eq!(out.len(), image.len(), "an image has another size than its place");
        assert!(normalisation.mean.len() == channels && normalisation.deviation.len() == channels);
        for (y, out_row) in out.chunks_exact_mut(width * channels).enumerate() {
            let row = y.checked_add_signed(self.down).filter(|&row| row < height);
            for (x, out_pixel) in out_row.chunks_exact_mut(channels).enumerate() {
                let x = if self.flip { width - 1 - x } else { x };
                let column = x.checked_add_signed(self.right).filter(|&column| column < width);
                let start = row.zip(column).map(|(row, column)| (row * width + column) * channels);
                for (channel, value) in out_pixel.iter_mut().enumerate() {
                    let byte = start.map_or(0, |start| image[start + channel]);
                    *value = normalisation.apply(byte, channel);
                }
            }
        }
        self.cut(height, width, channels, out);
    }

    /// Image `index` with this placement, in the form that a device takes.
    pub fn on_device(&self, images: &Images, index: usize) -> PlacedImage {
        let small = |side: usize| u32::try_from(side).expect("an image set is counted in 32 bits");
        let moved = |by: isize| i32::try_from(by).expect("an image moves by less than its side");
        let (rows, columns) = self.hidden(images.height, images.width);
        PlacedImage {
            image: small(index),
            label: u32::from(images.labels[index]),
            down: moved(self.down),
            right: moved(self.right),
            flip: u32::from(self.flip),
            cutout: [rows.start, rows.end, columns.start, columns.end].map(small),
        }
    }

    /// Rows and columns of the square around the drawn pixel, as far as it lies inside the image.
    fn hidden(&self, height: usize, width: usize) -> (Range<usize>, Range<usize>) {
        let Some((row, column, side)) = self.cutout else { return (0..0, 0..0) };
        let span = |centre: usize, limit: usize| {
            centre.saturating_sub(side / 2).min(limit)..(centre + side - side / 2).min(limit)
        };
        (span(row, height), span(column, width))
    }

    /// Sets that square to zero.
    fn cut(&self, height: usize, width: usize, channels: usize, out: &mut [f32]) {
        let (rows, columns) = self.hidden(height, width);
        for y in rows {
            let line = y * width;
            out[(line + columns.start) * channels..(line + columns.end) * channels].fill(0.0);
        }
    }
}

impl Normalisation {
    /// The input that stands for a byte.
    pub fn apply(&self, byte: u8, channel: usize) -> f32 {
        (f32::from(byte) - self.mean[channel]) / self.deviation[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    /// Two images of 5 x 4 pixels and 3 channels in which no two bytes next to each other are the same.
    fn images() -> Images {
        let pixels = (0..120).map(|i| (i * 37 % 251 + 1) as u8).collect();
        Images { height: 5, width: 4, channels: 3, pixels, labels: vec![0, 1] }
    }

    fn normalisation() -> Normalisation {
        Normalisation { mean: vec![100.0, 110.0, 120.0], deviation: vec![50.0, 60.0, 70.0] }
    }

    /// The definition, literally: pad, cut, mirror, normalise, cut out.
    fn naive(placement: &Placement, padding: usize, images: &Images, index: usize) -> Vec<f32> {
        let (height, width) = (images.height, images.width);
        let padded_width = width + 2 * padding;
        let mut padded = vec![[0u8; 3]; (height + 2 * padding) * padded_width];
        for y in 0..height {
            for x in 0..width {
                let pixel = &images.image(index)[(y * width + x) * 3..][..3];
                padded[(y + padding) * padded_width + x + padding].copy_from_slice(pixel);
            }
        }
        let top = (placement.down + padding as isize) as usize;
        let left = (placement.right + padding as isize) as usize;
        let mut rows: Vec<Vec<[u8; 3]>> =
            (top..top + height).map(|y| padded[y * padded_width + left..][..width].to_vec()).collect();
        if placement.flip {
            rows.iter_mut().for_each(|row| row.reverse());
        }
        let mut out = Vec::new();
        for (y, row) in rows.iter().enumerate() {
            for (x, pixel) in row.iter().enumerate() {
                let hidden = placement.cutout.is_some_and(|(cy, cx, side)| {
                    let from = |centre: usize| centre as isize - (side / 2) as isize;
                    let inside = |at: usize, from: isize| (0..side as isize).contains(&(at as isize - from));
                    inside(y, from(cy)) && inside(x, from(cx))
                });
                for channel in 0..3 {
                    let mean = [100.0, 110.0, 120.0][channel];
                    let deviation = [50.0, 60.0, 70.0][channel];
                    let value = (f32::from(pixel[channel]) - mean) / deviation;
                    out.push(if hidden { 0.0 } else { value });
                }
            }
        }
        out
    }

    fn augmented(placement: &Placement, images: &Images, index: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; images.size()];
        placement.apply(images, index, &normalisation(), &mut out);
        out
    }

    #[test]
    fn apply_matches_the_definition_at_every_place() {
        let (images, padding) = (images(), 3);
        for down in -3..=3 {
            for right in -3..=3 {
                for flip in [false, true] {
                    for cutout in [None, Some((2, 1, 3)), Some((0, 3, 4)), Some((4, 0, 1))] {
                        let placement = Placement { down, right, flip, cutout };
                        let expected = naive(&placement, padding, &images, 1);
                        assert_eq!(augmented(&placement, &images, 1), expected, "{placement:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn outside_is_black_and_the_cutout_is_the_mean() {
        let moved = augmented(&Placement { down: 4, ..Placement::default() }, &images(), 0);
        assert_eq!(moved[images().size() - 3..], [-100.0 / 50.0, -110.0 / 60.0, -120.0 / 70.0]);
        let cut = augmented(&Placement { cutout: Some((2, 2, 2)), ..Placement::default() }, &images(), 0);
        // Rows 1 and 2, columns 1 and 2, three channels.
        assert_eq!(cut.iter().filter(|&&value| value == 0.0).count(), 12);
        assert_eq!(cut[(4 + 1) * 3], 0.0);
    }

    #[test]
    fn every_placement_is_drawn_about_equally_often() {
        let augmentation = Augmentation { crop_padding: 2, flip: true, cutout: Some(2) };
        let mut generator = generator(1, Stream::Test, 0);
        let (mut downs, mut rights, mut flips) = ([0; 5], [0; 5], 0);
        let (mut rows, mut columns) = ([0; 5], [0; 4]);
        for _ in 0..10_000 {
            let placement = augmentation.draw(5, 4, &mut generator);
            downs[(placement.down + 2) as usize] += 1;
            rights[(placement.right + 2) as usize] += 1;
            flips += usize::from(placement.flip);
            let (row, column, side) = placement.cutout.unwrap();
            rows[row] += 1;
            columns[column] += 1;
            assert_eq!(side, 2);
        }
        // Five standard deviations around the expected 2,000, 2,500 and 5,000.
        for counts in [downs, rights, rows] {
            assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
        }
        assert!(columns.iter().all(|count| (2280..2720).contains(count)), "{columns:?}");
        assert!((4750..5250).contains(&flips), "{flips}");
    }

    #[test]
    fn a_draw_takes_the_same_words_whatever_is_asked_for() {
        let all = Augmentation { crop_padding: 4, flip: true, cutout: Some(3) };
        let after = |augmentation: Augmentation| {
            let mut generator = generator(1, Stream::Test, 0);
            augmentation.draw(5, 4, &mut generator);
            generator.next_u32()
        };
        assert_eq!(after(all), after(Augmentation::default()));
        let none = Augmentation::default().draw(5, 4, &mut generator(1, Stream::Test, 0));
        assert_eq!(none, Placement::default());
    }

    #[test]
    fn impossible_settings_name_their_key() {
        let sentence = |augmentation: Augmentation| augmentation.check(8, 6).unwrap_err().to_string();
        let padding = sentence(Augmentation { crop_padding: 6, ..Augmentation::default() });
        assert!(padding.contains("crop_padding is 6; expected less than 6"), "{padding}");
        for cutout in [0, 7] {
            let cutout = sentence(Augmentation { cutout: Some(cutout), ..Augmentation::default() });
            assert!(cutout.contains("cutout is ") && cutout.contains("1 to 6"), "{cutout}");
        }
        Augmentation { crop_padding: 5, flip: true, cutout: Some(6) }.check(8, 6).unwrap();
    }
}
