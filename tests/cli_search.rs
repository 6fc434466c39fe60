//! `darts search` as its users meet it: what it prints and stores, that a plan repeats a run, and what it refuses.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{printed, refused};

const SMALL: [&str; 7] =
    ["search", "--epochs=2", "--init-channels=2", "--nodes=2", "--batch-size=64", "--device=cpu", "--out"];

fn small<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().copied().chain([out]).chain(more.iter().copied()).collect()
}

#[test]
fn a_run_is_told_and_stored_and_its_plan_repeats_it() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let told = printed(here, &small("first", &["--seed=5"]));
    for expected in
        ["epoch 1/2", "epoch 2/2", "valid", "entropy", "skips", "images/s", "Normal cell", "of tensors"]
    {
        assert!(told.contains(expected), "no {expected:?} in {told}");
    }
    let literal = told.lines().find(|line| line.starts_with("Genotype(normal=[(")).expect("a literal");
    assert_eq!(fs::read_to_string(here.join("first/genotype.txt")).unwrap().trim(), literal);
    assert_eq!(printed(here, &["derive", "first"]).trim().lines().last(), Some(literal));
    // Two epochs decide nothing, and the advice is a command that can be typed.
    let (_, verdict) = told.split_once("report.html.\n").expect("where the run is");
    assert!(verdict.starts_with("Undecided: the mixing weights of the normal cell are still"), "{verdict}");
    assert!(verdict.contains("\nAdvice: search again with --alpha-lr 0.1: "), "{verdict}");
    assert!(verdict.contains("\n  darts search --plan first/plan.toml --alpha-lr 0.1\n"), "{verdict}");
    assert!(verdict.ends_with("\nNext:\n  darts train first\n"), "{verdict}");
    let metrics = fs::read_to_string(here.join("first/metrics.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2);
    for key in ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "entropy_normal", "genotype"]
    {
        assert!(records.iter().all(|record| record.get(key).is_some()), "no {key}");
    }

    printed(here, &["search", "--plan", "first/plan.toml", "--out", "second", "--threads=1"]);
    for file in
        ["metrics.jsonl", "genotype.json", "alphas/epoch-0001.safetensors", "alphas/epoch-0002.safetensors"]
    {
        let [one, other] = ["first", "second"].map(|run| fs::read(here.join(run).join(file)).unwrap());
        assert!(one == other, "{file} differs");
    }
    printed(here, &small("third", &["--seed=6"]));
    let [one, other] =
        ["first", "third"].map(|run| fs::read(here.join(run).join("alphas/epoch-0002.safetensors")).unwrap());
    assert!(one != other, "another seed must give other alphas");
}

#[test]
fn a_search_tells_programs_and_scripts_what_they_ask_for() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let told = printed(here, &small("json", &["--json", "--tensorboard"]));
    let lines: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["epoch"], &lines[1]["epoch"]), (3, &1.into(), &2.into()));
    let stored = |file: &str| fs::read_to_string(here.join("json").join(file)).unwrap();
    assert_eq!(
        told.lines().take(2).map(|line| format!("{line}\n")).collect::<String>(),
        stored("metrics.jsonl")
    );
    assert_eq!(lines[2]["genotype"].to_string(), stored("genotype.json").trim());
    assert_eq!(lines[2]["run"], "json");
    assert_eq!(
        (&lines[2]["verdict"], &lines[2]["advice"]["flag"]),
        (&"undecided".into(), &"--alpha-lr".into())
    );
    let mut names = fs::read_dir(here.join("json")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.any(|name| name.to_str().unwrap().starts_with("events.out.tfevents.")));

    let quiet = command::darts(here, &small("quiet", &["--quiet"]));
    assert_eq!(command::text(&quiet.stdout), stored("genotype.txt"));
    let verdict = command::text(&quiet.stderr);
    assert!(verdict.starts_with("darts: Undecided: ") && verdict.lines().count() == 1, "{verdict}");
    assert!(verdict.contains(" Advice: search again with --alpha-lr 0.1: "), "{verdict}");
    assert!(here.join("quiet/report.html").exists());
    let both = printed(here, &small("both", &["--quiet", "--json"]));
    assert_eq!(both, format!("{}\n", lines[2]).replace("\"run\":\"json\"", "\"run\":\"both\""));
}

