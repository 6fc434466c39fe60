//! What a run cannot go on from is refused with its name, and nothing is changed.

use std::fs;
use std::path::Path;

use crate::command::{darts, printed, refused, text};
use crate::runs::{Kind, checkpoints, finished, left, offered, shell};

/// Bytes with a text in place of another.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let place = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    [&bytes[..place], to.as_bytes(), &bytes[place + from.len()..]].concat()
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_one_before_it_offered() {
    for kind in Kind::BOTH {
        let scratch = finished(kind);
        let (here, run) = (scratch.path(), scratch.path().join("run"));
        let [before, newest] = &checkpoints(&run)[..] else { panic!("two are kept") };
        let whole = fs::read(newest).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() - 1000] ^= 1;
        let damages = [
            (whole[..whole.len() / 2].to_vec(), "is not a checkpoint"),
            (Vec::new(), "is not a checkpoint"),
            (flipped, "is damaged: its checksum is "),
            (
                replaced(&whole, r#"\"version\":3"#, r#"\"version\":0"#),
                "has the format version 0; this program reads 1 to 3",
            ),
        ];
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        for (bytes, reason) in damages {
            fs::write(newest, &bytes).unwrap();
            let words = [&name(newest), reason, &name(before), "goes on from the one before it"];
            refused(here, &[kind.name(), "--resume=run"], 1, &words);
            assert!(fs::read(newest).unwrap() == bytes, "nothing may be changed");
            let path = format!("run/checkpoints/{}", name(newest));
            refused(here, &[kind.name(), "--resume", &path], 1, &words);
            let message = text(&darts(here, &[kind.name(), "--resume=run"]).stderr);
            let output = shell(here, &offered(&message));
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            kind.check(&run, reason);
        }
        fs::write(before, "").unwrap();
        let path = format!("run/checkpoints/{}", name(before));
        let words = [&name(before), "it is empty", &name(newest), "goes on from the one after it"];
        refused(here, &[kind.name(), "--resume", &path], 1, &words);
        fs::write(before, &whole).unwrap();
        fs::remove_file(newest).unwrap();
        fs::create_dir(newest).unwrap();
        let words = [&name(newest), "directory", &name(before), "goes on from the one before it"];
        refused(here, &[kind.name(), "--resume=run"], 1, &words);
        fs::remove_dir(newest).unwrap();
        fs::write(before, "").unwrap();
        fs::write(newest, "").unwrap();
        refused(here, &[kind.name(), "--resume=run"], 1, &[&name(newest), "nor can any other checkpoint"]);
        fs::remove_file(before).unwrap();
        fs::remove_file(newest).unwrap();
        refused(here, &[kind.name(), "--resume=run"], 1, &["run: holds no checkpoint to go on from"]);
        fs::remove_dir_all(run.join("checkpoints")).unwrap();
        refused(here, &[kind.name(), "--resume=run"], 1, &["run: holds no checkpoint to go on from"]);
    }
}

#[test]
fn a_checkpoint_of_any_epoch_is_gone_on_from() {
    let scratch = finished(Kind::Search);
    let run = scratch.path().join("run");
    let first = format!("run/checkpoints/{}", checkpoints(&run)[0].file_name().unwrap().to_str().unwrap());
    printed(scratch.path(), &["search", "--resume", &first, "--quiet"]);
    Kind::Search.check(&run, "from the second epoch on");
    let inside = ["search", "--resume", &first["run/".len()..], "--quiet"];
    printed(&run, &inside);
    Kind::Search.check(&run, "from inside the run directory");
}

/// Before there was a table of the method, the order stood among the other keys.
#[test]
fn a_run_whose_plan_is_of_an_earlier_version_goes_on() {
    let scratch = finished(Kind::Search);
    let (here, run) = (scratch.path(), scratch.path().join("run"));
    fs::remove_file(checkpoints(&run).pop().unwrap()).unwrap();
    let file = run.join("plan.toml");
    let plan = fs::read_to_string(&file).unwrap();
    let (keys, method) = plan.split_once("\n[method]\n").unwrap();
    assert!(method.contains("order = \"first\"\n"), "{method}");
    fs::write(&file, format!("order = \"first\"\n{keys}")).unwrap();
    printed(here, &["search", "--resume=run", "--quiet"]);
    refused(here, &["search", "--resume=run", "--order=second"], 2, &["--order is \"second\"", "\"first\""]);
    printed(here, &["report", "run"]);
    fs::write(&file, plan).unwrap();
    Kind::Search.check(&run, "with a plan of an earlier version");
}

#[test]
fn a_plan_that_does_not_match_is_refused_with_its_key() {
    for kind in Kind::BOTH {
        let scratch = finished(kind);
        let (here, run) = (scratch.path(), scratch.path().join("run"));
        let before = left(&run);
        let plan = fs::read_to_string(run.join("plan.toml")).unwrap();
        for (from, to, key) in [
            ("epochs = 3", "epochs = 9", "epochs is 9"),
            ("seed = 4", "seed = 5", "seed is 5"),
            ("weight_decay = 0.0003", "weight_decay = 0.0004", "weight_decay is 0.0004"),
            ("data = \"digits\"", "data = \"folder:nowhere\"", "data is \"folder:nowhere\""),
        ] {
            fs::write(run.join("plan.toml"), plan.replace(from, to)).unwrap();
            refused(here, &[kind.name(), "--resume=run"], 2, &["run/plan.toml: ", key, "was saved with"]);
            fs::write(run.join("plan.toml"), &plan).unwrap();
            let flag = format!("--{}", to.replace(" = ", "=").replace('_', "-").replace('"', ""));
            let words = [&flag.replace('=', " is ")[..10], "run was begun with"];
            refused(here, &[kind.name(), "--resume=run", &flag], 2, &words);
            fs::write(here.join("other.toml"), to).unwrap();
            let arguments = [kind.name(), "--resume=run", "--plan=other.toml"];
            refused(here, &arguments, 2, &["other.toml: ", key, "run was begun with"]);
        }
        refused(here, &[kind.name(), "--resume=run", "--preset=paper"], 2, &["--preset", "--resume"]);
        refused(here, &[kind.name(), "--resume=run", "--out=other"], 2, &["--out", "--resume"]);
        assert!(left(&run) == before, "nothing may be changed");
        // What says the same is no contradiction, nor is the number of threads.
        fs::write(here.join("other.toml"), "epochs = 3\nthreads = 1").unwrap();
        fs::write(run.join("plan.toml"), plan.replace("threads = 0", "threads = 2")).unwrap();
        let same = [kind.name(), "--resume=run", "--plan=other.toml", "--seed=4", "--quiet", "--threads=3"];
        printed(here, &same);
    }
}

