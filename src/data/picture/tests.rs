use std::path::PathBuf;

use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::TempDir;

use super::*;

const FORMATS: [ImageFormat; 8] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
    ImageFormat::Pnm,
    ImageFormat::Qoi,
];

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture whose colours differ from pixel to pixel, and not by much.
fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(10 + 5 * x) as u8, (200 - 4 * y) as u8, (x + y) as u8]))
}

struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("picture");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, bytes: &[u8], image_size: usize, colour: Colour) -> Result<Vec<u8>> {
        let reading = Reading { image_size, colour, ..Reading::default() };
        let mut out = vec![0; reading.size()];
        reading.read(&self.file(bytes), &mut out).map(|_| out)
    }

    fn rgb(&self, bytes: &[u8], image_size: usize) -> Vec<u8> {
        self.read(bytes, image_size, Colour::Rgb).unwrap()
    }

    /// What is said about a file that cannot be read.
    fn refusal(&self, bytes: &[u8]) -> String {
        let error = self.read(bytes, 8, Colour::Rgb).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains("picture: ") && !sentence.contains('\n'), "{sentence}");
        sentence
    }
}

#[test]
fn every_format_is_read_whatever_the_name_says() {
    let scratch = Scratch::new();
    let picture = gradient(12, 12);
    for format in FORMATS {
        let read = scratch.rgb(&encoded(picture.clone(), format), 12);
        let differences = read.iter().zip(picture.as_raw()).map(|(one, other)| one.abs_diff(*other));
        // JPEG and the palette of a GIF lose a little.
        let most = match format {
            ImageFormat::Jpeg | ImageFormat::Gif => 24,
            _ => 0,
        };
        assert!(differences.max().unwrap() <= most, "{format:?}");
    }
}

#[test]
fn grey_deep_and_transparent_pictures_become_bytes_of_the_asked_colour() {
    let scratch = Scratch::new();
    let grey = encoded(GrayImage::from_pixel(4, 4, Luma([77])), ImageFormat::Png);
    assert_eq!(scratch.rgb(&grey, 4), [77; 48]);
    let deep: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_pixel(4, 4, Rgb([65_535, 257, 0x8080]));
    assert_eq!(scratch.rgb(&encoded(deep, ImageFormat::Png), 4)[..3], [255, 1, 128]);
    let deep_grey: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_pixel(4, 4, Luma([0x4040]));
    assert_eq!(scratch.rgb(&encoded(deep_grey, ImageFormat::Png), 4), [64; 48]);
    let clear = encoded(RgbaImage::from_pixel(4, 4, Rgba([9, 8, 7, 0])), ImageFormat::Png);
    assert_eq!(scratch.rgb(&clear, 4), [255; 48]);
    assert_eq!(scratch.read(&clear, 4, Colour::Grey).unwrap(), [255; 16]);
    let first_version = Reading { image_size: 4, ..Reading::default() }.of_first_version();
    let mut dropped = [0; 48];
    first_version.read(&scratch.file(&clear), &mut dropped).unwrap();
    assert_eq!(dropped[..3], [9, 8, 7]);
    let white = encoded(RgbImage::from_pixel(4, 4, Rgb([255; 3])), ImageFormat::Png);
    assert_eq!(scratch.read(&white, 4, Colour::Grey).unwrap(), [255; 16]);
    let green = encoded(RgbImage::from_pixel(4, 4, Rgb([0, 255, 0])), ImageFormat::Png);
    let brightness = scratch.read(&green, 4, Colour::Grey).unwrap()[0];
    assert!((150..200).contains(&brightness), "green is bright, but {brightness}");
}

#[test]
fn the_centre_is_kept() {
    let scratch = Scratch::new();
    let centre = gradient(6, 6);
    for (width, height) in [(14, 6), (6, 20)] {
        let mut picture = RgbImage::from_pixel(width, height, Rgb([255, 0, 255]));
        image::imageops::replace(&mut picture, &centre, i64::from(width - 6) / 2, i64::from(height - 6) / 2);
        assert_eq!(scratch.rgb(&encoded(picture, ImageFormat::Png), 6), *centre.as_raw());
    }
}

#[test]
fn resizing_averages() {
    let scratch = Scratch::new();
    let plain = encoded(RgbImage::from_pixel(101, 37, Rgb([3, 141, 250])), ImageFormat::Png);
    for size in [4, 16, 64] {
        assert!(scratch.rgb(&plain, size).chunks(3).all(|pixel| pixel == [3, 141, 250]), "at {size}");
    }
    let board = GrayImage::from_fn(64, 64, |x, y| Luma([255 * ((x + y) % 2) as u8]));
    let read = scratch.read(&encoded(board, ImageFormat::Png), 8, Colour::Grey).unwrap();
    assert!(
        read.iter().all(|value| (120..=135).contains(value)),
        "a fine pattern is grey from afar: {read:?}"
    );
}

