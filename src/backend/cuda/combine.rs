//! The second stages of all reductions, and what batch norm makes of them: `kernels/combine.cu`.
//!
//! Partial sums wait in the scratch memory: if the next kernel is the batch norm which reads them, it adds them itself and
//! saves a launch; else they are added before it. Only `channel_sums` may come in between: it reads no such sum, and
//! leaves more of them.

use bytemuck::{Pod, Zeroable};

use super::geometry::{ABSENT, Placed, gate, marked, small};
use super::{
    BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, BatchNorm, BatchNormGradient, BatchNormKernels, BatchNormReduce,
    Cuda, Gradients, Kernel, Mode, Span,
};

/// Norms of one launch, and moments that wait.
const NORMS: usize = 64;
/// Gradients of norms of one launch, and their terms.
const GRADIENTS: usize = 24;
const TERMS: usize = 48;
/// Sums that wait, and of one launch.
const WAITING: usize = 64;
/// Results of a block, and threads that add one.
const BLOCK: [u32; 2] = [32, 8];

/// Partial sums of blocks, and where their sum goes.
/// Mirrors `Sum` of `kernels/combine.cuh`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Sum {
    pub source: u32,
    pub count: u32,
    pub step: u32,
    pub destination: u32,
    pub len: u32,
    pub gate: u32,
}

impl Sum {
    /// `count` partial results shaped as the destination.
    pub fn all(source: u32, count: usize, destination: Span) -> Self {
        let len = small(destination.len);
        Sum { source, count: small(count), step: len, destination: destination.place(), len, gate: 0 }
    }

    /// The same where the gate is open; else the destination is left as it is.
    pub fn behind(self, own: Option<Span>) -> Self {
        Sum { gate: gate(own), ..self }
    }

    /// The same where the gate is open; else zero.
    pub fn or_zero(self, own: Option<Span>) -> Self {
        Sum { gate: marked(true, gate(own)), ..self }
    }
}

/// Means and squared deviations of blocks of rows, and where mean and variance go.
/// Mirrors `Moments` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Moments {
    pub partial: u32,
    pub rows: u32,
    pub rows_per_block: u32,
    pub channels: u32,
    pub statistics: u32,
    pub gate: u32,
}

/// Mirrors `CombineSums` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SumTable {
    sums: [Sum; WAITING],
}
const _: () = assert!(size_of::<SumTable>() == 24 * 64);

/// Mirrors `CombineMoments` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MomentTable {
    entries: [Moments; NORMS],
}
const _: () = assert!(size_of::<MomentTable>() == 24 * 64);

/// Mirrors `Norm` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct NormPlace {
    moments: Moments,
    running: u32,
    mean: u32,
    inverse_deviation: u32,
    scale: u32,
    shift: u32,
    gamma: u32,
    beta: u32,
}

/// Mirrors `BatchNormForward` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Forward {
    mode: u32,
    momentum: f32,
    epsilon: f32,
    norms: [NormPlace; NORMS],
}
const _: () = assert!(size_of::<Forward>() == 12 + 52 * 64);

/// Mirrors `NormGradient` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GradientPlace {
    mean: u32,
    inverse_deviation: u32,
    scale: u32,
    raw_factor: u32,
    constant: u32,
    gamma: u32,
    beta: u32,
    channels: u32,
    count: u32,
    first: u32,
    terms: u32,
    gate: u32,
}

/// Mirrors `Term` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TermPlace {
    total: u32,
    products: u32,
    weight: u32,
    factor: u32,
    total_sum: u32,
    products_sum: u32,
    gate: u32,
}

/// Mirrors `BatchNormBackward` of `kernels/combine.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Backward {
    norms: u32,
    first_sum: u32,
    in_inference: u32,
    gradients: [GradientPlace; GRADIENTS],
    terms: [TermPlace; TERMS],
    sums: [Sum; WAITING],
}
const _: () = assert!(size_of::<Backward>() == 12 + 48 * 24 + 28 * 48 + 24 * 64);

/// Parts in the scratch memory that are still to be combined.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    moments: List<Moments, NORMS>,
    sums: List<Sum, WAITING>,
}

/// A list without an allocation.
#[derive(Clone, Copy)]
struct List<T, const N: usize> {
    entries: [T; N],
    len: usize,
}

impl<T: Pod, const N: usize> List<T, N> {
    fn new() -> Self {
        List { entries: [T::zeroed(); N], len: 0 }
    }

