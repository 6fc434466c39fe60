//! Small runs, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use crate::command::{command, printed};

/// A small run of either command, without its directory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Search,
    Train,
}

impl Kind {
    pub const BOTH: [Kind; 2] = [Kind::Search, Kind::Train];
    pub const EPOCHS: usize = 3;

    /// The arguments that begin it.
    pub fn begin(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Kind::Search => &["search", "--nodes=2", "--init-channels=2", "--batch-size=64"],
            Kind::Train => &["train", "pc-darts", "--cells=3", "--init-channels=4", "--drop-path=0.3"],
        };
        [own, &["--epochs=3", "--seed=4", "--device=cpu"]].concat()
    }

    pub fn name(self) -> &'static str {
        self.begin()[0]
    }

    /// What it leaves where nothing interrupts it.
    pub fn expected(self) -> &'static BTreeMap<PathBuf, Vec<u8>> {
        static EXPECTED: [OnceLock<BTreeMap<PathBuf, Vec<u8>>>; 2] = [const { OnceLock::new() }; 2];
        EXPECTED[self as usize].get_or_init(|| {
            let scratch = tempfile::tempdir().unwrap();
            printed(scratch.path(), &[&self.begin()[..], &["--quiet", "--out=run"]].concat());
            left(&scratch.path().join("run"))
        })
    }

    /// Whether a run directory holds what it should.
    pub fn check(self, run: &Path, what: &str) {
        let (expected, found) = (self.expected(), left(run));
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(expected), "{what}");
        for (name, bytes) in expected {
            assert!(found[name] == *bytes, "{what}: {} differs", name.display());
        }
    }
}

/// The files of a finished run that are the same at every repetition: all but the timings, what is drawn from them, and
/// the checkpoint before the last, whose place depends on the time.
pub fn left(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for directory in [run.to_owned(), run.join("alphas"), run.join("checkpoints")] {
        let entries = fs::read_dir(&directory).into_iter().flatten().map(|entry| entry.unwrap().path());
        for path in entries.filter(|path| path.is_file()) {
            files.insert(path.strip_prefix(run).unwrap().to_owned(), fs::read(&path).unwrap());
        }
    }
    let mut earlier = checkpoints(run);
    earlier.pop();
    files.retain(|name, _| {
        let text = name.to_str().unwrap();
        text != "timings.jsonl"
            && !text.starts_with("report.")
            && !text.starts_with("cell_")
            && !earlier.iter().any(|path| path.ends_with(name))
    });
    files
}

/// The checkpoints of a run, ascending.
pub fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    paths.sort();
    paths
}

/// Starts the binary.
pub fn start(directory: &Path, arguments: &[&str]) -> Child {
    let mut command = command(directory, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A finished run in `scratch/run`.
pub fn finished(kind: Kind) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    printed(scratch.path(), &[&kind.begin()[..], &["--quiet", "--out=run"]].concat());
    scratch
}

/// Runs a command line as a shell does, with the binary in the path.
pub fn shell(directory: &Path, line: &str) -> std::process::Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_darts")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", line]).env("PATH", path).current_dir(directory).output().unwrap()
}

/// The command line that a message offers.
pub fn offered(message: &str) -> String {
    message.split('`').nth(1).unwrap_or_else(|| panic!("no command in {message}")).to_owned()
}
