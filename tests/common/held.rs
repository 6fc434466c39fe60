//! A run that waits at a known place.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::command;

/// Sends a signal such as `-INT`.
pub fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until something is so, or the process has ended; whether it is so.
pub fn wait_until(child: &mut Child, mut so: impl FnMut() -> bool) -> bool {
    loop {
        if so() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return so();
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A run that cannot get past the line of its first epoch, for nobody reads it, until it is let go.
pub struct Held {
    pub child: Child,
    unread: UnixStream,
}

impl Held {
    /// Starts the binary with `--json`, its standard output a stream that is full.
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        let (unread, mut full) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.write(b"\n").is_ok() {}
        full.set_nonblocking(false).unwrap();
        let mut command = command(directory, &[arguments, &["--json"]].concat());
        let child = command.stdout(OwnedFd::from(full)).stderr(Stdio::piped()).spawn().unwrap();
        Held { child, unread }
    }

    /// Waits until the first epoch is stored, which comes before its line.
    pub fn wait_for_epoch(&mut self, run: &Path) {
        let stored = || fs::read(run.join("metrics.jsonl")).is_ok_and(|bytes| !bytes.is_empty());
        assert!(wait_until(&mut self.child, stored), "{:?}", self.child.try_wait());
    }

    /// Lets the run go on; gives its exit code and what it said on the standard error.
    pub fn let_go(mut self) -> (Option<i32>, String) {
        std::io::copy(&mut self.unread, &mut std::io::sink()).unwrap();
        let mut message = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        (self.child.wait().unwrap().code(), message)
    }
}