#[test]
fn a_run_without_an_out_directory_is_named_after_its_time_and_data() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    printed(here, &["search", "--epochs=1", "--init-channels=1", "--nodes=1", "--batch-size=64"]);
    let runs: Vec<_> = fs::read_dir(here.join("runs")).unwrap().map(|run| run.unwrap().file_name()).collect();
    assert_eq!(runs.len(), 1);
    let name = runs[0].to_str().unwrap();
    assert!(name.starts_with("20") && name.ends_with("-digits-first"), "{name}");
}

#[test]
fn a_search_in_second_order_on_images_of_odd_size() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    write_mnist(&here.join("data"), 40, 9, 7);
    let size = ["--init-channels=2", "--nodes=2", "--batch-size=5", "--epochs=1", "--out=run"];
    let told = printed(here, &[&["search", "--data=mnist:data", "--order=second"], &size[..]].concat());
    assert!(told.contains("Genotype(normal="), "{told}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_search_and_says_at_which_step() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let rates = ["--weight-lr=1e6", "--gradient-clip=1e6"];
    refused(here, &small("run", &rates), 1, &["loss", "step", "epoch 1", "--weight-lr"]);
    assert!(!here.join("run").exists(), "a run without a record must not stay");
}

#[test]
fn data_files_that_cannot_be_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let cifar = here.join("cifar");
    fs::create_dir(&cifar).unwrap();
    let search = |data: &'static str| ["search", "--data", data, "--out", "run", "--epochs=1"];
    refused(here, &search("cifar10:nowhere"), 1, &["nowhere", "data_batch_1.bin"]);
    fs::write(cifar.join("data_batch_1.bin"), vec![0; 3073 * 10 - 1]).unwrap();
    fs::write(cifar.join("test_batch.bin"), vec![0; 3073]).unwrap();
    refused(here, &search("cifar10:cifar"), 1, &["data_batch_1.bin", "3073"]);
    let mut records = vec![0; 3073 * 10];
    records[3073 * 4] = 10;
    fs::write(cifar.join("data_batch_1.bin"), records).unwrap();
    refused(here, &search("cifar10:cifar"), 1, &["data_batch_1.bin", "label", "10"]);
    write_mnist(&here.join("mnist"), 10, 8, 8);
    let images = here.join("mnist/train-images-idx3-ubyte");
    let bytes = fs::read(&images).unwrap();
    fs::write(&images, &bytes[..bytes.len() - 1]).unwrap();
    refused(here, &search("mnist:mnist"), 1, &["train-images-idx3-ubyte"]);
    fs::write(&images, &bytes).unwrap();
    refused(here, &search("mnist:mnist"), 2, &["batch_size is 32", "at most 5"]);
    fs::write(cifar.join("data_batch_1.bin"), vec![0; 3073 * 10_000]).unwrap();
    refused(here, &search("cifar10:cifar"), 1, &["cifar", "data_batch_5.bin", "50000"]);
    refused(here, &search("photos"), 2, &["--data", "photos"]);
    assert!(!here.join("run").exists(), "nothing may be stored");
}

