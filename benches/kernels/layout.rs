//! Where the operands of a benchmark lie.

use darts::backend::*;

use crate::timer::Device;

/// Classes of the images.
pub const CLASSES: usize = 10;

/// Lays out operands in the memories of a device.
#[derive(Default)]
pub struct Layout {
    activations: usize,
    state: usize,
}

impl Layout {
    pub fn slot(&mut self, len: usize) -> Slot {
        let slot = Slot { offset: self.activations, len };
        self.activations += len.next_multiple_of(16);
        slot
    }

    pub fn span(&mut self, len: usize) -> Span {
        let span = Span { offset: self.state, len };
        self.state += len.next_multiple_of(16);
        span
    }

    pub fn norm(&mut self, c: usize) -> Norm {
        Norm {
            mean: self.span(c),
            inverse_deviation: self.span(c),
            scale: self.span(c),
            shift: self.span(c),
            gamma: None,
            beta: None,
        }
    }

    pub fn operand(&mut self, shape: Shape) -> Operand {
        Operand { data: self.slot(shape.len()), shape, norm: Some(self.norm(shape.c as usize)) }
    }

    pub fn unstored_gradient(&mut self, raw: Slot, shape: Shape) -> UnstoredGradient {
        let c = shape.c as usize;
        UnstoredGradient {
            terms: vec![Term { gradient: self.slot(shape.len()), factor: self.span(c) }],
            raw,
            raw_factor: self.span(c),
            constant: self.span(c),
        }
    }

    pub fn target(&mut self, shape: Shape) -> Target {
        Target { slot: self.slot(shape.len()), accumulate: false, gate: None }
    }

    /// Sums of the backward of a batch norm.
    pub fn sums(&mut self, c: usize) -> Sums {
        Sums { total: self.span(c), products: self.span(c) }
    }

    /// Gives a device these memories, filled with small numbers, and labels for a batch.
    pub fn fill<B: Device>(&self, backend: &mut B, batch: usize) {
        // One number at least, which is read to wait for the device.
        let state = self.state.max(1);
        backend.reserve(self.activations, state).expect("memory for the benchmark");
        let values =
            |len: usize| -> Vec<f32> { (0..len).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect() };
        backend.write_activations(Slot { offset: 0, len: self.activations }, &values(self.activations));
        backend.write(Span { offset: 0, len: state }, &values(state));
        let labels: Vec<u32> = (0..batch).map(|image| (image % CLASSES) as u32).collect();
        backend.write_labels(&labels);
    }
}
