//! The executable specification: every kernel as plain loops, generic over the storage type.
//!
//! Nothing here is optimised. It is the text to read first and the truth that faster backends are
//! compared with.

mod batch_norm;
mod bypass;
mod channel_slice;
mod convolution;
mod cross_entropy;
mod dropout;
mod global_pool;
mod gradient_descent;
mod linear;
mod mixed;
mod node_sum;
mod normalised_pools;
mod pointwise;
mod pool;
mod separable;
mod vectors;

use num_traits::Float;

use super::*;
use crate::Result;

/// A type activations are stored in, and the type its sums are computed in.
pub trait Storage: Copy + Default + Send + Sync + 'static {
    /// The accumulation type.
    type Scalar: Scalar;
    /// The stored value.
    fn get(self) -> Self::Scalar;
    /// The nearest storable value.
    fn set(value: Self::Scalar) -> Self;
}

impl Storage for f32 {
    type Scalar = f32;
    fn get(self) -> f32 {
        self
    }
    fn set(value: f32) -> f32 {
        value
    }
}

impl Storage for f64 {
    type Scalar = f64;
    fn get(self) -> f64 {
        self
    }
    fn set(value: f64) -> f64 {
        value
    }
}

impl Storage for half::bf16 {
    type Scalar = f32;
    fn get(self) -> f32 {
        self.to_f32()
    }
    fn set(value: f32) -> Self {
        half::bf16::from_f32(value)
    }
}

impl Storage for half::f16 {
    type Scalar = f32;
    fn get(self) -> f32 {
        self.to_f32()
    }
    fn set(value: f32) -> Self {
        half::f16::from_f32(value)
    }
}

/// The reference backend: activations stored as `S`, sums in `S::Scalar`.
#[derive(Default)]
pub struct Reference<S: Storage> {
    activations: Vec<S>,
    state: Vec<S::Scalar>,
    labels: Vec<u32>,
}

impl<S: Storage> Reference<S> {
    /// A backend without memory.
    pub fn new() -> Self {
        Reference { activations: Vec::new(), state: Vec::new(), labels: Vec::new() }
    }

    /// Element `index` of a stored activation.
    fn raw(&self, slot: Slot, index: usize) -> S::Scalar {
        debug_assert!(index < slot.len);
        self.activations[slot.offset + index].get()
    }

    /// Element `index` of channel `channel` as its readers see it.
    fn value(&self, data: Slot, norm: Option<Norm>, index: usize, channel: usize) -> S::Scalar {
        let x = self.raw(data, index);
        match norm {
            Some(norm) => self.at(norm.scale, channel) * x + self.at(norm.shift, channel),
            None => x,
        }
    }

    /// Element `index` after the ReLU; NaN passes through.
    fn activated(&self, operand: &Operand, index: usize, channel: usize) -> S::Scalar {
        let value = self.value(operand.data, operand.norm, index, channel);
        if value < zero() { zero() } else { value }
    }

    /// Element `index` of the gradient of a raw value.
    fn unstored_gradient(&self, gradient: &UnstoredGradient, index: usize, channel: usize) -> S::Scalar {
        let own = self.at(gradient.raw_factor, channel) * self.raw(gradient.raw, index);
        let terms =
            gradient.terms.iter().map(|term| self.at(term.factor, channel) * self.raw(term.gradient, index));
        terms.sum::<S::Scalar>() + own + self.at(gradient.constant, channel)
    }

    /// Element `index` of the gradient of a result.
    fn result_gradient(&self, gradient: &ResultGradient, index: usize, channel: usize) -> S::Scalar {
        match gradient {
            ResultGradient::Stored(slot) => self.raw(*slot, index),
            ResultGradient::Unstored(gradient) => self.unstored_gradient(gradient, index, channel),
        }
    }

    fn store(&mut self, slot: Slot, index: usize, value: S::Scalar) {
        debug_assert!(index < slot.len);
        self.activations[slot.offset + index] = S::set(value);
    }

    /// Assigns or adds a whole gradient.
    fn deliver(&mut self, target: Target, values: &[S::Scalar]) {
        for (index, &value) in values.iter().enumerate() {
            let before = if target.accumulate { self.raw(target.slot, index) } else { zero() };
            self.store(target.slot, index, before + value);
        }
    }

    /// Whether work behind this gate is done.
    fn open(&self, gate: Option<Span>) -> bool {
        gate.is_none_or(|gate| self.at(gate, 0) != zero())
    }

    /// What closed work leaves where it would deliver a gradient.
    fn withhold(&mut self, target: Target) {
        if !target.accumulate && self.open(target.gate) {
            self.activations[target.slot.range()].fill(S::default());
        }
    }

    /// The gradients of closed work's weights.
    fn clear(&mut self, gradients: &[Span]) {
        gradients.iter().for_each(|span| self.state[span.range()].fill(zero()));
    }

    fn at(&self, span: Span, index: usize) -> S::Scalar {
        debug_assert!(index < span.len);
        self.state[span.offset + index]
    }

    fn put(&mut self, span: Span, index: usize, value: S::Scalar) {
        debug_assert!(index < span.len);
        self.state[span.offset + index] = value;
    }

    /// Mean and biased variance per channel of a stored activation.
    fn moments(&mut self, slot: Slot, channels: usize, statistics: Span) {
        let count = S::Scalar::of((slot.len / channels) as f64);
        for channel in 0..channels {
            let column = || (channel..slot.len).step_by(channels);
            let mean = column().map(|i| self.raw(slot, i)).sum::<S::Scalar>() / count;
            let variance = column().map(|i| (self.raw(slot, i) - mean).powi(2)).sum::<S::Scalar>() / count;
            self.put(statistics, channel, mean);
            self.put(statistics, channels + channel, variance);
        }
    }
}

/// Zero, short enough to use everywhere.
fn zero<T: num_traits::Zero>() -> T {
    T::zero()
}

/// Sides of a shape as indices.
fn sides(shape: Shape) -> [usize; 4] {
    [shape.n as usize, shape.h as usize, shape.w as usize, shape.c as usize]
}

/// The pixel of the input under tap `tap` of the window at `position`, where there is one.
fn source(position: usize, stride: usize, tap: usize, padding: usize, side: usize) -> Option<usize> {
    (position * stride + tap).checked_sub(padding).filter(|&at| at < side)
}

impl<S: Storage> Backend for Reference<S> {}

impl<S: Storage> Device for Reference<S> {
    type Scalar = S::Scalar;

    fn reserve(&mut self, activations: usize, state: usize) -> Result<()> {
        self.activations = vec![S::default(); activations];
        self.state = vec![zero(); state];
        Ok(())
    }

    fn activation_bytes(&self) -> usize {
        size_of::<S>()
    }

    fn write_activations(&mut self, slot: Slot, values: &[S::Scalar]) {
        for (stored, &value) in self.activations[slot.range()].iter_mut().zip(values) {
            *stored = S::set(value);
        }
    }

    fn read_activations(&self, slot: Slot, values: &mut [S::Scalar]) {
        for (value, stored) in values.iter_mut().zip(&self.activations[slot.range()]) {
            *value = stored.get();
        }
    }

    fn write(&mut self, span: Span, values: &[S::Scalar]) {
        self.state[span.range()].copy_from_slice(values);
    }

    fn read(&self, span: Span, values: &mut [S::Scalar]) {
        values.copy_from_slice(&self.state[span.range()]);
    }

    fn write_labels(&mut self, labels: &[u32]) {
        self.labels.clear();
        self.labels.extend_from_slice(labels);
    }
}
