//! All tests of this binary once more, in processes of their own, under the emulated driver.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use darts::backend::cuda;

use crate::driver::emulator::library;
use crate::driver::skip::skip;
use crate::emulated::under;

/// Tests that print a digest: all that compare with the reference, and that of a recorded graph. One that is new, or gone,
/// is counted here.
const DIGESTS: usize = 69;

/// Runs the other tests with these variables and gives what they printed.
fn printed(library: &str, variables: &[(&str, &str)]) -> String {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command
        .args(["--skip", "emulator::", "--nocapture", "--test-threads", "1"])
        .envs(variables.iter().copied());
    let output = under(&mut command, library).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "with {variables:?}: {}\n{printed}\n{said}", output.status);
    printed
}

/// What follows a word in the lines that hold it, each of which may begin with the name of a test.
fn after<'a>(printed: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    printed.lines().filter_map(move |line| Some(&line[line.find(word)? + word.len()..]))
}

/// The digests of tests, by what names them.
fn digests(printed: &str) -> BTreeMap<&str, &str> {
    let mut digests = BTreeMap::new();
    for line in after(printed, "digest ") {
        let (test, digest) = line.split_once(' ').unwrap();
        assert_eq!(digests.insert(test, digest), None, "two tests are named {test}");
    }
    digests
}

/// The kernels that no test launched, each with the storage type.
fn unlaunched(printed: &str) -> BTreeSet<(&str, &str)> {
    let (mut all, mut launched) = (BTreeSet::new(), BTreeSet::new());
    for line in after(printed, "launched ") {
        let (precision, counts) = line.split_once(' ').unwrap();
        for (name, count) in counts.split(' ').filter_map(|entry| entry.split_once('=')) {
            all.insert((precision, name));
            if count != "0" {
                launched.insert((precision, name));
            }
        }
    }
    let precisions: BTreeSet<_> = all.iter().map(|(precision, _)| *precision).collect();
    assert_eq!(precisions, BTreeSet::from(["bf16", "f16", "f32"]));
    &all - &launched
}

#[test]
fn guarded_memory_and_reversed_threads_give_the_same_bytes() {
    if !cuda::BUILT {
        return skip("this build has no nvcc");
    }
    let library = match library() {
        Ok(library) => library,
        Err(reason) => return skip(reason),
    };
    let other = [("CUDA_EMU_ORDER", "rev"), ("DARTS_CUDA_FORCE_PTX", "1"), ("DARTS_CUDA_GRAPH", "0")];
    // Side by side: the emulator translates one module at a time, for each of the two anew.
    let (guarded, reversed) = std::thread::scope(|scope| {
        let guarded = scope.spawn(|| printed(&library, &[("CUDA_EMU_GUARD", "1")]));
        let reversed = printed(&library, &other);
        (guarded.join().unwrap(), reversed)
    });
    assert_eq!(unlaunched(&guarded), BTreeSet::new(), "kernels that no test launches");
    let (guarded, reversed) = (digests(&guarded), digests(&reversed));
    assert_eq!(guarded.len(), DIGESTS, "{guarded:?}");
    assert_eq!(guarded, reversed);
}

#[test]
fn what_tests_print_is_read() {
    let said = "test a ... digest 1 ff\nok\nlaunched f32 one=0 two=3\nlaunched f32 one=2 two=0\n\
                launched bf16 one=1 two=1\ntest b ... launched f16 one=1 two=0\ndigest graph 0a\n";
    assert_eq!(digests(said), BTreeMap::from([("1", "ff"), ("graph", "0a")]));
    assert_eq!(unlaunched(said), BTreeSet::from([("f16", "two")]));
}
