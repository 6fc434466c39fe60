//! Replaying what was recorded.

use std::time::{Duration, Instant};

use super::gates::GateTable;
use super::memory::Moments;
use super::poison::Poison;
use super::recorder::{Operator, Value, Values};
use crate::backend::{Backend, Gradients, Mode, PlacedImage, Replay, Scalar, Span, Work};
use crate::{Error, Result};

/// What a tape is replayed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Training,
    Inference,
}

/// How long an operator took.
#[derive(Clone, Copy, Debug)]
pub struct OperatorTime {
    /// Its name.
    pub name: &'static str,
    /// Its part of the forward replay.
    pub forward: Duration,
    /// Its part of the backward replay.
    pub backward: Duration,
}

/// Makes a dry run of `work` on the owner of a tape, where the device has one: nothing is computed, and
/// [`Tape::reserve`] then provides what `work` takes beside the tensors.
///
/// # Errors
/// The tensors are more than the device can count, or whatever `work` could not do.
pub fn dry_run<B: Backend, O: AsMut<Tape<B>>>(
    owner: &mut O,
    work: impl FnOnce(&mut O) -> Result<()>,
) -> Result<Work> {
    owner.as_mut().demand()?;
    if !owner.as_mut().backend.begin_dry_run() {
        return Ok(Work::default());
    }
    let done = work(owner);
    let found = owner.as_mut().backend.end_dry_run();
    done.map(|()| found)
}

/// A recorded network on a device, ready to be replayed.
pub struct Tape<B: Backend> {
    pub(super) backend: B,
    pub(super) operators: Vec<Box<dyn Operator<B>>>,
    pub(super) values: Values,
    pub(super) accumulators: Vec<Span>,
    pub(super) constants: Vec<(Span, Vec<f64>)>,
    pub(super) gates: GateTable,
    /// Their values, on their way to the device.
    pub(super) gate_values: Vec<B::Scalar>,
    pub(super) poison: Poison,
    pub(super) activations: usize,
    pub(super) state: usize,
    pub(super) peak_bytes: usize,
    pub(super) purpose: Use,
}

impl<B: Backend> AsMut<Tape<B>> for Tape<B> {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

impl<B: Backend> Tape<B> {
    /// Bytes of device memory that [`Tape::reserve`] takes.
    pub fn demand(&self) -> Result<usize> {
        self.backend.demand(self.activations, self.state)
    }

    /// Takes the memory, zeroed but for constants, and opens all gates.
    pub fn reserve(&mut self) -> Result<()> {
        self.peak_bytes = self.demand()?;
        self.backend.reserve(self.activations, self.state)?;
        for (span, values) in &self.constants {
            let values: Vec<_> = values.iter().map(|&value| B::Scalar::of(value)).collect();
            self.backend.write(*span, &values);
        }
        self.write_gates(|_| true);
        Ok(())
    }

    /// Bytes of device memory that a run takes; known, and taken, before its first step.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Computes every value from the inputs.
    pub fn forward(&mut self, mode: Mode) {
        let (operators, poison) = (&self.operators, &self.poison);
        self.backend.replay(Replay::Forward(mode), &mut |backend| forward(operators, poison, backend, mode));
    }

    /// Computes the gradients of the mixing weights and, where wanted, of the weights. Follows a forward replay
    /// with batch statistics or, where that is what is wanted, in inference.
    ///
    /// # Panics
    /// When the tape was recorded for inference.
    pub fn backward(&mut self, wanted: Gradients) {
        assert!(self.purpose == Use::Training, "a tape for inference has no room for gradients");
        let (operators, accumulators, poison) = (&self.operators, &self.accumulators, &self.poison);
        self.backend.replay(Replay::Backward(wanted), &mut |backend| {
            backward(operators, accumulators, poison, backend, wanted);
        });
    }

    /// A forward replay, then a backward replay.
    ///
    /// # Panics
    /// When the tape was recorded for inference.
    pub fn differentiate(&mut self, mode: Mode, wanted: Gradients) {
        assert!(self.purpose == Use::Training, "a tape for inference has no room for gradients");
        let (operators, accumulators, poison) = (&self.operators, &self.accumulators, &self.poison);
        self.backend.replay(Replay::Both(mode, wanted), &mut |backend| {
            forward(operators, poison, backend, mode);
            backward(operators, accumulators, poison, backend, wanted);
        });
    }

