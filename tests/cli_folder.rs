//! `darts search` on pictures of one's own.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{darts, printed, refused, text};
use darts::store::pictures::load_pictures;
use image::{Rgb, RgbImage};

const SMALL: [&str; 7] = [
    "search",
    "--data=folder:pictures",
    "--init-channels=2",
    "--nodes=2",
    "--batch-size=8",
    "--device=cpu",
    "--seed=3",
];

/// Pictures of two classes, stripes that run down or across, of several sizes.
fn write_pictures(directory: &Path, part: &str, count: u32) {
    for (class, down) in [("across", false), ("down", true)] {
        let place = directory.join("pictures").join(part).join(class);
        fs::create_dir_all(&place).unwrap();
        for number in 0..count {
            let stripe = |x: u32, y: u32| {
                let light = ((if down { x } else { y }) / 3 + number).is_multiple_of(2);
                Rgb([if light { 240 } else { 10 }, (number * 5) as u8, 100 + x as u8])
            };
            RgbImage::from_fn(16 + number % 5, 14 + number % 3, stripe)
                .save(place.join(format!("{number}.png")))
                .unwrap();
        }
    }
}

#[test]
fn a_search_on_pictures_tells_what_it_leaves_out() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    write_pictures(here, "train", 20);
    fs::write(here.join("pictures/train/down/broken.png"), "no picture").unwrap();
    let size = ["--epochs=2", "--image-size=12", "--colour=grey", "--out=run"];
    let output = darts(here, &[&SMALL[..], &size].concat());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 3, "{told}");
    assert!(
        lines[0].starts_with("darts: skipped data file pictures/train/down/broken.png: holds no PNG"),
        "{told}"
    );
    assert!(lines[1].starts_with("darts: 1 file was skipped"), "{told}");
    // Of each class one of 18x14, two of 19x14, one of 19x15, one of 20x14 and two of 20x15.
    assert!(lines[2].contains("more than a fifth of the area is cut away from 14 of 40 pictures"), "{told}");
    let known = text(&output.stdout);
    for words in [
        "classes   2, as training + test pictures: across ",
        "pictures  40 of 16x14 to 20x16 pixels, cut to the square in their centre and resized to 12x12",
        "left out  1 × holds no PNG, JPEG, WebP, BMP, GIF, TIFF, PNM or QOI picture: train/down/broken.png",
        "test      set apart from pictures/train by seed and name",
    ] {
        assert!(known.contains(words), "no {words} in {known}");
    }
    let report = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(report.contains("40 pictures of 16×14 to 20×16 pixels"), "the report tells of the pictures");
    // About a fifth of 40 is set apart, and the rest halved.
    let tested = load_pictures(&here.join("run")).unwrap().unwrap().test.len();
    let half = (40 - tested) / 2;
    assert!((4..=12).contains(&tested), "{tested} set apart");
    assert!(text(&output.stdout).contains(&format!("{half} for the weights, {half} for the alphas")));
    let plan = fs::read_to_string(here.join("run/plan.toml")).unwrap();
    assert!(plan.contains("image_size = 12") && plan.contains("colour = \"grey\""), "{plan}");

    let again = darts(here, &["search", "--plan=run/plan.toml", "--out=again", "--threads=1"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    let file = "alphas/epoch-0002.safetensors";
    assert!(
        fs::read(here.join("run").join(file)).unwrap() == fs::read(here.join("again").join(file)).unwrap()
    );

    let strict = ["--strict", "--out=strict"];
    refused(here, &[&SMALL[..], &strict].concat(), 1, &["pictures/train/down/broken.png", "holds no PNG"]);
    assert!(!here.join("strict").exists());
}

#[test]
fn pictures_are_taken_in_colour_and_at_32_pixels_unless_told() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    write_pictures(here, "train", 8);
    write_pictures(here, "test", 1);
    let told = printed(here, &[&SMALL[..], &["--epochs=1", "--out=run"]].concat());
    assert!(told.contains("8 for the weights, 8 for the alphas"), "{told}");
    let plan = fs::read_to_string(here.join("run/plan.toml")).unwrap();
    assert!(plan.contains("image_size = 32") && plan.contains("colour = \"rgb\""), "{plan}");

    // A training of the run sees the images of the run, unless its flags name others.
    let size = ["--epochs=1", "--init-channels=2", "--cells=3", "--batch-size=8", "--device=cpu"];
    let told = printed(here, &[&["train", "run", "--out=model"], &size[..]].concat());
    assert!(told.contains("16 to train on, 2 to test with"), "{told}");
    let plan = fs::read_to_string(here.join("model/plan.toml")).unwrap();
    for line in ["data = \"folder:pictures\"", "image_size = 32", "colour = \"rgb\"", "seed = 3"] {
        assert!(plan.contains(line), "no {line} in {plan}");
    }
    let told = printed(here, &[&["train", "run", "--out=digits", "--data=digits"], &size[..]].concat());
    assert!(told.contains("1,438 to train on, 359 to test with"), "{told}");
    fs::write(here.join("other.toml"), "data = \"digits\"").unwrap();
    let told = printed(here, &[&["train", "run", "--out=planned", "--plan=other.toml"], &size[..]].concat());
    assert!(told.contains("1,438 to train on, 359 to test with"), "{told}");

    refused(here, &["search", "--data=folder:nowhere"], 1, &["nowhere/train", "train/CLASS/"]);
}
