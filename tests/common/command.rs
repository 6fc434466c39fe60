//! The binary, run as a user runs it.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output};

/// The binary, to be run in a directory, with no settings of the terminal that the tests run in.
pub fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_darts"));
    command.args(arguments).current_dir(directory);
    ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LC_ALL", "LC_CTYPE", "LANG"].iter().for_each(|name| {
        command.env_remove(name);
    });
    command
}

/// Runs the binary in a directory.
pub fn darts(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

/// What a stream holds, which is text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs the binary, which must fail with this code and one line that holds all these words; gives what it printed.
pub fn refused(directory: &Path, arguments: &[&str], code: i32, words: &[&str]) -> String {
    let output = darts(directory, arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(message.starts_with("darts: ") && message.ends_with('\n'), "{message:?}");
    assert_eq!(message.lines().count(), 1, "{message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: no {word:?} in {message}");
    }
    text(&output.stdout)
}

/// Runs the binary, which must succeed with plain text; gives that text.
pub fn printed(directory: &Path, arguments: &[&str]) -> String {
    let output = darts(directory, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    let printed = text(&output.stdout);
    let plain = |letter: char| letter == '\n' || !letter.is_control();
    assert!(printed.chars().all(plain), "{arguments:?} printed control characters: {printed:?}");
    printed
}