#[test]
fn a_file_that_makes_no_space_is_refused_with_its_key() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let two = "candidates = [\"skip_connect\", \"sep_conv_7x7\"]\n";
    let edge = |edge: &str| format!("{two}[edges.normal]\n\"{edge}\" = [\"none\", \"skip_connect\"]");
    let cases: [(&str, &[&str]); 10] = [
        (
            "candidates = [\"skip_connect\", \"sep\"]",
            &["own.toml: candidates: unknown operation \"sep\"; known are none,"],
        ),
        (
            &format!("{two}node = 3"),
            &["own.toml, line 2, key node: unknown field", "expected one of", "`nodes`"],
        ),
        (&format!("{two}nodes = \"many\""), &["own.toml, line 2, key nodes", "expected a whole number"]),
        (&edge("2<-2"), &["own.toml: edges.normal.\"2<-2\": expected an edge such as"]),
        (
            &edge("9<-2"),
            &["own.toml: edges.normal names the edge 9<-2, but with 4 nodes the last state is 5"],
        ),
        (
            &format!("{two}[edges.wide]"),
            &["own.toml: unknown key edges.wide; expected edges.all, edges.normal or edges.reduce"],
        ),
        (
            "candidates = [\"skip_connect\"]",
            &["own.toml: candidates: has 1 candidates; a search chooses among at least two"],
        ),
        (
            "nodes = 2\nedges_kept = 1\n[edges.all]\n\"2<-0\" = [\"none\", \"skip_connect\"]",
            &[
                "own.toml: no edge enters node 1 (state 3) of the normal cell; expected candidates for all edges",
            ],
        ),
        (
            &format!("{two}edges_kept = 3"),
            &["own.toml: edges_kept is 3, but only 2 enter node 0", "expected at most 2, or \"all\""],
        ),
        (
            &format!("{two}name = \"s2\""),
            &["own.toml: name is \"s2\", which is another space", "expected a name of its own"],
        ),
    ];
    for (text, words) in cases {
        fs::write(here.join("own.toml"), text).unwrap();
        refused(here, &small("run", &["--space", "own.toml"]), 2, words);
        refused(here, &["train", "random:1", "--space", "own.toml", "--out=run"], 2, words);
        refused(here, &["show", "random:1", "--space", "own.toml"], 2, words);
    }
    let sevens = here.join("7.toml");
    fs::write(&sevens, "space = 7").unwrap();
    refused(
        here,
        &["search", "--plan", "7.toml", "--out=run"],
        2,
        &["7.toml, line 1, key space", "expected"],
    );
    assert!(!here.join("run").exists(), "nothing may be stored");
}

#[test]
fn what_a_space_does_not_have_is_refused_with_the_flag() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (
            &["search", "--space=s9"],
            2,
            &["space: \"s9\" is unknown; expected darts, s1, s2, s3, s5, nas-bench-201 or a file FILE.toml"],
        ),
        (&["search", "--space=absent.toml"], 1, &["absent.toml: "]),
        (
            &["search", "--space=s1", "--nodes=3"],
            2,
            &["--nodes is 3; expected 4, as the space s1 has", "5<-0"],
        ),
        (
            &["search", "--space=s2", "--cells=2"],
            2,
            &["--cells is 2; expected a whole number from 3 to 100 in the space s2"],
        ),
        (
            &["train", "random:1", "--space=s2", "--cells=2"],
            2,
            &["--cells is 2; expected a whole number from 3 to 100 in the space s2"],
        ),
        (
            &["train", "darts-v2", "--space=s2"],
            2,
            &[
                "genotype: darts-v2: node 3 of the normal cell takes dil_conv_3x3 from state 2",
                "the space s2",
            ],
        ),
    ];
    for (arguments, code, words) in cases {
        refused(here, &[arguments, &["--out=run"]].concat(), code, words);
    }
    assert!(!here.join("run").exists(), "nothing may be stored");
}

