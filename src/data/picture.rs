//! One picture: from a file of any size and colour to a square of bytes.

use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use super::fit::{Background, Fit, square_grey, square_rgb};
use super::manifest::Content;
use super::sniff::{HEAD, Kind, READ, kind};
use super::split::Dealing;
use crate::{Error, Result};

/// The background of pictures that name none.
const WHITE: Background = Background([255; 3]);
/// The longest file that is read, in bytes.
const LONGEST_FILE: u64 = 256 << 20;
/// The longest side of a picture.
const LONGEST_SIDE: u32 = 32_768;
/// The most bytes that the pixels of one picture may take beside others: 89 million pixels in RGB.
const MOST_BYTES: u64 = 256 << 20;
/// The most that those of a picture may take that is in memory alone: 223 million pixels in RGB.
const MOST_ALONE: u64 = 640 << 20;
/// Held while such a picture is in memory, since pictures are read by all cores at once.
static ALONE: Mutex<()> = Mutex::new(());
/// What the pixels of any picture may take, however short its file.
const FEW_BYTES: u64 = 4 << 20;
/// Bytes of pixels for each byte of a file beyond that. No format but a picture of nothing reaches it: deflate ends at
/// 1032 to 1.
const EXPANSION: u64 = 1100;

/// The values of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red, green and blue.
    #[default]
    Rgb,
    /// Brightness.
    Grey,
}

impl Colour {
    /// All of them.
    pub const ALL: [Colour; 2] = [Colour::Rgb, Colour::Grey];

    /// Values of a pixel.
    pub const fn channels(self) -> usize {
        match self {
            Colour::Rgb => 3,
            Colour::Grey => 1,
        }
    }
}

/// Its name in a plan.
impl fmt::Display for Colour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// How the pictures of a folder are read: how those of any size and colour become images of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The side of an image in pixels.
    pub image_size: usize,
    /// The values of a pixel.
    pub colour: Colour,
    /// Whether the first file that cannot be read is an error; otherwise such files are skipped.
    pub strict: bool,
    /// Whether classes are borne of which more than a fifth of the pictures cannot be read.
    pub allow_unreadable: bool,
    /// Which pictures are set apart.
    pub dealing: Dealing,
    /// What lies under transparent pictures and around those that are padded. The first version had none: it dropped
    /// transparency, so that the colour showed that an invisible pixel happened to have.
    pub background: Option<Background>,
    /// How a picture becomes a square.
    pub fit: Fit,
}

impl Default for Reading {
    fn default() -> Self {
        Reading {
            image_size: 32,
            colour: Colour::Rgb,
            strict: false,
            allow_unreadable: false,
            dealing: Dealing::ByName,
            background: Some(WHITE),
            fit: Fit::Crop,
        }
    }
}

impl Reading {
    /// The same as the first version read and dealt pictures.
    pub fn of_first_version(self) -> Self {
        Reading { dealing: Dealing::ByPlace, background: None, fit: Fit::Crop, ..self }
    }

    /// Bytes of an image.
    pub fn size(&self) -> usize {
        self.image_size * self.image_size * self.colour.channels()
    }

    /// Reads a picture into `out`, `[row][column][channel]`: turned upright as its Exif data says, laid on the background
    /// where it is transparent, and fitted to a square by a Lanczos filter. Of moving pictures the first is taken.
    ///
    /// # Panics
    /// When `out` is not [`Reading::size`] long.
    pub fn read(&self, path: &Path, out: &mut [u8]) -> Result<Taken> {
        let bytes = bytes(path)?;
        let Decoded { picture, alone } = decode(path, &bytes)?;
        let (content, size) = (Content::of(&bytes), [picture.width(), picture.height()]);
        let picture = match self.background {
            Some(background) => background.under(picture),
            None => picture,
        };
        let square = match self.colour {
            Colour::Rgb => square_rgb,
            Colour::Grey => square_grey,
        };
        let background = self.background.unwrap_or(WHITE);
        out.copy_from_slice(&square(&picture, self.fit, self.image_size as u32, background));
        drop((picture, alone));
        Ok(Taken { content, size })
    }
}

/// What is known of a file whose picture was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The checksum of its bytes.
    pub content: Content,
    /// Width and height of the picture, upright.
    pub size: [u32; 2],
}

/// A picture, and what keeps others out of memory while it is there, if it is large.
struct Decoded {
    picture: DynamicImage,
    alone: Option<MutexGuard<'static, ()>>,
}

