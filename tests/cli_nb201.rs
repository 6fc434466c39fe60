//! The space of NAS-Bench-201 as its users meet it: a search, what it derives, and the network of a cell.

#[path = "common/command.rs"]
mod command;

use std::fs;
use std::path::Path;

use command::{printed, refused};

const SPACE: &str = "--space=nas-bench-201";
const BEST: &str =
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|";
const DEAD: &str = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|none~2|";

fn search(here: &Path, out: &str, more: &[&str]) -> String {
    let out = format!("--out={out}");
    let size = ["search", SPACE, "--epochs=2", "--init-channels=2", "--batch-size=64", "--device=cpu", &out];
    printed(here, &[&size[..], more].concat())
}

#[test]
fn a_search_is_told_stored_derived_resumed_and_trained() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let told = search(here, "whole", &["--seed=5"]);
    let literal = told.lines().find(|line| line.starts_with('|')).expect("the cell as its edges");
    assert_eq!(literal.matches('~').count(), 6, "{literal}");
    assert!(told.contains("\"space\":\"nas-bench-201\""), "{told}");
    assert_eq!(printed(here, &["derive", "whole"]).trim(), literal);
    let page = fs::read_to_string(here.join("whole/report.html")).unwrap();
    assert!(page.contains("nor_conv_3x3") && here.join("whole/cell_cell.svg").is_file());

    search(here, "cut", &["--seed=5", "--quiet"]);
    let first = "cut/checkpoints/epoch-0001-step-00000.safetensors";
    assert!(printed(here, &["search", "--resume", first]).contains("epoch 2/2"));
    for file in ["genotype.json", "metrics.jsonl", "alphas/epoch-0002.safetensors"] {
        let [whole, cut] = ["whole", "cut"].map(|run| fs::read(here.join(run).join(file)).unwrap());
        assert!(whole == cut, "{file} differs");
    }
    let size = ["--epochs=1", "--init-channels=4", "--out=model", "--quiet"];
    printed(here, &[&["train", "whole"], &size[..]].concat());
    let [searched, trained] =
        ["whole", "model"].map(|run| fs::read_to_string(here.join(run).join("genotype.json")).unwrap());
    assert_eq!(searched, trained);
}

#[test]
fn a_cell_is_shown_trained_evaluated_and_exported_by_its_edges() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let shown = printed(here, &["show", BEST]);
    for words in
        ["input ── nor_conv_3x3", "node 1 ── nor_conv_3x3", "output: node 3", "node 0 of a text of edges"]
    {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
    assert!(!shown.contains("Nothing reaches"), "{shown}");
    assert!(printed(here, &["show", DEAD]).contains("Nothing reaches the output of the cell"));
    let size = ["--epochs=1", "--init-channels=4", "--out=model", "--quiet"];
    printed(here, &[&["train", BEST], &size[..]].concat());
    assert!(printed(here, &["evaluate", "model"]).contains("3 cells of 4 channels"));
    printed(here, &["export", "model", "--format=onnx"]);
    let exported = printed(here, &["export", "model", "--format=safetensors"]);
    let bytes = fs::read(here.join(exported.trim())).unwrap();
    let header = String::from_utf8_lossy(&bytes[..bytes.len().min(20_000)]).into_owned();
    for words in [
        "TinyNetwork",
        "cells.0.layers.5.op.1.weight",
        "lastact.0.running_mean",
        "cells.1.downsample.1.weight",
    ] {
        assert!(header.contains(words), "no {words:?}");
    }
    let size = ["--epochs=1", "--init-channels=2", "--out=dead", "--quiet"];
    printed(here, &[&["train", DEAD], &size[..]].concat());
    printed(here, &["export", "dead", "--format=onnx"]);
    for (run, says) in [("dead", true), ("model", false)] {
        let page = fs::read_to_string(here.join(run).join("report.html")).unwrap();
        assert_eq!(page.contains("Nothing reaches the output of the cell"), says, "{run}");
    }
}

#[test]
fn what_the_space_does_not_have_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    fs::create_dir_all(here.join("pictures/train/a")).unwrap();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["search", SPACE, "--nodes=4"], &["--nodes is 4; expected 3, as the space nas-bench-201 has"]),
        (&["search", SPACE, "--cells=4"], &["--cells is 4; expected a multiple of 3 from 3 to 99"]),
        (&["train", BEST, "--cells=5"], &["--cells is 5; expected a multiple of 3 from 3 to 99"]),
        (
            &["train", BEST, "--auxiliary-weight=0.4"],
            &["--auxiliary-weight is 0.4; expected 0 in the space nas-bench-201"],
        ),
        (
            &["train", BEST, "--space=darts"],
            &["the number of its types of cells is 1, and the space darts has 2"],
        ),
        (&["show", "|none~0|+|none~0|none~1|"], &["is of 2 parts; expected 3 nodes joined by +"]),
    ];
    for (arguments, words) in cases {
        let out: &[&str] = if arguments[0] == "show" { &[] } else { &["--out=run"] };
        refused(here, &[arguments, out].concat(), 2, words);
    }
    let stages = ["search", SPACE, "--stages=keep 3 +1", "--epochs=4", "--out=run"];
    refused(here, &stages, 2, &["--stages is ", "a multiple of 3"]);
    assert!(!here.join("run").exists(), "nothing may be stored");
}
