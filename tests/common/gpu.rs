//! What runs of the program on a GPU, or under an emulator of its driver, have in common.

use std::path::Path;

use darts::backend::cuda;
use darts::random::{Stream, generator};
use rand::RngExt;

#[path = "emulated.rs"]
mod emulated;
#[path = "emulator.rs"]
mod emulator;
#[path = "skip.rs"]
mod skip;

pub use emulated::under;
pub use skip::skip;

/// Where the driver lies that a program on the GPU shall load; empty for the system's own. And whether it is the emulator's.
pub fn driver() -> Result<(String, bool), String> {
    if !cuda::BUILT {
        return Err("this build has no nvcc".into());
    }
    if let Ok(gpu) = cuda::first() {
        return Ok((std::env::var("LD_LIBRARY_PATH").unwrap_or_default(), gpu.name.contains("emulator")));
    }
    emulator::library().map(|library| (library, true))
}

/// Writes a data set in the format of CIFAR-10: few images, so that the search is short under an emulator, and such that
/// are cropped and mirrored on their way. Each class has a colour.
pub fn write_images(directory: &Path) {
    let mut random = generator(5, Stream::Test, 0);
    let mut records = |count: u8| -> Vec<u8> {
        let record = |label: u8, random: &mut _| {
            let pixels = (0..3 * 1024).map(|i| colour(label, i / 1024, random));
            std::iter::once(label).chain(pixels).collect::<Vec<_>>()
        };
        (0..count).flat_map(|index| record(index % 10, &mut random)).collect()
    };
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        std::fs::write(directory.join(name), records(14)).unwrap();
    }
}

fn colour(label: u8, channel: usize, random: &mut impl RngExt) -> u8 {
    (usize::from(label) * (29 + 17 * channel) % 200) as u8 + random.random_range(0..50)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
