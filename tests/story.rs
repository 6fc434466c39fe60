//! The whole story on real images: pictures in folders become a genotype, a model, answers, and an ONNX file.

#[path = "common/command.rs"]
mod command;
#[path = "common/digits.rs"]
mod digits;
#[path = "common/onnxruntime.rs"]
mod onnxruntime;

use std::fs;
use std::path::Path;

use command::{printed, refused};
use onnxruntime::OnnxRuntime;
use serde_json::Value;

/// Pictures in all, and those of them that are held out: every fifth.
const PICTURES: usize = 300;
const HELD_OUT: usize = 60;

/// The flags that describe the pictures.
const DATA: [&str; 3] = ["--data=folder:pictures", "--image-size=8", "--colour=grey"];

/// A held-out picture: its file, its class, and its values from 0 to 1.
struct HeldOut {
    name: String,
    class: String,
    values: Vec<f32>,
}

/// Writes the pictures into `pictures/train` and `pictures/test`; gives the held-out ones.
fn write_pictures(here: &Path) -> Vec<HeldOut> {
    let mut held_out = Vec::new();
    for (index, digit) in digits::digits().take(PICTURES).enumerate() {
        let (class, picture) = (digit.0.to_string(), digits::picture(digit));
        let part = if index % 5 == 4 { "test" } else { "train" };
        let name = format!("pictures/{part}/{class}/{index}.png");
        fs::create_dir_all(here.join(&name).parent().unwrap()).unwrap();
        picture.save(here.join(&name)).unwrap();
        if part == "test" {
            let values = picture.as_raw().iter().map(|&byte| f32::from(byte) / 255.0).collect();
            held_out.push(HeldOut { name, class, values });
        }
    }
    held_out
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn pictures_become_a_model_that_other_programs_run() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let held_out = write_pictures(here);

    let size = ["--epochs=3", "--init-channels=4", "--cells=4", "--nodes=3", "--batch-size=24"];
    let told = printed(here, &[&["search", "--out=search"], &DATA[..], &size].concat());
    assert!(told.contains("120 for the weights, 120 for the alphas"), "{told}");

    let size = ["--epochs=60", "--init-channels=8", "--cells=4", "--batch-size=8"];
    let told = printed(here, &[&["train", "search", "--out=model"], &size[..]].concat());
    assert!(told.contains("240 to train on, 60 to test with"), "{told}");

    // Not the best epoch, which the held-out pictures themselves chose.
    let model = "model/last.safetensors";
    let told = json(&printed(here, &["evaluate", model, DATA[0], "--json"]));
    let accuracy = told["accuracy"].as_f64().unwrap();
    println!("{:.1} % of {} held-out pictures", 100.0 * accuracy, told["images"]);
    assert_eq!(told["images"], HELD_OUT);
    assert!(accuracy >= 0.9, "{told}");
    // The digits inside the program are these and more, at another brightness.
    let told = json(&printed(here, &["evaluate", model, "--data=digits", "--json"]));
    assert!(told["accuracy"].as_f64().unwrap() >= 0.8, "{told}");
    assert!(told["trained_on"] == "folder:pictures" && told["data"] == "digits", "{told}");

    let names: Vec<&str> = held_out.iter().map(|picture| picture.name.as_str()).collect();
    let told = printed(here, &[&["predict", model, "--json", "--top=10"], &names[..]].concat());
    let guesses: Vec<Value> = told.lines().map(json).collect();
    let is_right = |(told, picture): &(&Value, &HeldOut)| told["guesses"][0]["class"] == picture.class;
    let right: Vec<_> = guesses.iter().zip(&held_out).filter(is_right).collect();
    assert_eq!(right.len(), (accuracy * HELD_OUT as f64).round() as usize);
    let (_, picture) = right[0];
    let told = printed(here, &["predict", model, &picture.name]);
    assert!(told.starts_with(&format!("{}  {} ", picture.name, picture.class)), "{told}");

    assert_eq!(printed(here, &["export", model, "--format=onnx", "--out=digits.onnx"]), "digits.onnx\n");
    let again = ["export", model, "--format=onnx", "--out=digits.onnx"];
    refused(here, &again, 2, &["digits.onnx exists already", "--force"]);
    let Some(runtime) = OnnxRuntime::find() else { return };
    let images: Vec<f32> = held_out.iter().flat_map(|picture| picture.values.clone()).collect();
    let found = runtime.run(&here.join("digits.onnx"), &images, [HELD_OUT, 1, 8, 8]);
    for ((guesses, found), logits) in guesses.iter().zip(&found.probabilities).zip(&found.logits) {
        let best = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!(guesses["guesses"][0]["class"], best.to_string());
        for guess in guesses["guesses"].as_array().unwrap() {
            let class: usize = guess["class"].as_str().unwrap().parse().unwrap();
            let expected = guess["probability"].as_f64().unwrap();
            assert!((f64::from(found[class]) - expected).abs() <= 1e-4, "{guesses} {found:?}");
        }
    }
}

#[test]
fn the_default_plans_reach_97_percent_on_the_digits() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    printed(here, &["search", "--quiet", "--out=search"]);
    printed(here, &["train", "search", "--quiet", "--out=model"]);
    let told = json(&printed(here, &["evaluate", "model/last.safetensors", "--json"]));
    println!("{} of {} test images", told["accuracy"], told["images"]);
    assert_eq!(told["images"], 359);
    assert!(told["accuracy"].as_f64().unwrap() >= 0.97, "{told}");
}
