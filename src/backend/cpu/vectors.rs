//! Arithmetic over flat vectors, in fixed chunks.
//!
//! The loops are plain; the compiler vectorises them inside the kernels' entry.

use std::ops::Range;

use super::memory::{Area, Memory};
use super::simd::{Kernel, Vector};
use super::{Cpu, Span, VectorKernels};

/// Elements of a chunk: of fixed size, because the norm's partial sums follow it.
const CHUNK: usize = 8192;

/// Number of chunks of a vector.
pub(super) fn chunks(len: usize) -> usize {
    len.div_ceil(CHUNK)
}

/// The elements of a chunk.
pub(super) fn chunk(len: usize, index: usize) -> Range<usize> {
    index * CHUNK..len.min((index + 1) * CHUNK)
}

/// The part of a vector.
///
/// # Safety
/// Nobody writes it while the slice lives.
pub(super) unsafe fn read<'a>(memory: Memory, span: Span, range: &Range<usize>) -> &'a [f32] {
    // SAFETY: the caller's promise; bounds are checked by `span` and `slice`.
    unsafe { memory.span(span).slice(range.start, range.len()) }
}

/// The part of a vector, for writing.
///
/// # Safety
/// Nobody else touches it while the slice lives.
pub(super) unsafe fn write<'a>(memory: Memory, span: Span, range: &Range<usize>) -> &'a mut [f32] {
    // SAFETY: the caller's promise; bounds are checked by `span` and `slice`.
    unsafe { memory.span(span).slice_mut(range.start, range.len()) }
}

impl VectorKernels for Cpu {
    fn fill(&mut self, span: Span, value: f64) {
        self.state.as_mut_slice()[span.range()].fill(value as f32);
    }

    fn copy(&mut self, target: Span, source: Span) {
        self.state.as_mut_slice().copy_within(source.range(), target.offset);
    }

    fn scaled_add(&mut self, target: Span, factor: f64, divisor: Option<Span>, source: Span) {
        let (memory, instructions) = (self.memory(), self.instructions);
        // SAFETY: a divisor is one number.
        let divisor = divisor.map_or(1.0, |span| f64::from(unsafe { memory.span(span).get(0) }));
        let factor = (factor / divisor) as f32;
        self.team.each(chunks(target.len), &|_, index| {
            let range = chunk(target.len, index);
            // SAFETY: the set is available; chunks are disjoint, and so are the vectors.
            unsafe { instructions.run(AddScaled { target, factor, source, range, memory }) };
        });
    }

    fn euclidean_norm(&mut self, source: Span, result: Span) {
        let (memory, instructions) = (self.memory(), self.instructions);
        let sums = self.sums.at_least(chunks(source.len));
        self.team.each(chunks(source.len), &|_, index| {
            let (range, result) = (chunk(source.len, index), sums.from(index));
            // SAFETY: the set is available; each chunk has a sum of its own.
            unsafe { instructions.run(Squares { source, range, memory, result }) };
        });
        // SAFETY: there is a sum for each chunk, and the result is one number.
        unsafe {
            let squares: f64 = sums.slice(0, chunks(source.len)).iter().sum();
            memory.span(result).set(0, squares.sqrt() as f32);
        }
    }
}

struct AddScaled {
    target: Span,
    factor: f32,
    source: Span,
    range: Range<usize>,
    memory: Memory,
}

impl Kernel for AddScaled {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let AddScaled { target, factor, source, range, memory } = self;
        // SAFETY: the vectors are disjoint and no other thread has this range.
        let (target, source) = unsafe { (write(memory, target, &range), read(memory, source, &range)) };
        target.iter_mut().zip(source).for_each(|(target, source)| *target += factor * source);
    }
}

struct Squares {
    source: Span,
    range: Range<usize>,
    memory: Memory,
    result: Area<f64>,
}

impl Kernel for Squares {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        const PARTS: usize = 32;
        let mut parts = [0f64; PARTS];
        let mut add = |values: &[f32]| {
            for (part, &value) in parts.iter_mut().zip(values) {
                *part += f64::from(value) * f64::from(value);
            }
        };
        // SAFETY: nobody writes the vector meanwhile; the result is this chunk's own.
        unsafe {
            let whole = read(self.memory, self.source, &self.range).chunks_exact(PARTS);
            let rest = whole.remainder();
            whole.for_each(&mut add);
            add(rest);
            self.result.set(0, parts.iter().sum());
        }
    }
}
