//! How a picture becomes opaque and square.

use std::fmt;
use std::str::FromStr;

use image::imageops::{FilterType, overlay, resize};
use image::{DynamicImage, GrayImage, Luma, Pixel, Rgb, RgbImage};
use serde::{Deserialize, Serialize};

/// The colours that have a name.
const NAMED: [(&str, Background); 2] = [("white", Background([255; 3])), ("black", Background([0; 3]))];

/// How a picture of any sides becomes a square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The square in the centre is cut out.
    #[default]
    Crop,
    /// The whole picture in the middle of a square of the background.
    Pad,
    /// Both sides are scaled, each by its own factor.
    Stretch,
}

impl Fit {
    /// All of them.
    pub const ALL: [Fit; 3] = [Fit::Crop, Fit::Pad, Fit::Stretch];

    /// The share of a picture's area that is cut away.
    pub fn cut([width, height]: [u32; 2]) -> f64 {
        1.0 - f64::from(width.min(height)) / f64::from(width.max(height))
    }
}

/// Its name in a plan.
impl fmt::Display for Fit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What shows through a picture where it is transparent, and around one that does not fill its square: red, green and
/// blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Background(pub [u8; 3]);

impl FromStr for Background {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, named)) = NAMED.iter().find(|(name, _)| *name == text) {
            return Ok(*named);
        }
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] = value.ok_or_else(Background::expected)?.to_be_bytes();
        Ok(Background([red, green, blue]))
    }
}

impl Background {
    /// What its text can be.
    pub fn expected() -> String {
        "white, black or a colour such as #ffcc00".to_owned()
    }

    /// Lays a picture on it, where that is transparent.
    pub fn under(self, picture: DynamicImage) -> DynamicImage {
        if !picture.color().has_alpha() {
            return picture;
        }
        let transparent = picture.to_rgba8();
        let blended = |value: u8, ground: u8, opacity: u8| {
            let (value, ground, opacity) = (u32::from(value), u32::from(ground), u32::from(opacity));
            ((value * opacity + ground * (255 - opacity) + 127) / 255) as u8
        };
        let mut opaque = RgbImage::new(picture.width(), picture.height());
        for (opaque, transparent) in opaque.pixels_mut().zip(transparent.pixels()) {
            let [values @ .., opacity] = transparent.0;
            opaque.0 = [0, 1, 2].map(|channel| blended(values[channel], self.0[channel], opacity));
        }
        opaque.into()
    }
}

impl TryFrom<String> for Background {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|expected| format!("'{text}' is no background; expected {expected}"))
    }
}

impl From<Background> for String {
    fn from(background: Background) -> String {
        background.to_string()
    }
}

impl fmt::Display for Background {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, named)| named == self) {
            Some((name, _)) => formatter.write_str(name),
            None => {
                let [red, green, blue] = self.0;
                write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
            }
        }
    }
}

/// A square of red, green and blue bytes, resized by a Lanczos filter.
pub fn square_rgb(picture: &DynamicImage, fit: Fit, side: u32, background: Background) -> Vec<u8> {
    let (part, [width, height]) = placed(picture, fit, side);
    let resized = resize(&part.to_rgb8(), width, height, FilterType::Lanczos3);
    if (width, height) == (side, side) {
        return resized.into_raw();
    }
    let mut square = RgbImage::from_pixel(side, side, Rgb(background.0));
    overlay(&mut square, &resized, centred(side, width), centred(side, height));
    square.into_raw()
}

/// A square of brightness, resized by a Lanczos filter.
pub fn square_grey(picture: &DynamicImage, fit: Fit, side: u32, background: Background) -> Vec<u8> {
    let (part, [width, height]) = placed(picture, fit, side);
    let resized = resize(&part.to_luma8(), width, height, FilterType::Lanczos3);
    if (width, height) == (side, side) {
        return resized.into_raw();
    }
    let ground: Luma<u8> = Rgb(background.0).to_luma();
    let mut square = GrayImage::from_pixel(side, side, ground);
    overlay(&mut square, &resized, centred(side, width), centred(side, height));
    square.into_raw()
}

