//! The table of NAS-Bench-201 beside a search: shown, stored and compared, and never seen by the search itself.

#[path = "common/command.rs"]
mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use command::{printed, refused};
use darts::data::{Reading, Source};
use darts::epochs::{Control, Ended};
use darts::plan::PlanTable;
use darts::plan::search::Plan;
use darts::search::session;
use darts::store::search_run;

const SMALL: [&str; 14] = [
    "search",
    "--space",
    "nas-bench-201",
    "--epochs",
    "2",
    "--cells",
    "3",
    "--init-channels",
    "2",
    "--train-images",
    "96",
    "--batch-size",
    "16",
    "--quiet",
];

/// What a run leaves that its seed decides.
fn bytes(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = vec![run.join("metrics.jsonl"), run.join("genotype.json"), run.join("genotype.txt")];
    for folder in ["alphas", "checkpoints"] {
        let entries = fs::read_dir(run.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "safetensors")));
    }
    let name = |path: &Path| path.strip_prefix(run).unwrap().display().to_string();
    files.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// The library's search has no table: it stands in a module above. What the command stores with the table at hand is the same.
#[test]
fn a_search_leaves_the_same_bytes_with_the_table_and_without() {
    let here = tempfile::tempdir().unwrap();
    printed(here.path(), &[&SMALL[..], &["--out", "run"]].concat());
    let text = fs::read_to_string(here.path().join("run/plan.toml")).unwrap();
    let plan = Plan::from_toml(&text, "plan.toml".as_ref()).unwrap();
    let source: Source = plan.data.parse().unwrap();
    let dataset = source.load(plan.seed, &Reading::default(), &()).unwrap();
    let place = here.path().join("library");
    let mut directory = search_run::create_at(&plan, Some(&dataset), &place).unwrap();
    let ended = session::run(&plan, dataset, &Control::default(), &mut directory).unwrap();
    assert!(matches!(ended, Ended::Finished(_)));
    let (with, without) = (bytes(&here.path().join("run")), bytes(&place));
    assert!(with.keys().eq(without.keys()) && with.len() == 7, "{:?}", with.keys());
    assert!(with.iter().all(|(name, bytes)| without[name] == *bytes));
    assert!(!place.join("nasbench201.jsonl").exists());
}

#[test]
fn a_search_shows_what_the_table_has_of_each_epoch() {
    let here = tempfile::tempdir().unwrap();
    let loud = printed(here.path(), &[&SMALL[..13], &["--out", "run"]].concat());
    assert_eq!(loud.matches("    trained by the benchmark  CIFAR-10 ").count(), 2, "{loud}");
    let lines = fs::read_to_string(here.path().join("run/nasbench201.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["epoch"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    let last = &lines[1];
    let known = printed(here.path(), &["lookup", "run", "--json"]);
    let known: serde_json::Value = serde_json::from_str(&known).unwrap();
    assert_eq!(last["architecture"], known["architecture"]);
    for data in ["cifar10", "cifar100", "imagenet16-120"] {
        let test = &known["data"][data]["200_epochs"]["test"];
        assert_eq!((&last[data]["test_accuracy"], &last[data]["rank"]), (&test["accuracy"], &test["rank"]));
    }
    let page = fs::read_to_string(here.path().join("run/report.html")).unwrap();
    for words in
        ["Rank of the genotype among those of NAS-Bench-201", "have trained this cell for 200 epochs"]
    {
        assert!(page.contains(words), "no {words:?}");
    }
    refused(here.path(), &["lookup", "darts-v2"], 2, &["darts-v2", "no architecture of NAS-Bench-201"]);
}

/// Nothing is trained: the table knows what each contender found.
#[test]
fn contenders_are_compared_by_the_table() {
    let here = tempfile::tempdir().unwrap();
    let text = "seeds = [0, 1]\n[search]\nspace = \"nas-bench-201\"\nepochs = 1\ncells = 3\ninit_channels = 2\n\
        train_images = 64\nbatch_size = 16\n[contenders.darts]\n[contenders.random]\nkind = \"random\"\n\
        [contenders.evolution]\nkind = \"regularised-evolution\"\nqueries = 30\n";
    fs::write(here.path().join("study.toml"), text).unwrap();
    let json = printed(here.path(), &["compare", "study.toml", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let lines = json["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["contender"], "evolution");
    assert!(
        lines.iter().all(|line| line["setting"] == "table, CIFAR-10" && line["test_accuracy"]["count"] == 2)
    );
    assert!(json["verdict"].as_str().unwrap().contains("evolution"), "{json}");
    let page = fs::read_to_string(here.path().join("runs/study/report.html")).unwrap();
    assert!(page.contains("Test accuracy in percent, as the table has it"));
}
