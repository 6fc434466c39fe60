//! `darts train`, `darts evaluate` and `darts predict` as their users meet them.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{darts, printed, refused, text};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A short training of a small network, into the run directory `out`; gives what it told.
fn train(directory: &Path, genotype: &str, epochs: usize, out: &str) -> String {
    let (epochs, out) = (format!("--epochs={epochs}"), format!("--out={out}"));
    let size = ["--init-channels=4", "--cells=3", "--seed=3", "--device=cpu", "--tensorboard"];
    printed(directory, &[&["train", genotype, &epochs, &out], &size[..]].concat())
}

#[test]
fn a_training_is_told_and_stored_and_its_plan_repeats_it() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let told = train(here, "darts-v2", 2, "first");
    for expected in ["weights", "images/s", "epoch 1/2", "epoch 2/2", "train", "test", "*", "first"] {
        assert!(told.contains(expected), "no {expected:?} in {told}");
    }
    let files = [
        "plan.toml",
        "metrics.jsonl",
        "timings.jsonl",
        "genotype.json",
        "best.safetensors",
        "last.safetensors",
    ];
    assert!(files.iter().all(|file| here.join("first").join(file).is_file()));
    let metrics = fs::read_to_string(here.join("first/metrics.jsonl")).unwrap();
    let records: Vec<_> = metrics.lines().map(json).collect();
    assert_eq!(records.len(), 2);
    for key in ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "drop_path", "best"] {
        assert!(records.iter().all(|record| record.get(key).is_some()), "no {key}");
    }
    let files = fs::read_dir(here.join("first")).unwrap().map(|entry| entry.unwrap().path());
    let is_events = |path: &std::path::PathBuf| path.to_string_lossy().contains("events.out.tfevents.");
    let events: Vec<_> = files.filter(is_events).map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(events.len(), 1);
    for (tag, count) in [(&b"accuracy/test"[..], 4), (b"accuracy/test_balanced", 2)] {
        let found = events[0].windows(tag.len()).filter(|window| *window == tag).count();
        assert_eq!(found, count, "one an epoch, and the name of the balanced one begins as the other");
    }
    // A run of a training is as good a genotype as a run of a search.
    printed(here, &["train", "first", "--plan=first/plan.toml", "--out=second", "--threads=1"]);
    for file in ["metrics.jsonl", "genotype.json", "best.safetensors", "last.safetensors"] {
        let [one, other] = ["first", "second"].map(|run| fs::read(here.join(run).join(file)).unwrap());
        assert!(one == other, "{file} differs");
    }
}

#[test]
fn a_genotype_is_taken_from_a_search_a_file_or_the_command_line() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let search = [
        "search",
        "--epochs=1",
        "--init-channels=2",
        "--nodes=2",
        "--batch-size=64",
        "--out=search",
        "--device=cpu",
    ];
    printed(here, &search);
    train(here, "search", 1, "of-run");
    train(here, "search/genotype.txt", 1, "of-file");
    let text = fs::read_to_string(here.join("search/genotype.json")).unwrap();
    train(here, text.trim(), 1, "of-text");
    let model = |run: &str| fs::read(here.join(run).join("last.safetensors")).unwrap();
    assert!(model("of-run") == model("of-file") && model("of-file") == model("of-text"));
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_stored() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    fs::write(here.join("wrong.toml"), "cutout = 9").unwrap();
    fs::write(here.join("search.toml"), "epochs = 3\nalpha_lr = 0.01").unwrap();
    let cases: [(&[&str], i32, &[&str]); 12] = [
        (&["search", "--plan=wrong.toml"], 2, &["wrong.toml", "plan of a training", "`darts train`"]),
        (
            &["train", "random:7", "--plan=search.toml"],
            2,
            &["search.toml", "plan of a search", "`darts search`"],
        ),
        (&["train"], 2, &["<GENOTYPE>"]),
        (&["train", "drats-v2"], 2, &["darts-v2"]),
        (&["train", "random:-1"], 2, &["random:-1", "whole number"]),
        (&["train", "nowhere/genotype.json"], 2, &["nowhere/genotype.json"]),
        (&["train", "darts-v2", "--drop-path=1"], 2, &["--drop-path is 1", "below 1"]),
        (&["train", "darts-v2", "--auxiliary-weight=0.4"], 2, &["--auxiliary-weight is 0.4", "8x8"]),
        (
            &["train", "darts-v2", "--batch-size=5000"],
            2,
            &["--batch-size is 5000", "training images of digits"],
        ),
        (&["train", "darts-v2", "--plan=wrong.toml"], 2, &["wrong.toml: cutout is 9", "at most 8"]),
        (&["train", "darts-v2", "--preset=paper"], 2, &["--preset paper", "add --data"]),
        (&["train", "darts-v2", "--flip=maybe"], 2, &["--flip", "maybe"]),
    ];
    for (arguments, code, words) in cases {
        refused(here, arguments, code, words);
    }
    let rates = ["train", "darts-v2", "--epochs=1", "--cells=3", "--weight-lr=1e6", "--gradient-clip=1e6"];
    refused(
        here,
        &[&rates[..], &["--out=run", "--device=cpu"]].concat(),
        1,
        &["loss", "step", "epoch 1", "--weight-lr"],
    );
    assert_eq!(fs::read_dir(here).unwrap().count(), 2, "nothing but the plans may be stored");
}

