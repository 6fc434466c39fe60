//! Random operands, laid out in the two memories of a device, and the [`comparison`] of a backend with the
//! reference.
//!
//! All values are numbers of f32, so that the reference sees the same inputs in f64. What a call assigns
//! holds NaN before, and so do the gaps between operands: a backend that reads what it should not, or
//! leaves out what it should write, ends up with NaN.

// Each test binary uses a part of this.
#![allow(dead_code)]

mod comparison;

use darts::backend::gpu::Precision;
use darts::backend::*;
use darts::random::{Stream, generator};
use half::{bf16, f16};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A call of a backend with its operands.
pub enum Call {
    ConvolutionForward(Convolution),
    ConvolutionBackward(Convolution, ConvolutionGradient, Gradients),
    SeparableForward(Separable),
    SeparableBackward(Separable, SeparableGradient, Gradients),
    PointwiseForward(Pointwise),
    PointwiseBackward(Pointwise, PointwiseGradient, Gradients),
    NormalisedPoolsForward(NormalisedPools),
    NormalisedPoolsBackward(NormalisedPools, NormalisedPoolsGradient),
    PoolForward(Pool),
    PoolBackward(Pool, PoolGradient),
    ChannelSliceForward(ChannelSlice),
    ChannelSliceBackward(ChannelSlice, ChannelSliceGradient),
    BypassForward(Bypass),
    BypassBackward(Bypass, BypassGradient),
    DropoutForward(Dropout),
    DropoutBackward(Dropout, DropoutGradient),
    NodeSumForward(NodeSum),
    NodeSumBackward(NodeSum, NodeSumGradient),
    BatchNormForward(Vec<BatchNorm>, Mode),
    BatchNormReduce(BatchNormReduce),
    BatchNormBackward(Vec<BatchNormGradient>, Gradients),
    MixedForward(Mixed),
    MixedBackward(Mixed, MixedGradient),
    GlobalPoolForward(GlobalPool),
    GlobalPoolBackward(GlobalPool, GlobalPoolGradient),
    LinearForward(Linear),
    LinearBackward(Linear, LinearGradient, Gradients),
    CrossEntropy(CrossEntropy),
    Fill(Span, f64),
    Copy(Span, Span),
    ScaledAdd(Span, f64, Option<Span>, Span),
    EuclideanNorm(Span, Span),
    GradientDescent(GradientDescent),
}

impl Call {
    /// Makes the call.
    pub fn run<B: Backend>(&self, backend: &mut B) {
        match self {
            Call::ConvolutionForward(op) => backend.convolution_forward(op),
            Call::ConvolutionBackward(op, gradient, wanted) => {
                backend.convolution_backward(op, gradient, *wanted);
            }
            Call::SeparableForward(op) => backend.separable_forward(op),
            Call::SeparableBackward(op, gradient, wanted) => {
                backend.separable_backward(op, gradient, *wanted);
            }
            Call::PointwiseForward(op) => backend.pointwise_forward(op),
            Call::PointwiseBackward(op, gradient, wanted) => {
                backend.pointwise_backward(op, gradient, *wanted);
            }
            Call::NormalisedPoolsForward(op) => backend.normalised_pools_forward(op),
            Call::NormalisedPoolsBackward(op, gradient) => backend.normalised_pools_backward(op, gradient),
            Call::PoolForward(op) => backend.pool_forward(op),
            Call::PoolBackward(op, gradient) => backend.pool_backward(op, gradient),
            Call::ChannelSliceForward(op) => backend.channel_slice_forward(op),
            Call::ChannelSliceBackward(op, gradient) => backend.channel_slice_backward(op, gradient),
            Call::BypassForward(op) => backend.bypass_forward(op),
            Call::BypassBackward(op, gradient) => backend.bypass_backward(op, gradient),
            Call::DropoutForward(op) => backend.dropout_forward(op),
            Call::DropoutBackward(op, gradient) => backend.dropout_backward(op, gradient),
            Call::NodeSumForward(op) => backend.node_sum_forward(op),
            Call::NodeSumBackward(op, gradient) => backend.node_sum_backward(op, gradient),
            Call::BatchNormForward(norms, mode) => backend.batch_norm_forward(norms, *mode),
            Call::BatchNormReduce(op) => backend.batch_norm_reduce(op),
            Call::BatchNormBackward(gradients, wanted) => backend.batch_norm_backward(gradients, *wanted),
            Call::MixedForward(op) => backend.mixed_forward(op),
            Call::MixedBackward(op, gradient) => backend.mixed_backward(op, gradient),
            Call::GlobalPoolForward(op) => backend.global_pool_forward(op),
            Call::GlobalPoolBackward(op, gradient) => backend.global_pool_backward(op, gradient),
            Call::LinearForward(op) => backend.linear_forward(op),
            Call::LinearBackward(op, gradient, wanted) => backend.linear_backward(op, gradient, *wanted),
            Call::CrossEntropy(op) => backend.cross_entropy(op),
            Call::Fill(span, value) => backend.fill(*span, *value),
            Call::Copy(target, source) => backend.copy(*target, *source),
            Call::ScaledAdd(target, factor, divisor, source) => {
                backend.scaled_add(*target, *factor, *divisor, *source);
            }
            Call::EuclideanNorm(source, result) => backend.euclidean_norm(*source, *result),
            Call::GradientDescent(step) => backend.gradient_descent(step),
        }
    }
}