    /// Replays forward and backward once and takes the time of each operator, in the order of the recording.
    /// A device that works on after a call returns needs its own profiler.
    ///
    /// # Panics
    /// When the tape was recorded for inference.
    pub fn time(&mut self, mode: Mode, wanted: Gradients) -> Vec<OperatorTime> {
        assert!(self.purpose == Use::Training, "a tape for inference has no room for gradients");
        let mut times = Vec::with_capacity(self.operators.len());
        for operator in &self.operators {
            let start = Instant::now();
            operator.forward(&mut self.backend, mode);
            let forward = start.elapsed();
            times.push(OperatorTime { name: operator.name(), forward, backward: Duration::ZERO });
        }
        for &span in &self.accumulators {
            self.backend.fill(span, 0.0);
        }
        for (operator, time) in self.operators.iter().zip(&mut times).rev() {
            let start = Instant::now();
            operator.backward(&mut self.backend, wanted);
            time.backward = start.elapsed();
        }
        times
    }

    /// The device.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// The device, which may hold another tape then.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// The first failure of the device, after which no result counts.
    pub fn status(&self) -> Result<()> {
        self.backend.status()
    }

    /// Writes an input.
    pub fn write_value(&mut self, value: Value, values: &[B::Scalar]) -> Result<()> {
        let operand = self.values.get(value).operand;
        if operand.data.len != values.len() {
            let reason = format!("{} values for an input of shape {}", values.len(), operand.shape);
            return Err(Error::Shape { operator: "input", reason });
        }
        self.backend.write_activations(operand.data, values);
        Ok(())
    }

    /// Writes an input of images and their labels, which the device augments from its copy of the data set.
    pub fn augment_value(&mut self, value: Value, placements: &[PlacedImage]) -> Result<()> {
        let operand = self.values.get(value).operand;
        let fail = |reason| Err(Error::Shape { operator: "input", reason });
        if operand.shape.n as usize != placements.len() {
            return fail(format!(
                "{} placed images for an input of shape {}",
                placements.len(),
                operand.shape
            ));
        }
        let Some(augmenter) = self.backend.augmenter() else {
            return fail("this device augments no images".into());
        };
        augmenter.augment(operand.data, placements);
        Ok(())
    }

    /// Writes the gradient of an output.
    pub fn write_gradient(&mut self, value: Value, values: &[B::Scalar]) -> Result<()> {
        let record = self.values.get(value);
        if record.gradient.len != values.len() {
            let reason = format!("a gradient of {} values for shape {}", values.len(), record.operand.shape);
            return Err(Error::Shape { operator: "output", reason });
        }
        self.backend.write_activations(record.gradient, values);
        Ok(())
    }

    /// Reads a value as its consumers see it: with its batch norm.
    pub fn read_value(&self, value: Value) -> Vec<B::Scalar> {
        let operand = self.values.get(value).operand;
        let mut values = vec![B::Scalar::default(); operand.data.len];
        self.backend.read_activations(operand.data, &mut values);
        if let Some(norm) = operand.norm {
            let (scale, shift) = (self.read(norm.scale), self.read(norm.shift));
            for (index, value) in values.iter_mut().enumerate() {
                let channel = index % scale.len();
                *value = scale[channel] * *value + shift[channel];
            }
        }
        values
    }

    /// Reads the gradient of an input after a backward replay.
    pub fn read_gradient(&self, value: Value) -> Vec<B::Scalar> {
        let slot = self.values.get(value).gradient;
        let mut values = vec![B::Scalar::default(); slot.len];
        self.backend.read_activations(slot, &mut values);
        values
    }

    /// Reads state into values that exist already.
    pub fn read_into(&self, span: Span, values: &mut [B::Scalar]) {
        self.backend.read(span, values);
    }

    /// Reads state.
    pub fn read(&self, span: Span) -> Vec<B::Scalar> {
        let mut values = vec![B::Scalar::default(); span.len];
        self.backend.read(span, &mut values);
        values
    }
}

fn forward<B: Backend>(operators: &[Box<dyn Operator<B>>], poison: &Poison, backend: &mut B, mode: Mode) {
    let moments = Moments { operators: operators.len() };
    for (index, operator) in operators.iter().enumerate() {
        poison.around(moments.forward(index), backend, |backend| operator.forward(backend, mode));
    }
}

fn backward<B: Backend>(
    operators: &[Box<dyn Operator<B>>],
    accumulators: &[Span],
    poison: &Poison,
    backend: &mut B,
    wanted: Gradients,
) {
    for &span in accumulators {
        backend.fill(span, 0.0);
    }
    let moments = Moments { operators: operators.len() };
    for (index, operator) in operators.iter().enumerate().rev() {
        poison.around(moments.backward(index), backend, |backend| operator.backward(backend, wanted));
    }
}
