//! All tests of this binary once more, in processes of their own, under the emulated driver.

use std::process::Command;

use darts::backend::cuda;

#[path = "../common/emulator.rs"]
mod found;

/// Runs the other tests with these variables and gives the digests that they printed.
fn digests(library: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args(["--skip", "emulator::", "--nocapture", "--test-threads", "1"])
        .env("LD_LIBRARY_PATH", library)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "with {variables:?}: {}\n{printed}\n{said}", output.status);
    let mut lines: Vec<String> =
        printed.lines().filter_map(|line| Some(line[line.find("digest ")?..].to_owned())).collect();
    lines.sort();
    lines
}

#[test]
fn guarded_memory_and_reversed_threads_give_the_same_bytes() {
    if !cuda::BUILT {
        return println!("skipped: this build has no nvcc");
    }
    let library = match found::library() {
        Ok(library) => library,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let other = [("CUDA_EMU_ORDER", "rev"), ("DARTS_CUDA_FORCE_PTX", "1"), ("DARTS_CUDA_GRAPH", "0")];
    // Side by side: the emulator translates one module at a time, for each of the two anew.
    let (guarded, reversed) = std::thread::scope(|scope| {
        let guarded = scope.spawn(|| digests(&library, &[("CUDA_EMU_GUARD", "1")]));
        let reversed = digests(&library, &other);
        (guarded.join().unwrap(), reversed)
    });
    assert!(guarded.len() > 20, "only {} tests ran: {guarded:?}", guarded.len());
    assert_eq!(guarded, reversed);
}
