// From the last feature maps to the loss:
//   global_pool_forward:  mean over the pixels of scale x + shift, inputs' channels concatenated: [n][c]; assigned.
//   global_pool_backward: g[n, c] / pixels for every pixel of every input; assigned or added.
//   linear_forward:       y = x * w + bias, w [inputs][outputs]; assigned.
//   linear_backward:      dx = dy * w^T (assigned or added), dw = x^T * dy, dbias = sum dy (assigned), one launch.
//   cross_entropy:        mean of -log softmax(x)[label], guesses right within one and five, and the gradient
//                         of weight times it; assigned.
//
// Launch: a thread a result for the pools and the gradients, channels fastest; a warp a result for linear_forward; one
// block for cross_entropy, a thread a row, the rows' losses added in a fixed order.
// Bytes: feature maps once; the rest is a few kilobytes.
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

struct CrossEntropy {
    u32 logits, rows, classes, result, gradient;
    float weight;
};
static_assert(sizeof(CrossEntropy) == 24);

extern "C" __global__ void __launch_bounds__(256) cross_entropy(const __grid_constant__ Memory memory,
                                                                const __grid_constant__ CrossEntropy op) {
    float loss = 0.0f;
    u32 first = 0, five = 0;
    for (u32 row = threadIdx.y; row < op.rows; row += THREADS) {
        const auto x = [&](u32 i) { return load(memory, op.logits + row * op.classes + i); };
        const u32 label = memory.labels[row];
        float largest = x(0), sum = 0.0f;
        for (u32 i = 1; i < op.classes; ++i) largest = fmaxf(largest, x(i));
        for (u32 i = 0; i < op.classes; ++i) sum += expf(x(i) - largest);
        u32 rank = 0;
        for (u32 i = 0; i < op.classes; ++i) {
            const float target = i == label ? 1.0f : 0.0f;
            const float slope = op.weight * (expf(x(i) - largest) / sum - target);
            store(memory, op.gradient + row * op.classes + i, slope / float(op.rows));
            rank += x(i) > x(label) || (x(i) == x(label) && i < label) ? 1 : 0;
        }
        loss += logf(sum) + largest - x(label);
        first += rank < 1 ? 1 : 0;
        five += rank < 5 ? 1 : 0;
    }
    // Counts below 2^24 are exact as f32.
    const float sums[3] = {column_sum(loss) / float(op.rows), column_sum(float(first)), column_sum(float(five))};
    if (threadIdx.y < 3) memory.state[op.result + threadIdx.y] = sums[threadIdx.y];
}
