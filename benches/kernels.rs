//! The kernels of the supernet at its three resolutions, batch 64, forward and backward: on the CPU, and on a GPU where
//! there is one. A benchmark goes by device/kernel/shape, so `cargo bench --bench kernels -- cuda/pool` filters.
//!
//! Throughput counts the activations (of vector kernels, the vectors) that a call must read and write, each once. After
//! each benchmark its median is set beside that of a copy on the same device that moves as many bytes, so that it is a
//! share of what the memory can do. Work is queued and waited for once, at the end of a sample.
//!
//! `DARTS_BENCH_BATCH` sets the batch, `DARTS_BENCH_THREADS` the threads of the CPU, `DARTS_BENCH_INSTRUCTIONS` its
//! vectors among `portable`, `avx2` and `avx512`, `DARTS_BENCH_PRECISION` what the GPU stores activations as among `f32`,
//! `bf16` and `f16`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use darts::backend::cpu::{Cpu, Instructions};
use darts::backend::gpu::Precision;
use darts::backend::*;
use rayon::ThreadPool;
use rayon::prelude::*;

/// Samples of a benchmark.
const SAMPLES: usize = 20;
/// Weights of the paper's supernet.
const WEIGHTS: usize = 1_930_618;

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, default: usize) -> usize {
    let parse = |text: String| text.parse().unwrap_or_else(|_| panic!("{name} is {text}; expected a number"));
    setting(name).map_or(default, parse)
}

/// Lays out operands in the memories of a device.
#[derive(Default)]
struct Layout {
    activations: usize,
    state: usize,
}

impl Layout {
    fn slot(&mut self, len: usize) -> Slot {
        let slot = Slot { offset: self.activations, len };
        self.activations += len.next_multiple_of(16);
        slot
    }

    fn span(&mut self, len: usize) -> Span {
        let span = Span { offset: self.state, len };
        self.state += len.next_multiple_of(16);
        span
    }

    fn norm(&mut self, c: usize) -> Norm {
        Norm {
            mean: self.span(c),
            inverse_deviation: self.span(c),
            scale: self.span(c),
            shift: self.span(c),
            gamma: None,
            beta: None,
        }
    }

    fn operand(&mut self, shape: Shape) -> Operand {
        Operand { data: self.slot(shape.len()), shape, norm: Some(self.norm(shape.c as usize)) }
    }

    fn cotangent(&mut self, raw: Slot, shape: Shape) -> Cotangent {
        let c = shape.c as usize;
        Cotangent {
            terms: vec![Term { gradient: self.slot(shape.len()), factor: self.span(c) }],
            raw,
            slope: self.span(c),
            offset: self.span(c),
        }
    }

    fn target(&mut self, shape: Shape) -> Target {
        Target { slot: self.slot(shape.len()), accumulate: false }
    }

    /// Gives a device these memories, filled with small numbers.
    fn fill<B: Device>(&self, backend: &mut B) {
        backend.reserve(self.activations, self.state).expect("memory for the benchmark");
        let values =
            |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect() };
        backend.write_activations(Slot { offset: 0, len: self.activations }, &values(self.activations));
        backend.write(Span { offset: 0, len: self.state }, &values(self.state));
    }
}

/// What kernels are timed on.
trait Device: Backend<Scalar = f32> + Send {}

impl<B: Backend<Scalar = f32> + Send> Device for B {}

/// A device whose kernels are timed.
struct Timer<'a, B> {
    group: BenchmarkGroup<'a, WallTime>,
    backend: B,
    /// The threads of the CPU.
    pool: Option<Arc<ThreadPool>>,
    batch: usize,
    /// Whether times are asked for: criterion's test mode runs everything once.
    timed: bool,
}

