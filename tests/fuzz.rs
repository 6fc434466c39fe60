//! The inputs that the fuzzer kept (`fuzz/`), each once through its parser: none may crash it.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// Feeds a target with its inputs.
fn replay(target: &str, feed: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs =
        std::fs::read_dir(&directory).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let count = inputs.inspect(|bytes| feed(bytes)).count();
    assert!(count > 0, "no inputs in {}", directory.display());
    println!("{target}: {count} inputs");
}

#[test]
fn idx() {
    replay("idx", targets::idx);
}

#[test]
fn cifar() {
    replay("cifar", targets::cifar);
}

#[test]
fn plan() {
    replay("plan", targets::plan);
}

#[test]
fn genotype() {
    replay("genotype", targets::genotype);
}

#[test]
fn architecture() {
    replay("architecture", targets::architecture);
}

#[test]
fn space() {
    replay("space", targets::space);
}

#[test]
fn alphas() {
    replay("alphas", targets::alphas);
}

#[test]
fn model() {
    replay("model", targets::model);
}

#[test]
fn checkpoint() {
    replay("checkpoint", targets::checkpoint);
}
