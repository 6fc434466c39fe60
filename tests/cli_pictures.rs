//! Pictures that come, go and change between a run and what follows it.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{darts, printed, refused, text};
use darts::data::Manifest;
use darts::store::pictures::load_pictures;
use image::{Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::Value;

const SMALL: [&str; 5] = ["--init-channels=1", "--cells=3", "--batch-size=8", "--epochs=1", "--device=cpu"];

/// A picture that no other number has.
fn picture(here: &Path, name: &str, number: u32) {
    let path = here.join("pictures").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let shade = |x: u32, y: u32| Rgb([number as u8, (x * 20) as u8, (y * 20 + number / 256) as u8]);
    RgbImage::from_fn(8, 8, shade).save(path).unwrap();
}

/// A scratch directory with pictures of two classes and a model of them in `model`.
fn trained() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for number in 0..30 {
        picture(scratch.path(), &format!("train/a/{number:02}.png"), number);
        picture(scratch.path(), &format!("train/b/{number:02}.png"), 100 + number);
    }
    let train = ["train", "random:0", "--data=folder:pictures", "--image-size=8", "--out=model"];
    printed(scratch.path(), &[&train[..], &SMALL].concat());
    scratch
}

fn manifest(run: &Path) -> Manifest {
    load_pictures(run).unwrap().unwrap()
}

const EVALUATE: [&str; 4] = ["evaluate", "model/last.safetensors", "--data=folder:pictures", "--json"];

/// The figures of an evaluation, and what it says beside them.
fn evaluated(here: &Path) -> (Value, String) {
    let output = darts(here, &EVALUATE);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    (serde_json::from_slice(&output.stdout).unwrap(), text(&output.stderr).to_owned())
}

#[test]
fn one_picture_more_or_less_moves_no_other() {
    let scratch = trained();
    let here = scratch.path();
    let (before, told) = evaluated(here);
    assert_eq!(told, "");
    let stored = manifest(&here.join("model"));
    assert_eq!(before["images"], stored.test.len());
    // Of two classes, five guesses say nothing.
    assert!(before["top_five_accuracy"].is_null() && before["accuracy"].is_number(), "{before}");
    assert!(!printed(here, &EVALUATE[..3]).contains("within five guesses"));
    // Pictures that the training did not have: they are tested with or they are not, and no other moves.
    for number in 0..10 {
        picture(here, &format!("train/b/0{number}-more.png"), 400 + number);
    }
    let gone = stored.train.keys().next().unwrap();
    fs::remove_file(here.join("pictures").join(gone)).unwrap();
    let (after, told) = evaluated(here);
    let more = after["images"].as_u64().unwrap() as usize - stored.test.len();
    assert!((1..10).contains(&more), "{more} of ten");
    assert!(told.contains(&format!("not those of the training: {more} new (train/b/0")), "{told}");

    let tested = stored.test.keys().next().unwrap();
    fs::remove_file(here.join("pictures").join(tested)).unwrap();
    let (_, told) = evaluated(here);
    assert!(told.contains(&format!("1 gone ({tested})")), "{told}");
}

#[test]
fn pictures_that_were_trained_on_are_no_test() {
    let scratch = trained();
    let here = scratch.path();
    let stored = manifest(&here.join("model"));
    let trained = stored.train.keys().next().unwrap();
    // A test part of its own, into which a picture was moved that the model was trained on.
    picture(here, "test/a/new.png", 300);
    let (figures, told) = evaluated(here);
    assert_eq!(figures["images"], 1);
    assert!(told.contains("1 new (test/a/new.png)"), "{told}");
    fs::rename(here.join("pictures").join(trained), here.join("pictures/test/a/moved.png")).unwrap();
    let told = ["1 of 2 test pictures are no test", "the model was trained on them: test/a/moved.png"];
    refused(here, &EVALUATE, 1, &told);
}

