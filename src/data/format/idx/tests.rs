use std::io::Read;

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

fn mnist(directory: &Path) -> Result<Dataset> {
    MNIST_SET.load(directory)
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
    assert!(nowhere.contains("dataset-fashion-mnist") && nowhere.contains("fashion-mnist:DIR"), "{nowhere}");
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
    let directory = plain();
    fs::write(directory.path().join(labels), idx(&[3], &[0, 10, 0])).unwrap();
    let range = FASHION_SET.load(directory.path()).unwrap_err().to_string();
    assert!(range.contains("label 1 is 10; expected 0 to 9"), "{range}");
    let minus = error(labels, &[&[0, 0, 9, 1, 0, 0, 0, 3], &[0, 255, 0][..]].concat());
    assert!(minus.contains("label 1 is -1; expected 0 to 999"), "{minus}");
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
    let mut file = Idx::open(directory.path(), "train-images", 3, Values::Bytes).unwrap();
    assert!(file.values().unwrap_err().to_string().contains("at most 1073741824 values"));
    // A promise below the limit costs nothing either when the file does not keep it.
    fs::write(&path, idx(&[1000, 1024, 1024], &[1; 5])).unwrap();
    let mut file = Idx::open(directory.path(), "train-images", 3, Values::Bytes).unwrap();
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
    let mut file = Idx { path: "bomb".into(), reader, sizes: vec![3, 2, 3], kind: 8 };
    assert!(file.values().unwrap_err().to_string().contains("goes on after the 18 values"));
    assert_eq!(taken.get(), 19);
    // And with a real one: 16 MiB of zeros in 16 KiB.
    let bomb = gz(&idx(&[3, 2, 3], &vec![0; 16 << 20]));
    assert!(bomb.len() < 1 << 15);
    assert!(error("train-images-idx3-ubyte", &bomb).contains("goes on after the 18 values"));
}

#[test]
fn up_to_a_thousand_classes_are_read_by_their_numbers() {
    let directory = plain();
    let labels = |numbers: &[u8], kind| [&[0, 0, kind, 1, 0, 0, 0, 3], numbers].concat();
    let write = |bytes: &[u8]| fs::write(directory.path().join("train-labels-idx1-ubyte"), bytes).unwrap();
    write(&labels(&[0, 46, 3], 8));
    let dataset = mnist(directory.path()).unwrap();
    assert_eq!((dataset.classes(), &dataset.train.labels), (47, &vec![0, 46, 3]));
    write(&labels(&[0, 0, 3, 0xe7, 0, 1], 0x0b));
    let dataset = mnist(directory.path()).unwrap();
    assert_eq!((dataset.classes(), &dataset.train.labels), (1000, &vec![0, 999, 1]));
    write(&labels(&[0, 0, 0, 2, 0, 0, 3, 0xe8, 0, 0, 0, 1], 0x0c));
    let most = mnist(directory.path()).unwrap_err().to_string();
    assert!(most.contains("label 1 is 1000; expected 0 to 999"), "{most}");
    write(&labels(&[0; 11], 0x0c));
    assert!(mnist(directory.path()).unwrap_err().to_string().contains("holds 2 values; its header says 3"));
}

#[test]
fn emnist_is_turned_and_its_letters_begin_with_1() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("gzip")).unwrap();
    for part in ["train", "test"] {
        let write = |kind: &str, bytes: &[u8]| {
            let name = format!("gzip/emnist-letters-{part}-{kind}-ubyte.gz");
            fs::write(directory.path().join(name), gz(bytes)).unwrap();
        };
        write("images-idx3", &idx(&[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]));
        write("labels-idx1", &idx(&[2], &[1, 26]));
    }
    let dataset = (EMNIST_LETTERS.load)(&super::super::Request {
        directory: directory.path(),
        seed: 0,
        reading: &crate::data::Reading::default(),
        progress: &(),
    });
    let dataset = dataset.unwrap();
    assert_eq!(dataset.train.pixels, [1, 3, 2, 4, 5, 7, 6, 8]);
    assert_eq!((&dataset.train.labels, dataset.classes()), (&vec![0, 25], 26));
    assert_eq!((&dataset.class_names[0][..], &dataset.class_names[25][..]), ("A", "Z"));
    let wide = Images { height: 1, width: 3, channels: 1, pixels: vec![1, 2, 3], labels: vec![0] };
    assert_eq!((transposed(wide.clone()).height, transposed(wide).pixels), (3, vec![1, 2, 3]));
    let merged = letters(&['0'..='9', 'A'..='Z'], "abdefghnqrt");
    assert_eq!((merged.len(), &merged[46][..]), (47, "t"));
}
