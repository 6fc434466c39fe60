//! The comparison of a backend with the reference.
//!
//! The truth is the reference in f64, on the operands as the backend stores them. A result may be off by
//!
//! `FACTOR * largest * (epsilon of f32 * sqrt(terms) + epsilon of the storage type, where the call rounds to it)`
//! `+ half an epsilon of the storage type * its value, where it is stored as an activation`,
//!
//! with the largest of all values of the result. The first part is that of sums in f32: the k-th of n additions of random
//! signs rounds a sum of about `sqrt(k) * term`, so that all together are off by about `epsilon * sqrt(n)` of a result that
//! has itself the size of `sqrt(n) * term`. The second is that of operands that are rounded before they are multiplied, as
//! tensor cores want them, or of stored results that are summed again: each of n terms is off by up to `epsilon / 2 * term`,
//! independently, and their sum by about `epsilon / 4 * sqrt(n) * term`: a share of the result that does not grow with n.
//! Rounding to the nearest gives the last part.
//!
//! What no one declared as a result must be what it was.

use darts::backend::Backend;
use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;
use half::{bf16, f16};

use super::{Call, Case, Expected, Outcome, Place};

/// See above. The kernels need up to 1.0 with 16-bit storage, in gradients of depthwise weights, where four values are
/// rounded; and up to 0.7 in f32.
const FACTOR: f64 = 2.0;

/// The distance from 1 to the next stored value.
fn epsilon(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => f64::from(f32::EPSILON),
        Precision::Bf16 => bf16::EPSILON.to_f64(),
        Precision::F16 => f16::EPSILON.to_f64(),
    }
}

impl Expected {
    /// How far an element may be from what it should be.
    fn tolerance(&self, precision: Precision, exact: &[f64]) -> impl Fn(f64) -> f64 + use<> {
        let largest = exact.iter().fold(self.floor, |largest, x| largest.max(x.abs()));
        let count = self.terms.count.max(1) as f64;
        let rounded = if self.terms.rounded { epsilon(precision) } else { 0.0 };
        let noise = FACTOR * largest * (f64::from(f32::EPSILON) * count.sqrt() + rounded);
        let stored = matches!(self.place, Place::Activations(_));
        let half_ulp = if stored { epsilon(precision) / 2.0 } else { 0.0 };
        move |wanted| noise + half_ulp * wanted.abs()
    }

    /// What the result is in an outcome.
    fn of<'a, T>(&self, outcome: &'a Outcome<T>) -> Option<&'a [T]> {
        match self.place {
            Place::Activations(slot) => Some(&outcome.activations[slot.range()]),
            Place::State(span) => Some(&outcome.state[span.range()]),
            Place::Free(_) => None,
        }
    }

    /// Whether zeros in place of the result would be refused, unless it is zero.
    fn refuses_zeros(&self, precision: Precision, exact: &[f64]) -> bool {
        let tolerance = self.tolerance(precision, exact);
        exact.iter().any(|&x| x.abs() > tolerance(x)) || exact.iter().all(|&x| x == 0.0)
    }

    /// Says what is wrong with the result, if anything.
    fn judge(&self, precision: Precision, exact: &[f64], found: &[f32]) -> Result<(), String> {
        let tolerance = self.tolerance(precision, exact);
        for (index, (&found, &wanted)) in found.iter().zip(exact).enumerate() {
            let (found, allowed) = (f64::from(found), tolerance(wanted));
            // Not true of what is no number.
            if (found - wanted).abs() <= allowed {
                continue;
            }
            let name = self.name;
            return Err(format!(
                "{name}: element {index} is {found} and should be {wanted} within {allowed:e}"
            ));
        }
        Ok(())
    }
}

impl Case {
    /// Compares backends with the reference, everywhere in both memories.
    pub fn compare<B: Backend<Scalar = f32>>(
        &self,
        what: &str,
        call: &Call,
        precision: Precision,
        backends: &mut [B],
    ) {
        let case = self.stored(precision);
        let exact = case.outcome(&mut Reference::<f64>::new(), call);
        for (index, backend) in backends.iter_mut().enumerate() {
            let found = case.outcome(backend, call);
            case.judge_results(precision, &exact, &found)
                .and_then(|()| case.judge_rest(&found))
                .unwrap_or_else(|wrong| panic!("{what}, {precision:?}, backend {index}: {wrong}"));
        }
    }

    /// The outcome of the reference in this storage type.
    pub fn rounded_outcome(&self, call: &Call, precision: Precision) -> Outcome<f32> {
        match precision {
            Precision::F32 => self.outcome(&mut Reference::<f32>::new(), call),
            Precision::Bf16 => self.outcome(&mut Reference::<bf16>::new(), call),
            Precision::F16 => self.outcome(&mut Reference::<f16>::new(), call),
        }
    }

    /// Says which result is wrong in an outcome of this case, whose operands are stored in this precision.
    pub fn judge_results(
        &self,
        precision: Precision,
        exact: &Outcome<f64>,
        found: &Outcome<f32>,
    ) -> Result<(), String> {
        for expected in &self.expected {
            if let (Some(exact), Some(found)) = (expected.of(exact), expected.of(found)) {
                assert!(expected.refuses_zeros(precision, exact), "{}: zeros would pass", expected.name);
                expected.judge(precision, exact, found)?;
            }
        }
        Ok(())
    }

    /// Says what changed that is no result.
    pub fn judge_rest(&self, found: &Outcome<f32>) -> Result<(), String> {
        let mut before = Outcome { activations: self.activations.clone(), state: self.state.clone() };
        for expected in &self.expected {
            match expected.place {
                Place::Activations(slot) => {
                    before.activations[slot.range()].copy_from_slice(&found.activations[slot.range()]);
                }
                Place::State(span) | Place::Free(span) => {
                    before.state[span.range()].copy_from_slice(&found.state[span.range()]);
                }
            }
        }
        let memories =
            [("activation", &before.activations, &found.activations), ("state", &before.state, &found.state)];
        for (memory, before, found) in memories {
            let changed = before.iter().zip(found).position(|(a, b)| a.to_bits() != b.to_bits());
            if let Some(index) = changed {
                return Err(format!("{memory} {index} changed"));
            }
        }
        Ok(())
    }
}