#[test]
fn a_space_of_ones_own_outlives_its_file() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let text = "candidates = [\"skip_connect\", \"sep_conv_7x7\"]\nnodes = 2\nedges_kept = \"all\"\n\
                [edges.reduce]\n\"3<-2\" = [\"none\", \"max_pool_3x3\", \"dil_conv_5x5\"]";
    fs::write(here.join("own.toml"), text).unwrap();
    let space = "--space=own.toml";
    let whole = printed(here, &small("whole", &[space, "--quiet"]));
    // A copy that stands after its first epoch, as if it had been interrupted there.
    printed(here, &small("cut", &[space, "--quiet"]));
    fs::remove_file(here.join("own.toml")).unwrap();

    assert_eq!(printed(here, &["derive", "whole"]), whole);
    assert_eq!(whole.matches("('").count(), 2 * 5, "a node keeps all of its edges: {whole}");
    let first = "cut/checkpoints/epoch-0001-step-00000.safetensors";
    refused(here, &["search", "--resume", first, "--space=s2"], 2, &["--space is \"s2\"", "was begun with"]);
    fs::write(here.join("own.toml"), text.replace("nodes = 2", "nodes = 3")).unwrap();
    let words = ["--space is \"own.toml\", and cut was begun with the space own;"];
    refused(here, &["search", "--resume", first, space], 2, &words);
    // The same space in other words.
    let same =
        format!("# My own.\nname = \"own\"\nfewest_cells = 3\n{}", text.replace("nodes = 2", "nodes  =  2"));
    fs::write(here.join("own.toml"), same).unwrap();
    assert!(printed(here, &["search", "--resume", first, space]).contains("epoch 2/2"));
    fs::remove_file(here.join("own.toml")).unwrap();
    for file in ["genotype.json", "metrics.jsonl", "alphas/epoch-0002.safetensors"] {
        let [whole, cut] = ["whole", "cut"].map(|run| fs::read(here.join(run).join(file)).unwrap());
        assert!(whole == cut, "{file} differs");
    }
    printed(here, &["search", "--plan", "whole/plan.toml", "--out=again", "--quiet"]);
    assert_eq!(fs::read_to_string(here.join("again/genotype.txt")).unwrap(), whole);

    let size = ["--epochs=1", "--cells=3", "--init-channels=2", "--batch-size=64", "--quiet"];
    let words = ["genotype: whole: node ", "which is no candidate there in the space s2"];
    refused(here, &["train", "whole", "--space=s2"], 2, &words);
    printed(here, &[&["train", "whole", "--out=model"], &size[..]].concat());
    refused(here, &["train", "--resume=model", "--space=s2"], 2, &["--space is \"s2\"", "was begun with"]);
    assert!(printed(here, &["evaluate", "model"]).contains("3 cells of 2 channels"));
    assert_eq!(printed(here, &["export", "model", "--format=onnx"]), "model/last.onnx\n");
    let [searched, trained] =
        ["whole", "model"].map(|run| fs::read_to_string(here.join(run).join("genotype.json")).unwrap());
    assert_eq!(searched, trained);
}

/// Images of random bytes in IDX files.
fn write_mnist(directory: &Path, count: usize, height: usize, width: usize) {
    fs::create_dir(directory).unwrap();
    let number = |n: usize| (n as u32).to_be_bytes();
    let header = |magic: usize, sizes: &[usize]| [&[magic], sizes].concat().into_iter().flat_map(number);
    for part in ["train", "t10k"] {
        let pixels = (0..count * height * width).map(|i| (i * 7919 % 251) as u8);
        let images: Vec<u8> = header(0x803, &[count, height, width]).chain(pixels).collect();
        let labels: Vec<u8> = header(0x801, &[count]).chain((0..count).map(|i| i as u8 % 10)).collect();
        fs::write(directory.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(directory.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

#[test]
fn a_search_that_its_guard_ends_says_so() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    // Alphas that hardly move keep their order: it is known after the first epoch, and the same after the second.
    let plan = "search --epochs 4 --init-channels 2 --nodes 2 --batch-size 64 --device cpu --alpha-lr 1e-12 --out run --guard-ranking";
    let arguments: Vec<&str> = plan.split(' ').chain(["stop 1"]).collect();
    let output = command::darts(here, &arguments);
    let said = command::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let sentence = "darts: guard ranking ended the search: the order of each edge's convolutions has not changed for 1 epoch; the \
                    result is the genotype of epoch 2\n";
    assert_eq!(said, sentence);
    let records = fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 2);
    let report = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(report.contains("guard ranking ended the search") && !report.contains("Not at its end"));
    assert_eq!(command::text(&command::darts(here, &small("whole", &["--seed=5"])).stderr), "");
}

#[test]
fn some_of_the_training_images_make_a_run_of_their_own() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let told = printed(here, &small("some", &["--train-images=201"]));
    assert!(told.contains("100 for the weights, 100 for the alphas, 1 steps an epoch"), "{told}");
    printed(here, &["search", "--plan=some/plan.toml", "--out=again", "--threads=1", "--quiet"]);
    let metrics = |run: &str| fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics("some"), metrics("again"));
    printed(here, &small("others", &["--train-images=200", "--quiet"]));
    assert_ne!(metrics("some"), metrics("others"));
    let words = ["--train-images is 300", "some was begun with 201"];
    refused(here, &["search", "--resume=some", "--train-images=300"], 2, &words);
    // A training of its network has all images, unless it is told otherwise.
    let size = ["--epochs=1", "--init-channels=2", "--cells=3", "--device=cpu"];
    let told = printed(here, &[&["train", "some", "--out=all"], &size[..]].concat());
    assert!(told.contains("1,438 to train on, 359 to test with"), "{told}");
    let told = printed(here, &[&["train", "some", "--train-images=64", "--out=few"], &size[..]].concat());
    assert!(told.contains("64 to train on, 359 to test with, 2 steps an epoch"), "{told}");

    let search = |count: &'static str| ["search", "--train-images", count, "--out=none"];
    refused(
        here,
        &search("1439"),
        2,
        &["--train-images is 1439", "at most 1438, the training images of digits"],
    );
    refused(here, &search("9"), 2, &["--train-images is 9", "at least 10, one of each class of digits"]);
    refused(here, &search("63"), 2, &["--train-images is 63", "at least 64, a batch of each half"]);
    refused(here, &search("-1"), 2, &["--train-images", "a whole number"]);
    let train = ["train", "darts-v1", "--train-images=31", "--out=none"];
    refused(here, &train, 2, &["--train-images is 31", "at least 32, a batch; 0 takes all"]);
    let both = ["train", "darts-v1", "--train-images=31", "--batch-size=40", "--out=none"];
    refused(
        here,
        &both,
        2,
        &["--batch-size is 40", "at most 31, the images that train_images takes of digits"],
    );
    assert!(!here.join("none").exists(), "nothing may be stored");
}

