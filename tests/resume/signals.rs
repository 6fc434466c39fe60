//! Ctrl-C, SIGTERM and SIGHUP.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{darts, printed, refused, text};
use crate::held::{Held, signal, wait_until};
use crate::runs::{Kind, checkpoints, offered, shell};

#[test]
fn a_signal_ends_a_run_after_its_step_and_the_command_that_is_told_goes_on() {
    let mut moments =
        vec![("-INT", 130, false), ("-TERM", 143, true), ("-INT", 130, true), ("-HUP", 129, false)];
    if ignores_hang_ups() {
        println!("SIGHUP is not tested: what started the tests has it ignored, as nohup does");
        moments.pop();
    }
    for (kind, (name, code, later)) in
        Kind::BOTH.into_iter().flat_map(|kind| moments.iter().map(move |&moment| (kind, moment)))
    {
        let scratch = tempfile::tempdir().unwrap();
        let (here, run) = (scratch.path(), scratch.path().join("a run's place"));
        let often = "--checkpoint-minutes=1e-9";
        let arguments =
            [&kind.begin()[..], &["--out=a run's place", often][..2 - usize::from(later)]].concat();
        let mut held = Held::start(here, &arguments);
        if later {
            held.wait_for_epoch(&run);
        } else {
            // After a step of the first epoch.
            assert!(wait_until(&mut held.child, || !checkpoints(&run).is_empty()));
        }
        signal(&held.child, name);
        let (ended, message) = held.let_go();
        assert_eq!(ended, Some(code), "{kind:?}, {name}: {message}");
        assert!(message.starts_with("darts: interrupted ") && message.lines().count() == 1, "{message}");
        assert!(!checkpoints(&run).is_empty());
        check_report(kind, &run, &message);
        let output = shell(here, &offered(&message));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("goes on "), "{told}");
        kind.check(&run, &format!("{kind:?}, {name}"));
    }
}

/// A run that was interrupted has a report of where it stands, and a search a genotype, also in its first epoch.
fn check_report(kind: Kind, run: &Path, message: &str) {
    let stands = message.strip_prefix("darts: interrupted ").unwrap().split(';').next().unwrap();
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(&format!("Its newest checkpoint was stored {stands}.")), "{stands}");
    let resume = format!("darts {} --resume &#39;", kind.name());
    assert!(page.contains(&resume) || page.contains(&resume.replace("&#39;", "'")), "{resume}");
    if kind == Kind::Search {
        let derived = darts(run, &["derive", "."]);
        let genotype = fs::read_to_string(run.join("genotype.txt")).unwrap();
        assert_eq!((derived.status.code(), text(&derived.stdout)), (Some(0), genotype));
        let first = stands == "before the first step" || stands.ends_with(" of epoch 1");
        let said = format!("darts: no epoch of this search is finished; its alphas are those {stands}\n");
        assert_eq!(text(&derived.stderr), if first { said } else { String::new() });
    }
}

/// Whether a run that is started here ignores SIGHUP.
fn ignores_hang_ups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1)
}

#[test]
fn nohup_keeps_its_meaning() {
    let scratch = tempfile::tempdir().unwrap();
    let plan = Kind::Search.begin().join(" ");
    let script = format!(
        "trap '' HUP; {} {plan} --out=run & sleep 0.2; kill -HUP $!; wait $!",
        env!("CARGO_BIN_EXE_darts")
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(scratch.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    let mut held = Held::start(scratch.path(), &[&Kind::Search.begin()[..], &["--out=run"]].concat());
    held.wait_for_epoch(&run);
    // The run itself cannot go on to see the first. Two that come together count as one.
    while held.child.try_wait().unwrap().is_none() {
        signal(&held.child, "-INT");
    }
    assert_eq!(held.let_go(), (Some(130), String::new()));
    assert!(checkpoints(&run).is_empty());
}

#[test]
fn a_second_process_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    let mut held = Held::start(scratch.path(), &[&Kind::Search.begin()[..], &["--out=run"]].concat());
    held.wait_for_epoch(&run);
    let words = ["run: another process is writing this run"];
    refused(scratch.path(), &["search", "--resume=run"], 1, &words);
    held.child.kill().unwrap();
    held.child.wait().unwrap();
    assert!(checkpoints(&run).is_empty());
    // The lock went with its process; the data are the next thing that is looked at.
    refused(scratch.path(), &["search", "--resume=run", "--strict"], 2, &["--strict", "digits"]);
}

#[test]
fn a_finished_run_is_complete() {
    for kind in Kind::BOTH {
        let scratch = crate::runs::finished(kind);
        let told = printed(scratch.path(), &[kind.name(), "--resume=run"]);
        assert!(told.starts_with("The run in run is complete: all 3 epochs are done.\n"), "{told}");
        assert!(told.contains("The run is stored in run"), "{told}");
        kind.check(&scratch.path().join("run"), "a run that was complete");
    }
}
