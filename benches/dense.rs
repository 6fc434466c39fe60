//! Dense convolutions of NAS-Bench-201 on the CPU: billions of operations a second, and their share of what the vector
//! units can do, measured by products of registers. The shortest of some calls.
//!
//! `cargo bench --bench dense -- BATCH CHANNELS THREADS` (default: 64 16 0, all threads). A product and a sum are two operations.

use std::time::Instant;

use darts::backend::cpu::Cpu;
use darts::backend::*;

const CALLS: usize = 40;

/// What a convolution reads and writes, one behind the other in the two memories.
#[derive(Default)]
struct Places {
    activations: usize,
    state: usize,
}

impl Places {
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
}

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [batch, channels, threads] = sizes[..] else { return print(64, 16, 0) };
    print(batch, channels, threads);
}

fn print(batch: usize, channels: usize, threads: usize) {
    let mut cpu = Cpu::new(threads).expect("a CPU backend");
    let peak = cpu.threads() as f64 * peak();
    println!("batch {batch}; {} threads, {peak:.0} GFLOP/s at most", cpu.threads());
    println!("{:<26}{:>9}{:>7}{:>9}{:>7}{:>9}{:>7}", "", "forward", "", "input", "", "all", "");
    let window = ConvolutionWindow::square;
    for scale in [1, 2, 4] {
        let images = Shape::new(batch, 32 / scale, 32 / scale, scale * channels);
        time(&mut cpu, peak, images, window(3, 1, 1), images.c as usize);
        time(&mut cpu, peak, images, window(1, 1, 0), images.c as usize);
        if scale < 4 {
            time(&mut cpu, peak, images, window(3, 2, 1), 2 * images.c as usize);
        }
    }
}

fn time(cpu: &mut Cpu, peak: f64, images: Shape, window: ConvolutionWindow, channels: usize) {
    let mut places = Places::default();
    let output_shape = window.over(images, channels).expect("a window within the image");
    let inputs = images.c as usize;
    let norm = |places: &mut Places| {
        let [mean, inverse_deviation, scale, shift] = [(); 4].map(|()| places.span(inputs));
        Norm { mean, inverse_deviation, scale, shift, gamma: None, beta: None }
    };
    let op = Convolution {
        input: Operand { data: places.slot(images.len()), shape: images, norm: Some(norm(&mut places)) },
        relu: true,
        window,
        weights: places.span(window.taps() * inputs * channels),
        output: places.slot(output_shape.len()),
        output_shape,
        statistics: Some(places.span(2 * channels)),
        gate: None,
    };
    let term = Term { gradient: places.slot(output_shape.len()), factor: places.span(channels) };
    let output = UnstoredGradient {
        terms: vec![term],
        raw: op.output,
        raw_factor: places.span(channels),
        constant: places.span(channels),
    };
    let gradient = ConvolutionGradient {
        output: ResultGradient::Unstored(output),
        weights: places.span(op.weights.len),
        input: Some(Target { slot: places.slot(images.len()), accumulate: true, gate: None }),
    };
    cpu.reserve(places.activations, places.state).expect("memory");
    let numbers = |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 7 % 19) as f32 / 19.0 - 0.4).collect() };
    cpu.write_activations(Slot { offset: 0, len: places.activations }, &numbers(places.activations));
    cpu.write(Span { offset: 0, len: places.state }, &numbers(places.state));
    let operations = 2.0 * (output_shape.len() * window.taps() * inputs) as f64;
    print!("{:<26}", format!("{images}, {}x{} by {}", window.kernel[0], window.kernel[1], window.stride[0]));
    let speeds = [
        operations / shortest(|| cpu.convolution_forward(&op)),
        operations / shortest(|| cpu.convolution_backward(&op, &gradient, Gradients::Inputs)),
        2.0 * operations / shortest(|| cpu.convolution_backward(&op, &gradient, Gradients::All)),
    ];
    speeds.iter().for_each(|speed| print!("{:>9.1}{:>5.0} %", speed / 1e9, speed / 1e7 / peak));
    println!();
}

/// Seconds of a call.
fn shortest(mut call: impl FnMut()) -> f64 {
    call();
    let samples = (0..CALLS).map(|_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    });
    samples.fold(f64::INFINITY, f64::min)
}

/// Billions of operations a second of one thread whose operands are registers.
fn peak() -> f64 {
    const ROUNDS: usize = 2_000_000;
    let seconds = shortest(|| {
        std::hint::black_box(products(ROUNDS));
    });
    ROUNDS as f64 * OPERATIONS / seconds / 1e9
}

/// Operations of a round of [`products`].
#[cfg(target_arch = "x86_64")]
const OPERATIONS: f64 = 2.0 * 16.0 * 16.0;

/// Sums of products, sixteen vectors of sixteen numbers side by side.
#[cfg(target_arch = "x86_64")]
fn products(rounds: usize) -> f32 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    fn wide(rounds: usize) -> f32 {
        let factor = _mm512_set1_ps(0.999);
        let mut sums = [_mm512_set1_ps(1.0); 16];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, factor, factor));
        }
        sums.iter().map(|&sum| _mm512_reduce_add_ps(sum)).sum()
    }

    #[target_feature(enable = "avx2,fma")]
    fn narrow(rounds: usize) -> f32 {
        let factor = _mm256_set1_ps(0.999);
        let mut sums = [_mm256_set1_ps(1.0); 8];
        for _ in 0..4 * rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm256_fmadd_ps(*sum, factor, factor));
        }
        sums.iter().map(|&sum| _mm256_cvtss_f32(sum)).sum()
    }

    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions.
        return unsafe { wide(rounds) };
    }
    assert!(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"), "no vectors to measure");
    // SAFETY: the processor has the instructions.
    unsafe { narrow(rounds) }
}

/// Operations of a round of [`products`].
#[cfg(not(target_arch = "x86_64"))]
const OPERATIONS: f64 = 2.0 * 16.0 * 16.0;

/// Sums of products in as many numbers, as the compiler arranges them.
#[cfg(not(target_arch = "x86_64"))]
fn products(rounds: usize) -> f32 {
    let mut sums = [1.0f32; 256];
    for _ in 0..rounds {
        sums.iter_mut().for_each(|sum| *sum = *sum * 0.999 + 0.999);
    }
    sums.iter().sum()
}