/// Where a result lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Activations(Slot),
    State(Span),
    /// Written as the backend likes.
    Free(Span),
}

impl From<Slot> for Place {
    fn from(slot: Slot) -> Self {
        Place::Activations(slot)
    }
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Place::State(span)
    }
}

/// The terms of which an element of a result is the sum.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    count: usize,
    /// Whether they, or what they are made of, may have been rounded to the storage type since they were read.
    rounded: bool,
}

/// Terms that stay in f32 from what was read to the result.
impl From<usize> for Terms {
    fn from(count: usize) -> Self {
        Terms { count, rounded: false }
    }
}

/// Terms on whose way a value may be rounded to the storage type.
pub fn rounded(count: usize) -> Terms {
    Terms { count, rounded: true }
}

/// A result, the terms of its elements, and how large the largest is at least.
#[derive(Clone, Copy, Debug)]
struct Expected {
    name: &'static str,
    place: Place,
    terms: Terms,
    floor: f64,
}

/// Operands under construction, then a call and what it should do.
#[derive(Clone)]
pub struct Case {
    /// Its number within the test.
    pub index: usize,
    pub random: ChaCha8Rng,
    pub activations: Vec<f32>,
    pub state: Vec<f32>,
    labels: Vec<u32>,
    expected: Vec<Expected>,
    /// Whether operands start where the tape would place them.
    aligned: bool,
}

/// Numbers of channels: up to 16, of which the kernels make narrow tiles, and more.
pub const NARROW: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 12, 16];
/// See [`NARROW`].
pub const WIDE: &[usize] = &[17, 24, 32, 33, 48, 64, 96, 130];

/// Places that the tape gives are multiples of this.
const ALIGNMENT: usize = 16;

/// Both memories after a call.
#[derive(Clone)]
pub struct Outcome<T> {
    pub activations: Vec<T>,
    pub state: Vec<T>,
}

impl Case {
    /// Case `index` of the test named by `seed`.
    pub fn new(seed: u64, index: u64) -> Self {
        Case {
            index: index as usize,
            random: generator(seed, Stream::Test, index),
            activations: vec![f32::NAN; 16],
            state: vec![f32::NAN; 16],
            labels: Vec::new(),
            expected: Vec::new(),
            aligned: index % 2 == 1,
        }
    }

