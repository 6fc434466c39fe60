// Global average pooling (NHWC):
//   global_pool_forward:  mean over the pixels of scale x + shift, inputs' channels concatenated: [n][c]; assigned.
//   global_pool_backward: g[n, c] / pixels for every pixel of every input; assigned or added.
//
// Launch: a thread a result, channels fastest.
// Bytes: feature maps once, the least possible.
//
// Versions: 1 as above.
#include "readers.cuh"

struct GlobalPool {
    Shape input;
    u32 output;
    Concatenation inputs;
    Target targets[MAX_INPUTS];
};
static_assert(sizeof(GlobalPool) == 20 + 280 + 136);

extern "C" __global__ void __launch_bounds__(256) global_pool_forward(const __grid_constant__ Memory memory,
                                                                      const __grid_constant__ GlobalPool op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x, features = op.inputs.first[op.inputs.count];
    if (index >= op.input.n * features) return;
    const u32 image = index / features, feature = index % features, i = input_of(op.inputs, feature);
    const u32 c = feature - op.inputs.first[i], channels = op.inputs.first[i + 1] - op.inputs.first[i], pixels = op.input.h * op.input.w;
    float sum = 0.0f;
    for (u32 p = 0; p < pixels; ++p) sum += value_of(memory, op.inputs.readers[i], (image * pixels + p) * channels + c, c);
    store(memory, op.output + index, sum / float(pixels));
}

extern "C" __global__ void __launch_bounds__(256) global_pool_backward(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ GlobalPool op) {
    const u32 i = blockIdx.y, channels = op.inputs.first[i + 1] - op.inputs.first[i], pixels = op.input.h * op.input.w;
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.input.n * pixels * channels) return;
    const u32 image = index / (pixels * channels), feature = op.inputs.first[i] + index % channels;
    const float gradient = load(memory, op.output + image * op.inputs.first[op.inputs.count] + feature);
    deliver(memory, op.targets[i], index, gradient / float(pixels));
}
