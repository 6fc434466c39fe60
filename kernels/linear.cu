// The classifier, w [inputs][outputs]:
//   linear_forward:  y = x * w + bias; assigned.
//   linear_backward: dx = dy * w^T (assigned or added), dw = x^T * dy, dbias = sum dy (assigned), one launch.
//
// Launch: a warp a result for linear_forward, a thread a result for linear_backward.
// Bytes: a few kilobytes.
//
// Versions: 1 as above.
#include "common.cuh"

struct Linear {
    u32 rows, inputs, outputs, input, weights, bias, output, output_gradient, weights_gradient, bias_gradient;
    u32 with_weights;
    Target target;
};
static_assert(sizeof(Linear) == 52);

extern "C" __global__ void __launch_bounds__(256) linear_forward(const __grid_constant__ Memory memory,
                                                                 const __grid_constant__ Linear op) {
    const u32 result = (blockIdx.x * THREADS + threadIdx.x) / 32, lane = threadIdx.x % 32;
    // Whole warps leave.
    if (result >= op.rows * op.outputs) return;
    const u32 row = result / op.outputs, o = result % op.outputs;
    float sum = 0.0f;
    for (u32 i = lane; i < op.inputs; i += 32)
        sum = fmaf(load(memory, op.input + row * op.inputs + i), memory.state[op.weights + i * op.outputs + o], sum);
    for (u32 step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
    if (lane == 0) store(memory, op.output + result, sum + memory.state[op.bias + o]);
}

extern "C" __global__ void __launch_bounds__(256) linear_backward(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ Linear op) {
    const auto gradient = [&](u32 row, u32 o) { return load(memory, op.output_gradient + row * op.outputs + o); };
    u32 index = blockIdx.x * THREADS + threadIdx.x;
    float sum = 0.0f;
    if (index < op.rows * op.inputs) {
        const u32 row = index / op.inputs, i = index % op.inputs;
        for (u32 o = 0; o < op.outputs; ++o)
            sum = fmaf(gradient(row, o), memory.state[op.weights + i * op.outputs + o], sum);
        deliver(memory, op.target, index, sum);
        return;
    }
    index -= op.rows * op.inputs;
    if (!op.with_weights) return;
    if (index < op.inputs * op.outputs) {
        const u32 i = index / op.outputs, o = index % op.outputs;
        for (u32 row = 0; row < op.rows; ++row)
            sum = fmaf(gradient(row, o), load(memory, op.input + row * op.inputs + i), sum);
        memory.state[op.weights_gradient + index] = sum;
        return;
    }
    index -= op.inputs * op.outputs;
    if (index >= op.outputs) return;
    for (u32 row = 0; row < op.rows; ++row) sum += gradient(row, index);
    memory.state[op.bias_gradient + index] = sum;
}