#[test]
fn a_run_goes_on_with_its_own_pictures_alone() {
    let scratch = trained();
    let here = scratch.path();
    let search = ["search", "--data=folder:pictures", "--image-size=8", "--nodes=1", "--out=search"];
    printed(here, &[&search[..], &SMALL].concat());
    assert_eq!(manifest(&here.join("search")), manifest(&here.join("model")));
    picture(here, "train/b/more.png", 300);
    for (command, run) in [("train", "model"), ("search", "search")] {
        let told = ["other pictures than those that the run was begun with: 1 new (train/b/more.png)"];
        refused(here, &[command, "--resume", run], 1, &told);
    }
    let train = |out: &str, more: &[&str]| {
        let output = darts(here, &[&["train", "search", "--out", out][..], &SMALL, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr).to_owned()
    };
    let told = train("second", &[]);
    assert!(told.contains("changed since the search in search: 1 new (train/b/more.png)"), "{told}");
    let other = [&["train", "search", "--out=third", "--seed=1"][..], &SMALL].concat();
    refused(here, &other, 1, &["test pictures are among those that it was made on", "train with --seed 0"]);
    // A picture of the search that is to be tested with.
    picture(here, "test/a/new.png", 301);
    let searched = manifest(&here.join("search")).train.into_keys().next().unwrap();
    fs::rename(here.join("pictures").join(&searched), here.join("pictures/test/a/moved.png")).unwrap();
    let told = ["1 of 2 test pictures are no test, for the search was made on them: test/a/moved.png"];
    refused(here, &[&["train", "search", "--out=fourth"][..], &SMALL].concat(), 1, &told);
}

#[test]
fn a_run_that_stored_no_pictures_is_dealt_by_place() {
    let scratch = trained();
    let here = scratch.path();
    // A run of the first version has no such file; this one was not dealt as such a run.
    fs::remove_file(here.join("model/pictures.json")).unwrap();
    refused(
        here,
        &["train", "--resume", "model"],
        1,
        &["other images than those that the run was begun with"],
    );
}

#[test]
fn a_model_reads_pictures_as_its_training_did() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    for number in 0..12 {
        for (class, row) in [("top", 0), ("bottom", 12)] {
            // Ink on nothing; a crop to the centre would lose it.
            let ink = |_, y| Rgba([0, 0, 0, if (row..row + 4).contains(&y) { 255 - number } else { 0 }]);
            let path = here.join(format!("pictures/train/{class}/{number}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbaImage::from_fn(4, 16, ink).save(path).unwrap();
        }
    }
    let train = ["train", "random:0", "--data=folder:pictures", "--image-size=16", "--out=model"];
    let read = ["--fit=pad", "--background=#20c0ff", "--epochs=1"];
    let told = printed(here, &[&train[..], &SMALL[..3], &["--device=cpu"], &read].concat());
    assert!(told.contains("24 of 4x16 to 4x16 pixels, padded to squares and resized to 16x16"), "{told}");
    // The same picture as the training made it.
    let ink = |x, y| Rgb(if (6..10).contains(&x) && y < 4 { [0; 3] } else { [0x20, 0xc0, 0xff] });
    RgbImage::from_fn(16, 16, ink).save(here.join("square.png")).unwrap();
    let guess = |picture: &str| {
        let told = printed(here, &["predict", "model/last.safetensors", "--json", picture]);
        serde_json::from_str::<Value>(&told).unwrap()["guesses"].clone()
    };
    assert_eq!(guess("square.png"), guess("pictures/train/top/0.png"));
    assert_ne!(guess("square.png"), guess("pictures/train/bottom/0.png"));
    printed(here, &["export", "model", "--format=onnx", "--out=model.onnx"]);
    let exported = fs::read(here.join("model.onnx")).unwrap();
    let holds = |words: &str| exported.windows(words.len()).any(|bytes| bytes == words.as_bytes());
    assert!(holds("#20c0ff") && holds("fit") && holds("pad"));

    let told = ["--background is red; expected white, black or a colour such as #ffcc00"];
    refused(here, &["search", "--data=folder:pictures", "--background=red"], 2, &told);
    refused(
        here,
        &["search", "--fit=pad"],
        2,
        &["--fit is for --data folder:DIR; digits has its own images"],
    );
}