/// The part of a picture that is shown, and the width and height that it has in a square of this side.
fn placed(picture: &DynamicImage, fit: Fit, side: u32) -> (DynamicImage, [u32; 2]) {
    let (width, height) = (picture.width(), picture.height());
    match fit {
        Fit::Crop => {
            let short = width.min(height);
            (picture.crop_imm((width - short) / 2, (height - short) / 2, short, short), [side; 2])
        }
        Fit::Stretch => (picture.clone(), [side; 2]),
        Fit::Pad => {
            let long = width.max(height);
            let scaled = |length: u32| {
                let scaled = f64::from(length) * f64::from(side) / f64::from(long);
                (scaled.round() as u32).max(1)
            };
            (picture.clone(), [scaled(width), scaled(height)])
        }
    }
}

fn centred(side: u32, length: u32) -> i64 {
    i64::from((side - length) / 2)
}

#[cfg(test)]
mod tests {
    use image::{GrayAlphaImage, LumaA, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn a_background_comes_back_from_its_text() {
        for (text, background) in [
            ("white", Background([255; 3])),
            ("black", Background([0; 3])),
            ("#ffcc0a", Background([255, 204, 10])),
        ] {
            assert_eq!(text.parse(), Ok(background));
            assert_eq!(background.to_string(), text);
        }
        assert_eq!("#FFFFFF".parse(), Ok(Background([255; 3])));
        for wrong in ["", "red", "#fff", "ffffff", "#+fffff", "#fffffff"] {
            assert!(wrong.parse::<Background>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_transparent_shows_the_background() {
        let ink = RgbaImage::from_fn(3, 1, |x, _| Rgba([0, 0, 0, [0, 51, 255][x as usize]]));
        let on = |background: [u8; 3]| Background(background).under(ink.clone().into()).to_rgb8().into_raw();
        assert_eq!(on([255; 3]), [255, 255, 255, 204, 204, 204, 0, 0, 0]);
        assert_eq!(on([10, 20, 30]), [10, 20, 30, 8, 16, 24, 0, 0, 0]);
        let grey = GrayAlphaImage::from_pixel(1, 1, LumaA([40, 0]));
        assert_eq!(Background([255; 3]).under(grey.into()).to_luma8().into_raw(), [255]);
        let opaque = DynamicImage::from(RgbImage::from_pixel(1, 1, Rgb([1, 2, 3])));
        assert_eq!(Background([9; 3]).under(opaque.clone()), opaque);
    }

    #[test]
    fn a_tall_picture_is_cut_padded_or_stretched() {
        // Red above, green in the middle, blue below.
        let band = |y: u32| Rgb([[255, 0, 0], [0, 255, 0], [0, 0, 255]][(y / 8) as usize]);
        let tall = DynamicImage::from(RgbImage::from_fn(8, 24, |_, y| band(y)));
        let square = |fit| square_rgb(&tall, fit, 6, Background([7; 3]));
        let pixel = |image: &[u8], x: usize, y: usize| image[(y * 6 + x) * 3..][..3].to_vec();
        assert!(square(Fit::Crop).chunks(3).all(|pixel| pixel == [0, 255, 0]));
        let padded = square(Fit::Pad);
        for y in 0..6 {
            // Two of six columns are the picture.
            assert_eq!([0, 1, 4, 5].map(|x| pixel(&padded, x, y)), [(); 4].map(|()| vec![7; 3]));
        }
        let brightest = |image: &[u8], x, y| {
            let pixel = pixel(image, x, y);
            (0..3).max_by_key(|&channel| pixel[channel])
        };
        for image in [padded, square(Fit::Stretch)] {
            assert_eq!([0, 2, 5].map(|y| brightest(&image, 2, y)), [Some(0), Some(1), Some(2)]);
        }
        let grey = square_grey(&tall, Fit::Pad, 6, Background([255; 3]));
        assert_eq!((grey[0], grey.len()), (255, 36));
        assert!((Fit::cut([40, 160]) - 0.75).abs() < 1e-12 && Fit::cut([9, 9]) == 0.0);
        // A line stays one.
        let line = DynamicImage::from(RgbImage::new(1000, 1));
        assert_eq!(square_rgb(&line, Fit::Pad, 4, Background([255; 3]))[..3], [255; 3]);
    }
}
