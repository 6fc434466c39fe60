//! Cross-entropy: plain loops, with sums in f64.

use super::{Cpu, CrossEntropy, CrossEntropyKernels};

impl CrossEntropyKernels for Cpu {
    fn cross_entropy(&mut self, op: &CrossEntropy) {
        let memory = self.memory();
        let rows = op.rows as f64;
        let (mut loss, mut first, mut five) = (0.0, 0, 0);
        for row in 0..op.rows {
            // SAFETY: rows lie in the slots, which are disjoint.
            let (logits, slopes) = unsafe {
                let logits = memory.slot(op.logits).slice(row * op.classes, op.classes);
                (logits, memory.slot(op.gradient).slice_mut(row * op.classes, op.classes))
            };
            let label = self.labels[row] as usize;
            let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let power = |logit: f32| (f64::from(logit) - largest).exp();
            let sum: f64 = logits.iter().map(|&logit| power(logit)).sum();
            // SAFETY: there is a weight for each class, and a label is less than the number of classes.
            let counts =
                op.class_weights.map_or(1.0, |weights| unsafe { memory.span(weights).get(label) }.into());
            loss += counts * (sum.ln() + largest - f64::from(logits[label]));
            for (i, (slope, &logit)) in slopes.iter_mut().zip(logits).enumerate() {
                let target = if i == label { 1.0 } else { 0.0 };
                *slope = (counts * op.weight * (power(logit) / sum - target) / rows) as f32;
            }
            let before = |i: usize| logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
            let rank = (0..op.classes).filter(|&i| before(i)).count();
            first += u32::from(rank < 1);
            five += u32::from(rank < 5);
        }
        let result = memory.span(op.result);
        // SAFETY: the result holds three numbers.
        unsafe {
            result.set(0, (loss / rows) as f32);
            result.set(1, first as f32);
            result.set(2, five as f32);
        }
    }
}
