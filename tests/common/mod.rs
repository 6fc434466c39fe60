//! Random operands, laid out in the two memories of a device, and the comparison of a backend with the
//! reference.
//!
//! All values are numbers of f32, so that the reference sees the same inputs in f64. What a call assigns
//! holds NaN before, and so do the gaps between operands: a backend that reads what it should not, or
//! leaves out what it should write, ends up with NaN.

// Each test binary uses a part of this.
#![allow(dead_code)]

use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;
use darts::backend::*;
use darts::random::{Stream, generator};
use half::{bf16, f16};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A call of a backend with its operands.
pub enum Call {
    ConvolutionForward(Convolution),
    ConvolutionBackward(Convolution, ConvolutionGradient),
    SeparableForward(Separable),
    SeparableBackward(Separable, SeparableGradient, bool),
    PointwiseForward(Pointwise),
    PointwiseBackward(Pointwise, PointwiseGradient, bool),
    PoolForward(Pool),
    PoolBackward(Pool, PoolGradient),
    WindowPoolForward(WindowPool),
    WindowPoolBackward(WindowPool, WindowPoolGradient),
    JoinForward(Join),
    JoinBackward(Join, JoinGradient),
    BatchNormForward(Vec<BatchNorm>, Mode),
    BatchNormReduce(BatchNormReduce),
    BatchNormBackward(Vec<BatchNormGradient>),
    MixedForward(Mixed),
    MixedBackward(Mixed, MixedGradient),
    GlobalPoolForward(GlobalPool),
    GlobalPoolBackward(GlobalPool, GlobalPoolGradient),
    LinearForward(Linear),
    LinearBackward(Linear, LinearGradient, bool),
    CrossEntropy(CrossEntropy),
    SoftmaxForward(Softmax),
    SoftmaxBackward(Softmax, SoftmaxGradient),
    Fill(Span, f64),
    Copy(Span, Span),
    ScaledAdd(Span, f64, Option<Span>, Span),
    Norm(Span, Span),
    GradientDescent(GradientDescent),
    Adam(Adam),
}

impl Call {
    /// Makes the call.
    pub fn run<B: Backend>(&self, backend: &mut B) {
        match self {
            Call::ConvolutionForward(op) => backend.convolution_forward(op),
            Call::ConvolutionBackward(op, gradient) => backend.convolution_backward(op, gradient),
            Call::SeparableForward(op) => backend.separable_forward(op),
            Call::SeparableBackward(op, gradient, weights) => {
                backend.separable_backward(op, gradient, *weights);
            }
            Call::PointwiseForward(op) => backend.pointwise_forward(op),
            Call::PointwiseBackward(op, gradient, weights) => {
                backend.pointwise_backward(op, gradient, *weights);
            }
            Call::PoolForward(op) => backend.pool_forward(op),
            Call::PoolBackward(op, gradient) => backend.pool_backward(op, gradient),
            Call::WindowPoolForward(op) => backend.window_pool_forward(op),
            Call::WindowPoolBackward(op, gradient) => backend.window_pool_backward(op, gradient),
            Call::JoinForward(op) => backend.join_forward(op),
            Call::JoinBackward(op, gradient) => backend.join_backward(op, gradient),
            Call::BatchNormForward(norms, mode) => backend.batch_norm_forward(norms, *mode),
            Call::BatchNormReduce(op) => backend.batch_norm_reduce(op),
            Call::BatchNormBackward(gradients) => backend.batch_norm_backward(gradients),
            Call::MixedForward(op) => backend.mixed_forward(op),
            Call::MixedBackward(op, gradient) => backend.mixed_backward(op, gradient),
            Call::GlobalPoolForward(op) => backend.global_pool_forward(op),
            Call::GlobalPoolBackward(op, gradient) => backend.global_pool_backward(op, gradient),
            Call::LinearForward(op) => backend.linear_forward(op),
            Call::LinearBackward(op, gradient, weights) => backend.linear_backward(op, gradient, *weights),
            Call::CrossEntropy(op) => backend.cross_entropy(op),
            Call::SoftmaxForward(op) => backend.softmax_forward(op),
            Call::SoftmaxBackward(op, gradient) => backend.softmax_backward(op, gradient),
            Call::Fill(span, value) => backend.fill(*span, *value),
            Call::Copy(target, source) => backend.copy(*target, *source),
            Call::ScaledAdd(target, factor, divisor, source) => {
                backend.scaled_add(*target, *factor, *divisor, *source);
            }
            Call::Norm(source, result) => backend.norm(*source, *result),
            Call::GradientDescent(step) => backend.gradient_descent(step),
            Call::Adam(step) => backend.adam(step),
        }
    }
}

/// Where a result lies.
#[derive(Clone, Copy, Debug)]
enum Place {
    Activations(Slot),
    State(Span),
    /// Written as the backend likes.
    Free(Span),
}

/// A result, how many terms each of its elements sums, and how large it is at least.
#[derive(Clone, Copy, Debug)]
struct Expected {
    name: &'static str,
    place: Place,
    terms: usize,
    floor: f64,
}

/// Operands under construction, then a call and what it should do.
pub struct Case {
    pub random: ChaCha8Rng,
    activations: Vec<f32>,
    state: Vec<f32>,
    labels: Vec<u32>,
    expected: Vec<Expected>,
    /// Whether operands start where the tape would place them.
    aligned: bool,
}

/// Places that the tape gives are multiples of this.
const ALIGNMENT: usize = 16;

/// Both memories after a call.
pub struct Outcome<T> {
    pub activations: Vec<T>,
    pub state: Vec<T>,
}

