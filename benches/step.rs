//! Whole search steps at three sizes: a step of the weights, and iterations in first and second order; and at the size of the
//! paper an iteration of the methods that compute less than DARTS.
//!
//! `cargo bench --bench step`, where `-- methods` takes the last ones alone; `DARTS_BENCH_THREADS` sets the number of threads (default: all).

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use darts::backend::Shape;
use darts::backend::cpu::Cpu;
use darts::epochs::BatchView;
use darts::plan::keys::Preset;
use darts::plan::merge::Written;
use darts::plan::search::{Order, Plan};
use darts::random::{Stream, generator};
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{Space, SupernetShape};
use rand::RngExt;
use std::time::{Duration, Instant};

/// Batch, side of the images, channels of the first cell, cells.
const SIZES: [[usize; 4]; 3] = [[16, 16, 4, 3], [32, 32, 8, 5], [64, 32, 16, 8]];

struct Bench {
    bilevel: Bilevel<Cpu>,
    images: Vec<f32>,
    labels: Vec<u32>,
}

impl Bench {
    fn new(size: [usize; 4], order: Order) -> Self {
        Self::of(size, &Plan { order, ..Plan::paper() })
    }

    fn of([batch, side, init_channels, cells]: [usize; 4], plan: &Plan) -> Self {
        let settings = BilevelSettings::from(plan);
        let images = Shape::new(batch, side, side, 3);
        let shape = SupernetShape {
            space: Space::darts(),
            images,
            classes: 10,
            init_channels,
            cells,
            nodes: 4,
            edges: settings.method.edges(),
        };
        let threads =
            std::env::var("DARTS_BENCH_THREADS").map_or(0, |text| text.parse().expect("a number of threads"));
        let cpu = Cpu::new(threads).expect("a CPU backend");
        let bilevel = Bilevel::new(cpu, shape, settings, 1).expect("a supernet");
        let mut random = generator(1, Stream::Test, 0);
        Bench {
            bilevel,
            images: (0..images.len()).map(|_| random.random_range(-1.0..1.0)).collect(),
            labels: (0..batch).map(|i| i as u32 % 10).collect(),
        }
    }

    fn step(&mut self, alphas: bool) {
        let batch = BatchView { images: &self.images, labels: &self.labels };
        if alphas {
            self.bilevel.alpha_step(batch, batch, 0.001).expect("a batch that fits");
        }
        let result = self.bilevel.weight_step(batch, 0.001).expect("a batch that fits");
        assert!(result.loss.is_finite());
    }
}

fn measure(group: &mut BenchmarkGroup<WallTime>, name: &str, bench: &mut Bench, alphas: bool) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            (0..iterations).for_each(|_| bench.step(alphas));
            start.elapsed()
        });
    });
}

fn steps(criterion: &mut Criterion) {
    for size in SIZES {
        let [batch, side, channels, cells] = size;
        let mut group =
            criterion.benchmark_group(format!("batch {batch}, {side}x{side}, C={channels}, {cells} cells"));
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
        group.throughput(Throughput::Elements(batch as u64));
        let mut first = Bench::new(size, Order::First);
        println!("memory of the first order: {:.0} MB", first.bilevel.tape.peak_bytes() as f64 / 1e6);
        measure(&mut group, "weight step", &mut first, false);
        measure(&mut group, "first order", &mut first, true);
        drop(first);
        let mut second = Bench::new(size, Order::Second);
        println!("memory of the second order: {:.0} MB", second.bilevel.tape.peak_bytes() as f64 / 1e6);
        measure(&mut group, "second order", &mut second, true);
        group.finish();
    }
}

/// Iterations of a method each, at the size of the paper.
fn methods(criterion: &mut Criterion) {
    let size = SIZES[SIZES.len() - 1];
    let mut group = criterion.benchmark_group("methods");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(size[0] as u64));
    for name in ["darts", "pc-darts", "gdas"] {
        let flags = format!("data = \"digits\"\nmethod = {name:?}\nfrozen_epochs = 0").parse().expect("TOML");
        let written = Written { preset: Preset::Paper, file: None, flags };
        let plan = written.plan::<Plan>(toml::Table::new()).expect("a published method is a plan").plan;
        let mut bench = Bench::of(size, &plan);
        println!("memory of {name}: {:.0} MB", bench.bilevel.tape.peak_bytes() as f64 / 1e6);
        let (images, labels) = (&bench.images, &bench.labels);
        let batch = BatchView { images, labels };
        let bilevel = &mut bench.bilevel;
        group.bench_function(name, |bencher| {
            bencher.iter(|| bilevel.step(batch, batch, 0.001).expect("a batch that fits"));
        });
    }
    group.finish();
}

criterion_group!(benches, steps, methods);
criterion_main!(benches);
