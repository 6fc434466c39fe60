//! A node with partial channel connections.

use super::*;

impl<S: Storage> BypassKernels for Reference<S> {
    fn bypass_forward(&mut self, op: &Bypass) {
        let (channels, each) = (op.shape.c as usize, op.group_channels());
        for (pixel, channel) in (0..op.shape.pixels()).flat_map(|p| (0..channels).map(move |c| (p, c))) {
            let value = match channel < each {
                true => self.raw(op.mixed, pixel * each + channel),
                false => {
                    let weighed = |source: &BypassSource| {
                        self.at(source.weight, 0) * self.passing(source, pixel * channels + channel)
                    };
                    op.sources.iter().map(weighed).sum()
                }
            };
            self.store(op.output, pixel * channels + op.shuffled(channel), value);
        }
    }

    fn bypass_backward(&mut self, op: &Bypass, gradient: &BypassGradient) {
        let (channels, each) = (op.shape.c as usize, op.group_channels());
        let slope = |this: &Self, index: usize| {
            this.raw(gradient.output, index / channels * channels + op.shuffled(index % channels))
        };
        let computed = (0..op.mixed.len).map(|index| slope(self, index / each * channels + index % each));
        let computed: Vec<_> = computed.collect();
        self.deliver(gradient.mixed, &computed);
        for (source, gradients) in op.sources.iter().zip(&gradient.sources) {
            let passed = |index: usize| if index % channels < each { zero() } else { slope(self, index) };
            let passed: Vec<S::Scalar> = (0..op.shape.len()).map(passed).collect();
            let products = passed.iter().enumerate().map(|(index, &slope)| match index % channels < each {
                true => zero(),
                false => slope * self.passing(source, index),
            });
            let sum = self.at(gradients.weight, 0) + products.sum::<S::Scalar>();
            self.put(gradients.weight, 0, sum);
            let weight = self.at(source.weight, 0);
            let slopes: Vec<_> = passed.into_iter().map(|slope| weight * slope).collect();
            self.deliver(gradients.input, &slopes);
        }
    }
}

impl<S: Storage> Reference<S> {
    /// An element of what passes by, as it is read.
    fn passing(&self, source: &BypassSource, index: usize) -> S::Scalar {
        let Operand { data, shape, norm } = source.input;
        self.value(data, norm, index, index % shape.c as usize)
    }
}
