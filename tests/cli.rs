//! The command line as its users meet it: help, exit codes, and one clear line for each mistake.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use command::{darts, printed, text};
use darts::data::{Colour, Dataset, Reading, Source};
use darts::plan::keys::{Domain, Keys};
use darts::plan::{PlanTable, search, train};
use darts::space::Space;
use darts::space::alphas::Alphas;
use darts::space::derivation::derive;

/// Runs the binary, which must fail before it prints or does anything.
fn refused(directory: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let printed = command::refused(directory, arguments, code, words);
    assert!(printed.is_empty(), "{arguments:?} printed {printed}");
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Alphas that prefer one operation, the official number of which is given, on every edge.
fn alphas(operation: usize) -> Alphas {
    let mut alphas = Alphas::zeros(Space::darts(), 4);
    let preferred = alphas.tables.iter_mut().flat_map(|table| table.iter_mut().skip(operation).step_by(8));
    preferred.for_each(|alpha| *alpha = 1.0);
    alphas
}

const LITERAL: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), \
    ('avg_pool_3x3', 0)], normal_concat=range(2, 4), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), \
    ('skip_connect', 2), ('sep_conv_5x5', 1)], reduce_concat=range(2, 4))";

/// The commands that have a plan, and its keys.
fn commands() -> [(&'static str, &'static Keys); 2] {
    [("search", search::Plan::keys()), ("train", train::Plan::keys())]
}