#[test]
fn a_model_is_evaluated_and_sees_the_digits() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    train(here, "darts-v2", 6, "run");
    let metrics = fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    let last = json(metrics.lines().last().unwrap());

    let told = json(&printed(here, &["evaluate", "run/last.safetensors", "--json", "--device=cpu"]));
    assert_eq!(told["images"], 359);
    let close = |a: &serde_json::Value, b: &serde_json::Value| {
        (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9
    };
    assert!(close(&told["accuracy"], &last["test_accuracy"]), "{told}");
    assert!(told["accuracy"].as_f64().unwrap() > 0.8, "{told}");
    assert!(told["top_five_accuracy"].as_f64() >= told["accuracy"].as_f64());
    assert!(told["milliseconds_per_image"]["batch_1"].as_f64().unwrap() > 0.0);
    let confusion = told["confusion"].as_array().unwrap();
    let row =
        |row: &serde_json::Value| row.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    let rows: Vec<u64> = confusion.iter().map(row).collect();
    let images: Vec<u64> =
        told["classes"].as_array().unwrap().iter().map(|class| class["images"].as_u64().unwrap()).collect();
    assert_eq!((rows.iter().sum::<u64>(), &rows), (359, &images));

    let told = printed(here, &["evaluate", "run", "--device=cpu"]);
    for expected in
        ["million multiply-adds", "within five guesses", "ms an image", "class ", "rows are classes"]
    {
        assert!(told.contains(expected), "no {expected:?} in {told}");
    }

    // The first images of the file of digits, enlarged.
    let records = include_bytes!("../src/data/format/digits8x8.bin");
    let mut right = 0;
    for (index, record) in records.chunks_exact(65).take(20).enumerate() {
        let name = format!("{index}.png");
        let large = image::GrayImage::from_fn(40, 32, |x, y| {
            // A margin on both sides, which is cut off.
            let x = x.saturating_sub(4).min(31);
            image::Luma([record[1 + (y / 4 * 8 + x / 4) as usize].saturating_mul(16)])
        });
        large.save(here.join(&name)).unwrap();
        let told = json(&printed(here, &["predict", "run", &name, "--json", "--top=2", "--device=cpu"]));
        let guesses = told["guesses"].as_array().unwrap();
        assert_eq!((told["image"].as_str(), guesses.len()), (Some(name.as_str()), 2));
        assert!(guesses[0]["probability"].as_f64() >= guesses[1]["probability"].as_f64());
        let digit = record[0].to_string();
        right += usize::from(guesses[0]["class"] == digit);
    }
    assert!(right >= 15, "{right} of 20 digits");

    fs::write(here.join("broken.png"), &fs::read(here.join("0.png")).unwrap()[..60]).unwrap();
    fs::write(here.join("text.png"), "no picture").unwrap();
    let told = refused(here, &["predict", "run", "1.png", "broken.png", "2.png"], 1, &["broken.png"]);
    assert_eq!(told.lines().count(), 2, "a line for each of the other pictures: {told}");
    assert!(told.lines().all(|line| line.contains(".png  ") && line.matches('%').count() == 3), "{told}");
    refused(here, &["predict", "run", "text.png"], 1, &["text.png", "holds no PNG"]);
    let failed = darts(here, &["predict", "run", "absent.png", "0.png", "text.png"]);
    let (told, lines) = (text(&failed.stderr), text(&failed.stdout));
    assert_eq!((failed.status.code(), lines.lines().count()), (Some(1), 1), "{lines}");
    let told: Vec<_> = told.lines().collect();
    assert!(told.len() == 2 && told[0].starts_with("darts: absent.png: No such"), "{told:?}");
    assert!(told[1].contains("text.png: holds no PNG"), "{told:?}");
    refused(here, &["evaluate", "run", "--strict"], 2, &["--strict is for --data folder:DIR"]);
    refused(here, &["derive", "run"], 1, &["run: is the run of a training"]);
}

#[test]
fn more_threads_than_cores_are_warned_of() {
    let scratch = tempfile::tempdir().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let told = |threads: usize, out: &str| {
        let size = ["--epochs=1", "--init-channels=1", "--cells=3", "--device=cpu", "--batch-size=256"];
        let threads = format!("--threads={threads}");
        let run = [threads.as_str(), "--out", out];
        let output = darts(scratch.path(), &[&["train", "random:0"], &size[..], &run].concat());
        assert_eq!(output.status.code(), Some(0));
        text(&output.stderr).to_owned()
    };
    assert_eq!(told(cores, "as-many"), "");
    let warning = told(cores + 1, "more");
    assert!(warning.starts_with(&format!("darts: {} threads share {cores} core", cores + 1)), "{warning}");
}

