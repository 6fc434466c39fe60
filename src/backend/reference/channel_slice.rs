//! The first channels of a value.

use super::*;

impl<S: Storage> ChannelSliceKernels for Reference<S> {
    fn channel_slice_forward(&mut self, op: &ChannelSlice) {
        let (all, channels) = (op.input.shape.c as usize, op.output_shape.c as usize);
        for index in 0..op.output.len {
            let (pixel, channel) = (index / channels, index % channels);
            let value = self.value(op.input.data, op.input.norm, pixel * all + channel, channel);
            self.store(op.output, index, value);
        }
    }

    fn channel_slice_backward(&mut self, op: &ChannelSlice, gradient: &ChannelSliceGradient) {
        let (all, channels) = (op.input.shape.c as usize, op.output_shape.c as usize);
        let slope = |index: usize| match index % all {
            channel if channel < channels => self.raw(gradient.output, index / all * channels + channel),
            _ => zero(),
        };
        let slopes: Vec<_> = (0..op.input.shape.len()).map(slope).collect();
        self.deliver(gradient.input, &slopes);
    }
}
