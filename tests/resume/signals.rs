//! Ctrl-C and SIGTERM.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::command::{printed, refused};
use crate::runs::{Kind, checkpoints, offered, shell, start, wait_until};

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// The exit code and what was said.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    (child.wait().unwrap().code(), message)
}

#[test]
fn a_signal_ends_a_run_after_its_step_and_the_command_that_is_told_goes_on() {
    let moments = [("-INT", 130, false), ("-TERM", 143, true), ("-INT", 130, true)];
    for (kind, (name, code, later)) in Kind::BOTH.into_iter().flat_map(|kind| moments.map(|m| (kind, m))) {
        let scratch = tempfile::tempdir().unwrap();
        let (here, run) = (scratch.path(), scratch.path().join("a run's place"));
        let mut child = start(here, &[&kind.begin()[..], &["--out=a run's place", "--json"]].concat());
        // Before the first epoch ends, or behind it.
        let stored = || if later { !checkpoints(&run).is_empty() } else { run.join("plan.toml").exists() };
        assert!(wait_until(&mut child, stored));
        std::thread::sleep(Duration::from_millis(60));
        signal(&child, name);
        let (ended, message) = end(child);
        assert_eq!(ended, Some(code), "{kind:?}, {name}: {message}");
        assert!(message.starts_with("darts: interrupted ") && message.lines().count() == 1, "{message}");
        assert!(!checkpoints(&run).is_empty());
        let output = shell(here, &offered(&message));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("goes on "), "{told}");
        kind.check(&run, &format!("{kind:?}, {name}"));
    }
}

/// A search whose steps take seconds.
fn slow(here: &Path) -> Child {
    let size = ["search", "--batch-size=719", "--order=second", "--device=cpu", "--threads=1", "--out=run"];
    let mut child = start(here, &size);
    assert!(wait_until(&mut child, || here.join("run/plan.toml").exists()));
    std::thread::sleep(Duration::from_millis(400));
    child
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let child = slow(scratch.path());
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    signal(&child, "-INT");
    let (ended, message) = end(child);
    assert_eq!((ended, message.as_str()), (Some(130), ""));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_second_process_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = slow(scratch.path());
    let words = ["run: another process is writing this run"];
    refused(scratch.path(), &["search", "--resume=run"], 1, &words);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checkpoints(&scratch.path().join("run")).is_empty());
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