    /// One of several.
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.random.random_range(0..n) == 0
    }

    /// About normally distributed: mean 0, deviation 1.
    pub fn normal(&mut self) -> f64 {
        let uniform: f64 = (0..12).map(|_| self.random.random::<f64>()).sum();
        uniform - 6.0
    }

    fn normals(&mut self, len: usize, deviation: f64) -> Vec<f32> {
        (0..len).map(|_| (self.normal() * deviation) as f32).collect()
    }

    /// A shape of at most `work` elements, by reducing the batch, then the image.
    pub fn shape(&mut self, channels: usize, work: usize) -> Shape {
        let sides = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 24, 33];
        let (mut n, mut h, mut w) = (self.choose(&[1, 2, 3, 4, 5]), self.choose(&sides), self.choose(&sides));
        while n * h * w * channels > work.max(channels) {
            if n > 1 {
                n -= 1;
            } else if h >= w {
                h = h.div_ceil(2);
            } else {
                w = w.div_ceil(2);
            }
        }
        Shape::new(n, h, w, channels)
    }

    /// A random number of channels.
    pub fn channels(&mut self) -> usize {
        self.choose(&[NARROW, WIDE].concat())
    }

    /// One of several by turns, each for `run` cases, so that none is left out by chance.
    pub fn turn<T: Copy>(&self, from: &[T], run: usize) -> T {
        from[self.index / run % from.len()]
    }

    /// The length of a gap behind an operand that ends at `end`.
    fn gap(&mut self, end: usize) -> usize {
        let gap = self.random.random_range(1..20);
        if self.aligned { (end + gap).next_multiple_of(ALIGNMENT) - end } else { gap }
    }

    /// From here on operands begin where the tape would place them.
    pub fn align(&mut self) {
        self.aligned = true;
        self.activations.resize(self.activations.len().next_multiple_of(ALIGNMENT), f32::NAN);
        self.state.resize(self.state.len().next_multiple_of(ALIGNMENT), f32::NAN);
    }

    /// These activations, with a gap behind.
    pub fn slot_of(&mut self, values: &[f32]) -> Slot {
        let slot = Slot { offset: self.activations.len(), len: values.len() };
        self.activations.extend_from_slice(values);
        let gap = self.gap(self.activations.len());
        self.activations.extend(std::iter::repeat_n(f32::NAN, gap));
        slot
    }

    /// This state, with a gap behind.
    pub fn span_of(&mut self, values: &[f32]) -> Span {
        let span = Span { offset: self.state.len(), len: values.len() };
        self.state.extend_from_slice(values);
        let gap = self.gap(self.state.len());
        self.state.extend(std::iter::repeat_n(f32::NAN, gap));
        span
    }

    /// Random activations.
    pub fn slot(&mut self, len: usize) -> Slot {
        let values = self.normals(len, 1.0);
        self.slot_of(&values)
    }

    /// Random state with this deviation.
    pub fn span(&mut self, len: usize, deviation: f64) -> Span {
        let values = self.normals(len, deviation);
        self.span_of(&values)
    }

    /// Random state that is far from zero and positive.
    pub fn positive_span(&mut self, len: usize) -> Span {
        let values: Vec<_> = (0..len).map(|_| self.random.random_range(0.5f32..2.0)).collect();
        self.span_of(&values)
    }

    /// A place for a result in the activations: of sums of `terms` terms, about 1 in size.
    pub fn result_slot(&mut self, name: &'static str, len: usize, terms: impl Into<Terms>) -> Slot {
        let slot = self.slot_of(&vec![f32::NAN; len]);
        self.expected.push(Expected {
            name,
            place: Place::Activations(slot),
            terms: terms.into(),
            floor: 1.0,
        });
        slot
    }

    /// A place for a result in the state: of sums of `terms` terms, at least about `floor` in size.
    pub fn result_span(
        &mut self,
        name: &'static str,
        len: usize,
        terms: impl Into<Terms>,
        floor: f64,
    ) -> Span {
        let span = self.span_of(&vec![f32::NAN; len]);
        self.expect(name, span, terms, floor);
        span
    }

    /// Declares that a call may change state.
    pub fn expect(&mut self, name: &'static str, span: Span, terms: impl Into<Terms>, floor: f64) {
        let terms = terms.into();
        self.expected.push(Expected { name, place: Place::State(span), terms, floor });
    }

    /// Declares that a call leaves what was a result as it is.
    pub fn keep(&mut self, place: impl Into<Place>) {
        let place = place.into();
        self.expected.retain(|expected| expected.place != place);
    }

    /// Declares that a result is zero to the last bit.
    pub fn expect_zeros(&mut self, place: impl Into<Place>) {
        let place = place.into();
        let found = self.expected.iter_mut().find(|expected| expected.place == place);
        found.expect("a result").floor = 0.0;
    }

    /// Replaces values by NaN.
    pub fn spoil(&mut self, place: impl Into<Place>) {
        match place.into() {
            Place::Activations(slot) => self.activations[slot.range()].fill(f32::NAN),
            Place::State(span) | Place::Free(span) => self.state[span.range()].fill(f32::NAN),
        }
    }

    /// From here on, what was declared so far is not written. It gets values, as after a forward pass.
    pub fn forget_results(&mut self) {
        for expected in std::mem::take(&mut self.expected) {
            match expected.place {
                Place::Activations(slot) => {
                    let values = self.normals(slot.len, 1.0);
                    self.activations[slot.range()].copy_from_slice(&values);
                }
                Place::State(span) => {
                    let values = self.normals(span.len, 1.0);
                    self.state[span.range()].copy_from_slice(&values);
                }
                Place::Free(_) => self.expected.push(expected),
            }
        }
    }

    /// State that a call may use as it likes.
    pub fn workspace(&mut self, len: usize) -> Span {
        let span = self.span_of(&vec![f32::NAN; len]);
        self.expected.push(Expected {
            name: "workspace",
            place: Place::Free(span),
            terms: 0.into(),
            floor: 0.0,
        });
        span
    }

    /// A target of input gradients, which may hold another consumer's.
    pub fn target(&mut self, name: &'static str, len: usize, terms: impl Into<Terms>) -> Target {
        let accumulate = self.one_in(2);
        let slot = if accumulate { self.slot(len) } else { self.slot_of(&vec![f32::NAN; len]) };
        self.expected.push(Expected {
            name,
            place: Place::Activations(slot),
            terms: terms.into(),
            floor: 1.0,
        });
        Target { slot, accumulate, gate: None }
    }

    /// A batch norm with values for its readers; they need not belong together.
    pub fn norm(&mut self, channels: usize) -> Norm {
        let learned = self.one_in(2);
        Norm {
            mean: self.span(channels, 0.5),
            inverse_deviation: self.positive_span(channels),
            scale: self.positive_span(channels),
            shift: self.span(channels, 0.5),
            gamma: learned.then(|| self.positive_span(channels)),
            beta: learned.then(|| self.span(channels, 1.0)),
        }
    }

    /// An activation, with or without a norm, whose normalised values keep away from zero.
    pub fn operand(&mut self, shape: Shape) -> Operand {
        let channels = shape.c as usize;
        let norm = (!self.one_in(3)).then(|| self.norm(channels));
        let mut values = self.normals(shape.len(), 1.0);
        for (i, value) in values.iter_mut().enumerate() {
            let [scale, shift] = norm.map_or([1.0, 0.0], |norm| {
                [norm.scale, norm.shift].map(|span| self.state[span.offset + i % channels])
            });
            if (scale * *value + shift).abs() < 0.01 {
                *value = (0.02f32.copysign(*value) - shift) / scale;
            }
        }
        Operand { data: self.slot_of(&values), shape, norm }
    }

    /// A output gradient with one to three terms; each element is about 1 in size.
    pub fn unstored_gradient(&mut self, len: usize, channels: usize) -> UnstoredGradient {
        let terms = self.random.random_range(1..4);
        UnstoredGradient {
            terms: (0..terms)
                .map(|_| Term { gradient: self.slot(len), factor: self.span(channels, 0.6) })
                .collect(),
            raw: self.slot(len),
            raw_factor: self.span(channels, 0.3),
            constant: self.span(channels, 0.3),
        }
    }

    /// Random classes.
    pub fn labels(&mut self, rows: usize, classes: usize) {
        self.labels = (0..rows).map(|_| self.random.random_range(0..classes as u32)).collect();
    }

    /// Loads the memories into a backend and makes the call.
    pub fn outcome<B: Backend>(&self, backend: &mut B, call: &Call) -> Outcome<B::Scalar> {
        let convert = |values: &[f32]| -> Vec<_> {
            values.iter().map(|&value| B::Scalar::of(f64::from(value))).collect()
        };
        let slot = Slot { offset: 0, len: self.activations.len() };
        let span = Span { offset: 0, len: self.state.len() };
        backend.reserve(slot.len, span.len).unwrap();
        backend.write_activations(slot, &convert(&self.activations));
        backend.write(span, &convert(&self.state));
        backend.write_labels(&self.labels);
        call.run(backend);
        let (mut activations, mut state) = (convert(&self.activations), convert(&self.state));
        backend.read_activations(slot, &mut activations);
        backend.read(span, &mut state);
        Outcome { activations, state }
    }

    /// This case with every activation as a backend stores it.
    pub fn stored(&self, precision: Precision) -> Case {
        let round = |&value: &f32| match precision {
            Precision::F32 => value,
            Precision::Bf16 => bf16::from_f32(value).to_f32(),
            Precision::F16 => f16::from_f32(value).to_f32(),
        };
        Case { activations: self.activations.iter().map(round).collect(), ..self.clone() }
    }
}
