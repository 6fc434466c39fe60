//! Cross-entropy, its gradient, and how many images were classified right.

use super::*;

impl<S: Storage> CrossEntropyKernels for Reference<S> {
    fn cross_entropy(&mut self, op: &CrossEntropy) {
        let rows = S::Scalar::of(op.rows as f64);
        let weight = S::Scalar::of(op.weight);
        let (mut loss, mut first, mut five) = (zero::<S::Scalar>(), 0, 0);
        for row in 0..op.rows {
            let logits: Vec<_> = (0..op.classes).map(|i| self.raw(op.logits, row * op.classes + i)).collect();
            let label = self.labels[row] as usize;
            let largest = logits.iter().copied().fold(S::Scalar::neg_infinity(), S::Scalar::max);
            let sum: S::Scalar = logits.iter().map(|&x| (x - largest).exp()).sum();
            let counts = op.class_weights.map_or(S::Scalar::of(1.0), |weights| self.at(weights, label));
            loss += counts * (sum.ln() + largest - logits[label]);
            for (i, &logit) in logits.iter().enumerate() {
                let target = S::Scalar::of(if i == label { 1.0 } else { 0.0 });
                let slope = counts * weight * ((logit - largest).exp() / sum - target) / rows;
                self.store(op.gradient, row * op.classes + i, slope);
            }
            let before = |i: usize| logits[i] > logits[label] || (logits[i] == logits[label] && i < label);
            let rank = (0..op.classes).filter(|&i| before(i)).count();
            first += usize::from(rank < 1);
            five += usize::from(rank < 5);
        }
        self.put(op.result, 0, loss / rows);
        self.put(op.result, 1, S::Scalar::of(first as f64));
        self.put(op.result, 2, S::Scalar::of(five as f64));
    }
}