#[test]
fn a_guard_measures_the_eigenvalue() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let plan = "search --epochs 9 --init-channels 2 --nodes 1 --batch-size 256 --device cpu --quiet --out run --guard-eigenvalue";
    let arguments: Vec<&str> = plan.split(' ').chain(["warn 1000"]).collect();
    let output = command::darts(here, &arguments);
    assert!(output.status.success(), "{}", command::text(&output.stderr));
    let metrics = fs::read_to_string(here.join("run/metrics.jsonl")).unwrap();
    let records = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    for record in records {
        assert!(record["eigenvalue"].as_f64().unwrap().is_finite(), "{record}");
        assert!(record["eigenvalue_passes"].as_u64().unwrap() >= 4, "{record}");
    }
    assert_eq!(metrics.lines().count(), 9);
    let report = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(report.contains("<figcaption>Largest eigenvalue"), "no chart of the eigenvalue");
    assert!(!report.contains("Not measured: the largest eigenvalue"));
}

#[test]
fn a_selection_by_perturbation_decides_every_edge() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let plan = "search --epochs 1 --init-channels 2 --nodes 2 --batch-size 256 --device cpu --out run --selection perturbation";
    let output = command::darts(here, &plan.split(' ').collect::<Vec<_>>());
    let told = command::text(&output.stdout);
    assert!(output.status.success(), "{}", command::text(&output.stderr));
    assert_eq!(
        told.lines()
            .filter(|line| line.starts_with("    selected  normal") && line.contains("takes"))
            .count(),
        5
    );
    assert_eq!(told.lines().filter(|line| line.contains("is dropped")).count(), 2, "{told}");
    let report = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(!report.contains("Not at its end") && !report.contains("6 of 1"));
    let genotype = fs::read_to_string(here.join("run/genotype.txt")).unwrap();
    let derived = command::darts(here, &["derive", "run"]);
    assert!(command::text(&derived.stdout).contains(genotype.trim()), "{}", command::text(&derived.stdout));
    let alphas = command::darts(here, &["derive", "run/alphas/epoch-0006.safetensors"]);
    assert!(command::text(&alphas.stdout).contains(genotype.trim()));
    // One of the last choices is that of node 1 to drop an edge; before, it had other edges or one more to choose from.
    let refused = command::darts(here, &["search", "--selection", "perturbations"]);
    assert!(
        command::text(&refused.stderr).contains(
            "expected strongest, restricted SKIPS, sampled COUNT, perturbation or perturbation loss"
        )
    );
}

