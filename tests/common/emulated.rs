//! Programs that run with an emulated driver.

use std::process::Command;

/// The command, run with the driver in `library`. g++ 12 keeps 16-bit numbers in 32 bits between two operations where the
/// processor computes in 16 bits itself (AVX-512 FP16), so roundings that a GPU makes would be lost.
pub fn under<'a>(command: &'a mut Command, library: &str) -> &'a mut Command {
    command.env("LD_LIBRARY_PATH", library).env("CUDA_EMU_CXX", "g++ -mno-avx512fp16")
}
