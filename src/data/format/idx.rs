//! The IDX format of MNIST (LeCun, Cortes and Burges) and Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017).
//!
//! A file is a magic number (two zero bytes, the type, the number of dimensions), the dimensions as big-endian
//! 32-bit numbers, and the values. It may be compressed with gzip: its first bytes say so.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::{Format, Location};
use crate::data::{Augmentation, Dataset, Images, names};
use crate::{Error, Result};

/// Where Debian's package puts Fashion-MNIST.
const INSTALLED: &str = "/usr/share/datasets/fashion-mnist";
const CLASSES: usize = 10;
const DIGITS: [&str; CLASSES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const CLOTHES: [&str; CLASSES] = [
    "t-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];
/// The type of every file here.
const UNSIGNED_BYTES: u8 = 8;
/// The longest side of an image.
const LONGEST_SIDE: usize = 1024;
/// The most values of a file: a header cannot ask for more memory than this (MNIST: 47 million).
const MOST_VALUES: u64 = 1 << 30;

/// MNIST.
pub static MNIST: Format = Format {
    name: "mnist",
    location: Location::Directory,
    note: "",
    files: "`train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same for `t10k`, plain or gzipped; images of any \
            size up to 1024x1024",
    pictures: false,
    load: |request| mnist(request.directory),
};

/// Fashion-MNIST.
pub static FASHION_MNIST: Format = Format {
    name: "fashion-mnist",
    location: Location::DirectoryOr(INSTALLED),
    note: "",
    files: "the same; without DIR those of Debian's package `dataset-fashion-mnist`",
    pictures: false,
    load: |request| fashion_mnist(request.directory, Path::new(INSTALLED)),
};

fn mnist(directory: &Path) -> Result<Dataset> {
    load(MNIST.name, &DIGITS, directory)
}

/// Fashion-MNIST from a directory; `installed` is where Debian puts it.
fn fashion_mnist(directory: &Path, installed: &Path) -> Result<Dataset> {
    if directory == installed && !installed.is_dir() {
        let advice = "not there; install Debian's package dataset-fashion-mnist or name a directory: \
                      --data fashion-mnist:DIR";
        return Err(Error::Data { path: installed.to_path_buf(), reason: advice.into() });
    }
    load(FASHION_MNIST.name, &CLOTHES, directory)
}

fn load(name: &str, class_names: &[&str], directory: &Path) -> Result<Dataset> {
    let (train, train_path) = part(directory, "train")?;
    let (test, path) = part(directory, "t10k")?;
    if (train.height, train.width) != (test.height, test.width) {
        let reason = format!(
            "images of {} x {} pixels; expected {} x {} as in the training part",
            test.height, test.width, train.height, train.width
        );
        return Err(Error::Data { path, reason });
    }
    let (mean, deviation) = train.statistics();
    if deviation.contains(&0.0) {
        let reason = "has the same value in every training pixel".into();
        return Err(Error::Data { path: train_path, reason });
    }
    Ok(Dataset {
        name: name.into(),
        class_names: names(class_names),
        train,
        test,
        mean,
        deviation,
        white: u8::MAX,
        augmentation: Augmentation::default(),
        pictures: None,
    })
}

/// The images and labels of one part, and the file of the images.
fn part(directory: &Path, prefix: &str) -> Result<(Images, PathBuf)> {
    let mut images = Idx::open(directory, &format!("{prefix}-images"), 3)?;
    let mut labels = Idx::open(directory, &format!("{prefix}-labels"), 1)?;
    let (count, height, width) = (images.sizes[0], images.sizes[1], images.sizes[2]);
    if height > LONGEST_SIDE || width > LONGEST_SIDE {
        return images
            .fail(format!("images of {height} x {width} pixels; expected at most {LONGEST_SIDE} a side"));
    }
    // Before the values are read: a header that lies is cheaper to find than its values are to keep.
    if labels.sizes[0] != count {
        let found = labels.sizes[0];
        return labels.fail(format!("{found} labels; expected {count}, one for each image"));
    }
    let label_values = labels.values()?;
    if let Some(index) = label_values.iter().position(|&label| usize::from(label) >= CLASSES) {
        let label = label_values[index];
        return labels.fail(format!("label {index} is {label}; expected 0 to {}", CLASSES - 1));
    }
    let pixels = images.values()?;
    let labels = label_values.into_iter().map(u16::from).collect();
    Ok((Images { height, width, channels: 1, pixels, labels }, images.path))
}

/// An IDX file of which the header has been read.
struct Idx {
    path: PathBuf,
    reader: Box<dyn Read>,
    sizes: Vec<usize>,
}

impl Idx {
    /// Opens the first spelling of a file that is there, and checks its header.
    fn open(directory: &Path, stem: &str, dimensions: u8) -> Result<Idx> {
        let spellings = ["-", "."].map(|dash| format!("{stem}{dash}idx{dimensions}-ubyte"));
        for name in spellings.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]) {
            let path = directory.join(name);
            if path.try_exists().map_err(|error| Error::io(&path, error))? {
                return Idx::start(path, dimensions);
            }
        }
        let reason = "missing; expected it plain or with .gz at the end".into();
        Err(Error::Data { path: directory.join(&spellings[0]), reason })
    }

    fn start(path: PathBuf, dimensions: u8) -> Result<Idx> {
        let mut file = BufReader::new(File::open(&path).map_err(|error| Error::io(&path, error))?);
        let first = file.fill_buf().map_err(|error| Error::io(&path, error))?;
        let reader: Box<dyn Read> = match first.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let mut idx = Idx { path, reader, sizes: Vec::new() };
        let header = idx.header(dimensions)?;
        let magic = [0, 0, UNSIGNED_BYTES, dimensions];
        if header[..4] != magic {
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

    /// The values: exactly as many as the header says.
    fn values(&mut self) -> Result<Vec<u8>> {
        let sizes = self.sizes.iter().map(|&size| size as u64);
        let expected = sizes.fold(1u64, u64::saturating_mul);
        if expected > MOST_VALUES {
            let sizes = &self.sizes;
            return self.fail(format!("has dimensions {sizes:?}; expected at most {MOST_VALUES} values"));
        }
        // One value more would be one too many, and is all that is read of an endless file.
        let mut values = self.read(expected + 1)?;
        let found = values.len() as u64;
        if found < expected {
            return self.fail(format!("holds {found} values; its header says {expected}"));
        }
        if found > expected {
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

    fn fail<T>(&self, reason: String) -> Result<T> {
        Err(Error::Data { path: self.path.clone(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::fs;
    use std::io::Write;
    use tempfile::TempDir;

    fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes.extend_from_slice(values);
        bytes
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Three training and two test images of 2 x 3 pixels, named with `dash` and `end`.
    fn directory(dash: &str, end: &str, pack: fn(&[u8]) -> Vec<u8>) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let write = |stem: &str, dimensions: usize, bytes: &[u8]| {
            let name = format!("{stem}{dash}idx{dimensions}-ubyte{end}");
            fs::write(directory.path().join(name), pack(bytes)).unwrap();
        };
        write("train-images", 3, &idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>()));
        write("train-labels", 1, &idx(&[3], &[0, 9, 4]));
        write("t10k-images", 3, &idx(&[2, 2, 3], &[7; 12]));
        write("t10k-labels", 1, &idx(&[2], &[1, 2]));
        directory
    }

    fn plain() -> TempDir {
        directory("-", "", <[u8]>::to_vec)
    }

    /// What is said when one file holds something else.
    fn error(name: &str, bytes: &[u8]) -> String {
        let directory = plain();
        fs::write(directory.path().join(name), bytes).unwrap();
        let error = mnist(directory.path()).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains(name), "{sentence} lacks {name}");
        sentence
    }

    #[test]
    fn every_spelling_is_read() {
        let directories = [
            plain(),
            directory("-", ".gz", gz),
            directory(".", "", <[u8]>::to_vec),
            directory(".", ".gz", gz),
            // Only the content says whether a file is compressed: the names of downloads often do not.
            directory("-", "", gz),
            directory("-", ".gz", <[u8]>::to_vec),
        ];
        for directory in directories {
            let dataset = mnist(directory.path()).unwrap();
            dataset.check().unwrap();
            let (train, test) = (&dataset.train, &dataset.test);
            assert_eq!((train.height, train.width, train.channels), (2, 3, 1));
            assert_eq!(train.labels, [0, 9, 4]);
            assert_eq!(train.image(1), [6, 7, 8, 9, 10, 11]);
            assert_eq!((test.count(), test.pixels.as_slice()), (2, &[7; 12][..]));
            assert_eq!(dataset.mean, [8.5]);
            // The variance of 0, 1, ... 17 is (18 * 18 - 1) / 12.
            assert!((dataset.deviation[0] - (323f32 / 12.0).sqrt()).abs() < 1e-5);
        }
    }

    #[test]
    fn missing_files_are_named() {
        let directory = plain();
        fs::remove_file(directory.path().join("t10k-labels-idx1-ubyte")).unwrap();
        let sentence = mnist(directory.path()).unwrap_err().to_string();
        assert!(sentence.contains("t10k-labels-idx1-ubyte: missing"), "{sentence}");
        let none = &directory.path().join("none");
        let nowhere = fashion_mnist(none, none).unwrap_err().to_string();
        assert!(
            nowhere.contains("dataset-fashion-mnist") && nowhere.contains("fashion-mnist:DIR"),
            "{nowhere}"
        );
    }

    #[test]
    fn fashion_mnist_is_found_where_it_is_installed_or_named() {
        let (installed, named) = (directory("-", ".gz", gz), plain());
        let one = fashion_mnist(installed.path(), installed.path()).unwrap();
        let two = fashion_mnist(named.path(), Path::new("/nowhere")).unwrap();
        assert_eq!(one, two);
        assert_eq!((one.name.as_str(), one.class_names[9].as_str()), ("fashion-mnist", "ankle boot"));
    }

    #[test]
    fn wrong_headers_say_what_was_expected() {
        let images = "train-images-idx3-ubyte";
        let short = error(images, &[0, 0, 8, 3, 0, 0]);
        assert!(short.contains("ends after 6 bytes; expected a header of 16"), "{short}");
        let magic = error(images, &[&[0, 0, 13, 3], &idx(&[3, 2, 3], &[0; 18])[4..]].concat());
        assert!(magic.contains("starts with 00000d03; expected 00000803"), "{magic}");
        let labels = error("train-labels-idx1-ubyte", &idx(&[3, 1, 1], &[0; 3]));
        assert!(labels.contains("starts with 00000803; expected 00000801"), "{labels}");
        let zero = error(images, &idx(&[3, 0, 3], &[]));
        assert!(zero.contains("[3, 0, 3]; expected none to be zero"), "{zero}");
        let wide = error(images, &idx(&[3, 2, 1025], &[]));
        assert!(wide.contains("2 x 1025 pixels; expected at most 1024"), "{wide}");
        let shape = error("t10k-images-idx3-ubyte", &idx(&[2, 3, 2], &[0; 12]));
        assert!(shape.contains("3 x 2 pixels; expected 2 x 3"), "{shape}");
    }

    #[test]
    fn payloads_must_be_as_long_as_their_header_says() {
        let images = "train-images-idx3-ubyte";
        for pack in [<[u8]>::to_vec, gz] {
            let short = error(images, &pack(&idx(&[3, 2, 3], &[0; 17])));
            assert!(short.contains("holds 17 values; its header says 18"), "{short}");
            let long = error(images, &pack(&idx(&[3, 2, 3], &[0; 19])));
            assert!(long.contains("goes on after the 18 values"), "{long}");
        }
        let huge = error("train-labels-idx1-ubyte", &idx(&[u32::MAX], &[]));
        assert!(huge.contains("4294967295 labels; expected 3"), "{huge}");
    }

    #[test]
    fn labels_are_checked() {
        let labels = "train-labels-idx1-ubyte";
        let count = error(labels, &idx(&[4], &[0; 4]));
        assert!(count.contains("4 labels; expected 3, one for each image"), "{count}");
        let range = error(labels, &idx(&[3], &[0, 10, 0]));
        assert!(range.contains("label 1 is 10; expected 0 to 9"), "{range}");
    }

    #[test]
    fn damaged_gzip_is_an_error() {
        let whole = gz(&idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>()));
        let cut = error("train-images-idx3-ubyte", &whole[..whole.len() - 10]);
        assert!(cut.contains("cannot be read"), "{cut}");
        let mut checksum = whole.clone();
        let place = whole.len() - 8;
        checksum[place] ^= 1;
        let checksum = error("train-images-idx3-ubyte", &checksum);
        assert!(checksum.contains("cannot be read"), "{checksum}");
    }

    #[test]
    fn a_header_cannot_ask_for_endless_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("train-images-idx3-ubyte");
        fs::write(&path, idx(&[u32::MAX, 1024, 1024], &[])).unwrap();
        let mut file = Idx::open(directory.path(), "train-images", 3).unwrap();
        assert!(file.values().unwrap_err().to_string().contains("at most 1073741824 values"));
        // A promise below the limit costs nothing either when the file does not keep it.
        fs::write(&path, idx(&[1000, 1024, 1024], &[1; 5])).unwrap();
        let mut file = Idx::open(directory.path(), "train-images", 3).unwrap();
        assert!(file.values().unwrap_err().to_string().contains("holds 5 values"));
    }

    #[test]
    fn a_gzip_bomb_is_read_no_further_than_its_header_says() {
        /// Counts what is taken from an endless file.
        struct Endless(std::rc::Rc<std::cell::Cell<usize>>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                buffer.fill(0);
                self.0.set(self.0.get() + buffer.len());
                Ok(buffer.len())
            }
        }
        let taken = std::rc::Rc::new(std::cell::Cell::new(0));
        let reader = Box::new(Endless(taken.clone()));
        let mut file = Idx { path: "bomb".into(), reader, sizes: vec![3, 2, 3] };
        assert!(file.values().unwrap_err().to_string().contains("goes on after the 18 values"));
        assert_eq!(taken.get(), 19);
        // And with a real one: 16 MiB of zeros in 16 KiB.
        let bomb = gz(&idx(&[3, 2, 3], &vec![0; 16 << 20]));
        assert!(bomb.len() < 1 << 15);
        assert!(error("train-images-idx3-ubyte", &bomb).contains("goes on after the 18 values"));
    }
}
