//! The programs in Python that README.md shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::blocks::Block;
use crate::command::{printed, text};
use crate::onnxruntime::OnnxRuntime;

/// The picture that the text asks about.
const PICTURE: &str = "pictures/test/3/0059.png";

/// Stand-ins for two modules of the official implementation.
const OFFICIAL: [(&str, &str); 2] = [
    ("genotypes.py", include_str!("official/genotypes.py")),
    ("model.py", include_str!("official/model.py")),
];

/// Runs a program where the packages are that it needs; else says which are not there.
pub fn run(here: &Path, block: &Block) {
    match () {
        () if block.text().contains("onnxruntime") => predict(here, block),
        () if block.text().contains("load_state_dict") => load(here, block),
        () => panic!("README.md, line {}: no rule for this program", block.place),
    }
}

/// The program for ONNX prints the class and the probability of `darts predict`.
fn predict(here: &Path, block: &Block) {
    let Some(runtime) = OnnxRuntime::find() else { return };
    let output = Command::new(runtime.interpreter())
        .args(["-c", &block.text(), PICTURE])
        .current_dir(here)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    let (class, probability) = told.trim_end().split_once(' ').unwrap();
    let own = printed(here, &["predict", "runs/model", PICTURE, "--json"]);
    let guess = &serde_json::from_str::<Value>(&own).unwrap()["guesses"][0];
    assert_eq!(guess["class"], class, "{told} {own}");
    let difference = guess["probability"].as_f64().unwrap() - probability.parse::<f64>().unwrap();
    assert!(difference.abs() <= 1e-4, "{told} {own}");
}

/// The program for PyTorch loads the weights into a network of the official names.
fn load(here: &Path, block: &Block) {
    let python = std::env::var("DARTS_PYTORCH").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import torch, safetensors.torch"]).output();
    if !has.as_ref().is_ok_and(|output| output.status.success()) {
        return println!(
            "skipped: {python} has no torch and safetensors; DARTS_PYTORCH names an interpreter that has"
        );
    }
    let checkout = here.join("cnn");
    fs::create_dir_all(&checkout).unwrap();
    for (name, module) in OFFICIAL {
        fs::write(checkout.join(name), module).unwrap();
    }
    fs::copy(here.join("weights.safetensors"), checkout.join("weights.safetensors")).unwrap();
    let output = Command::new(python).args(["-c", &block.text()]).current_dir(checkout).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