#[test]
fn a_dry_run_says_what_a_run_takes_and_stores_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let size =
        ["--init-channels=2", "--cells=3", "--batch-size=64", "--device=cpu", "--epochs=7", "--dry-run"];
    // The batch is at most as large as the images that a step takes it from.
    for (command, images) in [(&["search", "--nodes=2"][..], 719), (&["train", "darts-v2"], 1438)] {
        let arguments = [command, &size[..]].concat();
        let told = printed(here, &arguments);
        let expected = format!("\nbatch     64; the largest that fits memory and images is {images}\n");
        assert!(told.starts_with("memory    ") && told.contains(&expected), "{told}");
        assert!(told.contains(" for 7 epochs\n") && told.ends_with("\nNothing was stored.\n"), "{told}");
        let told = printed(here, &[&arguments[..], &["--json"]].concat());
        let estimate: serde_json::Value = serde_json::from_str(&told).unwrap();
        let number = |key: &str| estimate[key].as_f64().unwrap();
        assert_eq!([number("batch_size"), number("largest_batch")], [64.0, f64::from(images)]);
        let steps = f64::from(images / 64);
        assert_eq!([number("epochs"), number("steps_per_epoch")], [7.0, steps]);
        let epoch = steps * number("seconds_per_step") + number("seconds_per_evaluation");
        assert!(epoch > 0.0 && (number("seconds") / (7.0 * epoch) - 1.0).abs() < 1e-9, "{told}");
        // More images in a step take more memory.
        let larger = [command, &["--batch-size=128", "--json"], &size[..2], &size[3..]].concat();
        let larger: serde_json::Value = serde_json::from_str(&printed(here, &larger)).unwrap();
        assert!(larger["peak_bytes"].as_f64().unwrap() > 1.2 * number("peak_bytes"), "{larger}");
        let resumed = [command[0], "--resume=run", "--dry-run"];
        refused(here, &resumed, 2, &["--dry-run", "--resume"]);
    }
    // The directory of the run is made by the run alone.
    printed(here, &small("run", &["--dry-run", "--quiet"]));
    assert_eq!(fs::read_dir(here).unwrap().count(), 0, "nothing may be stored");
}

#[test]
fn searches_of_several_seeds_are_compared_and_go_on() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let several = small("three", &["--seeds=3", "--seed=5"]);
    // Stopped before its first step, and gone on with by the command that is told.
    let over = [&several[..], &["--max-minutes=0"]].concat();
    let words = [
        "goes on; `darts search --plan three/seed-5/plan.toml --seeds 3 --out three` goes on with all seeds",
    ];
    refused(here, &over, 124, &words);
    let again = ["search", "--plan", "three/seed-5/plan.toml", "--seeds=3", "--out=three"];
    let told = printed(here, &again);
    let place = told.find("\n3 searches, of the seeds 5 to 7:\n  equal edges ").expect("how alike they are");
    // The chance of the space with two nodes: 4/7 (1/2 + 1/3) of 4 edges.
    assert!(
        told[place..].contains(" %, by chance 11.9 %\n  Kendall's tau between the alphas of an edge "),
        "{told}"
    );
    printed(here, &small("alone", &["--seed=6", "--quiet"]));
    let metrics = |run: &str| fs::read_to_string(here.join(run).join("metrics.jsonl")).unwrap();
    assert_eq!(metrics("three/seed-6"), metrics("alone"));
    assert_ne!(metrics("three/seed-6"), metrics("three/seed-7"));
    let told = printed(here, &[&again[..], &["--json"]].concat());
    let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["seeds"], serde_json::json!([5, 6, 7]));
    assert_eq!(last["runs"][2], "three/seed-7");
    let number = |key: &str| last["agreement"][key].as_f64().unwrap();
    assert!((number("equal_edges_by_chance") - 4.0 / 7.0 * (1.0 / 2.0 + 1.0 / 3.0) / 4.0).abs() < 1e-12);
    assert!((0.0..=1.0).contains(&number("equal_edges")) && number("kendall_tau").abs() <= 1.0, "{last}");
    assert_eq!(number("kendall_tau_by_chance"), 0.0);

    refused(here, &["search", "--seeds=3"], 2, &["--out"]);
    refused(here, &["search", "--seeds=1", "--out=one"], 2, &["--seeds", "2..=1000"]);
    refused(here, &["search", "--seeds=2", "--resume=three/seed-5"], 2, &["--seeds", "--resume"]);
    let last = ["search", "--seeds=2", "--out=last", "--seed=9223372036854775807"];
    refused(here, &last, 2, &["--seeds is 2; expected fewer after the seed 9223372036854775807"]);
    let other = ["search", "--seeds=3", "--out=three", "--seed=5", "--epochs=9"];
    refused(here, &other, 2, &["--epochs is 9", "three/seed-5 was begun with 2"]);
}
