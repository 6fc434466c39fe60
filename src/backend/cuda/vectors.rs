//! Flat vectors: `kernels/vectors.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{Placed, small};
use super::memory::Scratch;
use super::{Cuda, Kernel, Span, VectorKernels};

/// The most blocks that stride over a vector.
const BLOCKS: usize = 1024;

/// Mirrors `Vectors` of `kernels/vectors.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Vectors {
    len: u32,
    fours: u32,
    target: u32,
    source: u32,
    divisor: u32,
    unused: u32,
    factor: f64,
}
const _: () = assert!(size_of::<Vectors>() == 32);

fn blocks(len: usize) -> usize {
    len.div_ceil(4 * 256).min(BLOCKS)
}

/// Accesses of four elements of vectors that all start at multiples of four.
pub(super) fn fours(spans: &[Span]) -> u32 {
    let aligned = spans.iter().all(|span| span.offset.is_multiple_of(4));
    spans.first().filter(|_| aligned).map_or(0, |span| small(span.len / 4))
}

impl VectorKernels for Cuda {
    fn fill(&mut self, span: Span, value: f64) {
        let table = Vectors {
            len: small(span.len),
            fours: fours(&[span]),
            target: span.place(),
            factor: value,
            ..Vectors::zeroed()
        };
        self.launch_vector(Kernel::fill, span.len, &table);
    }

    fn copy(&mut self, target: Span, source: Span) {
        self.settle();
        self.memory.copy(&self.context, target, source);
    }

    fn scaled_add(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span) {
        let table = Vectors {
            len: small(target.len),
            fours: fours(&[target, source]),
            target: target.place(),
            source: source.place(),
            divisor: divisor.place(),
            factor,
            ..Vectors::zeroed()
        };
        self.launch_vector(Kernel::scaled_add, target.len, &table);
    }

    fn euclidean_norm(&mut self, source: Span, result: Span) {
        let mut scratch = Scratch::default();
        scratch.take(2 * BLOCKS);
        self.memory.scratch(&self.context, &scratch);
        let mut table = Vectors {
            len: small(source.len),
            fours: fours(&[source]),
            target: result.place(),
            source: source.place(),
            ..Vectors::zeroed()
        };
        self.launch_vector(Kernel::euclidean_norm_partials, source.len, &table);
        table.len = small(blocks(source.len));
        self.launch(Kernel::euclidean_norm_result, [1, 1, 1], [256, 1], &table);
    }
}

impl Cuda {
    /// Threads that stride over a vector.
    pub(super) fn launch_vector<P: Pod>(&mut self, kernel: Kernel, len: usize, parameters: &P) {
        self.launch(kernel, [blocks(len), 1, 1], [256, 1], parameters);
    }
}
