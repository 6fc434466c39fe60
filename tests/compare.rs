//! `darts compare`: a study from its file to its table, killed and resumed.

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use command::{darts, printed, refused};

/// Two searches, genotypes at random as large as those of one of them, and a search on a table; all of it small.
const STUDY: &str = "\
seeds = [0, 1]

[search]
epochs = 1
init_channels = 2
nodes = 2
train_images = 96
batch_size = 16

[train]
epochs = 1
init_channels = 4
cells = 3
train_images = 96

[settings.gentle]
weight_lr = 0.01

[contenders.darts]
[contenders.gdas]
method = { name = \"gdas\" }
[contenders.random]
kind = \"random\"
weights_of = \"darts\"
[contenders.asked]
kind = \"regularised-evolution\"
queries = 20
";

/// The files of a study that are the same each time, and what is in them.
fn results(study: &Path) -> BTreeMap<String, String> {
    let names = ["results.json", "results.csv", "results.md", "report.html"];
    let mut files: Vec<_> = names.iter().map(|name| study.join(name)).collect();
    for contender in ["darts", "gdas", "random", "asked"] {
        let entries = fs::read_dir(study.join(contender)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.is_file()));
    }
    files.push(study.join("darts/seed-1/metrics.jsonl"));
    files.push(study.join("random/seed-0-train-gentle/metrics.jsonl"));
    let own = study.file_name().unwrap().to_str().unwrap();
    let entry = |path: &PathBuf| {
        let name = path.strip_prefix(study).unwrap().display().to_string();
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The page has the name of its directory.
        (name, text.replace(own, "the study"))
    };
    files.iter().map(entry).collect()
}

#[test]
fn a_study_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("study.toml"), STUDY).unwrap();
    let whole = printed(here.path(), &["compare", "study.toml", "--out", "whole", "--jobs", "2"]);
    // Two times: three contenders are searched and trained in two ways, and one asks a table.
    assert!(whole.contains("20 of 20: "), "{whole}");
    assert!(whole.contains("beats random: ") || whole.contains("compared with nothing"), "{whole}");
    let expected = results(&here.path().join("whole"));
    assert_eq!(expected.len(), 26);

    // What is drawn at random has as many nodes as what is searched.
    for name in ["darts", "random"] {
        assert!(expected[&format!("{name}/seed-0.json")].contains("\"normal_concat\":[2,3]"), "{name}");
    }

    // Each time it is killed after as many lines as it was started before.
    let mut starts = 0;
    loop {
        let mut study = Command::new(env!("CARGO_BIN_EXE_darts"));
        study.current_dir(here.path()).args(["compare", "study.toml", "--out", "parts"]);
        let resumes = here.path().join("parts/study.toml").exists();
        let mut child = study.args(resumes.then_some("--resume")).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        if lines.map_while(Result::ok).take(starts).count() < starts {
            assert!(child.wait().unwrap().success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        starts += 1;
    }
    assert!(starts > 1);
    // Without failures, so that nothing is missing that was not looked at.
    assert!(fs::read_to_string(here.path().join("parts/results.json")).unwrap().contains("\"failures\": []"));
    let found = results(&here.path().join("parts"));
    assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
    for (name, text) in &expected {
        assert_eq!(&found[name], text, "{name}");
    }

    // A study that is done gives its outcome again.
    let again = printed(here.path(), &["compare", "study.toml", "--out", "parts", "--resume", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!(json["lines"].as_array().unwrap().len(), 7);
    assert_eq!(json["failures"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_no_study_is_refused_before_any_work() {
    let here = tempfile::tempdir().unwrap();
    let study = |name: &str, text: &str| fs::write(here.path().join(name), text).unwrap();
    let refuses = |arguments: &[&str], words: &[&str]| {
        let code = darts(here.path(), arguments).status.code().unwrap();
        assert!(code == 1 || code == 2, "{arguments:?}: {code}");
        refused(here.path(), arguments, code, words);
    };
    refuses(&["compare", "absent.toml"], &["absent.toml"]);
    study("twice.toml", "seeds = [1, 1]\n[contenders.darts]");
    refuses(&["compare", "twice.toml"], &["twice.toml: seeds names 1 twice"]);
    study("method.toml", "seeds = [1]\n[contenders.x]\nmethod = { name = \"best\" }");
    refuses(&["compare", "method.toml"], &["contenders.x: method.name: unknown word `best`"]);
    study("large.toml", "seeds = [1]\n[search]\nbatch_size = 4000\n[train]\n[contenders.x]");
    study("untrained.toml", "seeds = [1]\n[contenders.x]");
    refuses(&["compare", "untrained.toml"], &["train is missing, so contenders.x has no accuracy"]);
    refuses(&["compare", "large.toml", "--resume"], &["contenders.x: batch_size is 4000"]);
    refuses(&["compare", "large.toml"], &["contenders.x: batch_size is 4000; expected at most"]);
    assert!(!here.path().join("runs").exists());

    study("study.toml", "seeds = [1]\n[contenders.x]\nkind = \"reinforce\"\nqueries = 3");
    refuses(&["compare", "study.toml", "--resume"], &["no such directory of a study"]);
    printed(here.path(), &["compare", "study.toml"]);
    refuses(&["compare", "study.toml"], &["holds this study already; --resume goes on with it"]);
    study("other.toml", "seeds = [2]\n[contenders.x]\nkind = \"reinforce\"\nqueries = 3");
    refuses(&["compare", "other.toml", "--out", "runs/study"], &["is the directory of another study"]);
    fs::create_dir(here.path().join("full")).unwrap();
    fs::write(here.path().join("full/file"), "x").unwrap();
    refuses(&["compare", "study.toml", "--out", "full"], &["is not empty, and no directory of a study"]);
}

/// The learning rate makes the loss of one contender no number; the other one has its line all the same.
#[test]
fn a_contender_that_fails_does_not_end_the_study() {
    let here = tempfile::tempdir().unwrap();
    let text = "seeds = [0]\n[search]\nepochs = 1\ninit_channels = 2\nnodes = 2\ntrain_images = 64\nbatch_size = 16\n\
        [train]\nepochs = 1\ninit_channels = 4\ncells = 3\ntrain_images = 64\n[contenders.good]\n\
        [contenders.poor]\nweight_lr = 1e6\nweight_momentum = 0.99\ngradient_clip = 1e6\n[contenders.random]\nkind = \"random\"\nweights_of = \"poor\"\n";
    fs::write(here.path().join("study.toml"), text).unwrap();
    let printed = printed(here.path(), &["compare", "study.toml"]);
    assert!(printed.contains("Failed: poor, seed 0: "), "{printed}");
    assert!(printed.contains("Failed: random, seed 0: poor, seed 0 has failed"), "{printed}");
    assert!(printed.contains("\ngood "), "{printed}");
    assert!(here.path().join("runs/study/good/seed-0-train/report.html").is_file());
}
