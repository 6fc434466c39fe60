//! Times kernels, each beside a copy of as many bytes.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use darts::backend::*;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::layout::Layout;
use crate::number;

/// Samples of a benchmark.
const SAMPLES: usize = 20;
/// Bytes that a sample of copies moves, unless they are too many copies or too few.
const COPIED: usize = 16 << 20;

/// What kernels are timed on.
pub trait Device: Backend<Scalar = f32> + Send {}

impl<B: Backend<Scalar = f32> + Send> Device for B {}

/// A device whose kernels are timed.
pub struct Timer<'a, B> {
    group: BenchmarkGroup<'a, WallTime>,
    pub backend: B,
    /// How many threads of the CPU compute, and copy.
    threads: Option<usize>,
    pub batch: usize,
    /// Whether times are asked for: criterion's test mode runs everything once.
    timed: bool,
}

impl<'a, B: Device> Timer<'a, B> {
    pub fn new(criterion: &'a mut Criterion, name: &str, backend: B, threads: Option<usize>) -> Self {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(SAMPLES)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2));
        let given = |flag: &str| std::env::args().any(|argument| argument == flag);
        let timed = given("--bench") && !given("--test");
        Timer { group, backend, threads, batch: number("DARTS_BENCH_BATCH", 64), timed }
    }

    /// The resolutions of the supernet of 16 channels.
    pub fn shapes(&self) -> [Shape; 3] {
        [(32, 16), (16, 32), (8, 64)].map(|(side, channels)| Shape::new(self.batch, side, side, channels))
    }

    /// Bytes of so many activations.
    pub fn activations(&self, count: usize) -> usize {
        count * self.backend.activation_bytes()
    }

    /// Times `call`, which must read and write so many bytes.
    pub fn time(
        &mut self,
        kernel: &str,
        shape: Shape,
        bytes: usize,
        layout: &Layout,
        call: impl Fn(&mut B) + Sync,
    ) {
        let batch = self.batch;
        self.time_prepared(kernel, shape, bytes, |backend| layout.fill(backend, batch), call);
    }

    /// Times `call` on a device that `prepare` has given memories.
    pub fn time_prepared(
        &mut self,
        kernel: &str,
        shape: Shape,
        bytes: usize,
        prepare: impl Fn(&mut B),
        call: impl Fn(&mut B) + Sync,
    ) {
        self.group.throughput(Throughput::Bytes(bytes as u64));
        let (device, ready) = (&mut self.backend, Cell::new(false));
        let samples = RefCell::new(Vec::new());
        self.group.bench_function(BenchmarkId::new(kernel, shape), |bencher| {
            // Only for a benchmark that runs.
            if !ready.replace(true) {
                prepare(device);
            }
            bencher.iter_custom(|iterations| {
                let elapsed = elapsed(device, iterations, &call);
                samples.borrow_mut().push(elapsed.as_secs_f64() / iterations as f64);
                elapsed
            });
        });
        let samples = samples.into_inner();
        // The last are those that criterion reports; before them it warms up.
        if let Some(first) = samples.len().checked_sub(SAMPLES).filter(|_| self.timed) {
            let (seconds, copy) = (median(samples[first..].to_vec()), self.copy_seconds(bytes));
            let speed = bytes as f64 / seconds / 1e9;
            println!("{:24}{:.0} % of the speed of a copy, {speed:.1} GB/s\n", "", 100.0 * copy / seconds);
        }
    }

    /// Ends the benchmarks of this device.
    pub fn finish(self) {
        self.group.finish();
    }

    /// Seconds of a copy that reads and writes this many bytes in all.
    fn copy_seconds(&mut self, bytes: usize) -> f64 {
        let len = bytes.div_ceil(floats(2));
        // A sample is long enough for a clock.
        let copies = (COPIED / bytes).clamp(5, 1000) as u64;
        let seconds = |sample: &mut dyn FnMut() -> Duration| {
            sample();
            median((0..SAMPLES).map(|_| sample().as_secs_f64() / copies as f64).collect())
        };
        let Some(threads) = self.threads else {
            self.backend.reserve(0, 2 * len).expect("memory for the copy");
            let [target, source] = [len, 0].map(|offset| Span { offset, len });
            let call = |backend: &mut B| backend.copy(target, source);
            return seconds(&mut || elapsed(&mut self.backend, copies, &call));
        };
        let (mut target, source) = (vec![0.0; len], vec![1.0; len]);
        let mut sample = || {
            let start = Instant::now();
            (0..copies).for_each(|_| copy(&mut target, &source));
            start.elapsed()
        };
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads that copy");
        seconds(&mut || pool.install(&mut sample))
    }
}

/// Bytes of so many numbers of the state.
pub fn floats(count: usize) -> usize {
    count * size_of::<f32>()
}

/// A copy by all threads of the pool that this runs on, or by one where waking the others takes longer.
fn copy(target: &mut [f32], source: &[f32]) {
    const SMALLEST: usize = 16 * 1024;
    let part = source.len().div_ceil(rayon::current_num_threads()).max(SMALLEST);
    if part >= source.len() {
        target.copy_from_slice(source);
    } else {
        let parts = target.par_chunks_mut(part).zip(source.par_chunks(part));
        parts.for_each(|(target, source)| target.copy_from_slice(source));
    }
    std::hint::black_box(target);
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// How long a number of calls takes, waited for at the end: reading state waits for all that was queued.
fn elapsed<B: Device>(backend: &mut B, calls: u64, call: &impl Fn(&mut B)) -> Duration {
    let wait = |backend: &B| backend.read(Span { offset: 0, len: 1 }, &mut [0.0]);
    wait(backend);
    let start = Instant::now();
    (0..calls).for_each(|_| call(backend));
    wait(backend);
    start.elapsed()
}
