// The first channels of a value (NHWC):
//   forward:  y[c] = scale[c] * x[c] + shift[c]; assigned.
//   backward: the gradient of y for its channels and zero for the others; assigned or added, as the target says, so that
//             what is added to is touched in the channels of y alone.
//
// Launch: a thread an element of y, or of x where backward assigns; channels fastest.
// Bytes per element of y: x read once, y written once; of backward, its gradient read once and its target written once
// (and read once where it is added to): the least possible but for the lines of x that the other channels fill.
//
// Versions: 1 as above.
#include "common.cuh"

struct ChannelSlice {
    Reader input;
    // The result, or its gradient.
    u32 result;
    u32 pixels, channels, input_channels;
    // Channels of a pixel that backward touches.
    u32 touched;
    Target target;
};
static_assert(sizeof(ChannelSlice) == 40);

extern "C" __global__ void __launch_bounds__(256) channel_slice_forward(const __grid_constant__ Memory memory,
                                                                        const __grid_constant__ ChannelSlice op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.pixels * op.channels) return;
    const u32 c = index % op.channels;
    store(memory, op.result + index, value_of(memory, op.input, index / op.channels * op.input_channels + c, c));
}

extern "C" __global__ void __launch_bounds__(256) channel_slice_backward(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ ChannelSlice op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.pixels * op.touched) return;
    const u32 c = index % op.touched, pixel = index / op.touched;
    const float gradient = c < op.channels ? load(memory, op.result + pixel * op.channels + c) : 0.0f;
    deliver(memory, op.target, pixel * op.input_channels + c, gradient);
}