#[test]
fn the_pictures_below_a_directory_are_predicted_by_the_last_model() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    printed(here, &["digits", "pictures"]);
    let size = ["--image-size=8", "--colour=grey", "--epochs=2", "--init-channels=1", "--cells=3"];
    printed(here, &[&["train", "random:0", "--data=folder:pictures", "--out=run"], &size[..]].concat());
    // The data set is that of the run, whichever of its models is named.
    let evaluated = json(&printed(here, &["evaluate", "run", "--json"]));
    assert_eq!(
        (evaluated["model"].as_str(), evaluated["images"].as_u64()),
        (Some("run/last.safetensors"), Some(359))
    );
    assert_eq!(json(&printed(here, &["evaluate", "run/best.safetensors", "--json"]))["images"], 359);
    fs::copy(here.join("run/last.safetensors"), here.join("model.safetensors")).unwrap();
    refused(here, &["evaluate", "model.safetensors"], 2, &["--data folder:DIR"]);

    fs::rename(here.join("pictures/test/3"), here.join("a, b")).unwrap();
    fs::write(here.join("a, b/notes.txt"), "no picture").unwrap();
    fs::write(here.join("a, b/.hidden.png"), "left alone").unwrap();
    let output = darts(here, &["predict", "run", "a, b", "--top=2", "--csv"]);
    assert_eq!(text(&output.stderr), "darts: a, b: 1 file left out for want of a picture\n");
    let lines = text(&output.stdout);
    let mut lines = lines.lines();
    assert_eq!(lines.next(), Some("image,class,probability,class_2,probability_2"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), fs::read_dir(here.join("a, b")).unwrap().count() - 2);
    assert!(lines.is_sorted() && lines.iter().all(|line| line.starts_with("\"a, b/")), "{lines:?}");
    for line in lines {
        let values: Vec<_> = line.rsplit(',').take(4).collect();
        let [second, first] = [values[0], values[2]].map(|value| value.parse::<f64>().unwrap());
        assert!(second <= first && first + second <= 1.0 + 1e-6, "{line}");
    }
    fs::create_dir(here.join("nothing")).unwrap();
    refused(here, &["predict", "run", "nothing"], 1, &["nothing: holds no pictures"]);
    refused(here, &["predict", "run", "nothing", "--csv", "--json"], 2, &["--csv", "--json"]);
}

#[test]
fn a_model_that_is_damaged_or_does_not_fit_is_refused_with_its_name() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    train(here, "darts-v1", 1, "run");
    let bytes = fs::read(here.join("run/last.safetensors")).unwrap();
    fs::write(here.join("cut.safetensors"), &bytes[..bytes.len() - 1000]).unwrap();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 4;
    fs::write(here.join("changed.safetensors"), changed).unwrap();
    refused(here, &["evaluate", "cut.safetensors"], 1, &["cut.safetensors: ", "not a model file", "cut off"]);
    refused(here, &["evaluate", "changed.safetensors"], 1, &["changed.safetensors: ", "damaged", "checksum"]);
    fs::write(here.join("empty.safetensors"), "").unwrap();
    refused(here, &["evaluate", "empty.safetensors"], 1, &["empty.safetensors: ", "it is empty"]);
    refused(here, &["predict", "run", "x.png", "--top=0"], 2, &["--top", "expected 1 or more"]);
    refused(here, &["predict", "run", "x.png", "--threads=5000"], 2, &["--threads", "from 0 to 1024"]);
    refused(here, &["predict", "absent.safetensors", "x.png"], 1, &["absent.safetensors"]);
    refused(here, &["predict", "run/genotype.json", "x.png"], 1, &["genotype.json: ", "not a model file"]);
    let mnist = here.join("data");
    fs::create_dir(&mnist).unwrap();
    let number = |n: usize| (n as u32).to_be_bytes();
    for part in ["train", "t10k"] {
        let head = [0x803, 20, 9, 7].into_iter().flat_map(number);
        let pixels = (0..20 * 63).map(|i| (i * 7919 % 251) as u8);
        fs::write(mnist.join(format!("{part}-images-idx3-ubyte")), head.chain(pixels).collect::<Vec<_>>())
            .unwrap();
        let head = [0x801, 20].into_iter().flat_map(number);
        let labels = (0..20).map(|i| i as u8 % 10);
        fs::write(mnist.join(format!("{part}-labels-idx1-ubyte")), head.chain(labels).collect::<Vec<_>>())
            .unwrap();
    }
    refused(here, &["evaluate", "run", "--data=mnist:data"], 1, &["8x8 pixels", "9x7 pixels", "mnist"]);
    refused(here, &["evaluate", "run", "--data=nothing"], 2, &["--data", "nothing"]);
}
