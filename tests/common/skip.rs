//! What a test does where it cannot run.

/// Prints why a test of the CUDA kernels does nothing; where `DARTS_REQUIRE_CUDA=1`, that is a failure.
pub fn skip(reason: impl std::fmt::Display) {
    let required = std::env::var_os("DARTS_REQUIRE_CUDA").is_some_and(|value| value == "1");
    assert!(!required, "DARTS_REQUIRE_CUDA=1, but {reason}");
    println!("skipped: {reason}");
}
