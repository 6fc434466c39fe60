//! Dropout of elements.

use super::*;

impl<S: Storage> DropoutKernels for Reference<S> {
    fn dropout_forward(&mut self, op: &Dropout) {
        let channels = op.input.shape.c as usize;
        for index in 0..op.output.len {
            let value = self.value(op.input.data, op.input.norm, index, index % channels);
            self.store(op.output, index, self.kept(op.mask, index) * value);
        }
    }

    fn dropout_backward(&mut self, op: &Dropout, gradient: &DropoutGradient) {
        let slope = |index: usize| self.kept(op.mask, index) * self.raw(gradient.output, index);
        let slopes: Vec<_> = (0..op.output.len).map(slope).collect();
        self.deliver(gradient.input, &slopes);
    }
}

impl<S: Storage> Reference<S> {
    /// What an element is multiplied by.
    fn kept(&self, mask: DropoutMask, index: usize) -> S::Scalar {
        let key = |place: usize| self.at(mask.key, place);
        let keeper = Keeper::new([0, 2, 3].map(|place| key(place).wide()), mask.number);
        match mask.given {
            Some(given) => key(1) * self.at(given, index),
            None if keeper.keeps(index as u32) => key(1),
            None => zero(),
        }
    }
}