    /// At most `N` entries.
    fn of(entries: &[T]) -> Self {
        let mut list = Self::new();
        list.entries[..entries.len()].copy_from_slice(entries);
        List { len: entries.len(), ..list }
    }

    /// Whether all of them found room; if not, none was taken.
    fn add(&mut self, entries: &[T]) -> bool {
        let Some(room) = self.entries.get_mut(self.len..self.len + entries.len()) else { return false };
        room.copy_from_slice(entries);
        self.len += entries.len();
        true
    }

    fn as_slice(&self) -> &[T] {
        &self.entries[..self.len]
    }

    /// Takes the first entry that fits out of the list.
    fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.as_slice().iter().position(fits)?;
        let found = self.entries[index];
        self.entries.copy_within(index + 1..self.len, index);
        self.len -= 1;
        Some(found)
    }
}

impl Waiting {
    /// Nothing waits.
    pub fn new() -> Self {
        Waiting { moments: List::new(), sums: List::new() }
    }

    fn is_empty(&self) -> bool {
        self.moments.len + self.sums.len == 0
    }
}

impl Cuda {
    /// Adds partial sums in their order, before anything reads the results.
    pub(super) fn combine_sums(&mut self, sums: &[Sum]) {
        let start = self.memory.keep();
        for sums in sums.chunks(WAITING) {
            let mut list = List::of(sums);
            list.entries.iter_mut().for_each(|sum| sum.source += start);
            if !self.waiting.get_mut().sums.add(list.as_slice()) {
                self.settle();
                // What settles gives up all scratch, of which this call's is still needed.
                self.memory.keep();
                self.waiting.get_mut().sums = list;
            }
        }
    }

    /// Mean and variance from those of blocks of rows, before anything reads the results.
    pub(super) fn combine_moments(&mut self, moments: &[Moments]) {
        let start = self.memory.keep();
        for moments in moments.chunks(NORMS) {
            let mut list = List::of(moments);
            list.entries.iter_mut().for_each(|entry| entry.partial += start);
            if !self.waiting.get_mut().moments.add(list.as_slice()) {
                self.settle();
                self.memory.keep();
                self.waiting.get_mut().moments = list;
            }
        }
    }

    /// Combines what waits.
    pub(super) fn settle(&self) {
        if !self.waiting.borrow().is_empty() {
            let waiting = self.waiting.replace(Waiting::new());
            self.memory.release();
            self.add_sums(waiting.sums.as_slice());
            self.add_moments(waiting.moments.as_slice());
        }
    }

    fn add_sums(&self, sums: &[Sum]) {
        let mut table = SumTable::zeroed();
        table.sums[..sums.len()].copy_from_slice(sums);
        self.launch_combining(Kernel::combine_sums, longest(sums), sums.len(), &table);
    }

    fn add_moments(&self, moments: &[Moments]) {
        let mut table = MomentTable::zeroed();
        table.entries[..moments.len()].copy_from_slice(moments);
        let widest = moments.iter().map(|entry| entry.channels as usize).max().unwrap_or_default();
        self.launch_combining(Kernel::combine_moments, widest, moments.len(), &table);
    }

    /// A kernel for entries of at most so many results. Parts are where they are in all scratch memory.
    fn launch_combining<P: Pod>(&self, kernel: Kernel, results: usize, entries: usize, table: &P) {
        let tiles = results.div_ceil(BLOCK[0] as usize);
        self.send(kernel, [tiles, entries, 1], BLOCK, &self.memory.origin(), table);
    }
}

impl BatchNormKernels for Cuda {
    fn batch_norm_forward(&mut self, norms: &[BatchNorm], mode: Mode) {
        let mut waiting = self.waiting.replace(Waiting::new());
        for norms in norms.chunks(NORMS) {
            let mut table = Forward {
                mode: mode as u32,
                momentum: BATCH_NORM_MOMENTUM as f32,
                epsilon: BATCH_NORM_EPSILON as f32,
                norms: [NormPlace::zeroed(); NORMS],
            };
            for (place, op) in table.norms.iter_mut().zip(norms) {
                *place = norm_place(op, &mut waiting.moments);
            }
            let widest = norms.iter().map(|op| op.norm.mean.len).max().unwrap_or_default();
            self.launch_combining(Kernel::batch_norm_forward, widest, norms.len(), &table);
        }
        // What is left belongs to others.
        if waiting.is_empty() {
            self.memory.release();
        }
        self.waiting.replace(waiting);
    }

