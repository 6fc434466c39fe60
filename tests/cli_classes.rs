//! Classes of unlike numbers of pictures.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{darts, printed, text};
use image::{GrayImage, Luma};
use rand::RngExt;
use serde_json::Value;

/// Noisy pictures of two classes of which one is a little brighter, in a part of the data set.
fn write_pictures(here: &Path, part: &str, counts: [u32; 2]) {
    let mut random = darts::random::generator(3, darts::random::Stream::Test, u64::from(counts[0]));
    for (class, count) in ["common", "rare"].into_iter().zip(counts) {
        let place = here.join("pictures").join(part).join(class);
        fs::create_dir_all(&place).unwrap();
        for number in 0..count {
            let light = random.random_range(60..160) + if class == "rare" { 45 } else { 0 };
            let picture = GrayImage::from_fn(8, 8, |_, _| Luma([(light + random.random_range(0..20)) as u8]));
            picture.save(place.join(format!("{number}.png"))).unwrap();
        }
    }
}

const TRAIN: [&str; 9] = [
    "train",
    "random:0",
    "--data=folder:pictures",
    "--image-size=8",
    "--colour=grey",
    "--init-channels=2",
    "--cells=3",
    "--epochs=6",
    "--device=cpu",
];

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The share of the rare class that a model recognises, and the mean of both classes.
fn evaluated(here: &Path, run: &str) -> [f64; 2] {
    let told = json(&printed(here, &["evaluate", run, "--json"]));
    let shares = [0, 1].map(|class| told["classes"][class]["accuracy"].as_f64().unwrap());
    let balanced = told["balanced_accuracy"].as_f64().unwrap();
    assert!((balanced - (shares[0] + shares[1]) / 2.0).abs() < 1e-12, "{told}");
    [shares[1], balanced]
}

#[test]
fn a_rare_class_is_told_of_and_balanced_weights_make_it_count() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    write_pictures(here, "train", [240, 16]);
    write_pictures(here, "test", [120, 40]);

    let output = darts(here, &[&TRAIN[..], &["--out=plain"]].concat());
    let notice = "darts: class common has 240 training images and rare 16: --class-weights balanced makes all classes \
                  count alike in the loss\n";
    assert_eq!(text(&output.stderr), notice);
    let told = text(&output.stdout);
    assert!(told.contains("loss and accuracy, of the test balanced, too"), "{told}");
    let metrics = fs::read_to_string(here.join("plain/metrics.jsonl")).unwrap();
    let last = json(metrics.lines().last().unwrap());
    let [rare, balanced] = evaluated(here, "plain");
    assert!((last["test_balanced_accuracy"].as_f64().unwrap() - balanced).abs() < 1e-12, "{last}");
    let percent = format!("{:.2} %", 100.0 * balanced);
    let line = told.lines().find(|line| line.starts_with("epoch 6/6")).unwrap();
    assert!(line.contains(&format!(" {percent}")), "{line}");
    assert!(told.contains(&format!("unlike numbers of test images, is {percent}.")), "{told}");
    assert!(printed(here, &["evaluate", "plain"]).contains(&format!("balanced  {percent}, the mean")));

    let weighted = [&TRAIN[..], &["--out=weighted", "--class-weights=balanced", "--json"]].concat();
    let output = darts(here, &weighted);
    assert_eq!(text(&output.stderr), "");
    let result = json(text(&output.stdout).lines().last().unwrap());
    let [more, fairer] = evaluated(here, "weighted");
    println!("of the rare class {rare:.3}, with weights {more:.3}; of both {balanced:.3} and {fairer:.3}");
    assert!((result["test_balanced_accuracy"].as_f64().unwrap() - fairer).abs() < 1e-12, "{result}");
    assert!(more > rare && fairer > balanced);
    let plan = fs::read_to_string(here.join("weighted/plan.toml")).unwrap();
    assert!(plan.contains("class_weights = \"balanced\""), "{plan}");
}

#[test]
fn even_classes_are_not_told_of() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    write_pictures(here, "train", [40, 40]);
    write_pictures(here, "test", [10, 10]);
    let output = darts(here, &[&TRAIN[..], &["--out=run"]].concat());
    assert_eq!(text(&output.stderr), "");
    assert!(!text(&output.stdout).contains("balanced") && !text(&output.stdout).contains("unlike"));
    // Two steps an epoch.
    assert!(
        text(&output.stdout).contains("note     12 steps in all are few: batch norm's running statistics")
    );
    let told = json(&printed(here, &["evaluate", "run", "--json"]));
    assert!(told["balanced_accuracy"].is_null() && told["accuracy"].is_number(), "{told}");
    assert!(!fs::read_to_string(here.join("run/metrics.jsonl")).unwrap().contains("balanced"));
}
