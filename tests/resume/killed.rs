//! kill -9 at any moment, also while a checkpoint is being written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use darts::random::{Stream, generator};
use rand::RngExt;

use crate::command::printed;
use crate::held::wait_until;
use crate::runs::{Kind, checkpoints, start};

/// Kills for each command, half of them at a random moment; at least half of them come in a write.
const KILLS: usize = 8;

/// Whether a file is being written.
fn writing(run: &Path) -> bool {
    ["checkpoints", "alphas", "."].iter().any(|directory| {
        let entries = fs::read_dir(run.join(directory)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".writing-"))
    })
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_bytes() {
    let mut random = generator(11, Stream::Test, 0);
    for kind in Kind::BOTH {
        let (mut torn, mut kills) = (0, 0);
        while torn < KILLS / 2 || kills < KILLS {
            let scratch = tempfile::tempdir().unwrap();
            let (here, run) = (scratch.path(), scratch.path().join("run"));
            let often = "--checkpoint-minutes=1e-9";
            let mut arguments = [&kind.begin()[..], &["--out=run", often]].concat();
            let mut finished = false;
            while !finished && (torn < KILLS / 2 || kills < KILLS) {
                let mut child = start(here, &arguments);
                wait_until(&mut child, || run.join("plan.toml").exists());
                if kills % 2 == 0 {
                    std::thread::sleep(Duration::from_millis(random.random_range(0..500)));
                } else {
                    // Some steps on: kills that undo all that was done would not end.
                    let before = checkpoints(&run);
                    wait_until(&mut child, || checkpoints(&run) != before);
                    wait_until(&mut child, || writing(&run));
                }
                finished = child.try_wait().unwrap().is_some();
                child.kill().unwrap();
                child.wait().unwrap();
                kills += usize::from(!finished);
                // How often a kill comes in a write is chance, that one does now and then is not.
                torn += usize::from(writing(&run));
                assert!(kills < 1000, "{torn} of {kills} kills came in a write");
                // The third is there between a write and the removal of the oldest.
                assert!(checkpoints(&run).len() <= 3);
                // The number of threads may change on the way.
                let threads = ["--threads=1", "--threads=2"][kills % 2];
                arguments = vec![kind.name(), "--resume=run", "--quiet", often, threads];
            }
            if !finished {
                printed(here, &arguments);
            }
            kind.check(&run, &format!("{kind:?} after {kills} kills"));
            assert!(checkpoints(&run).len() == 2 && !writing(&run));
        }
        println!("{kind:?}: {torn} of {kills} kills came in a write");
    }
}

/// What a kill can leave between two writes: files of an epoch whose checkpoint is missing, and half a line.
#[test]
fn what_is_beyond_the_checkpoint_is_dropped_and_comes_again() {
    for kind in Kind::BOTH {
        let scratch = crate::runs::finished(kind);
        let (here, run) = (scratch.path(), scratch.path().join("run"));
        fs::remove_file(checkpoints(&run).pop().unwrap()).unwrap();
        for file in ["metrics.jsonl", "timings.jsonl"] {
            let text = fs::read_to_string(run.join(file)).unwrap();
            fs::write(run.join(file), format!("{text}{{\"epoch\":4,\"tr")).unwrap();
        }
        fs::write(run.join(".writing-abc"), "half a file").unwrap();
        fs::write(run.join("checkpoints/.writing-abc"), "half a file").unwrap();
        printed(here, &[kind.name(), "--resume=run", "--quiet"]);
        kind.check(&run, "behind the second epoch");
        let timings = fs::read_to_string(run.join("timings.jsonl")).unwrap();
        assert_eq!(timings.lines().count(), Kind::EPOCHS);

        // Ended between the first line of the metrics and the first checkpoint.
        checkpoints(&run).iter().for_each(|path| fs::remove_file(path).unwrap());
        let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        fs::write(run.join("metrics.jsonl"), format!("{}\n", metrics.lines().next().unwrap())).unwrap();
        printed(here, &[kind.name(), "--resume=run", "--quiet", "--threads=1"]);
        kind.check(&run, "from the start");
    }
}