    fn batch_norm_reduce(&mut self, reduce: &BatchNormReduce) {
        self.reduce_gradients(std::iter::once(reduce.clone()));
    }

    fn batch_norm_backward(&mut self, gradients: &[BatchNormGradient], wanted: Gradients) {
        let mut rest = gradients;
        // What a batch norm needs first is there.
        if !self.waiting.borrow().moments.as_slice().is_empty() {
            self.settle();
        }
        while !rest.is_empty() {
            let mut sums = std::mem::replace(&mut self.waiting.get_mut().sums, List::new());
            let mut table = Backward { in_inference: wanted.in_inference().into(), ..Backward::zeroed() };
            let (mut count, mut terms, mut used) = (0, 0, 0);
            while let Some(op) =
                rest.get(count).filter(|op| count < GRADIENTS && terms + op.terms.len() <= TERMS)
            {
                table.gradients[count] = gradient_place(op, terms);
                for term in &op.terms {
                    let mut sum_of = |span: Span| sum_index(&mut table.sums, &mut used, &mut sums, span);
                    table.terms[terms] = TermPlace {
                        total: term.sums.total.place(),
                        products: term.sums.products.place(),
                        weight: term.weight.place(),
                        factor: term.factor.place(),
                        total_sum: sum_of(term.sums.total),
                        products_sum: sum_of(term.sums.products),
                        gate: gate(term.gate),
                    };
                    terms += 1;
                }
                count += 1;
            }
            assert!(count > 0, "a normalised value flows into more than {TERMS} places");
            // The other sums that wait come along.
            (table.norms, table.first_sum) = (small(count), small(used));
            table.sums[used..used + sums.len].copy_from_slice(sums.as_slice());
            let widest = rest[..count].iter().map(|op| op.norm.mean.len).max().unwrap_or_default();
            let longest = widest.max(longest(sums.as_slice()));
            self.launch_combining(Kernel::batch_norm_backward, longest, count + sums.len, &table);
            self.memory.release();
            rest = &rest[count..];
        }
    }
}

fn longest(sums: &[Sum]) -> usize {
    sums.iter().map(|sum| sum.len as usize).max().unwrap_or_default()
}

/// Where a launch finds the sum for a span: in its table, into which it moves from those that wait, or in its place.
fn sum_index(
    table: &mut [Sum; WAITING],
    used: &mut usize,
    waiting: &mut List<Sum, WAITING>,
    span: Span,
) -> u32 {
    let fits = |sum: &Sum| sum.destination == span.place() && sum.len as usize == span.len;
    if let Some(index) = table[..*used].iter().position(fits) {
        return small(index);
    }
    let Some(sum) = waiting.take(fits) else { return ABSENT };
    table[*used] = sum;
    *used += 1;
    small(*used - 1)
}

fn norm_place(op: &BatchNorm, waiting: &mut List<Moments, NORMS>) -> NormPlace {
    let (statistics, rows, channels) = (op.statistics.place(), small(op.count), small(op.norm.mean.len));
    let there = Moments { partial: ABSENT, rows, rows_per_block: 1, channels, statistics, gate: 0 };
    let same =
        |entry: &Moments| (entry.statistics, entry.rows, entry.channels) == (statistics, rows, channels);
    NormPlace {
        moments: Moments { gate: gate(op.gate), ..waiting.take(same).unwrap_or(there) },
        running: op.running.place(),
        mean: op.norm.mean.place(),
        inverse_deviation: op.norm.inverse_deviation.place(),
        scale: op.norm.scale.place(),
        shift: op.norm.shift.place(),
        gamma: op.norm.gamma.place(),
        beta: op.norm.beta.place(),
    }
}

fn gradient_place(op: &BatchNormGradient, first: usize) -> GradientPlace {
    GradientPlace {
        mean: op.norm.mean.place(),
        inverse_deviation: op.norm.inverse_deviation.place(),
        scale: op.norm.scale.place(),
        raw_factor: op.raw_factor.place(),
        constant: op.constant.place(),
        gamma: op.gamma.place(),
        beta: op.beta.place(),
        channels: small(op.norm.mean.len),
        count: small(op.count),
        first: small(first),
        terms: small(op.terms.len()),
        gate: gate(op.gate),
    }
}
