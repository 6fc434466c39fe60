//! The kernels of the supernet at its three resolutions, batch 64, forward and backward: on the CPU, and on a GPU where
//! there is one. A benchmark goes by device/kernel/shape, so `cargo bench --bench kernels -- cuda/pool` filters.
//!
//! Throughput counts the activations that a call must read and write, each once; of dense convolutions, classifiers and
//! flat vectors the state as well. After each benchmark its median is set beside that of a copy on the same device that
//! moves as many bytes, so that it is a share of what the memory can do. Work is queued and waited for once, at the end of
//! a sample. A kernel that writes where it reads may pass the copy on a CPU, whose caches first read what a copy
//! overwrites; and so may one whose vectors fit the cache.
//!
//! `DARTS_BENCH_BATCH` sets the batch, `DARTS_BENCH_THREADS` the threads of the CPU, `DARTS_BENCH_INSTRUCTIONS` its
//! vectors among `portable`, `avx2` and `avx512`, `DARTS_BENCH_PRECISION` what the GPU stores activations as among `f32`,
//! `bf16` and `f16`.

mod convolutions;
mod images;
mod layout;
mod loss;
mod nodes;
mod norms;
mod pools;
mod timer;
mod vectors;

use criterion::{Criterion, criterion_group, criterion_main};
use darts::backend::cpu::{Cpu, Instructions};
use darts::backend::cuda;
use darts::backend::gpu::Precision;

use timer::{Device, Timer};

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, default: usize) -> usize {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{name} is {text}; expected a number"));
    setting(name).map_or(default, parse)
}

/// Every method of the catalogue that computes, on one device.
fn all<B: Device>(mut timer: Timer<B>) {
    let device = &mut timer;
    convolutions::separables(device);
    convolutions::pointwises(device);
    convolutions::dense(device);
    pools::normalised_pools(device);
    pools::pools(device);
    pools::global_pools(device);
    nodes::mixes(device);
    nodes::node_sums(device);
    nodes::partial(device);
    nodes::dropouts(device);
    norms::reductions(device);
    norms::coefficients(device);
    loss::linears(device);
    loss::losses(device);
    vectors::sums(device);
    vectors::descents(device);
    images::augmentation(device);
    timer.finish();
}

fn processor(criterion: &mut Criterion) {
    let set = match setting("DARTS_BENCH_INSTRUCTIONS").as_deref() {
        None => Instructions::detect(),
        Some("portable") => Instructions::Portable,
        Some("avx2") => Instructions::Avx2,
        Some("avx512") => Instructions::Avx512,
        Some(other) => {
            panic!("DARTS_BENCH_INSTRUCTIONS is {other}; expected portable, avx2 or avx512")
        }
    };
    let cpu = Cpu::with_instructions(number("DARTS_BENCH_THREADS", 0), set).expect("a CPU backend");
    let threads = Some(cpu.threads());
    all(Timer::new(criterion, "cpu", cpu, threads));
}

fn graphics(criterion: &mut Criterion) {
    let (name, precision) = match setting("DARTS_BENCH_PRECISION").as_deref() {
        None | Some("f32") => ("cuda", Precision::F32),
        Some("bf16") => ("cuda_bf16", Precision::Bf16),
        Some("f16") => ("cuda_f16", Precision::F16),
        Some(other) => panic!("DARTS_BENCH_PRECISION is {other}; expected f32, bf16 or f16"),
    };
    match cuda::open(precision) {
        Ok(cuda) => all(Timer::new(criterion, name, cuda, None)),
        Err(reason) => println!("skipped the GPU: {reason}"),
    }
}

criterion_group!(kernels, processor, graphics);
criterion_main!(kernels);
