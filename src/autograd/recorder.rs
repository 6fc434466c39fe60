//! Recording: values, the operators between them, and where they will lie.

use super::batch_norm::Normalised;
use super::gates::GateTable;
use super::memory::{Interval, Moments, SlotId, place};
use super::poison::Poison;
use super::tape::{Tape, Use, dry_run};
use crate::Result;
use crate::backend::{Backend, Gradients, Mode, Norm, Operand, Shape, Slot, Span, Sums, Target};

/// A recorded activation: the handle that operators are connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value(pub(super) usize);

/// A weight tensor and its gradient, parts of the two flat vectors.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// The values.
    pub value: Span,
    /// The gradient of the loss by them.
    pub gradient: Span,
}

/// When an operator touches a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In the forward replay.
    Forward,
    /// In the backward replay.
    Backward,
    /// In both: what it holds must survive from one to the other.
    Both,
}

/// One recorded operator. What it asks of the device is the same at every replay, which a device may record: what
/// changes from step to step lies in the device's memory.
pub trait Operator<B: Backend>: Send {
    /// What it is called in a list of times.
    fn name(&self) -> &'static str;
    /// Computes the outputs.
    fn forward(&self, backend: &mut B, mode: Mode);
    /// Computes the gradients of inputs and, where wanted, of weights.
    fn backward(&self, backend: &mut B, wanted: Gradients);
    /// Learns, once the recording is complete, who reads the outputs.
    fn bind(&mut self, values: &Values);
    /// Shows every slot it touches, each field once.
    fn slots(&mut self, visit: &mut dyn FnMut(Phase, &mut Slot));
    /// Shows every gradient it delivers, in the order in which it does so.
    fn targets(&mut self, visit: &mut dyn FnMut(&mut Target));
}

/// How the sums of a batch norm's backward over the gradient of a value are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormSums {
    /// By a consumer, while it delivers the gradient, as separable convolutions and node sums do.
    Fused,
    /// In a pass of their own.
    Separate,
}

/// What the tape knows of one value.
#[derive(Clone, Debug)]
pub struct ValueRecord {
    /// Where and how it is read.
    pub operand: Operand,
    /// The gradient that consumers add to.
    pub gradient: Slot,
    /// Number of consumers that add to the gradient.
    pub consumers: usize,
    /// How the sums of the batch norm's backward can be found, if there is one such consumer.
    pub sums: BatchNormSums,
    /// The batch norm between the stored value and its readers.
    pub normalised: Option<Normalised>,
    /// Closed where the value is not computed.
    pub gate: Option<Span>,
}

/// All values of a recording.
#[derive(Default)]
pub struct Values(Vec<ValueRecord>);

impl Values {
    /// What is known of a value.
    pub fn get(&self, value: Value) -> &ValueRecord {
        &self.0[value.0]
    }

    /// Where consumers deliver the gradient of a value. Who is first becomes known when the recording ends.
    pub fn target(&self, value: Value) -> Target {
        let record = self.get(value);
        Target { slot: record.gradient, accumulate: false, gate: record.gate }
    }

    /// Where a value's only consumer leaves the sums of its batch norm's backward, if that consumer can.
    pub fn fused_sums(&self, value: Value) -> Option<Sums> {
        let record = self.get(value);
        let normalised = record.normalised.as_ref()?;
        (record.consumers == 1 && record.sums == BatchNormSums::Fused).then_some(normalised.direct.sums)
    }
}