impl<'a, B: Device> Timer<'a, B> {
    fn new(criterion: &'a mut Criterion, name: &str, backend: B, pool: Option<Arc<ThreadPool>>) -> Self {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(SAMPLES)
            .sampling_mode(SamplingMode::Flat)
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(2));
        let given = |flag: &str| std::env::args().any(|argument| argument == flag);
        let timed = given("--bench") && !given("--test");
        Timer { group, backend, pool, batch: number("DARTS_BENCH_BATCH", 64), timed }
    }

    /// The resolutions of the supernet of 16 channels.
    fn shapes(&self) -> [Shape; 3] {
        [(32, 16), (16, 32), (8, 64)].map(|(side, channels)| Shape::new(self.batch, side, side, channels))
    }

    /// Times `call`, which must read and write `values` activations, or where there are none state.
    fn time(
        &mut self,
        kernel: &str,
        shape: Shape,
        values: usize,
        layout: &Layout,
        call: impl Fn(&mut B) + Sync,
    ) {
        let element = if layout.activations > 0 { self.backend.activation_bytes() } else { size_of::<f32>() };
        let bytes = values * element;
        self.group.throughput(Throughput::Bytes(bytes as u64));
        let (device, ready) = (&mut self.backend, Cell::new(false));
        let (pool, samples) = (self.pool.as_deref(), RefCell::new(Vec::new()));
        self.group.bench_function(BenchmarkId::new(kernel, shape), |bencher| {
            // Only for a benchmark that runs.
            if !ready.replace(true) {
                layout.fill(device);
            }
            bencher.iter_custom(|iterations| {
                let elapsed = elapsed(device, pool, iterations, &call);
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

    /// Seconds of a copy that reads and writes this many bytes in all.
    fn copy_seconds(&mut self, bytes: usize) -> f64 {
        const COPIES: u64 = 5;
        let len = bytes.div_ceil(2 * size_of::<f32>());
        let seconds = |sample: &mut dyn FnMut() -> Duration| {
            sample();
            median((0..SAMPLES).map(|_| sample().as_secs_f64() / COPIES as f64).collect())
        };
        let Some(pool) = &self.pool else {
            self.backend.reserve(0, 2 * len).expect("memory for the copy");
            let [target, source] = [len, 0].map(|offset| Span { offset, len });
            let call = |backend: &mut B| backend.copy(target, source);
            return seconds(&mut || elapsed(&mut self.backend, None, COPIES, &call));
        };
        let (mut target, source) = (vec![0.0; len], vec![1.0; len]);
        seconds(&mut || {
            let start = Instant::now();
            (0..COPIES).for_each(|_| copy(pool, &mut target, &source));
            start.elapsed()
        })
    }
}

/// A copy by all threads.
fn copy(pool: &ThreadPool, target: &mut [f32], source: &[f32]) {
    let part = source.len().div_ceil(pool.current_num_threads());
    pool.install(|| {
        let parts = target.par_chunks_mut(part).zip(source.par_chunks(part));
        parts.for_each(|(target, source)| target.copy_from_slice(source));
    });
    std::hint::black_box(target);
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// How long a number of calls takes, waited for at the end: reading state waits for all that was queued. Calls of the
/// CPU are made on a thread of its pool, as in a search.
fn elapsed<B: Device>(
    backend: &mut B,
    pool: Option<&ThreadPool>,
    calls: u64,
    call: &(impl Fn(&mut B) + Sync),
) -> Duration {
    let wait = |backend: &B| backend.read(Span { offset: 0, len: 1 }, &mut [0.0]);
    let mut run = || {
        wait(backend);
        let start = Instant::now();
        (0..calls).for_each(|_| call(backend));
        wait(backend);
        start.elapsed()
    };
    match pool {
        Some(pool) => pool.install(run),
        None => run(),
    }
}

fn separable(layout: &mut Layout, shape: Shape, windows: &[(usize, usize)], stride: usize) -> Separable {
    let c = shape.c as usize;
    let output_shape = shape.strided(stride, c);
    let input = layout.operand(shape);
    let branches = windows
        .iter()
        .map(|&(kernel, dilation)| SeparableBranch {
            kernel,
            dilation,
            depthwise: layout.span(kernel * kernel * c),
            pointwise: layout.span(c * c),
            output: layout.slot(output_shape.len()),
            statistics: layout.span(2 * c),
        })
        .collect();
    Separable { sources: vec![SeparableSource { input, branches }], stride, output_shape }
}

fn separable_gradient(layout: &mut Layout, op: &Separable) -> SeparableGradient {
    let source = &op.sources[0];
    let c = source.input.shape.c as usize;
    let branches = source
        .branches
        .iter()
        .map(|branch| SeparableBranchGradient {
            cotangent: layout.cotangent(branch.output, op.output_shape),
            depthwise: layout.span(branch.depthwise.len),
            pointwise: layout.span(branch.pointwise.len),
        })
        .collect();
    let sums = Some(Sums { total: layout.span(c), products: layout.span(c) });
    SeparableGradient {
        sources: vec![SeparableSourceGradient { input: layout.target(source.input.shape), sums, branches }],
    }
}

/// A name, its windows (kernel, dilation) and the stride.
type Windows = (&'static str, &'static [(usize, usize)], usize);

const WINDOWS: [Windows; 6] = [
    ("separable_3x3", &[(3, 1)], 1),
    ("separable_5x5", &[(5, 1)], 1),
    ("dilated_3x3", &[(3, 2)], 1),
    ("dilated_5x5", &[(5, 2)], 1),
    ("separable_four", &[(3, 1), (5, 1), (3, 2), (5, 2)], 1),
    ("separable_four_stride_2", &[(3, 1), (5, 1), (3, 2), (5, 2)], 2),
];

fn separables<B: Device>(device: &mut Timer<B>) {
    for (name, windows, stride) in WINDOWS {
        for shape in device.shapes() {
            let mut layout = Layout::default();
            let op = separable(&mut layout, shape, windows, stride);
            let gradient = separable_gradient(&mut layout, &op);
            let outputs = windows.len() * op.output_shape.len();
            device.time(&format!("{name}_forward"), shape, shape.len() + outputs, &layout, |backend| {
                backend.separable_forward(&op);
            });
            let values = 2 * shape.len() + 2 * outputs;
            device.time(&format!("{name}_backward"), shape, values, &layout, |backend| {
                backend.separable_backward(&op, &gradient, true);
            });
        }
    }
}

/// The matrices of 1x1 convolutions: one of a cell's preprocessing, two of a FactorizedReduce.
fn pointwises<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        for (name, matrices) in [("pointwise", 1), ("factorized_reduce", 2)] {
            let mut layout = Layout::default();
            let inputs: Vec<_> =
                (0..if matrices == 1 { 4 } else { 1 }).map(|_| layout.operand(shape)).collect();
            let rows = inputs.len() * shape.c as usize;
            let output_shape = shape.strided(matrices, shape.c as usize);
            let columns = shape.c as usize / matrices;
            let op = Pointwise {
                weights: (0..matrices).map(|_| layout.span(rows * columns)).collect(),
                output: layout.slot(output_shape.len()),
                output_shape,
                statistics: layout.span(2 * shape.c as usize),
                inputs,
            };
            let gradient = PointwiseGradient {
                cotangent: layout.cotangent(op.output, output_shape),
                weights: op.weights.iter().map(|span| layout.span(span.len)).collect(),
                inputs: op.inputs.iter().map(|input| layout.target(input.shape)).collect(),
            };
            // At stride 2 half of the pixels are read; every gradient is written.
            let (all, output) = (op.inputs.len() * shape.len(), output_shape.len());
            let read = all / matrices;
            device.time(&format!("{name}_forward"), shape, read + output, &layout, |backend| {
                backend.pointwise_forward(&op);
            });
            device.time(&format!("{name}_backward"), shape, read + all + 2 * output, &layout, |backend| {
                backend.pointwise_backward(&op, &gradient, true);
            });
        }
    }
}

fn pools<B: Device>(device: &mut Timer<B>) {
    for (name, stride) in [("pool", 1), ("pool_stride_2", 2)] {
        for shape in device.shapes() {
            let mut layout = Layout::default();
            let channels = shape.c as usize;
            let output_shape = shape.strided(stride, channels);
            let op = Pool {
                input: layout.operand(shape),
                stride,
                maximum: layout.slot(output_shape.len()),
                average: layout.slot(output_shape.len()),
                output_shape,
                maximum_statistics: layout.span(2 * channels),
                average_statistics: layout.span(2 * channels),
            };
            let gradient = PoolGradient {
                maximum: layout.cotangent(op.maximum, output_shape),
                average: layout.cotangent(op.average, output_shape),
                input: layout.target(shape),
            };
            let (input, output) = (shape.len(), output_shape.len());
            device.time(&format!("{name}_forward"), shape, input + 2 * output, &layout, |backend| {
                backend.pool_forward(&op);
            });
            device.time(&format!("{name}_backward"), shape, 2 * input + 4 * output, &layout, |backend| {
                backend.pool_backward(&op, &gradient);
            });
        }
    }
}

/// A node of three edges.
fn mixes<B: Device>(device: &mut Timer<B>) {
    const EDGES: usize = 3;
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let branches: Vec<_> = (0..EDGES * 7)
            .map(|index| {
                let identity = index % 7 == 2;
                let norm = (!identity).then(|| layout.norm(shape.c as usize));
                MixedBranch { data: layout.slot(shape.len()), norm, weight: layout.span(1) }
            })
            .collect();
        let op = Mixed {
            output: layout.slot(shape.len()),
            shape,
            workspace: layout.span((branches.len() + 1) * shape.c as usize),
            branches,
        };
        let gradient = MixedGradient {
            output: layout.slot(shape.len()),
            total: layout.span(shape.c as usize),
            branches: op
                .branches
                .iter()
                .map(|branch| MixedBranchGradient {
                    products: layout.span(shape.c as usize),
                    weight: layout.span(1),
                    identity: branch.norm.is_none().then(|| layout.target(shape)),
                })
                .collect(),
        };
        let values = (EDGES * 7 + 1) * shape.len();
        device.time("mixed_forward", shape, values, &layout, |backend| backend.mixed_forward(&op));
        let values = values + EDGES * shape.len();
        device.time("mixed_backward", shape, values, &layout, |backend| {
            backend.mixed_backward(&op, &gradient);
        });
    }
}

fn reductions<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let [total, products] = [(); 2].map(|()| layout.span(shape.c as usize));
        let reduce = BatchNormReduce {
            gradient: layout.slot(shape.len()),
            input: layout.operand(shape),
            sums: Sums { total, products },
        };
        device.time("batch_norm_reduce", shape, 2 * shape.len(), &layout, |backend| {
            backend.batch_norm_reduce(&reduce);
        });
    }
}