#[test]
fn what_is_no_run_of_the_command_is_refused() {
    let scratch = finished(Kind::Search);
    let here = scratch.path();
    printed(here, &[&Kind::Train.begin()[..], &["--quiet", "--out=model"]].concat());
    fs::create_dir(here.join("empty")).unwrap();
    let cases: [(&[&str], i32, &[&str]); 11] = [
        (
            &["search", "--resume=model"],
            2,
            &["--resume: model is the run of a training", "`darts train --resume model`"],
        ),
        (
            &["train", "--resume=run"],
            2,
            &["--resume: run is the run of a search", "`darts search --resume run`"],
        ),
        (&["search", "--resume=empty"], 1, &["empty: is not a run directory", "plan.toml"]),
        (&["search", "--resume=absent"], 1, &["absent: no such run directory or checkpoint"]),
        (&["search", "--resume=run/metrics.jsonl"], 1, &["metrics.jsonl: is not a checkpoint"]),
        (&["train", "darts-v1", "--resume=model"], 2, &["genotype: it is another", "--resume"]),
        (&["train"], 2, &["<GENOTYPE>"]),
        (&["search", "--checkpoint-minutes=-1"], 2, &["--checkpoint-minutes", "expected a number from 0"]),
        (&["search", "--max-minutes=-1"], 2, &["--max-minutes", "expected a number from 0"]),
        (&["train", "darts-v1", "--max-minutes=soon"], 2, &["--max-minutes", "expected a number"]),
        (&["search", "--checkpoint-minutes=nan"], 2, &["--checkpoint-minutes", "expected a number from 0"]),
    ];
    for (arguments, code, words) in cases {
        refused(here, arguments, code, words);
    }
    printed(here, &["train", "pc-darts", "--resume=model", "--quiet"]);
    let json = here.join("model/genotype.json");
    let genotype = fs::read_to_string(&json).unwrap();
    fs::write(&json, genotype.replacen("sep_conv_3x3", "sep_conv_5x5", 1)).unwrap();
    refused(here, &["train", "--resume=model"], 1, &["model/genotype.json: is not the genotype that"]);
    fs::write(&json, genotype).unwrap();
    // Lines of the metrics that are lost do not come again.
    let metrics = here.join("model/metrics.jsonl");
    let whole = fs::read_to_string(&metrics).unwrap();
    let gap: Vec<_> = whole.lines().filter(|line| !line.contains("\"epoch\":2,")).collect();
    for (text, left) in [(String::new(), "holds 0 epochs"), (gap.join("\n") + "\n", "holds 1 epochs")] {
        fs::write(&metrics, &text).unwrap();
        refused(here, &["train", "--resume=model"], 1, &["metrics.jsonl: ", left, "after 3"]);
        assert_eq!(fs::read_to_string(&metrics).unwrap(), text, "nothing may be changed");
    }
}

#[test]
fn a_run_that_cannot_go_on_is_not_said_to() {
    let scratch = finished(Kind::Search);
    let run = scratch.path().join("run");
    fs::remove_file(run.join("alphas/epoch-0003.safetensors")).unwrap();
    let output = darts(scratch.path(), &["search", "--resume=run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("alphas/epoch-0003.safetensors"), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("stored"), "{}", text(&output.stdout));
}

/// Images of bytes that depend on a number.
fn write_images(directory: &Path, number: usize) {
    fs::create_dir_all(directory).unwrap();
    let word = |n: usize| (n as u32).to_be_bytes();
    for part in ["train", "t10k"] {
        let head = [0x803, 40, 8, 8].into_iter().flat_map(word);
        let pixels = (0..40 * 64).map(|i| (i * 7919 % (250 + number)) as u8);
        fs::write(
            directory.join(format!("{part}-images-idx3-ubyte")),
            head.chain(pixels).collect::<Vec<_>>(),
        )
        .unwrap();
        let head = [0x801, 40].into_iter().flat_map(word);
        let labels = (0..40).map(|i| i as u8 % 10);
        fs::write(
            directory.join(format!("{part}-labels-idx1-ubyte")),
            head.chain(labels).collect::<Vec<_>>(),
        )
        .unwrap();
    }
}

#[test]
fn other_images_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    write_images(&here.join("data"), 1);
    let run =
        ["search", "--data=mnist:data", "--batch-size=10", "--epochs=1", "--init-channels=1", "--nodes=1"];
    printed(here, &[&run[..], &["--out=run", "--quiet"]].concat());
    let before = left(&here.join("run"));
    write_images(&here.join("data"), 2);
    refused(here, &["search", "--resume=run"], 1, &["mnist:data", "other images"]);
    assert!(left(&here.join("run")) == before, "nothing may be changed");
    write_images(&here.join("data"), 1);
    printed(here, &["search", "--resume=run", "--quiet"]);
}
