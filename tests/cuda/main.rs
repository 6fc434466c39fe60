//! The CUDA backend against the reference, in the cases of the CPU backend's parity tests.
//!
//! They run where a CUDA driver can be loaded: on a GPU, or under an emulator of the driver. Where there is no driver but
//! an emulator (`DARTS_CUDA_EMULATOR`, or `cuda-emulator` in a folder beside the repository), one test runs all others
//! under it, with guarded memory and with threads in both orders.

mod active;
mod augment;
#[path = "../common/mod.rs"]
mod common;
#[path = "../parity/convolutions.rs"]
mod convolutions;
#[path = "../common/driver.rs"]
mod driver;
#[path = "../parity/dropout.rs"]
mod dropout;
#[path = "../common/emulated.rs"]
mod emulated;
mod emulator;
mod failure;
#[path = "../parity/gates.rs"]
mod gates;
mod launches;
mod loss_scale;
#[path = "../spaces/networks.rs"]
mod networks;
#[path = "../parity/norms.rs"]
mod norms;
#[path = "../parity/partial.rs"]
mod partial;
#[path = "../parity/pools.rs"]
mod pools;
#[path = "../parity/separable.rs"]
mod separable;
mod spaces;
#[path = "../active/supernets.rs"]
mod supernets;
#[path = "../parity/vectors.rs"]
mod vectors;
mod waiting;

use std::fmt;

use common::{Call, Case};
use darts::backend::cuda::{self, Cuda};
use darts::backend::gpu::Precision;

/// Fewer than for the CPU: an emulator is slow.
const CASES: u64 = 8;

/// The GPU, for activations of this precision; none, with the reason printed, where there is none.
fn backend(precision: Precision) -> Option<Cuda> {
    driver::open(precision, "the tests of `emulator` run this")
}

/// Prints how often each kernel was launched, from which [`emulator`] learns whether there is one without a test.
fn tell_launches(precision: Precision, backend: &Cuda) {
    let counts: Vec<_> = cuda::launched(backend).map(|(name, count)| format!("{name}={count}")).collect();
    println!("launched {precision} {}", counts.join(" "));
}

/// FNV-1a of the bits of results.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, values: &[f32]) {
        for value in values {
            self.0 = (self.0 ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Compares the calls that `build` makes of random cases with the reference, in every storage type, and prints a digest
/// of the results, from which [`emulator`] learns whether two runs gave the same bytes.
fn check(seed: u64, build: impl Fn(&mut Case) -> Call) {
    check_cases(seed, CASES, build);
}

/// The same of so many cases.
fn check_cases(seed: u64, cases: u64, build: impl Fn(&mut Case) -> Call) {
    let mut digest = Digest::new();
    for precision in Precision::ALL {
        let Some(mut backend) = backend(precision) else { return };
        for index in 0..cases {
            let mut case = Case::new(seed, index);
            let call = build(&mut case);
            case.compare(&format!("case {index}"), &call, precision, std::slice::from_mut(&mut backend));
            let outcome = case.outcome(&mut backend, &call);
            digest.add(&outcome.activations);
            digest.add(&outcome.state);
        }
        tell_launches(precision, &backend);
    }
    println!("digest {seed} {digest}");
}

/// How large a sum over this many terms of about 1 is.
fn size(terms: usize) -> f64 {
    (terms as f64).sqrt()
}
