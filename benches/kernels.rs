//! The kernels of the supernet at its three resolutions, batch 64: time, and bytes of activations read
//! and written once.
//!
//! `DARTS_THREADS` chooses the number of threads, `DARTS_INSTRUCTIONS` among `portable`, `avx2` and
//! `avx512`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use darts::backend::cpu::{Cpu, Instructions};
use darts::backend::*;

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

    fn cotangent(&mut self, shape: Shape) -> Cotangent {
        let c = shape.c as usize;
        Cotangent {
            terms: vec![Term { gradient: self.slot(shape.len()), factor: self.span(c) }],
            raw: self.slot(shape.len()),
            slope: self.span(c),
            offset: self.span(c),
        }
    }

    fn target(&mut self, shape: Shape) -> Target {
        Target { slot: self.slot(shape.len()), accumulate: false }
    }

    /// A device with these memories, filled with small numbers.
    fn backend(&self) -> Cpu {
        let threads = std::env::var("DARTS_THREADS").map_or(0, |threads| threads.parse().unwrap());
        let set = match std::env::var("DARTS_INSTRUCTIONS").as_deref() {
            Ok("portable") => Instructions::Portable,
            Ok("avx2") => Instructions::Avx2,
            Ok("avx512") => Instructions::Avx512,
            _ => Instructions::detect(),
        };
        let mut backend = Cpu::with_instructions(threads, set).unwrap();
        backend.reserve(self.activations, self.state).unwrap();
        let values =
            |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect() };
        backend.write_activations(Slot { offset: 0, len: self.activations }, &values(self.activations));
        backend.write(Span { offset: 0, len: self.state }, &values(self.state));
        backend
    }
}

/// The resolutions of the supernet of 16 channels.
fn shapes() -> [Shape; 3] {
    [Shape::new(64, 32, 32, 16), Shape::new(64, 16, 16, 32), Shape::new(64, 8, 8, 64)]
}

/// Times `call`, which reads and writes `values` activations.
fn time(
    c: &mut Criterion,
    name: &str,
    shape: Shape,
    values: usize,
    layout: &Layout,
    call: impl Fn(&mut Cpu),
) {
    let mut backend = None;
    let mut group = c.benchmark_group(name);
    group.sample_size(20).throughput(Throughput::Bytes(4 * values as u64));
    group.bench_function(BenchmarkId::from_parameter(shape), |b| {
        // Only for a benchmark that runs.
        let backend = backend.get_or_insert_with(|| layout.backend());
        b.iter(|| call(black_box(&mut *backend)));
    });
    group.finish();
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
            cotangent: layout.cotangent(op.output_shape),
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

fn separables(c: &mut Criterion) {
    let windows: [Windows; 6] = [
        ("sep 3x3", &[(3, 1)], 1),
        ("sep 5x5", &[(5, 1)], 1),
        ("dil 3x3", &[(3, 2)], 1),
        ("dil 5x5", &[(5, 2)], 1),
        ("all four", &[(3, 1), (5, 1), (3, 2), (5, 2)], 1),
        ("all four, stride 2", &[(3, 1), (5, 1), (3, 2), (5, 2)], 2),
    ];
    for (name, windows, stride) in windows {
        for shape in shapes() {
            let mut layout = Layout::default();
            let op = separable(&mut layout, shape, windows, stride);
            let gradient = separable_gradient(&mut layout, &op);
            let outputs = windows.len() * op.output_shape.len();
            time(c, &format!("{name} forward"), shape, shape.len() + outputs, &layout, |backend| {
                backend.separable_forward(&op);
            });
            time(c, &format!("{name} backward"), shape, 3 * shape.len() + 2 * outputs, &layout, |backend| {
                backend.separable_backward(&op, &gradient, true);
            });
        }
    }
}

fn pointwises(c: &mut Criterion) {
    for shape in shapes() {
        for (name, matrices) in [("four nodes to one", 1), ("factorized reduce", 2)] {
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
                cotangent: layout.cotangent(output_shape),
                weights: op.weights.iter().map(|span| layout.span(span.len)).collect(),
                inputs: op.inputs.iter().map(|input| layout.target(input.shape)).collect(),
            };
            let read = op.inputs.len() * shape.len();
            let values = read + output_shape.len();
            time(c, &format!("{name} forward"), shape, values, &layout, |backend| {
                backend.pointwise_forward(&op);
            });
            let values = 2 * read + 2 * output_shape.len();
            time(c, &format!("{name} backward"), shape, values, &layout, |backend| {
                backend.pointwise_backward(&op, &gradient, true);
            });
        }
    }
}

fn pools(c: &mut Criterion) {
    for shape in shapes() {
        let mut layout = Layout::default();
        let channels = shape.c as usize;
        let op = Pool {
            input: layout.operand(shape),
            stride: 1,
            maximum: layout.slot(shape.len()),
            average: layout.slot(shape.len()),
            output_shape: shape,
            maximum_statistics: layout.span(2 * channels),
            average_statistics: layout.span(2 * channels),
        };
        let gradient = PoolGradient {
            maximum: layout.cotangent(shape),
            average: layout.cotangent(shape),
            input: layout.target(shape),
        };
        time(c, "pool forward", shape, 3 * shape.len(), &layout, |backend| backend.pool_forward(&op));
        time(c, "pool backward", shape, 6 * shape.len(), &layout, |backend| {
            backend.pool_backward(&op, &gradient);
        });
    }
}

fn mixes(c: &mut Criterion) {
    const EDGES: usize = 3;
    for shape in shapes() {
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
        time(c, "mixed forward", shape, values, &layout, |backend| backend.mixed_forward(&op));
        let values = values + EDGES * shape.len();
        time(c, "mixed backward", shape, values, &layout, |backend| {
            backend.mixed_backward(&op, &gradient);
        });
    }
}

criterion_group!(kernels, separables, pointwises, pools, mixes);
criterion_main!(kernels);
