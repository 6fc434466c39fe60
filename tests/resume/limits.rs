//! Runs whose time is over.

use std::fs;

use crate::command::{darts, printed, refused, text};
use crate::runs::{Kind, checkpoints, finished, offered, shell};

#[test]
fn a_run_whose_time_is_over_leaves_what_it_has_and_goes_on_to_the_same_bytes() {
    for kind in Kind::BOTH {
        let scratch = tempfile::tempdir().unwrap();
        let (here, run) = (scratch.path(), scratch.path().join("run"));
        let over = "the time of --max-minutes is over before the first step; `darts";
        let told = refused(
            here,
            &[&kind.begin()[..], &["--out=run", "--max-minutes=0"]].concat(),
            124,
            &[over, &format!("{} --resume run` goes on", kind.name())],
        );
        assert!(told.ends_with("look at run/report.html.\n"), "{told}");
        let page = fs::read_to_string(run.join("report.html")).unwrap();
        assert!(page.contains("Its newest checkpoint was stored before the first step."));
        // Its time may be over once more, and what it has is told to programs.
        let told = refused(here, &[kind.name(), "--resume=run", "--max-minutes=0", "--json"], 124, &[over]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["position"], serde_json::json!({ "epochs": 0, "steps": 0 }));
        let genotype = fs::read_to_string(run.join("genotype.json")).unwrap();
        assert_eq!(told["genotype"].is_null(), kind == Kind::Train);
        assert!(
            kind == Kind::Train
                || told["genotype"] == serde_json::from_str::<serde_json::Value>(&genotype).unwrap()
        );
        let message = text(&darts(here, &[kind.name(), "--resume=run", "--max-minutes=0"]).stderr);
        let output = shell(here, &offered(&message));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        kind.check(&run, "whose time was over at its start");
    }
}

#[test]
fn a_later_time_limit_leaves_what_the_last_epoch_gave() {
    for kind in Kind::BOTH {
        let scratch = finished(kind);
        let (here, run) = (scratch.path(), scratch.path().join("run"));
        fs::remove_file(checkpoints(&run).pop().unwrap()).unwrap();
        let words = ["the time of --max-minutes is over after epoch 2; "];
        let quiet = [kind.name(), "--resume=run", "--max-minutes=0", "--quiet"];
        let told = refused(here, &quiet, 124, &words);
        if kind == Kind::Search {
            assert_eq!(told, printed(here, &["derive", "run", "--epoch=2"]));
            assert_eq!(told, fs::read_to_string(run.join("genotype.txt")).unwrap());
        }
        let page = fs::read_to_string(run.join("report.html")).unwrap();
        assert!(page.contains("Its newest checkpoint was stored after epoch 2.") && page.contains("2 of 3"));
        // A limit that is not met changes nothing.
        printed(here, &[kind.name(), "--resume=run", "--max-minutes=1e6", "--quiet"]);
        kind.check(&run, "whose time was over after its second epoch");
        assert!(!fs::read_to_string(run.join("report.html")).unwrap().contains("newest checkpoint"));
    }
}
