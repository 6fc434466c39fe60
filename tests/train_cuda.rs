//! Training, evaluation and prediction on the GPU, or under an emulator of its driver, against the same on the CPU.

use std::path::Path;
use std::process::Command;

use darts::train::model::Model;

#[path = "common/gpu.rs"]
mod gpu;

use gpu::{driver, skip, text, under, write_images};

/// Runs the program with the driver in `library` and gives what it printed.
fn darts(library: &str, directory: &Path, arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_darts"));
    command.args(arguments.split(' ')).current_dir(directory);
    let output = under(&mut command, library).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The weights after training with these flags.
fn weights(library: &str, directory: &Path, name: &str, flags: &str) -> Vec<f32> {
    // Every part of a training: an auxiliary head, drop path, crops, mirrors and cutout. One step, as the steps after it
    // would part ways.
    let size =
        "--init-channels 4 --cells 3 --batch-size 14 --epochs 1 --auxiliary-weight 0.4 --drop-path 0.3";
    let augmentation = "--crop-padding 4 --flip true --cutout 8";
    let run = format!("train darts-v2 --data cifar10:. --seed 3 --out {name} {flags} {size} {augmentation}");
    darts(library, directory, &run);
    Model::load(&directory.join(name).join("last.safetensors")).unwrap().weights
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn a_training_on_the_gpu_ends_as_on_the_cpu() {
    let (library, _) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    let here = tempfile::tempdir().unwrap();
    write_images(here.path());
    let run = |name: &str, flags: &str| weights(&library, here.path(), name, flags);
    let cpu = run("cpu", "--device cpu");
    let untrained = run("untrained", "--device cpu --weight-lr 1e-30 --weight-lr-min 1e-30");
    let way = distance(&cpu, &untrained);
    assert!(way > 0.1, "the training has hardly moved the weights: {way}");
    for (precision, most) in [("f32", 1e-4), ("bf16", 0.2), ("f16", 0.06)] {
        let gpu = run(precision, &format!("--device cuda --precision {precision}"));
        let off = distance(&gpu, &cpu) / way;
        println!("{precision}: {off:.2e} of the way that the weights went");
        assert!(off < most, "{precision}: the weights are {off:.2e} of their way off those of the CPU");
        assert!(gpu != cpu, "{precision}: the CPU was used");
    }
}

#[test]
fn a_model_gives_the_same_probabilities_on_the_gpu() {
    let (library, _) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    let here = tempfile::tempdir().unwrap();
    write_images(here.path());
    weights(&library, here.path(), "model", "--device cpu");
    let picture = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([(x * 8) as u8, (y * 8) as u8, 90]));
    picture.save(here.path().join("picture.png")).unwrap();
    let said = ["cpu", "cuda"].map(|device| {
        let told = |arguments: String| -> serde_json::Value {
            serde_json::from_str(darts(&library, here.path(), &arguments).trim()).unwrap()
        };
        let evaluated = told(format!("evaluate model --data cifar10:. --json --device {device}"));
        let predicted = told(format!("predict model picture.png --top 10 --json --device {device}"));
        (evaluated, predicted)
    });
    for key in ["accuracy", "confusion"] {
        assert!(!said[0].0[key].is_null(), "{}", said[0].0);
        assert_eq!(said[0].0[key], said[1].0[key], "{key}");
    }
    let guesses = said.map(|(_, predicted)| predicted["guesses"].as_array().cloned().unwrap_or_default());
    let probability = |guess: &serde_json::Value| guess["probability"].as_f64().unwrap();
    let [cpu, gpu] = guesses;
    assert_eq!(cpu.len(), 10);
    for (wanted, found) in cpu.iter().zip(&gpu) {
        assert_eq!(wanted["class"], found["class"]);
        let (found, wanted) = (probability(found), probability(wanted));
        assert!((wanted - found).abs() < 1e-5, "{found} on the GPU, {wanted} on the CPU");
    }
    assert_ne!(cpu, gpu, "the CPU was used");
}

/// What is refused ends with one sentence, and leaves nothing.
fn refused(library: &str, directory: &Path, arguments: &str, memory: &str, code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_darts"));
    command.args(["train", "--device", "cuda", "--out", "refused"]).args(arguments.split(' '));
    command.env("CUDA_EMU_MEM_GIB", memory).current_dir(directory);
    let output = under(&mut command, library).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!directory.join("refused").exists() && said.trim().lines().count() == 1, "{said}");
    said
}

#[test]
fn a_training_that_does_not_fit_is_told_what_does() {
    let (library, emulated) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    let here = tempfile::tempdir().unwrap();
    // 40 operations read one input: more than a kernel's table holds.
    let cell = |edges: usize| {
        let nodes: Vec<String> = (0..edges).map(|_| "[\"skip_connect\",0]".to_owned()).collect();
        format!("[{}]", nodes.join(","))
    };
    let wide =
        format!("{{\"normal\":{0},\"normal_concat\":[2],\"reduce\":{0},\"reduce_concat\":[2]}}", cell(40));
    std::fs::write(here.path().join("wide.json"), wide).unwrap();
    let said = refused(&library, here.path(), "wide.json", "16", 2);
    assert!(said.contains("42 values at once") && said.contains("--device cpu"), "{said}");
    if !emulated {
        return println!("skipped the rest: only the emulator can be given little memory");
    }
    let said = refused(&library, here.path(), "darts-v2 --batch-size 1024 --init-channels 64", "0.1", 1);
    let fits: usize = said
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    assert!(said.contains("the largest --batch-size that fits is") && (1..1024).contains(&fits), "{said}");
}
