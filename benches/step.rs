//! Whole search steps at three sizes: a step of the weights, and iterations in first and second order.
//!
//! `cargo bench --bench step`; `DARTS_BENCH_THREADS` sets the number of threads (default: all).

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use darts::backend::Shape;
use darts::backend::cpu::Cpu;
use darts::epochs::BatchView;
use darts::plan::search::{Order, Plan};
use darts::random::{Stream, generator};
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{EdgeShape, Space, SupernetShape};
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
    fn new([batch, side, init_channels, cells]: [usize; 4], order: Order) -> Self {
        let images = Shape::new(batch, side, side, 3);
        let shape = SupernetShape {
            space: Space::darts(),
            images,
            classes: 10,
            init_channels,
            cells,
            nodes: 4,
            edges: EdgeShape::default(),
        };
        let settings = BilevelSettings::from(&Plan { order, ..Plan::paper() });
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

criterion_group!(benches, steps);
criterion_main!(benches);
