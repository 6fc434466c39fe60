//! An IDX file: a magic number (two zero bytes, the type, the number of dimensions), the dimensions as big-endian
//! 32-bit numbers, and the values, big-endian, too. It may be compressed with gzip: its first bytes say so.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

const UNSIGNED_BYTES: u8 = 8;
/// The types of whole numbers, and how many bytes one takes.
const WHOLE: [(u8, usize); 4] = [(UNSIGNED_BYTES, 1), (9, 1), (0x0b, 2), (0x0c, 4)];
/// Directories that programs unpack downloads into.
const PLACES: [&str; 3] = ["", "raw", "gzip"];
/// The most values of a file: a header cannot ask for more memory than this (MNIST: 47 million).
const MOST_VALUES: u64 = 1 << 30;

/// The types that the values of a file may have.
#[derive(Clone, Copy, PartialEq)]
pub enum Values {
    /// Unsigned bytes.
    Bytes,
    /// Whole numbers of any width.
    Whole,
}

/// An IDX file of which the header has been read.
pub struct Idx {
    /// The file.
    pub path: PathBuf,
    /// What follows the header.
    pub reader: Box<dyn Read>,
    /// Its dimensions.
    pub sizes: Vec<usize>,
    /// The type of its values.
    pub kind: u8,
}

impl Idx {
    /// Opens the first spelling of a file that is there, and checks its header.
    pub fn open(directory: &Path, stem: &str, dimensions: u8, values: Values) -> Result<Idx> {
        let spellings = ["-", "."].map(|dash| format!("{stem}{dash}idx{dimensions}-ubyte"));
        for place in PLACES {
            for name in spellings.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]) {
                let path = directory.join(place).join(name);
                if path.try_exists().map_err(|error| Error::io(&path, error))? {
                    return Idx::start(path, dimensions, values);
                }
            }
        }
        let reason = "missing; expected it plain or with .gz at the end".into();
        Err(Error::Data { path: directory.join(&spellings[0]), reason })
    }

    fn start(path: PathBuf, dimensions: u8, values: Values) -> Result<Idx> {
        let mut file = BufReader::new(File::open(&path).map_err(|error| Error::io(&path, error))?);
        let first = file.fill_buf().map_err(|error| Error::io(&path, error))?;
        let reader: Box<dyn Read> = match first.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let mut idx = Idx { path, reader, sizes: Vec::new(), kind: UNSIGNED_BYTES };
        let header = idx.header(dimensions)?;
        idx.kind = header[2];
        let is_allowed = match values {
            Values::Bytes => idx.kind == UNSIGNED_BYTES,
            Values::Whole => WHOLE.iter().any(|(kind, _)| *kind == idx.kind),
        };
        let magic = [0, 0, UNSIGNED_BYTES, dimensions];
        if header[..4] != [0, 0, idx.kind, dimensions] || !is_allowed {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            return idx.fail(format!("starts with {}; expected {}", hex(&header[..4]), hex(&magic)));
        }
        let size = |bytes: &[u8]| bytes.iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
        idx.sizes = header[4..].chunks_exact(4).map(size).collect();
        if idx.sizes.contains(&0) {
            let sizes = &idx.sizes;
            return idx.fail(format!("has dimensions {sizes:?}; expected none to be zero"));
        }
        Ok(idx)
    }

    /// The magic number and the dimensions.
    fn header(&mut self, dimensions: u8) -> Result<Vec<u8>> {
        let length = 4 + 4 * usize::from(dimensions);
        let header = self.read(length as u64)?;
        if header.len() < length {
            return self.fail(format!("ends after {} bytes; expected a header of {length}", header.len()));
        }
        Ok(header)
    }

    /// Bytes of a value.
    fn width(&self) -> usize {
        WHOLE.iter().find(|(kind, _)| *kind == self.kind).map_or(1, |(_, width)| *width)
    }

    /// The values as numbers: exactly as many as the header says.
    pub fn whole_numbers(&mut self) -> Result<Vec<i64>> {
        let bytes = self.values()?;
        let signed = self.kind != UNSIGNED_BYTES;
        let number = |bytes: &[u8]| {
            let start = if signed { i64::from(bytes[0] as i8) } else { i64::from(bytes[0]) };
            bytes[1..].iter().fold(start, |number, &byte| number << 8 | i64::from(byte))
        };
        Ok(bytes.chunks_exact(self.width()).map(number).collect())
    }

    /// The bytes of the values: exactly as many as the header says.
    pub fn values(&mut self) -> Result<Vec<u8>> {
        let width = self.width() as u64;
        let sizes = self.sizes.iter().map(|&size| size as u64);
        let expected = sizes.fold(1u64, u64::saturating_mul);
        if expected > MOST_VALUES {
            let sizes = &self.sizes;
            return self.fail(format!("has dimensions {sizes:?}; expected at most {MOST_VALUES} values"));
        }
        // One value more would be one too many, and is all that is read of an endless file.
        let mut values = self.read(expected * width + 1)?;
        let found = values.len() as u64 / width;
        if found < expected {
            return self.fail(format!("holds {found} values; its header says {expected}"));
        }
        if values.len() as u64 > expected * width {
            return self.fail(format!("goes on after the {expected} values of its header"));
        }
        values.shrink_to_fit();
        Ok(values)
    }

    /// At most `limit` bytes; memory grows with what is there, not with what was promised.
    fn read(&mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.reader.as_mut().take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => self.fail(format!("cannot be read after {} more bytes: {error}", bytes.len())),
        }
    }

    /// An error about the file.
    pub fn fail<T>(&self, reason: String) -> Result<T> {
        Err(Error::Data { path: self.path.clone(), reason })
    }
}
