//! What a file is, by its first bytes.

use std::path::Path;

use image::{ImageFormat, guess_format};

/// How many of the first bytes of a file tell what it is.
pub const HEAD: usize = 32;
/// The formats that are read, for a sentence.
pub const READ: &str = "PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or QOI";
/// Endings of pictures: a file with one of them is meant as a picture, whatever it holds.
const ENDINGS: &[&str] = &[
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "bmp", "dib", "gif", "tif", "tiff", "pbm",
    "pgm", "ppm", "pnm", "qoi", "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "jpx", "psd", "svg",
    "ico", "tga", "dds", "hdr", "exr", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf",
];

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture of a format that is read.
    Picture(ImageFormat),
    /// A picture of a format that is not read, by its name.
    Foreign(&'static str),
    /// Something else, or nothing that is known.
    Other,
}

/// What a file is that begins with these bytes.
pub fn kind(head: &[u8]) -> Kind {
    use ImageFormat::{Avif, Bmp, Dds, Farbfeld, Gif, Hdr, Ico, Jpeg, OpenExr, Png, Pnm, Qoi, Tiff, WebP};
    match guess_format(head) {
        // A text may begin with such a letter and digit, too.
        Ok(Pnm) if !head.get(2).is_some_and(u8::is_ascii_whitespace) => Kind::Other,
        Ok(format @ (Png | Jpeg | WebP | Bmp | Gif | Tiff | Pnm | Qoi)) => Kind::Picture(format),
        Ok(Avif) => Kind::Foreign("AVIF"),
        Ok(Dds) => Kind::Foreign("DDS"),
        Ok(Farbfeld) => Kind::Foreign("farbfeld"),
        Ok(Hdr) => Kind::Foreign("Radiance HDR"),
        Ok(Ico) => Kind::Foreign("ICO"),
        Ok(OpenExr) => Kind::Foreign("OpenEXR"),
        _ => foreign(head).map_or(Kind::Other, Kind::Foreign),
    }
}

/// The name of a format that the decoders do not know.
fn foreign(head: &[u8]) -> Option<&'static str> {
    const BRANDS: [&[u8]; 8] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];
    if head.get(4..8) == Some(b"ftyp") {
        let brand = head.get(8..12)?;
        return match brand {
            b"avif" | b"avis" => Some("AVIF"),
            _ => BRANDS.contains(&brand).then_some("HEIC"),
        };
    }
    let starts: [(&[u8], _); 5] = [
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"8BPS", "Photoshop"),
    ];
    starts.iter().find(|(start, _)| head.starts_with(start)).map(|&(_, name)| name)
}

/// Whether a file is meant as a picture, by its ending.
pub fn has_picture_ending(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_by_their_first_bytes() {
        let cases: [(&[u8], Kind); 14] = [
            (b"\x89PNG\r\n\x1a\n", Kind::Picture(ImageFormat::Png)),
            (b"\xff\xd8\xff\xe1\0\0", Kind::Picture(ImageFormat::Jpeg)),
            (b"II*\0", Kind::Picture(ImageFormat::Tiff)),
            (b"MM\0*", Kind::Picture(ImageFormat::Tiff)),
            (b"P6\n3 2\n255\n", Kind::Picture(ImageFormat::Pnm)),
            (b"qoif\0\0", Kind::Picture(ImageFormat::Qoi)),
            (b"\0\0\0\x18ftypheic\0\0\0\0", Kind::Foreign("HEIC")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0", Kind::Foreign("HEIC")),
            (b"\0\0\0\x1cftypavif\0\0\0\0", Kind::Foreign("AVIF")),
            (b"\0\0\0\x0cJXL \r\n", Kind::Foreign("JPEG XL")),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", Kind::Other),
            (b"P1: the first of five", Kind::Other),
            (b"class,file\n", Kind::Other),
            (b"", Kind::Other),
        ];
        for (head, expected) in cases {
            assert_eq!(kind(head), expected, "{head:?}");
        }
        assert!(has_picture_ending(Path::new("a/B.JFIF")) && !has_picture_ending(Path::new("jpg")));
    }
}
