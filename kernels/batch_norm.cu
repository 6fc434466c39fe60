// The sums of batch norm's backward; combine.cu adds the chunks and makes coefficients of them.
//   channel_sums:        for groups of up to 8 raw values x_k under one gradient g: sum(g) and sum(g * xhat_k) per chunk
//                        of rows. Batch norm's backward, the mixed sum and the sums of separable convolutions all use it.
//
// Launch: grid (chunks, tiles of channels, groups), block (16 or 32 channels, rows).
// Bytes per element: each x once and g once for 8 of them: (K + K/8) / (K + 1) of the least.
//
// Versions: 1 all norms of an operator in one launch.
#include "common.cuh"

struct Group {
    u32 gradient, first, count, partial;
};

struct Standardised {
    u32 data, mean, inverse_deviation;
};

struct ChannelSums {
    u32 rows, channels, rows_per_chunk;
    Group groups[32];
    Standardised values[MAX_BRANCHES];
};
static_assert(sizeof(ChannelSums) == 12 + 16 * 32 + 12 * 128);

extern "C" __global__ void __launch_bounds__(256) channel_sums(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ ChannelSums op) {
    const Group& group = op.groups[blockIdx.z];
    const u32 c = blockIdx.y * blockDim.x + threadIdx.x, channels = op.channels;
    const u32 first = blockIdx.x * op.rows_per_chunk, last = min(first + op.rows_per_chunk, op.rows);
    float total = 0.0f, products[GROUP] = {}, means[GROUP], factors[GROUP];
#pragma unroll
    for (u32 k = 0; k < GROUP; ++k) {
        const Standardised& value = op.values[group.first + (k < group.count ? k : 0)];
        const bool normalised = k < group.count && c < channels && value.mean != ABSENT;
        means[k] = normalised ? memory.state[value.mean + c] : 0.0f;
        factors[k] = normalised ? memory.state[value.inverse_deviation + c] : 1.0f;
    }
    if (c < channels)
        for (u32 row = first + threadIdx.y; row < last; row += blockDim.y) {
            const u32 index = row * channels + c;
            const float gradient = load(memory, group.gradient + index);
            total += gradient;
#pragma unroll
            for (u32 k = 0; k < GROUP; ++k)
                if (k < group.count) {
                    const float x = load(memory, op.values[group.first + k].data + index);
                    products[k] = fmaf(gradient, (x - means[k]) * factors[k], products[k]);
                }
        }
    float* partial = memory.scratch + group.partial + blockIdx.x * (group.count + 1) * channels;
    total = column_sum(total);
    if (threadIdx.y == 0 && c < channels) partial[c] = total;
#pragma unroll
    for (u32 k = 0; k < GROUP; ++k) {
        if (k >= group.count) break;
        const float sum = column_sum(products[k]);
        if (threadIdx.y == 0 && c < channels) partial[(k + 1) * channels + c] = sum;
    }
}
