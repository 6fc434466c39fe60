use std::sync::Mutex;

use image::{Rgb, RgbImage};
use tempfile::TempDir;

use super::super::ReadingProgress;
use super::part::check_count;
use super::*;
use crate::data::split::is_set_apart;
use crate::data::{Colour, Dealing, Fit, Images};
use std::path::PathBuf;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    /// Two classes with so many training pictures each, every one of another shade.
    fn with(count: usize) -> Self {
        let folder = Folder::new();
        for (class, red) in [("cat", 0), ("ant", 100)] {
            (0..count)
                .for_each(|number| folder.picture(&format!("train/{class}/{number:03}.png"), red + number));
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// A picture of one shade.
    fn picture(&self, name: &str, red: usize) {
        self.file(name, b"");
        let picture = RgbImage::from_pixel(6, 5, Rgb([red as u8, 50, 90]));
        picture.save_with_format(self.path(name), image::ImageFormat::Png).unwrap();
    }

    fn load_with(&self, reading: &Reading, progress: &dyn ReadingProgress) -> Result<Dataset> {
        load(&Request { directory: self.0.path(), seed: 3, reading, progress })
    }

    fn load(&self) -> Result<Dataset> {
        self.load_with(&SMALL, &())
    }

    /// What is said about this folder, which must name this file.
    fn refusal(&self, name: &str) -> String {
        let sentence = self.load().unwrap_err().to_string();
        assert!(sentence.contains(&format!("{}: ", self.path(name).display())), "{sentence} lacks {name}");
        sentence
    }
}

const SMALL: Reading = Reading {
    image_size: 4,
    colour: Colour::Rgb,
    strict: false,
    allow_unreadable: false,
    dealing: Dealing::ByName,
    background: None,
    fit: Fit::Crop,
};

/// Remembers what it was told.
#[derive(Default)]
struct Memory {
    read: Mutex<Vec<(usize, usize)>>,
    skipped: Mutex<Vec<String>>,
    notices: Mutex<Vec<String>>,
}

impl ReadingProgress for Memory {
    fn read(&self, done: usize, all: usize) {
        self.read.lock().unwrap().push((done, all));
    }

    fn skipped(&self, errors: &[&Error]) {
        self.skipped.lock().unwrap().extend(errors.iter().map(ToString::to_string));
    }

    fn notice(&self, sentence: &str) {
        self.notices.lock().unwrap().push(sentence.to_owned());
    }
}

fn reds(images: &Images) -> Vec<u8> {
    (0..images.count()).map(|index| images.image(index)[0]).collect()
}

#[test]
fn classes_are_directories_in_the_order_of_their_names() {
    let folder = Folder::with(2);
    folder.picture("test/cat/deep/down/x.PNG", 200);
    folder.picture("train/ant/.hidden.png", 201);
    folder.picture("train/.cache/x.png", 202);
    folder.file("train/cat/labels.csv", b"no picture");
    folder.file("train/readme.txt", b"no class");
    let memory = Memory::default();
    let dataset = folder.load_with(&SMALL, &memory).unwrap();
    assert_eq!(dataset.class_names, ["ant", "cat"]);
    assert_eq!(
        (reds(&dataset.train), dataset.train.labels.clone()),
        (vec![100, 101, 0, 1], vec![0, 0, 1, 1])
    );
    assert_eq!((reds(&dataset.test), dataset.test.labels.clone()), (vec![200], vec![1]));
    assert_eq!((dataset.train.height, dataset.train.width, dataset.train.channels), (4, 4, 3));
    assert_eq!(dataset.mean, [50.5, 50.0, 90.0]);
    let mut read = memory.read.into_inner().unwrap();
    read.sort_unstable();
    assert_eq!(read, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    assert!(memory.skipped.into_inner().unwrap().is_empty());
}

#[test]
fn without_a_test_directory_about_a_fifth_is_set_apart() {
    let folder = Folder::with(10);
    let dataset = folder.load().unwrap();
    assert!((2..=6).contains(&dataset.test.count()), "{}", dataset.test.count());
    assert_eq!(folder.load().unwrap(), dataset);
    let other = Request { directory: folder.0.path(), seed: 4, reading: &SMALL, progress: &() };
    assert_ne!(load(&other).unwrap(), dataset);
    let mut all = [reds(&dataset.train), reds(&dataset.test)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..10).chain(100..110).collect::<Vec<u8>>());
}

#[test]
fn a_picture_moves_no_other_to_the_other_side() {
    let folder = Folder::with(40);
    let before = folder.load().unwrap().pictures.unwrap().manifest;
    assert!(before.dealing == Some(Dealing::ByName) && before.test.len() + before.train.len() == 80);
    folder.picture("train/cat/0000.png", 150);
    folder.picture("train/ant/zzz/more.png", 151);
    std::fs::remove_file(folder.path("train/ant/007.png")).unwrap();
    let after = folder.load().unwrap().pictures.unwrap().manifest;
    let changes = after.changes_since(&before).to_string();
    let expected = "2 new (train/ant/zzz/more.png, train/cat/0000.png), 1 gone (train/ant/007.png)";
    assert_eq!(changes, expected);
}

#[test]
fn the_dealing_of_the_first_version_is_by_place() {
    let folder = Folder::with(10);
    let by_place = Reading { dealing: Dealing::ByPlace, ..SMALL };
    let dataset = folder.load_with(&by_place, &()).unwrap();
    assert_eq!((dataset.train.class_counts(2), dataset.test.class_counts(2)), (vec![8, 8], vec![2, 2]));
    let names: Vec<_> = dataset.pictures.unwrap().manifest.test.into_keys().collect();
    assert_eq!(names, ["train/ant/001.png", "train/ant/008.png", "train/cat/005.png", "train/cat/009.png"]);
}

#[test]
fn too_few_pictures_to_set_some_apart_are_refused() {
    // Of names until one side is empty.
    let folder = Folder::new();
    let (mut kept, mut tested) = (Vec::new(), Vec::new());
    for number in 0..100 {
        let name = format!("{number}.png");
        let part = if is_set_apart(3, b"ant", name.as_bytes()) { &mut tested } else { &mut kept };
        part.push(name);
    }
    for class in ["ant", "cat"] {
        let names = (0..100).map(|number| format!("{number}.png"));
        let kept = names.filter(|name| !is_set_apart(3, class.as_bytes(), name.as_bytes()));
        kept.take(2).for_each(|name| folder.picture(&format!("train/{class}/{name}"), 7));
    }
    let none = folder.refusal("train");
    assert!(none.contains("of these none; add some, choose another --seed, or name test pictures"), "{none}");
    tested.iter().take(3).for_each(|name| folder.picture(&format!("train/ant/{name}"), 8));
    std::fs::remove_file(folder.path(&format!("train/ant/{}", kept[0]))).unwrap();
    let many = folder.refusal("train/ant");
    assert!(many.contains("holds 4 pictures of which the test takes 3; expected at least 2"), "{many}");
}

#[test]
fn broken_files_are_told_in_order_and_left_out() {
    let folder = Folder::with(40);
    folder.file("train/ant/007.png", b"");
    folder.file("train/cat/031.png", b"not a picture");
    folder.file("train/cat/002.png", &std::fs::read(folder.path("train/cat/003.png")).unwrap()[..50]);
    let load = |threads| {
        let memory = Memory::default();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let dataset = pool.install(|| folder.load_with(&SMALL, &memory)).unwrap();
        (dataset, memory.skipped.into_inner().unwrap())
    };
    let (dataset, skipped) = load(1);
    assert_eq!((load(3), load(8)), ((dataset.clone(), skipped.clone()), (dataset.clone(), skipped.clone())));
    let broken = [
        "train/ant/007.png: is empty",
        "train/cat/002.png: cannot be decoded",
        "train/cat/031.png: holds no",
    ];
    assert_eq!(skipped.len(), 3);
    assert!(skipped.iter().zip(broken).all(|(told, expected)| told.contains(expected)), "{skipped:?}");
    assert_eq!(dataset.train.count() + dataset.test.count(), 77);
    for _ in 0..20 {
        let strict = folder.load_with(&Reading { strict: true, ..SMALL }, &()).unwrap_err().to_string();
        assert!(strict.contains(broken[0]), "{strict}");
    }
}

#[test]
fn places_without_pictures_are_refused() {
    let folder = Folder::new();
    let nothing = folder.refusal("train");
    assert!(nothing.contains("no such directory; expected the pictures in train/CLASS/"), "{nothing}");
    folder.file("train", b"a file");
    assert!(folder.refusal("train").contains("no such directory"));
    let folder = Folder::new();
    folder.file("train/loose.png", b"");
    assert!(folder.refusal("train").contains("no classes"));
    folder.picture("train/cat/1.png", 1);
    assert!(folder.refusal("train").contains("one class, cat"));
    folder.file("train/dog/notes.txt", b"");
    assert!(folder.refusal("train/dog").contains("no pictures; expected files of the formats PNG, JPEG"));
    let folder = Folder::with(3);
    std::fs::create_dir(folder.path("test")).unwrap();
    assert!(folder.refusal("test").contains("no classes"));
    folder.file("test/cat/1.png", b"broken");
    assert!(folder.refusal("test").contains("holds no picture that can be read"));
}

#[test]
fn a_class_needs_two_pictures() {
    let folder = Folder::with(3);
    folder.picture("test/ant/1.png", 1);
    folder.picture("train/bee/1.png", 1);
    assert!(folder.refusal("train/bee").contains("holds one picture; expected at least 2"));
    folder.file("train/bee/2.png", b"broken");
    assert!(folder.refusal("train/bee").contains("holds 2 pictures of which 1 can be read"));
    folder.picture("train/bee/2.png", 1);
    folder.load().unwrap();
}

#[test]
fn classes_of_the_test_part_are_those_of_the_training_part() {
    let folder = Folder::with(3);
    folder.picture("test/ant/1.png", 7);
    assert_eq!(folder.load().unwrap().test.class_counts(2), [1, 0]);
    folder.picture("test/cow/1.png", 7);
    assert!(folder.refusal("test/cow").contains("is no class of"));
}

#[test]
fn more_classes_than_labels_are_refused() {
    check_count(Path::new("x"), 65_536).unwrap();
    let sentence = check_count(Path::new("x"), 65_537).unwrap_err().to_string();
    assert!(sentence.contains("x: holds 65537 classes; expected at most 65536"), "{sentence}");
}

#[test]
fn images_that_no_memory_can_hold_are_refused() {
    let reading = Reading { image_size: 1024, ..SMALL };
    let Err(error) = check_memory(Path::new("x"), 1 << 40, &reading) else {
        return println!("skipped: this system does not tell how much memory it has");
    };
    assert!(error.to_string().contains("lower --image-size"), "{error}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_round_in_circles() {
    use std::os::unix::fs::symlink;
    let folder = Folder::with(3);
    folder.picture("elsewhere/1.png", 33);
    symlink(folder.path("elsewhere"), folder.path("train/cat/more")).unwrap();
    symlink(folder.path("elsewhere/1.png"), folder.path("train/ant/link.png")).unwrap();
    assert_eq!(folder.load().unwrap().train.count() + folder.load().unwrap().test.count(), 8);
    symlink(folder.path("nowhere.png"), folder.path("train/ant/lost.png")).unwrap();
    let memory = Memory::default();
    folder.load_with(&SMALL, &memory).unwrap();
    let skipped = memory.skipped.into_inner().unwrap();
    assert!(skipped.len() == 1 && skipped[0].contains("lost.png: "), "{skipped:?}");
    symlink(folder.path("train/cat"), folder.path("train/cat/again")).unwrap();
    assert!(folder.refusal("train/cat/again").contains("is a link that leads back to"));
}

#[cfg(unix)]
#[test]
fn a_directory_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::with(3);
    for place in ["train/cat", "train"] {
        let path = folder.path(place);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        let readable = std::fs::read_dir(&path).is_ok();
        let refusal = (!readable).then(|| folder.refusal(place));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        match refusal {
            Some(refusal) => assert!(refusal.contains("denied"), "{refusal}"),
            None => println!("skipped: this user may read every directory"),
        }
    }
}

#[test]
fn content_decides_what_is_read_and_the_rest_is_counted() {
    let folder = Folder::with(40);
    let picture = std::fs::read(folder.path("train/cat/003.png")).unwrap();
    for name in ["none", "x.jfif", "x.dat", "x.txt"] {
        folder.file(&format!("train/cat/{name}"), &picture);
    }
    RgbImage::from_pixel(6, 5, Rgb([9, 50, 90])).save(folder.path("train/cat/x.tif")).unwrap();
    for number in 0..3 {
        folder.file(&format!("train/ant/{number}.heic"), b"\0\0\0\x18ftypheic\0\0\0\0mif1");
    }
    folder.file("train/ant/x.avif", b"");
    folder.file("train/ant/labels.csv", b"file,class");
    folder.file("train/ant/Thumbs.db", b"of a system");
    folder.file("train/__MACOSX/ant/x.png", b"of a system");
    let memory = Memory::default();
    let dataset = folder.load_with(&SMALL, &memory).unwrap();
    assert_eq!((dataset.class_names.len(), dataset.train.count() + dataset.test.count()), (2, 85));
    assert_eq!(memory.skipped.into_inner().unwrap().len(), 4);
    let left_out = dataset.pictures.unwrap().survey.left_out;
    let left_out: Vec<_> = left_out.iter().map(|of| (&of.reason[..], of.count, &of.names[0][..])).collect();
    assert_eq!(
        left_out,
        [
            (
                "is a picture of the format HEIC, which is not read; convert it to PNG or JPEG",
                3,
                "train/ant/0.heic"
            ),
            ("is empty", 1, "train/ant/x.avif"),
            ("is no picture", 1, "train/ant/labels.csv"),
        ]
    );
    // What is no picture is no reason to stop.
    for number in 0..3 {
        std::fs::remove_file(folder.path(&format!("train/ant/{number}.heic"))).unwrap();
    }
    let strict = || folder.load_with(&Reading { strict: true, ..SMALL }, &());
    assert!(strict().unwrap_err().to_string().contains("x.avif: is empty"));
    std::fs::remove_file(folder.path("train/ant/x.avif")).unwrap();
    strict().unwrap();
}

#[test]
fn a_class_of_which_more_than_a_fifth_is_unreadable_is_refused() {
    let folder = Folder::with(8);
    folder.file("train/ant/a.png", b"");
    folder.file("train/ant/b.png", b"");
    folder.load().unwrap();
    folder.file("train/ant/c.png", b"broken");
    let refusal = folder.refusal("train/ant");
    assert!(refusal.contains("3 of 11 pictures cannot be read, the first of them: data file "), "{refusal}");
    assert!(refusal.ends_with("a.png: is empty; --allow-unreadable goes on without them"), "{refusal}");
    folder.load_with(&Reading { allow_unreadable: true, ..SMALL }, &()).unwrap();
    folder.picture("test/ant/1.png", 1);
    folder.file("test/ant/2.png", b"");
    std::fs::remove_file(folder.path("train/ant/c.png")).unwrap();
    assert!(folder.refusal("test/ant").contains("1 of 2 pictures cannot be read"));
}

#[test]
fn parts_of_other_names_and_classes_without_parts_are_read() {
    let folder = Folder::with(3);
    folder.picture("valid/ant/1.png", 7);
    let memory = Memory::default();
    let dataset = folder.load_with(&SMALL, &memory).unwrap();
    assert_eq!((reds(&dataset.test), dataset.train.count()), (vec![7], 6));
    let notices = memory.notices.into_inner().unwrap().join("\n");
    assert!(notices.contains("valid is the test part, for there is no test"), "{notices}");
    let flat = Folder(tempfile::tempdir().unwrap());
    for number in 0..20 {
        flat.picture(&format!("cat/{number}.png"), number);
        flat.picture(&format!("ant/{number}.png"), 100 + number);
    }
    let dataset = flat.load().unwrap();
    assert_eq!(dataset.class_names, ["ant", "cat"]);
    let manifest = dataset.pictures.unwrap().manifest;
    assert!(manifest.train.keys().chain(manifest.test.keys()).any(|name| name == "cat/7.png"));
}

#[test]
fn classes_that_look_alike_are_named() {
    let folder = Folder::with(8);
    // A letter and an accent as one character and as two.
    for class in ["Cat", "caf\u{e9}", "cafe\u{301}"] {
        (0..8).for_each(|number| folder.picture(&format!("train/{class}/{number}.png"), number));
    }
    if !(folder.path("train/Cat/007.png").exists() || folder.path("train/cat/7.png").exists()) {
        let memory = Memory::default();
        let dataset = folder.load_with(&SMALL, &memory).unwrap();
        assert_eq!(dataset.class_names.len(), 5);
        let notices = memory.notices.into_inner().unwrap();
        assert_eq!(notices.len(), 2, "{notices:?}");
        assert!(notices[0].contains("the classes cafe\u{301} and caf\u{e9} differ by"), "{notices:?}");
        assert!(notices[1].contains("the classes Cat and cat differ by case"), "{notices:?}");
    } else {
        println!("skipped: names of files have no case here");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_stay_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::with(8);
    for class in [&b"caf\xe9"[..], b"caf\xe8", b"caf\\xe9"] {
        let place = folder.path("train").join(OsStr::from_bytes(class));
        std::fs::create_dir(&place).unwrap();
        for number in 0..8 {
            std::fs::copy(folder.path(&format!("train/cat/00{number}.png")), place.join(number.to_string()))
                .unwrap();
        }
    }
    let dataset = folder.load().unwrap();
    assert_eq!(dataset.class_names, ["ant", r"caf\\xe9", r"caf\xe8", r"caf\xe9", "cat"]);
    assert_eq!(dataset.train.count() + dataset.test.count(), 40);
}
