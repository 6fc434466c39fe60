//! The built-in digits as pictures.

use image::{GrayImage, Luma};

/// A digit: what it shows, and its pixels from 0 to 16, row by row.
pub type Digit = (u8, &'static [u8]);

/// All of them in the order of the file.
pub fn digits() -> impl Iterator<Item = Digit> {
    include_bytes!("../../src/data/format/digits8x8.bin")
        .chunks_exact(65)
        .map(|record| (record[0], &record[1..]))
}

/// A picture of a digit, a pixel for each of its own.
pub fn picture((_, pixels): Digit) -> GrayImage {
    GrayImage::from_fn(8, 8, |x, y| Luma([pixels[(y * 8 + x) as usize].saturating_mul(16)]))
}