/// Decodes a file by its content, whatever its name says.
fn decode(path: &Path, bytes: &[u8]) -> Result<Decoded> {
    let fail = |reason: String| Error::Data { path: path.to_path_buf(), reason };
    let format = match kind(&bytes[..bytes.len().min(HEAD)]) {
        Kind::Picture(format) => format,
        Kind::Foreign(name) => {
            return Err(fail(format!(
                "is a picture of the format {name}, which is not read; convert it to PNG or JPEG"
            )));
        }
        Kind::Other => return Err(fail(format!("holds no {READ} picture"))),
    };
    if format == ImageFormat::Jpeg && !is_whole_jpeg(bytes) {
        return without_end(path, bytes)
            .map(|picture| Decoded { picture, alone: None })
            .ok_or_else(|| fail("is cut off: a JPEG picture that lacks some of its rows".into()));
    }
    decode_as(format, path, bytes)
}

/// The picture of a JPEG file that lacks its end marker, if all its rows are there: then what follows does not matter, while
/// missing rows would be made of it.
fn without_end(path: &Path, bytes: &[u8]) -> Option<DynamicImage> {
    const END: [u8; 2] = [0xff, 0xd9];
    // Their first bits differ, and with these any code that they complete.
    const FILLS: [u8; 2] = [0x55, 0xaa];
    let bytes = bytes.strip_suffix(&END[..1]).unwrap_or(bytes);
    let followed_by = |fill: &[u8]| {
        decode_as(ImageFormat::Jpeg, path, &[bytes, fill, &END].concat()).ok().map(|decoded| decoded.picture)
    };
    let picture = followed_by(&[])?;
    let same = FILLS.iter().all(|&fill| followed_by(&[fill; 64]).as_ref() == Some(&picture));
    same.then_some(picture)
}

/// Decodes the bytes of a file of this format.
fn decode_as(format: ImageFormat, path: &Path, bytes: &[u8]) -> Result<Decoded> {
    let fail = |reason: String| Error::Data { path: path.to_path_buf(), reason };
    let length = bytes.len() as u64;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // A header cannot ask for more memory than its file can fill.
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some((length.saturating_mul(EXPANSION)).clamp(FEW_BYTES, MOST_ALONE));
    reader.limits(limits.clone());
    let unreadable = |error: ImageError| match error {
        ImageError::Limits(_) if length >= MOST_ALONE / EXPANSION => fail(format!(
            "has more than the {} MiB of pixels, or the {LONGEST_SIDE} pixels a side, that are read",
            MOST_ALONE >> 20
        )),
        ImageError::Limits(_) => {
            fail(format!("says that it holds more pixels than a file of {length} bytes may"))
        }
        other => fail(format!("cannot be decoded: {}", other.to_string().replace('\n', " "))),
    };
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    limits.reserve(decoder.total_bytes()).map_err(unreadable)?;
    let alone =
        (decoder.total_bytes() > MOST_BYTES).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner));
    // Exif data that cannot be read is none.
    let orientation = decoder.orientation();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if picture.width() == 0 || picture.height() == 0 {
        return Err(fail("holds no pixels".into()));
    }
    if let Ok(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(Decoded { picture, alone })
}

/// The bytes of a file.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::io(path, source))?;
    let fail = |reason: String| Err(Error::Data { path: path.to_path_buf(), reason });
    match bytes.len() as u64 {
        0 => fail("is empty".into()),
        length if length > LONGEST_FILE => fail(format!("is longer than {LONGEST_FILE} bytes")),
        _ => Ok(bytes),
    }
}

/// Whether the end marker follows the scans of a JPEG file. The decoder would paint what is missing grey.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    let mut place = 2;
    loop {
        // To the next marker. In a scan ff stands before 00 or a restart marker where it is none.
        let Some(ff) = bytes.get(place..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) else {
            return false;
        };
        let Some(&marker) = bytes.get(place + ff + 1) else { return false };
        place += ff + 2;
        match marker {
            END => return true,
            // A second ff may be the first byte of the marker.
            0xff => place -= 1,
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            // What follows a scan header is searched byte by byte; other segments are left out, for the data of a camera
            // may hold a small picture with an end of its own.
            SCAN => {}
            _ => match bytes.get(place..place + 2) {
                Some(length) => place += usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests;