impl Case {
    /// Case `index` of the test named by `seed`.
    pub fn new(seed: u64, index: u64) -> Self {
        Case {
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
        self.choose(&[1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 24, 32, 33, 48, 64, 96, 130])
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
    pub fn result_slot(&mut self, name: &'static str, len: usize, terms: usize) -> Slot {
        let slot = self.slot_of(&vec![f32::NAN; len]);
        self.expected.push(Expected { name, place: Place::Activations(slot), terms, floor: 1.0 });
        slot
    }

    /// A place for a result in the state: of sums of `terms` terms, at least about `floor` in size.
    pub fn result_span(&mut self, name: &'static str, len: usize, terms: usize, floor: f64) -> Span {
        let span = self.span_of(&vec![f32::NAN; len]);
        self.expect(name, span, terms, floor);
        span
    }

    /// Declares that a call may change state.
    pub fn expect(&mut self, name: &'static str, span: Span, terms: usize, floor: f64) {
        self.expected.push(Expected { name, place: Place::State(span), terms, floor });
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
        self.expected.push(Expected { name: "workspace", place: Place::Free(span), terms: 0, floor: 0.0 });
        span
    }

    /// A target of input gradients, which may hold another consumer's.
    pub fn target(&mut self, name: &'static str, len: usize, terms: usize) -> Target {
        let accumulate = self.one_in(2);
        let slot = if accumulate { self.slot(len) } else { self.slot_of(&vec![f32::NAN; len]) };
        self.expected.push(Expected { name, place: Place::Activations(slot), terms, floor: 1.0 });
        Target { slot, accumulate }
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

    /// A cotangent with one to three terms; each element is about 1 in size.
    pub fn cotangent(&mut self, len: usize, channels: usize) -> Cotangent {
        let terms = self.random.random_range(1..4);
        Cotangent {
            terms: (0..terms)
                .map(|_| Term { gradient: self.slot(len), factor: self.span(channels, 0.6) })
                .collect(),
            raw: self.slot(len),
            slope: self.span(channels, 0.3),
            offset: self.span(channels, 0.3),
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
    fn stored(&self, precision: Precision) -> Case {
        let round = |&value: &f32| match precision {
            Precision::F32 => value,
            Precision::Bf16 => bf16::from_f32(value).to_f32(),
            Precision::F16 => f16::from_f32(value).to_f32(),
        };
        Case {
            random: self.random.clone(),
            activations: self.activations.iter().map(round).collect(),
            state: self.state.clone(),
            labels: self.labels.clone(),
            expected: self.expected.clone(),
            aligned: self.aligned,
        }
    }

    /// Compares backends with the reference in the same storage type and in f64, everywhere in both memories.
    ///
    /// A sum of n terms of random signs is wrong by about `epsilon * sqrt(n)` of the largest sum around, with
    /// the epsilon of the type that terms are stored in; four times that is allowed between a backend and f64,
    /// eight times between two that round. What no one declared as a result must be what it was.
    pub fn compare<B: Backend<Scalar = f32>>(
        &self,
        what: &str,
        call: &Call,
        precision: Precision,
        backends: &mut [B],
    ) {
        let case = self.stored(precision);
        let exact = case.outcome(&mut Reference::<f64>::new(), call);
        let (plain, epsilon) = match precision {
            Precision::F32 => (case.outcome(&mut Reference::<f32>::new(), call), f32::EPSILON),
            Precision::Bf16 => (case.outcome(&mut Reference::<bf16>::new(), call), bf16::EPSILON.to_f32()),
            Precision::F16 => (case.outcome(&mut Reference::<f16>::new(), call), f16::EPSILON.to_f32()),
        };
        for (index, backend) in backends.iter_mut().enumerate() {
            let what = format!("{what}, {precision:?}, backend {index}");
            let found = case.outcome(backend, call);
            for expected in &case.expected {
                let range = match expected.place {
                    Place::Activations(slot) => slot.range(),
                    Place::State(span) => span.range(),
                    Place::Free(_) => continue,
                };
                let activations = matches!(expected.place, Place::Activations(_));
                let pick = |outcome: &Outcome<f32>| -> Vec<f64> {
                    let all = if activations { &outcome.activations } else { &outcome.state };
                    all[range.clone()].iter().map(|&x| f64::from(x)).collect()
                };
                let exact = if activations { &exact.activations } else { &exact.state };
                let exact = &exact[range.clone()];
                let largest = exact.iter().fold(expected.floor, |largest, x| largest.max(x.abs()));
                let noise = f64::from(epsilon) * (expected.terms.max(1) as f64).sqrt() * largest;
                let where_ = format!("{what}: {}", expected.name);
                assert_close(&format!("{where_}, f64"), &pick(&found), exact, 4.0 * noise);
                assert_close(&format!("{where_}, reference"), &pick(&found), &pick(&plain), 8.0 * noise);
            }
            case.assert_rest_untouched(&what, &found);
        }
    }

    fn assert_rest_untouched(&self, what: &str, found: &Outcome<f32>) {
        let mut before = Outcome { activations: self.activations.clone(), state: self.state.clone() };
        for expected in &self.expected {
            match expected.place {
                Place::Activations(slot) => {
                    before.activations[slot.range()].copy_from_slice(&found.activations[slot.range()])
                }
                Place::State(span) | Place::Free(span) => {
                    before.state[span.range()].copy_from_slice(&found.state[span.range()]);
                }
            }
        }
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(same(&before.activations, &found.activations), None, "{what}: an activation changed");
        assert_eq!(same(&before.state, &found.state), None, "{what}: state changed");
    }
}

/// Every element within the tolerance, and none of them NaN.
fn assert_close(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!(
            (found - wanted).abs() <= tolerance,
            "{what}: element {index} is {found} and should be {wanted} within {tolerance:e}"
        );
    }
}