/// A JPEG picture with Exif data: an orientation, and in its place for a small picture the given bytes.
fn with_exif(jpeg: &[u8], orientation: u8, more: &[u8]) -> Vec<u8> {
    let tag = [1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0];
    let exif = [b"Exif\0\0MM\0*\0\0\0\x08\0\x01", &tag[..], more].concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn pictures_of_a_camera_stand_upright() {
    let scratch = Scratch::new();
    // Black above white; held to the right the camera stores white on the left.
    let lying = RgbImage::from_fn(16, 16, |x, _| Rgb([if x < 8 { 255 } else { 0 }; 3]));
    let jpeg = encoded(lying, ImageFormat::Jpeg);
    let is_light = |bytes: &[u8], place: usize| scratch.rgb(bytes, 16)[place * 3] > 128;
    let (top_left, top_right, bottom_left) = (2 * 16 + 2, 2 * 16 + 13, 13 * 16 + 2);
    assert_eq!([top_left, top_right, bottom_left].map(|place| is_light(&jpeg, place)), [true, false, true]);
    let turned = with_exif(&jpeg, 6, &[]);
    assert_eq!([top_left, top_right, bottom_left].map(|place| is_light(&turned, place)), [true, true, false]);
}

#[test]
fn empty_and_cut_files_are_refused() {
    let scratch = Scratch::new();
    assert!(scratch.refusal(&[]).ends_with("picture: is empty"));
    assert!(
        scratch.refusal(b"a text, not a picture").contains("no PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or QOI")
    );
    for format in FORMATS {
        let whole = encoded(gradient(40, 40), format);
        for length in [1, 2, 3, 9, 20, 40, whole.len() / 4, whole.len() / 2, whole.len() * 3 / 4] {
            scratch.refusal(&whole[..length]);
        }
        let mut damaged = whole.clone();
        damaged[12..40].fill(0xff);
        // It may be a picture or not; it must not take the program down.
        let _ = scratch.read(&damaged, 8, Colour::Rgb);
    }
}

#[test]
fn a_jpeg_without_its_end_is_read_if_its_rows_are_there() {
    let scratch = Scratch::new();
    for (width, height) in [(40, 40), (64, 48), (33, 17), (200, 150)] {
        // Of colours that no block repeats, and of one colour, whose blocks are a few bits.
        for picture in [gradient(width, height), RgbImage::from_pixel(width, height, Rgb([200, 30, 40]))] {
            let jpeg = encoded(picture, ImageFormat::Jpeg);
            let whole = scratch.rgb(&jpeg, 16);
            assert_eq!(scratch.rgb(&jpeg[..jpeg.len() - 1], 16), whole);
            assert_eq!(scratch.rgb(&jpeg[..jpeg.len() - 2], 16), whole);
            // The last two bytes hold codes, not padding alone.
            for lacking in 5..30 {
                assert!(
                    scratch.refusal(&jpeg[..jpeg.len() - lacking]).contains("cut off"),
                    "{lacking} bytes"
                );
            }
        }
    }
    let jpeg = encoded(gradient(40, 40), ImageFormat::Jpeg);
    // The end of a small picture inside is not the end of the picture, and what follows the end is no concern.
    let exif = with_exif(&jpeg, 1, &[0xff, 0xd8, 0xff, 0xd9]);
    assert!(scratch.refusal(&exif[..exif.len() - 30]).contains("cut off"));
    scratch.rgb(&[&exif[..], b"more"].concat(), 8);
}

#[test]
fn a_progressive_jpeg_of_another_program_is_read_without_its_end() {
    let scratch = Scratch::new();
    let whole = include_bytes!("progressive.jpg");
    let read = scratch.rgb(whole, 16);
    assert_eq!(scratch.rgb(&whole[..whole.len() - 2], 16), read);
    for lacking in [20, whole.len() / 4, whole.len() / 2] {
        assert!(scratch.refusal(&whole[..whole.len() - lacking]).contains("cut off"), "{lacking} bytes");
    }
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut check = flate2::Crc::new();
    check.update(kind);
    check.update(data);
    [&(data.len() as u32).to_be_bytes(), &kind[..], data, &check.sum().to_be_bytes()].concat()
}

#[test]
fn a_header_cannot_ask_for_more_memory_than_its_file_warrants() {
    let scratch = Scratch::new();
    for side in [3000u32, 30_000, 2_000_000_000] {
        let header = [&side.to_be_bytes()[..], &side.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
        let chunks =
            [png_chunk(b"IHDR", &header), png_chunk(b"IDAT", &[0x78, 1, 3, 0]), png_chunk(b"IEND", &[])];
        let png = [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat();
        assert!(scratch.refusal(&png).contains("more pixels than a file of"), "{side}");
    }
    let gif = [b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0", &[2, 1, 0, 0, b';'][..]].concat();
    scratch.refusal(&gif);
    // However long the file, there is a limit to what is read.
    let header = [&20_000u32.to_be_bytes()[..], &11_500u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let chunks = [png_chunk(b"IHDR", &header), png_chunk(b"teXt", &vec![b'x'; 1 << 20])].concat();
    let ends = [png_chunk(b"IDAT", &[0x78, 1, 3, 0]), png_chunk(b"IEND", &[])].concat();
    let large = scratch.refusal(&[&b"\x89PNG\r\n\x1a\n"[..], &chunks, &ends].concat());
    assert!(large.contains("more than the 640 MiB of pixels"), "{large}");
    // A picture of 3000 x 3000 black pixels, all there, is none of these however well it is packed.
    let black = encoded(RgbImage::new(3000, 3000), ImageFormat::Png);
    assert!(black.len() < 1 << 20);
    assert_eq!(scratch.rgb(&black, 4), [0; 48]);
}

#[test]
fn a_picture_of_90_megapixels_is_read() {
    let scratch = Scratch::new();
    let large = encoded(RgbImage::new(10_000, 9_000), ImageFormat::Png);
    assert_eq!(scratch.rgb(&large, 4), [0; 48]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Reading::default().read(Path::new("nowhere/x.png"), &mut [0; 3072]).unwrap_err();
    assert!(error.to_string().starts_with("nowhere/x.png: "), "{error}");
}