/// A network while it is being recorded.
pub struct Recorder<B: Backend> {
    pub(super) values: Values,
    operators: Vec<Box<dyn Operator<B>>>,
    slots: usize,
    state: usize,
    accumulators: Vec<Span>,
    constants: Vec<(Span, Vec<f64>)>,
    pub(super) gates: GateTable,
    kept: Vec<Value>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

impl<B: Backend> Default for Recorder<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> Recorder<B> {
    /// An empty recording.
    pub fn new() -> Self {
        Recorder {
            values: Values::default(),
            operators: Vec::new(),
            slots: 0,
            state: 0,
            accumulators: Vec::new(),
            constants: Vec::new(),
            gates: GateTable::default(),
            kept: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Reserves state memory: weights, optimiser moments, statistics. Starts at zero.
    pub fn span(&mut self, len: usize) -> Span {
        let span = Span { offset: self.state, len };
        // Vectors start on a cache line.
        self.state += len.next_multiple_of(16);
        span
    }

    /// State memory that holds these values from the start.
    pub(super) fn constant(&mut self, values: Vec<f64>) -> Span {
        let span = self.span(values.len());
        self.constants.push((span, values));
        span
    }

    /// Declares an activation that is written from outside and stays until it is written again.
    pub fn input(&mut self, shape: Shape) -> Value {
        let value = self.value(shape, None);
        self.inputs.push(value);
        value
    }

    /// Keeps a value readable until the end of the backward replay.
    pub fn keep(&mut self, value: Value) {
        self.kept.push(value);
    }

    /// Declares that the gradient of a value is written from outside before each backward replay.
    pub fn output(&mut self, value: Value) {
        self.consume(value, BatchNormSums::Separate);
        self.outputs.push(value);
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        self.values.get(value).operand.shape
    }

    /// How a value is read.
    pub(super) fn operand(&self, value: Value) -> Operand {
        self.values.get(value).operand
    }

    /// A new value without a batch norm, which is computed where its gate is open.
    pub(super) fn gated_value(&mut self, shape: Shape, gate: Option<Span>) -> Value {
        let value = self.value(shape, None);
        self.record_of(value).gate = gate;
        value
    }

    /// A new value, with the batch norm that its readers apply.
    pub(super) fn value(&mut self, shape: Shape, normalised: Option<Normalised>) -> Value {
        let gate = normalised.as_ref().and_then(|normalised| normalised.forward.gate);
        let norm: Option<Norm> = normalised.as_ref().map(|n| n.forward.norm);
        let record = ValueRecord {
            operand: Operand { data: self.slot(shape.len()), shape, norm },
            gradient: self.slot(shape.len()),
            consumers: 0,
            sums: BatchNormSums::Separate,
            normalised,
            gate,
        };
        self.values.0.push(record);
        Value(self.values.0.len() - 1)
    }

    /// A slot whose place is decided when the recording ends.
    pub(super) fn slot(&mut self, len: usize) -> Slot {
        self.slots += 1;
        SlotId(self.slots - 1).unplaced(len)
    }

    /// A span that is zeroed before each backward replay.
    pub fn accumulator(&mut self, len: usize) -> Span {
        let span = self.span(len);
        self.accumulators.push(span);
        span
    }

    /// Notes that an operator reads `value` and adds to its gradient; and how the sums of the batch norm's backward can
    /// then be found.
    pub(super) fn consume(&mut self, value: Value, sums: BatchNormSums) {
        let record = &mut self.values.0[value.0];
        record.consumers += 1;
        if sums == BatchNormSums::Fused {
            record.sums = sums;
        }
    }

    pub(super) fn record_of(&mut self, value: Value) -> &mut ValueRecord {
        &mut self.values.0[value.0]
    }

    /// Appends an operator.
    pub(super) fn push(&mut self, operator: impl Operator<B> + 'static) {
        self.operators.push(Box::new(operator));
    }

    /// Ends the recording and reserves the memory, for any replay.
    pub fn finish(self, backend: B) -> Result<Tape<B>> {
        let mut tape = self.lay_out(backend);
        let replays = |tape: &mut Tape<B>| {
            for mode in [Mode::Train, Mode::TrainKeepRunning, Mode::Inference] {
                tape.forward(mode);
                tape.backward(Gradients::All);
            }
            Ok(())
        };
        dry_run(&mut tape, replays)?;
        tape.reserve()?;
        Ok(tape)
    }

    /// Ends the recording of a network that is only replayed forward, and reserves the memory: there is no room for
    /// gradients, and values make room as soon as they were read.
    pub fn finish_inference(self, backend: B) -> Result<Tape<B>> {
        let mut tape = self.lay_out_for(backend, Use::Inference);
        dry_run(&mut tape, |tape| {
            tape.forward(Mode::Inference);
            Ok(())
        })?;
        tape.reserve()?;
        Ok(tape)
    }

    /// Ends the recording: decides who assigns each gradient, and lays out the memory, which is still to be
    /// made ready by a [dry run](dry_run) and [reserved](Tape::reserve).
    pub fn lay_out(self, backend: B) -> Tape<B> {
        self.lay_out_for(backend, Use::Training)
    }

    fn lay_out_for(mut self, backend: B, purpose: Use) -> Tape<B> {
        for operator in &mut self.operators {
            operator.bind(&self.values);
        }
        self.decide_first_writers();
        let moments = Moments { operators: self.operators.len() };
        let lives = self.lives(moments, purpose);
        let (offsets, activations) = place(&lives);
        let mut order = Vec::new();
        let mut settle = |slot: &mut Slot| {
            let SlotId(id) = SlotId::of(*slot);
            order.push(id);
            // A slot that no one uses stays without a place.
            *slot = lives[id].slot(offsets[id]).unwrap_or(*slot);
        };
        each_slot(&mut self.operators, &mut self.values, &mut settle);
        Tape {
            poison: Poison::new(moments, lives, order),
            activations,
            state: self.state,
            peak_bytes: 0,
            backend,
            operators: self.operators,
            values: self.values,
            accumulators: self.accumulators,
            constants: self.constants,
            gate_values: vec![B::Scalar::default(); self.gates.len()],
            gates: self.gates,
            purpose,
        }
    }

    /// In the backward replay the first consumer to deliver a gradient assigns, the others add.
    fn decide_first_writers(&mut self) {
        let mut written = vec![false; self.slots];
        for &value in &self.outputs {
            written[SlotId::of(self.values.get(value).gradient).0] = true;
        }
        for operator in self.operators.iter_mut().rev() {
            operator.targets(&mut |target| {
                target.accumulate = std::mem::replace(&mut written[SlotId::of(target.slot).0], true);
            });
        }
    }

    /// Each slot lives from the first to the last operator that touches it, forward operators counted up,
    /// then backward ones; slots whose lives do not meet share memory.
    fn lives(&mut self, moments: Moments, purpose: Use) -> Vec<Interval> {
        let mut lives = vec![Interval::default(); self.slots];
        let mut touch = |slot: Slot, time: usize| lives[SlotId::of(slot).0].touch(time, slot.len);
        for (index, operator) in self.operators.iter_mut().enumerate() {
            operator.slots(&mut |phase, slot| {
                if phase != Phase::Backward {
                    touch(*slot, moments.forward(index));
                }
                if phase != Phase::Forward && purpose == Use::Training {
                    touch(*slot, moments.backward(index));
                }
            });
        }
        for &value in self.kept.iter().chain(&self.inputs) {
            touch(self.values.get(value).operand.data, moments.end());
        }
        for &value in &self.inputs {
            let record = self.values.get(value);
            touch(record.operand.data, moments.start());
            if record.consumers > 0 && purpose == Use::Training {
                touch(record.gradient, moments.end());
            }
        }
        for &value in &self.outputs {
            touch(self.values.get(value).gradient, moments.middle());
        }
        lives
    }
}

/// Shows every slot of a recording, in an order that stays the same.
pub(super) fn each_slot<B: Backend>(
    operators: &mut [Box<dyn Operator<B>>],
    values: &mut Values,
    visit: &mut dyn FnMut(&mut Slot),
) {
    operators.iter_mut().for_each(|operator| operator.slots(&mut |_, slot| visit(slot)));
    for record in &mut values.0 {
        visit(&mut record.operand.data);
        visit(&mut record.gradient);
    }
}
