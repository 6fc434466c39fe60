//! The GPU for tests that want a CUDA driver from the start.

use std::sync::LazyLock;

use darts::backend::cuda::{self, Cuda};
use darts::backend::gpu::Precision;

#[path = "emulator.rs"]
pub mod emulator;
#[path = "skip.rs"]
pub mod skip;

/// Whether these tests are run elsewhere: there is no driver here, but an emulator that this process was not started with.
static ELSEWHERE: LazyLock<bool> = LazyLock::new(|| {
    let folders = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let other = |library: String| !folders.split(':').any(|folder| folder == library);
    cuda::BUILT && cuda::devices().is_err() && emulator::library().is_ok_and(other)
});

/// The GPU, for activations of this precision; else the reason is printed, which fails where the tests must run and
/// `elsewhere`, of which that says when, they do not.
pub fn open(precision: Precision, elsewhere: &str) -> Option<Cuda> {
    match cuda::open(precision) {
        Ok(cuda) => return Some(cuda),
        Err(reason) if *ELSEWHERE => println!("skipped: {reason}; {elsewhere}"),
        Err(reason) => skip::skip(reason),
    }
    None
}
