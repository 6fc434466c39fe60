//! What a person reads in a narrow terminal.

#[path = "common/command.rs"]
mod command;
#[path = "common/digits.rs"]
mod digits;

use std::fs;
use std::path::Path;
use std::process::Command;

use command::{printed, text};

/// Runs a command line in a terminal of so many columns, with what `script` (util-linux) gives; the lines on it. The
/// standard error is elsewhere where `quiet` says so, and with it the progress bar.
fn lines(here: &Path, columns: usize, arguments: &str, quiet: bool) -> Vec<String> {
    let elsewhere = if quiet { "2>/dev/null" } else { "" };
    let inner =
        format!("stty rows 24 cols {columns}; {} {arguments} {elsewhere}", env!("CARGO_BIN_EXE_darts"));
    let mut script = Command::new("script");
    let output = script.args(["-qc", &inner, "/dev/null"]).env("NO_COLOR", "1").current_dir(here).output();
    let told = text(&output.unwrap().stdout).replace("\r\n", "\n");
    told.lines().map(str::to_owned).collect()
}

fn has_script() -> bool {
    Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A line is no wider than the terminal, or is one that stays whole: a drawing, a genotype, a command, or one long word.
fn check(line: &str, columns: usize) {
    let is_whole = line.contains(['│', '─', '`'])
        || ["Genotype(", "{", "  darts "].iter().any(|start| line.starts_with(start))
        || !line.trim().contains(' ');
    assert!(is_whole || line.chars().count() <= columns, "{} columns: {line:?}", line.chars().count());
}

#[test]
fn no_line_is_wider_than_a_narrow_terminal() {
    if !has_script() {
        return println!("skipped: there is no script(1), which makes a terminal");
    }
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    for (index, digit) in digits::digits().take(200).enumerate() {
        let part = if index % 4 == 3 { "test" } else { "train" };
        let place = here.join(format!("pictures/{part}/the digit {}", digit.0));
        fs::create_dir_all(&place).unwrap();
        digits::picture(digit).save(place.join(format!("{index}.png"))).unwrap();
    }
    let size = "--image-size 8 --init-channels 2 --batch-size 16 --epochs 2 --device cpu";
    for columns in [40, 60] {
        let run = format!("search-{columns}");
        let search = format!("search --data folder:pictures --nodes 2 --out {run} {size}");
        let train = format!("train {run} --out model-{columns} {size}");
        let evaluate = format!("evaluate model-{columns}");
        for arguments in [&search[..], &train, "show darts-v2", "methods", "devices"] {
            let lines = lines(here, columns, arguments, true);
            assert!(lines.len() > 1, "{arguments}: {lines:?}");
            lines.iter().for_each(|line| check(line, columns));
        }
        let head = lines(here, columns, &evaluate, true);
        head.iter().take_while(|line| !line.is_empty()).for_each(|line| check(line, columns));
        let sentence = lines(here, columns, "train random:0 --data folder:absent --fit pad", false);
        assert!(sentence.len() > 1 && sentence[0].starts_with("darts: "), "{sentence:?}");
        sentence.iter().for_each(|line| check(line, columns));
    }
    // Elsewhere lines are as long as they are.
    let told = printed(here, &["show", "darts-v2"]);
    assert!(told.lines().any(|line| line.chars().count() > 60 && !line.contains('─')), "{told}");
}
