//! The notes of a [`Counter`], and what the kernels that several operators share, or that two passes of one, must move.

use std::collections::BTreeMap;

use darts::backend::*;

use super::call::{Call, Work};
use super::operators::*;
use super::statistics::COMBINE;

/// Operations of a mean and a variance for each value: a sum, a deviation, and the sums of deviations and squares.
pub const MOMENTS: usize = 5;

/// Notes the work of every kernel, one entry a call.
pub struct Counter {
    /// Bytes of an activation.
    pub element: usize,
    /// By the stem of the kernel.
    pub works: BTreeMap<&'static str, Vec<Work>>,
}

/// A gradient and the values under it.
pub type Group = (Slot, Vec<(Slot, Option<Norm>)>);

impl Counter {
    /// A counter of kernels that store an activation in `element` bytes.
    pub fn new(element: usize) -> Self {
        Counter { element, works: BTreeMap::new() }
    }

    pub fn add(&mut self, kernel: &'static str, build: impl FnOnce(&mut Call)) {
        let mut call = Call::default();
        build(&mut call);
        self.works.entry(kernel).or_default().push(call.work(self.element));
    }

    /// Mean and variance from those of `blocks` blocks of rows.
    pub fn moments(&mut self, blocks: usize, statistics: &[Span]) {
        self.add(COMBINE, |call| {
            for span in statistics {
                call.scratch(blocks * 3 * span.len / 2);
                call.operations += blocks * 5 * span.len;
            }
        });
    }

    /// Sums of `blocks` partial results each.
    pub fn sums(&mut self, blocks: usize, results: impl Iterator<Item = Span>) {
        self.add(COMBINE, |call| {
            for span in results {
                call.scratch(blocks * span.len);
                call.write([span]);
                call.operations += blocks * span.len;
            }
        });
    }

    /// `sum(g)` and the `sum(g * xhat)` of values under gradients of one shape, and what each weight passes on to an
    /// identity.
    pub fn channel_sums(&mut self, shape: Shape, groups: &[Group], identities: &[(Span, Target)]) {
        let c = shape.c as usize;
        self.add("channel_sums", |call| {
            for (gradient, values) in groups {
                call.read([*gradient]);
                call.scratch(chunks(shape.pixels()) * (values.len() + 1) * c);
                call.operations += (1 + 2 * values.len()) * gradient.len;
                values.iter().for_each(|&(data, norm)| call.read_standardised(data, norm));
            }
            for &(weight, target) in identities {
                call.read([weight]);
                call.deliver(target, target.slot.len);
                call.operations += target.slot.len;
            }
        });
    }

    pub fn reduce(&mut self, reduces: &[BatchNormReduce]) {
        let Some(first) = reduces.first() else { return };
        let shape = first.input.shape;
        let group =
            |reduce: &BatchNormReduce| (reduce.gradient, vec![(reduce.input.data, reduce.input.norm)]);
        self.channel_sums(shape, &reduces.iter().map(group).collect::<Vec<_>>(), &[]);
        let results = reduces.iter().flat_map(|reduce| [reduce.sums.total, reduce.sums.products]);
        self.sums(chunks(shape.pixels()), results);
    }

    /// Gradients of depthwise results, and where wanted partial gradients of all weights.
    pub fn separable_gradients(&mut self, op: &Separable, gradient: &SeparableGradient, wanted: Gradients) {
        let (pixels, blocks) = (op.output_shape.pixels(), bands(op.output_shape));
        self.add(if wanted.of_weights() { "separable_gradients" } else { "separable_depthwise" }, |call| {
            for (source, branch, gradient) in branches(op, gradient) {
                call.read_unstored_gradient(&gradient.output);
                call.read([branch.pointwise]);
                call.stored_scratch(pixels * source.input.shape.c as usize);
                call.products += products(op, branch);
                if wanted.of_weights() {
                    call.read([branch.depthwise]);
                    call.scratch(blocks * (branch.pointwise.len + branch.depthwise.len));
                    call.operations += 4 * taps(op, source, branch);
                    call.products += products(op, branch);
                }
            }
            if wanted.of_weights() {
                read_sources(call, op);
            }
        });
    }
}