/// The convolution of the images.
fn stem<B: Device>(device: &mut Timer<B>) {
    let mut layout = Layout::default();
    let shape = Shape::new(device.batch, 32, 32, 3);
    let output_shape = shape.strided(1, 48);
    let op = Convolution {
        input: Operand { norm: None, ..layout.operand(shape) },
        relu: false,
        kernel: 3,
        stride: 1,
        padding: 1,
        weights: layout.span(9 * 3 * 48),
        output: layout.slot(output_shape.len()),
        output_shape,
        statistics: layout.span(2 * 48),
    };
    let gradient = ConvolutionGradient {
        cotangent: layout.cotangent(op.output, output_shape),
        weights: layout.span(op.weights.len),
        input: None,
    };
    let (input, output) = (shape.len(), output_shape.len());
    device.time("convolution_forward", shape, input + output, &layout, |backend| {
        backend.convolution_forward(&op);
    });
    device.time("convolution_backward", shape, input + 2 * output, &layout, |backend| {
        backend.convolution_backward(&op, &gradient);
    });
}

/// The optimiser of the weights, as a single row.
fn vectors<B: Device>(device: &mut Timer<B>) {
    let mut layout = Layout::default();
    let step = GradientDescent {
        weights: layout.span(WEIGHTS),
        gradient: layout.span(WEIGHTS),
        momentum_buffer: layout.span(WEIGHTS),
        clip: Some((layout.span(1), 5.0)),
        rate: 0.025,
        momentum: 0.9,
        decay: 3e-4,
    };
    let shape = Shape::new(1, 1, 1, WEIGHTS);
    device.time("gradient_descent", shape, 5 * WEIGHTS, &layout, |backend| backend.gradient_descent(&step));
}

fn all<B: Device>(mut device: Timer<B>) {
    separables(&mut device);
    pointwises(&mut device);
    pools(&mut device);
    mixes(&mut device);
    reductions(&mut device);
    stem(&mut device);
    vectors(&mut device);
    device.group.finish();
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
    let pool = Some(cpu.thread_pool());
    all(Timer::new(criterion, "cpu", cpu, pool));
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
