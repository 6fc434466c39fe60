// Mean of -log softmax(x)[label], each times the weight of its class, guesses right within one and five, and the gradient of weight times it; assigned.
//
// Launch: one block, a thread a row; the rows' losses are added in a fixed order.
// Bytes: a few kilobytes.
//
// Versions: 1 as above.
#include "readers.cuh"

struct CrossEntropy {
    u32 logits, rows, classes, result, gradient;
    float weight;
    u32 class_weights;
};
static_assert(sizeof(CrossEntropy) == 28);

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
        const float counts = op.class_weights == ABSENT ? 1.0f : memory.state[op.class_weights + label];
        u32 rank = 0;
        for (u32 i = 0; i < op.classes; ++i) {
            const float target = i == label ? 1.0f : 0.0f;
            const float slope = counts * op.weight * (expf(x(i) - largest) / sum - target);
            store(memory, op.gradient + row * op.classes + i, slope / float(op.rows));
            rank += x(i) > x(label) || (x(i) == x(label) && i < label) ? 1 : 0;
        }
        loss += counts * (logf(sum) + largest - x(label));
        first += rank < 1 ? 1 : 0;
        five += rank < 5 ? 1 : 0;
    }
    // Counts below 2^24 are exact as f32.
    const float sums[3] = {column_sum(loss) / float(op.rows), column_sum(float(first)), column_sum(float(five))};
    if (threadIdx.y < 3) memory.state[op.result + threadIdx.y] = sums[threadIdx.y];
}
