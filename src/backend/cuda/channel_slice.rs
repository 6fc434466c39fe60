//! The first channels of a value: `kernels/channel_slice.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{Placed, Reader, TargetPlace};
use super::{ChannelSlice, ChannelSliceGradient, ChannelSliceKernels, Cuda, Kernel, small};

/// Mirrors `ChannelSlice` of `kernels/channel_slice.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    input: Reader,
    result: u32,
    pixels: u32,
    channels: u32,
    input_channels: u32,
    touched: u32,
    target: TargetPlace,
}
const _: () = assert!(size_of::<Parameters>() == 40);

fn parameters(op: &ChannelSlice) -> Parameters {
    Parameters {
        input: Reader::from(&op.input),
        result: op.output.place(),
        pixels: small(op.output_shape.pixels()),
        channels: op.output_shape.c,
        input_channels: op.input.shape.c,
        ..Parameters::zeroed()
    }
}

impl ChannelSliceKernels for Cuda {
    fn channel_slice_forward(&mut self, op: &ChannelSlice) {
        self.launch_each(Kernel::channel_slice_forward, op.output_shape.len(), 1, &parameters(op));
    }

    fn channel_slice_backward(&mut self, op: &ChannelSlice, gradient: &ChannelSliceGradient) {
        let touched = if gradient.input.accumulate { op.output_shape.c } else { op.input.shape.c };
        let (result, target) = (gradient.output.place(), TargetPlace::from(gradient.input));
        let parameters = Parameters { result, target, touched, ..parameters(op) };
        let elements = op.output_shape.pixels() * touched as usize;
        self.launch_each(Kernel::channel_slice_backward, elements, 1, &parameters);
    }
}