#[test]
fn help_explains_and_gives_examples() {
    let here = scratch();
    for arguments in [
        vec!["--help"],
        vec!["search", "--help"],
        vec!["derive", "-h"],
        vec!["show", "--help"],
        vec!["lookup", "--help"],
        vec!["report", "--help"],
        vec!["digits", "--help"],
        vec!["devices", "--help"],
        vec!["completions", "--help"],
        vec!["train", "--help"],
        vec!["evaluate", "--help"],
        vec!["predict", "--help"],
        vec!["export", "--help"],
    ] {
        let help = printed(here.path(), &arguments);
        assert!(help.contains("Examples:\n  darts "), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    for (command, keys) in commands() {
        let help =
            printed(here.path(), &[command, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        for key in &keys.0 {
            // What it means, and its value in both presets.
            let told = format!("--{} <{}> {}", key.flag, key.placeholder, key.help());
            assert!(help.contains(&told), "not in the help: {told}");
        }
        assert!(help.contains(&format!("darts {command} --resume runs/")), "{help}");
        // Beside the keys, --preset, --out and --checkpoint-minutes have defaults.
        let defaults = help.matches("[default: ").count() + help.matches("[small: ").count();
        assert_eq!(defaults, keys.0.len() + 3);
    }
    assert!(printed(here.path(), &["--version"]).starts_with("darts "));
}

#[test]
fn a_flag_of_another_command_is_not_offered_as_a_value() {
    let scratch = scratch();
    let output = command::darts(scratch.path(), &["evaluate", "run", "--image-size", "8"]);
    let message = command::text(&output.stderr);
    assert_eq!(
        (output.status.code(), &*message),
        (Some(2), "darts: unexpected argument '--image-size' found\n")
    );
}

#[test]
fn no_command_is_wrong_usage() {
    let output = darts(scratch().path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: darts <COMMAND>"));
}

#[test]
fn wrong_flags_are_named() {
    let here = scratch();
    let cases: [(&[&str], &[&str]); 20] = [
        (&["serach"], &["serach", "search"]),
        (&["search", "--epoch", "3"], &["--epoch", "'--epochs'"]),
        (&["search", "--epochs", "many"], &["--epochs", "many", "a whole number"]),
        (&["search", "--epochs", "-1"], &["--epochs", "-1", "a whole number"]),
        (&["search", "--epochs", "0"], &["--epochs is 0", "from 1 to 100000"]),
        (&["search", "--cells", "101"], &["--cells is 101", "from 1 to 100"]),
        (&["search", "--order", "third"], &["--order", "third", "first, second"]),
        (&["search", "--device", "tpu"], &["--device", "tpu", "cpu, cuda, auto"]),
        (&["search", "--preset", "huge"], &["--preset", "huge", "small, paper"]),
        (&["search", "--seed", "18446744073709551615"], &["--seed", "from 0 to 9223372036854775807"]),
        (&["search", "--weight-lr", "fast"], &["--weight-lr", "fast", "a number"]),
        (&["search", "--weight-lr", "nan"], &["--weight-lr is NaN", "from 0 to"]),
        (&["search", "--alpha-beta1", "1"], &["--alpha-beta1 is 1", "below 1"]),
        (
            &["search", "--weight-lr", "1e-9"],
            &["--weight-lr is 0.000000001", "at least weight_lr_min, which is "],
        ),
        (&["search", "--preset", "paper"], &["--preset paper", "add --data"]),
        (&["search", "--data", "nothing"], &["--data", "nothing", "digits"]),
        (&["search", "--image-size", "64"], &["--image-size is for --data folder:DIR", "digits"]),
        (&["search", "--strict"], &["--strict is for --data folder:DIR", "digits"]),
        (&["search", "--data", "folder:x", "--image-size", "2"], &["--image-size is 2", "from 4 to 1024"]),
        (&["search", "--colour", "green"], &["--colour", "green", "rgb, grey"]),
    ];
    for (arguments, words) in cases {
        refused(here.path(), arguments, 2, words);
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

/// A value of the right kind that a key cannot hold, and one of another kind.
fn wrong_values(domain: &Domain) -> (Option<String>, Option<&'static str>) {
    match domain {
        Domain::Count(range) => (range.end().checked_add(1).map(|count| count.to_string()), Some("many")),
        Domain::Number(..) => (Some("NaN".to_owned()), Some("much")),
        Domain::Word(_) | Domain::Switch => (None, Some("other")),
        Domain::Text(_) | Domain::Space => (None, None),
    }
}

#[test]
fn a_wrong_value_of_any_key_is_refused_where_it_was_written() {
    let here = scratch();
    std::fs::create_dir(here.path().join("plans")).unwrap();
    let with_command = |(command, keys): (_, &'static Keys)| keys.0.iter().map(move |key| (command, key));
    for (command, key) in commands().into_iter().flat_map(with_command) {
        let command = [&["search"][..], &["train", "darts-v2"]][usize::from(command == "train")];
        let (outside, other) = wrong_values(&key.domain);
        if let Some(value) = outside {
            let sentence = format!("is {value}; expected a");
            let flag = format!("--{}", key.flag);
            refused(here.path(), &[command, &[&flag, &value]].concat(), 2, &[&format!("{flag} {sentence}")]);
            let plan = format!("{} = {}", key.path, value.to_lowercase());
            std::fs::write(here.path().join("plans/wrong.toml"), plan).unwrap();
            let words = [&format!("plans/wrong.toml: {} {sentence}", key.path)[..]];
            refused(here.path(), &[command, &["--plan", "plans/wrong.toml"]].concat(), 2, &words);
        }
        if let Some(value) = other {
            let flag = format!("--{}", key.flag);
            refused(here.path(), &[command, &[&flag, value]].concat(), 2, &[&flag, value]);
            std::fs::write(here.path().join("plans/wrong.toml"), format!("{} = {value:?}", key.path))
                .unwrap();
            let words = [&format!("plans/wrong.toml, line 1, key {}: ", key.path), value, "expected "];
            refused(here.path(), &[command, &["--plan", "plans/wrong.toml"]].concat(), 2, &words);
        }
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 1);
}

#[test]
fn what_only_the_data_or_the_device_shows_is_refused_before_anything_is_stored() {
    let here = scratch();
    refused(
        here.path(),
        &["search", "--batch-size", "40000"],
        2,
        &["--batch-size is 40000", "at most 719, half of the training images of digits"],
    );
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn a_wrong_plan_is_refused_with_file_line_and_key() {
    let here = scratch();
    let cases: [(&str, &[&str]); 11] = [
        ("batch_size = 40000", &["wrong.toml", "batch_size is 40000", "at most 719"]),
        ("weight_lr = 0.0001", &["wrong.toml", "weight_lr is 0.0001", "at least weight_lr_min"]),
        ("data = \"digit\"", &["wrong.toml", "digit", "digits"]),
        ("cells = 0", &["wrong.toml", "cells is 0", "from 1 to 100"]),
        ("cells = 100\nnodes = 16", &["wrong.toml", "cells is 100", "with 16 nodes"]),
        ("cells = 3\nepoch = 5", &["wrong.toml, line 2, key epoch", "unknown field", "`epochs`"]),
        ("\nepochs = \"many\"", &["wrong.toml, line 2, key epochs", "expected a whole number"]),
        ("alpha_lr = \"x\"", &["wrong.toml, line 1, key alpha_lr", "expected a number"]),
        ("order = \"third\"", &["wrong.toml, line 1, key order", "`first`, `second` or `extrapolated`"]),
        ("cells = ", &["wrong.toml, line 1, key cells"]),
        ("nodes = 17", &["wrong.toml", "nodes is 17", "from 1 to 16"]),
    ];
    for (plan, words) in cases {
        std::fs::write(here.path().join("wrong.toml"), plan).unwrap();
        refused(here.path(), &["search", "--plan", "wrong.toml"], 2, words);
    }
    refused(here.path(), &["search", "--plan", "absent.toml"], 1, &["absent.toml"]);
}

#[test]
fn a_flag_goes_before_the_plan_and_the_plan_before_the_preset() {
    let here = scratch();
    std::fs::write(here.path().join("plan.toml"), "data = \"digits\"\ncells = 0\nbatch_size = 0").unwrap();
    let preset = ["search", "--preset", "paper", "--plan", "plan.toml"];
    refused(here.path(), &preset, 2, &["plan.toml: batch_size is 0"]);
    let flag = ["search", "--preset", "paper", "--plan", "plan.toml", "--batch-size", "8"];
    refused(here.path(), &flag, 2, &["plan.toml: cells is 0"]);
}

#[test]
fn an_output_that_cannot_be_is_refused_and_nothing_is_left_behind() {
    let here = scratch();
    std::fs::write(here.path().join("file"), "mine").unwrap();
    let refusal = "cannot create this run directory";
    refused(here.path(), &["search", "--out", "file"], 1, &["file: ", refusal, "a file is in its place"]);
    refused(here.path(), &["search", "--out", "file/run"], 1, &["file/run: ", refusal]);
    refused(here.path(), &["search", "--out", "."], 1, &[".: ", refusal, "not empty"]);
    std::fs::write(here.path().join("runs"), "mine too").unwrap();
    refused(here.path(), &["search"], 1, &["runs/", "digits-first", refusal]);
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 2);
}

#[test]
fn malformed_genotypes_are_refused_with_the_place() {
    let here = scratch();
    let long = format!("Genotype(normal=[{}", "('skip_connect', 0), ".repeat(4000));
    let cases: [(String, &[&str]); 10] = [
        (
            LITERAL.replace("skip_connect", "jump"),
            &["node 0 of the normal cell", "jump", "known are max_pool_3x3"],
        ),
        (
            LITERAL.replace("('dil_conv_5x5', 2)", "('dil_conv_5x5', 5)"),
            &["node 1 of the normal cell takes input 5, but only states 0 to 2 exist before it"],
        ),
        (LITERAL.replace("'sep_conv_3x3'", "'none'"), &["node 0 of the normal cell", "none"]),
        (LITERAL.replace("('sep_conv_3x3', 0), ", ""), &["the normal cell has 3 edges", "two for each node"]),
        (LITERAL.replace("normal_concat=range(2, 4)", "normal_concat=[2, 2]"), &["normal_concat", "twice"]),
        (LITERAL.replace("normal_concat=range(2, 4)", "normal_concat=[2, 7]"), &["normal_concat", "state 7"]),
        (LITERAL.replace("range(2, 4), reduce", "range(2, 4) reduce"), &["line 1, column", "expected ','"]),
        (LITERAL.replace("'sep_conv_3x3', 0", "__import__('os'), 0"), &["line 1, column", "in quotes"]),
        ("|nor_conv_3x3~0|+|skip_connect~0|none~1|".into(), &["nas-bench-201", "expected 3 nodes"]),
        ("{\"normal\": []}".into(), &["JSON", "missing field"]),
    ];
    for (genotype, words) in cases {
        refused(here.path(), &["show", &genotype], 2, words);
        std::fs::write(here.path().join("some.txt"), &genotype).unwrap();
        let mut words = words.to_vec();
        words.push("some.txt");
        refused(here.path(), &["show", "some.txt"], 2, &words);
    }
    refused(here.path(), &["show", &long], 2, &["bytes long", "at most 65536"]);
    std::fs::write(here.path().join("long.txt"), &long).unwrap();
    refused(here.path(), &["show", "long.txt"], 1, &["long.txt", "more than 65536 bytes"]);
    refused(here.path(), &["show", "darts-v3"], 2, &["darts-v3", "did you mean darts-v1 or darts-v2"]);
    refused(here.path(), &["show", "random:x"], 2, &["random:x", "whole number"]);
    refused(here.path(), &["show", "absent/run"], 2, &["absent/run", "no such file or run directory"]);
    refused(here.path(), &["show"], 2, &["<GENOTYPE>"]);
}

#[test]
fn a_genotype_is_shown_alike_from_every_source() {
    let here = scratch();
    let genotype: darts::space::genotype::Genotype = LITERAL.parse().unwrap();
    let drawing = printed(here.path(), &["show", LITERAL]);
    assert!(drawing.contains("k-2 ── sep_conv_3x3 ──┬─▶ node 0 ──┐"), "{drawing}");
    assert_eq!(printed(here.path(), &["show", &genotype.to_json()]), drawing);
    std::fs::write(here.path().join("cell.txt"), format!("MINE = {LITERAL}\n")).unwrap();
    assert_eq!(printed(here.path(), &["show", "cell.txt"]), drawing);
    std::fs::write(here.path().join("genotype.json"), genotype.to_json()).unwrap();
    assert_eq!(printed(here.path(), &["show", "genotype.json"]), drawing);
    assert_eq!(printed(here.path(), &["show", "."]), drawing);
}

#[test]
fn published_genotypes_are_listed_and_shown() {
    let here = scratch();
    let list = printed(here.path(), &["show", "--list"]);
    assert!(list.lines().count() > 50);
    for line in list.lines().skip(1) {
        let name = line.split_whitespace().next().unwrap();
        assert!(printed(here.path(), &["show", name]).starts_with(name));
    }
    assert_eq!(printed(here.path(), &["show", "DARTS_V2"]), printed(here.path(), &["show", "darts-v2"]));
}

#[test]
fn a_seed_gives_a_genotype() {
    let here = scratch();
    let show = |name: &str| printed(here.path(), &["show", name, "--json"]);
    assert_eq!(show("random:7"), show("random:7"));
    assert_ne!(show("random:7"), show("random:8"));
    assert!(printed(here.path(), &["show", "random:7"]).contains("node 3 ──┘"));
}

#[test]
fn a_run_gives_its_genotypes() {
    let here = scratch();
    let stored = here.path().join("run/alphas");
    std::fs::create_dir_all(&stored).unwrap();
    refused(here.path(), &["derive", "run"], 1, &["run/alphas", "no alphas"]);
    for epoch in [1, 2, 10] {
        alphas(epoch % 7 + 1).save(&stored.join(format!("epoch-{epoch:04}.safetensors")), epoch).unwrap();
    }
    std::fs::write(stored.join("notes.txt"), "not alphas").unwrap();
    let literal = |operation| format!("{}\n", derive(&alphas(operation)));
    assert_eq!(printed(here.path(), &["derive", "run"]), literal(4));
    assert_eq!(printed(here.path(), &["derive", "run", "--epoch", "1"]), literal(2));
    assert_eq!(printed(here.path(), &["derive", "run/alphas/epoch-0002.safetensors"]), literal(3));
    let json = printed(here.path(), &["derive", "run", "--json"]);
    assert_eq!(json, format!("{}\n", derive(&alphas(4)).to_json()));
    refused(here.path(), &["derive", "run", "--epoch", "3"], 2, &["--epoch 3", "run", "epochs 1, 2 and 10"]);
    let file = "run/alphas/epoch-0002.safetensors";
    refused(here.path(), &["derive", file, "--epoch", "3"], 2, &["--epoch 3", file, "epoch 2"]);
    refused(here.path(), &["derive", "absent"], 1, &["absent", "no such run directory"]);
    refused(here.path(), &["derive", "run/alphas/notes.txt"], 1, &["notes.txt", "not a safetensors file"]);
    refused(here.path(), &["derive"], 2, &["<RUN>"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for arguments in [["show", "--list"], ["show", "darts-v2"], ["search", "--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_darts"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    }
}

#[test]
fn json_is_printed_for_programs() {
    let here = scratch();
    let read = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&printed(here.path(), arguments)).unwrap()
    };
    let genotype: darts::space::genotype::Genotype = LITERAL.parse().unwrap();
    assert_eq!(printed(here.path(), &["show", LITERAL, "--json"]), format!("{}\n", genotype.to_json()));
    std::fs::write(here.path().join("v2.json"), printed(here.path(), &["show", "darts-v2", "--json"]))
        .unwrap();
    let drawing = printed(here.path(), &["show", "v2.json"]);
    assert!(printed(here.path(), &["show", "darts-v2"]).ends_with(&drawing));
    let list = read(&["show", "--list", "--json"]);
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["name"].is_string() && entry["genotype"].is_object())
    );
    let devices = read(&["devices", "--json"]);
    assert!(devices["cpu"]["threads"].as_u64() >= Some(1) && devices["gpus"].is_array());
    assert_eq!(devices["gpus"].as_array().unwrap().is_empty(), devices["no_gpu_because"].is_string());
}

#[test]
fn colours_are_for_a_terminal_that_wants_them() {
    let here = scratch();
    let run = |arguments: &[&str], settings: &[(&str, &str)]| {
        let output =
            command::command(here.path(), arguments).envs(settings.iter().copied()).output().unwrap();
        text(&output.stdout) + &text(&output.stderr)
    };
    for arguments in [&["show", "darts-v2"][..], &["show", "darts-v3"]] {
        let plain = run(arguments, &[]);
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        let forced = run(arguments, &[("CLICOLOR_FORCE", "1")]);
        assert!(forced.contains("\u{1b}["), "{forced:?}");
        assert_eq!(run(arguments, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), plain);
    }
}

#[test]
fn shells_are_told_what_can_be_completed() {
    let here = scratch();
    for shell in ["bash", "zsh", "fish"] {
        let output = darts(here.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        let script = text(&output.stdout);
        assert!(
            ["search", "image-size", "report", "export"].iter().all(|word| script.contains(word)),
            "{shell}"
        );
    }
    if let Ok(bash) =
        Command::new("bash").args(["-n", "-c"]).arg(printed(here.path(), &["completions", "bash"])).status()
    {
        assert!(bash.success(), "bash cannot read its script");
    }
    refused(here.path(), &["completions", "tcsh"], 2, &["tcsh", "bash", "zsh", "fish"]);
}

#[test]
fn devices_lists_the_processor_and_the_gpus_or_why_there_are_none() {
    let here = scratch();
    let list = printed(here.path(), &["devices"]);
    assert!(list.starts_with("CPU  ") && list.contains(" thread"), "{list}");
    match darts::backend::cuda::devices() {
        Ok(gpus) => gpus.iter().for_each(|gpu| assert!(list.contains(&gpu.name), "{list}")),
        Err(reason) => assert!(list.contains(&reason.to_string()), "{list}"),
    }
}

#[test]
fn a_search_on_a_gpu_that_is_not_there_is_refused_before_anything_is_stored() {
    if let Ok(gpu) = darts::backend::cuda::first() {
        return println!("skipped: there is a GPU: {gpu}");
    }
    let here = scratch();
    refused(here.path(), &["search", "--device", "cuda"], 1, &["device: ", "CUDA", "--device cpu"]);
    refused(here.path(), &["search", "--precision", "bf16"], 1, &["device: ", "CUDA"]);
    refused(here.path(), &["search", "--precision", "f16", "--device", "cpu"], 2, &["--precision", "f32"]);
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn the_digits_are_written_as_pictures() {
    let here = scratch();
    let told = printed(here.path(), &["digits", "some/pictures"]);
    assert_eq!(told, "1,438 pictures in some/pictures/train, 359 in some/pictures/test\n");
    let source: Source = format!("folder:{}", here.path().join("some/pictures").display()).parse().unwrap();
    let reading = Reading { image_size: 8, colour: Colour::Grey, ..Reading::default() };
    let [pictures, digits] =
        [source, "digits".parse().unwrap()].map(|source: Source| source.load(0, &reading, &()).unwrap());
    assert_eq!(pictures.class_names, digits.class_names);
    let counts = |dataset: &Dataset| {
        let [train, test] = [&dataset.train, &dataset.test].map(|images| images.class_counts(10));
        train.iter().zip(test).map(|(train, test)| train + test).collect::<Vec<_>>()
    };
    assert_eq!(counts(&pictures), counts(&digits));
    // The third picture shows a two; its first row has ink of 4, 15 and 12 parts in 16.
    let picture = image::open(here.path().join("some/pictures/train/2/0002.png")).unwrap().into_luma8();
    assert_eq!(picture.as_raw()[..8], [0, 0, 0, 64, 240, 192, 0, 0]);
    refused(here.path(), &["digits", "some"], 2, &["some is not empty"]);
    fs::write(here.path().join("file"), "").unwrap();
    refused(here.path(), &["digits", "file"], 1, &["file: "]);
}

#[test]
fn a_genotype_is_found_by_its_name_in_a_module() {
    let here = scratch();
    let other = LITERAL.replace("sep_conv", "dil_conv");
    let module = format!("import os\nFIRST = {LITERAL}\nSECOND = {other}\nBEST = FIRST\n");
    fs::write(here.path().join("genotypes.py"), module).unwrap();
    let shown = |given: &str| printed(here.path(), &["show", given]);
    assert_eq!(shown("genotypes.py:BEST"), shown(LITERAL));
    assert_eq!(shown("genotypes.py:SECOND"), shown(&other));
    let words = ["genotypes.py: 2 genotypes are in the text", "FILE:NAME, of FIRST, SECOND"];
    refused(here.path(), &["show", "genotypes.py"], 2, &words);
    refused(
        here.path(),
        &["show", "genotypes.py:THIRD"],
        2,
        &["genotypes.py: ", "no genotype to THIRD; it has FIRST"],
    );
}

#[test]
fn lookup_prints_what_is_known_of_architectures() {
    let here = scratch();
    let skips =
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|";
    let sheet = printed(here.path(), &["lookup", skips]);
    assert!(sheet.starts_with(&format!("{skips}\nindex 1835; 73,306 weights with 10 classes\n")), "{sheet}");
    assert!(sheet.contains("    200 epochs       39.77  54.30  15,231\n"), "{sheet}");
    assert_eq!(printed(here.path(), &["lookup", "1835"]), sheet);
    let dead = printed(here.path(), &["lookup", "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"]);
    assert!(dead.contains("nothing reaches its output"), "{dead}");

    let list = printed(here.path(), &["lookup", "--best", "cifar10", "--top", "2"]);
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(list.contains("    1  94.37  1,073,466   6111  |nor_conv_3x3~0|+"), "{list}");
    let lines = printed(here.path(), &["lookup", "--best", "cifar100", "--json"]);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 10);
    assert_eq!((&lines[0]["index"], &lines[0]["parameters"]), (&9930.into(), &1_288_506.into()));
    let test = &lines[0]["data"]["cifar100"]["200_epochs"]["test"];
    assert_eq!((&test["accuracy"], &test["rank"]), (&73.5133.into(), &1.into()));

    refused(here.path(), &["lookup"], 2, &["required", "ARCH"]);
    refused(here.path(), &["lookup", "15625"], 2, &["15625", "index from 0 to 15624"]);
    refused(here.path(), &["lookup", "darts-v2"], 2, &["darts-v2", "no architecture of NAS-Bench-201"]);
    refused(here.path(), &["lookup", "1835", "--best", "cifar10"], 2, &["cannot be used with"]);
    refused(here.path(), &["lookup", "--best", "cifar10", "--top", "0"], 2, &["--top"]);
    refused(
        here.path(),
        &["lookup", "1835", "|none~0|+|none~0|none~1|+|none~0|none~1|none~1|"],
        2,
        &["node 3", "leaves node \"1\"; expected node 2"],
    );
}
