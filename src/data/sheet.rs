//! A contact sheet: an image of each class as the network reads it, and as a run varies it.

use image::codecs::png::PngEncoder;
use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};

use super::augment::{Augmentation, Placement};
use super::{Dataset, Normalisation};
use crate::random::{Stream, generator};
use crate::{Error, Result};

/// The most classes of which images are shown.
const MOST_CLASSES: usize = 20;
/// The longest side of an image on the sheet.
const LONGEST: u32 = 96;
/// How many varied images there are of a class.
const VARIED: u64 = 2;

/// Images of a data set, for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The first classes.
    pub classes: Vec<Shown>,
    /// How many classes there are beside these.
    pub more: usize,
    /// How training images are varied, in words; empty where they are not.
    pub varied: String,
}

/// A class by its first training image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The name of the class.
    pub name: String,
    /// The image as it is, then as it is varied: PNG files in base64 (RFC 4648).
    pub images: Vec<String>,
}

impl Sheet {
    /// The sheet of a run with this seed, whose training images are varied so.
    ///
    /// # Errors
    /// Images that are no pictures: of other than 1 or 3 values a pixel.
    pub fn of(dataset: &Dataset, augmentation: Augmentation, seed: u64) -> Result<Self> {
        let labels = &dataset.train.labels;
        let first = |class: usize| labels.iter().position(|&label| usize::from(label) == class);
        let mut classes = Vec::new();
        for (class, name) in dataset.class_names.iter().enumerate().take(MOST_CLASSES) {
            let Some(index) = first(class) else { continue };
            let mut random = generator(seed, Stream::Sheet, class as u64);
            let (height, width) = (dataset.train.height, dataset.train.width);
            let mut placements = vec![Placement::default()];
            if augmentation != Augmentation::default() {
                placements.extend((0..VARIED).map(|_| augmentation.draw(height, width, &mut random)));
            }
            let images = placements.iter().map(|placement| png(dataset, index, placement));
            classes.push(Shown { name: name.clone(), images: images.collect::<Result<_>>()? });
        }
        let more = dataset.class_names.len().saturating_sub(MOST_CLASSES);
        Ok(Sheet { classes, more, varied: in_words(augmentation) })
    }
}

fn in_words(augmentation: Augmentation) -> String {
    let Augmentation { crop_padding, flip, cutout } = augmentation;
    let pixels = |count: usize| if count == 1 { "1 pixel".to_owned() } else { format!("{count} pixels") };
    let parts = [
        (crop_padding > 0).then(|| format!("shifted by up to {}", pixels(crop_padding))),
        flip.then(|| "mirrored or not".to_owned()),
        cutout.map(|side| format!("with a square of {} hidden", pixels(side))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A training image with a placement, as a PNG file in base64.
fn png(dataset: &Dataset, index: usize, placement: &Placement) -> Result<String> {
    let images = &dataset.train;
    let normalisation = dataset.normalisation();
    let mut inputs = vec![0.0; images.size()];
    placement.apply(images, index, &normalisation, &mut inputs);
    let (white, channels) = (f32::from(dataset.white), images.channels);
    let byte = |(at, &input): (usize, &f32)| {
        let Normalisation { mean, deviation } = &normalisation;
        let value = input * deviation[at % channels] + mean[at % channels];
        (value * 255.0 / white).round().clamp(0.0, 255.0) as u8
    };
    let bytes: Vec<u8> = inputs.iter().enumerate().map(byte).collect();
    let (width, height) = (images.width as u32, images.height as u32);
    let picture = match channels {
        1 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
        3 => RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
        _ => None,
    };
    let fail = |reason: String| Error::Data { path: dataset.name.clone().into(), reason };
    let picture =
        picture.ok_or_else(|| fail(format!("images of {channels} values a pixel are no pictures")))?;
    let picture = if width.max(height) > LONGEST { smaller(picture) } else { picture };
    let mut file = Vec::new();
    let written = picture.write_with_encoder(PngEncoder::new(&mut file));
    written.map_err(|error| fail(format!("no {:?} can be made of an image: {error}", ImageFormat::Png)))?;
    Ok(base64(&file))
}

/// A picture with the longest side of the sheet.
fn smaller(picture: DynamicImage) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let scaled = |side: u32| (side * LONGEST / width.max(height)).max(1);
    let (width, height) = (scaled(width), scaled(height));
    match picture {
        DynamicImage::ImageLuma8(grey) => resize(&grey, width, height, FilterType::Triangle).into(),
        other => resize(&other.into_rgb8(), width, height, FilterType::Triangle).into(),
    }
}

/// Bytes in base64.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Images, Reading, Source};

    fn decoded(text: &str) -> Vec<u8> {
        let value = |letter: u8| match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut bytes = Vec::new();
        for group in text.trim_end_matches('=').as_bytes().chunks(4) {
            let bits = group.iter().fold(0u32, |bits, &letter| bits << 6 | u32::from(value(letter)));
            let bits = bits << (6 * (4 - group.len()));
            bytes.extend(&bits.to_be_bytes()[1..group.len()]);
        }
        bytes
    }

    fn picture(text: &str) -> DynamicImage {
        image::load_from_memory_with_format(&decoded(text), ImageFormat::Png).unwrap()
    }

    #[test]
    fn base64_is_that_of_its_standard() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(decoded(&texts[5]), b"fooba");
    }

    #[test]
    fn the_digits_are_shown_as_they_are_and_varied() {
        let digits = "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap();
        let augmentation = Augmentation { crop_padding: 1, flip: false, cutout: Some(2) };
        let sheet = Sheet::of(&digits, augmentation, 5).unwrap();
        assert_eq!(sheet.varied, "shifted by up to 1 pixel, with a square of 2 pixels hidden");
        assert_eq!((sheet.classes.len(), sheet.more), (10, 0));
        for (class, shown) in sheet.classes.iter().enumerate() {
            assert_eq!((shown.name.clone(), shown.images.len()), (class.to_string(), 3));
            let index = digits.train.labels.iter().position(|&label| usize::from(label) == class).unwrap();
            let plain = picture(&shown.images[0]).into_luma8().into_raw();
            let bright = |&byte: &u8| (f32::from(byte) * 255.0 / 16.0).round() as u8;
            assert_eq!(plain, digits.train.image(index).iter().map(bright).collect::<Vec<_>>());
            assert!(shown.images[1] != shown.images[0], "class {class}");
        }
        assert_eq!(sheet, Sheet::of(&digits, augmentation, 5).unwrap());
        let plain = Sheet::of(&digits, Augmentation::default(), 5).unwrap();
        assert!(plain.varied.is_empty() && plain.classes.iter().all(|shown| shown.images.len() == 1));
    }

    #[test]
    fn many_classes_are_counted_and_large_images_are_shown_smaller() {
        let (height, width, channels) = (100, 200, 3);
        let pixels = vec![7; 30 * height * width * channels];
        let images = Images { height, width, channels, pixels, labels: (0..30).collect() };
        let dataset = Dataset {
            name: "large".into(),
            class_names: (0..30).map(|class| class.to_string()).collect(),
            train: images.clone(),
            test: images,
            mean: vec![7.0; 3],
            deviation: vec![1.0; 3],
            white: 255,
            augmentation: Augmentation::default(),
            pictures: None,
        };
        let sheet = Sheet::of(&dataset, Augmentation::default(), 0).unwrap();
        assert_eq!((sheet.classes.len(), sheet.more), (20, 10));
        let shown = picture(&sheet.classes[19].images[0]);
        assert_eq!((shown.width(), shown.height()), (96, 48));
    }
}
