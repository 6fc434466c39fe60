// Batch norm is never materialised; these kernels make what its readers apply and what its backward needs:
//   batch_norm_forward:  from mean and variance to inverse_deviation = 1/sqrt(variance + epsilon),
//                        scale = gamma * inverse_deviation, shift = beta - scale * mean; assigned. Training moves the
//                        running statistics, in place.
//   batch_norm_backward: factor_t = scale * w_t, slope = -scale * S2/n * inverse_deviation,
//                        offset = -scale * S1/n - slope * mean, dgamma = S2, dbeta = S1; assigned.
//   channel_sums:        for groups of up to 8 raw values x_k under one gradient g: sum(g) and sum(g * xhat_k) per chunk
//                        of rows; combine.cu adds the chunks. Batch norm's backward, the mixed sum and the sums of
//                        separable convolutions all use it.
//
// Launch: the first two grid (tiles of 128 channels, norms), 128 threads. channel_sums grid (chunks, tiles of channels,
// groups), block (16 or 32 channels, rows).
// Bytes per element of channel_sums: each x once and g once for 8 of them: (K + K/8) / (K + 1) of the least.
//
// Versions: 1 all norms of an operator in one launch.
#include "common.cuh"

struct Norm {
    u32 statistics, running, mean, inverse_deviation, scale, shift, gamma, beta, channels, count;
};

struct BatchNormForward {
    u32 mode;
    float momentum, epsilon;
    Norm norms[64];
};
static_assert(sizeof(BatchNormForward) == 12 + 40 * 64);
constexpr u32 TRAIN = 0, INFERENCE = 2;

extern "C" __global__ void __launch_bounds__(128) batch_norm_forward(const __grid_constant__ Memory memory,
                                                                     const __grid_constant__ BatchNormForward op) {
    const Norm& norm = op.norms[blockIdx.y];
    const u32 c = blockIdx.x * 128 + threadIdx.x, channels = norm.channels;
    if (c >= channels) return;
    float* state = memory.state;
    const u32 from = op.mode == INFERENCE ? norm.running : norm.statistics;
    const float mean = state[from + c], variance = state[from + channels + c];
    if (op.mode == TRAIN) {
        const float rest = 1.0f - op.momentum, n = float(norm.count);
        const float unbiased = variance * (n / fmaxf(n - 1.0f, 1.0f));
        state[norm.running + c] = fmaf(rest, state[norm.running + c], op.momentum * mean);
        state[norm.running + channels + c] = fmaf(rest, state[norm.running + channels + c], op.momentum * unbiased);
    }
    const float inverse_deviation = 1.0f / sqrtf(variance + op.epsilon);
    const float scale = norm.gamma == ABSENT ? inverse_deviation : state[norm.gamma + c] * inverse_deviation;
    const float beta = norm.beta == ABSENT ? 0.0f : state[norm.beta + c];
    state[norm.mean + c] = mean;
    state[norm.inverse_deviation + c] = inverse_deviation;
    state[norm.scale + c] = scale;
    state[norm.shift + c] = beta - scale * mean;
}

struct NormGradient {
    u32 mean, inverse_deviation, scale, slope, offset, gamma, beta, channels, count, first, terms;
};

struct Term {
    u32 total, products, weight, factor;
};

struct BatchNormBackward {
    NormGradient gradients[32];
    Term terms[128];
};
static_assert(sizeof(BatchNormBackward) == 44 * 32 + 16 * 128);

extern "C" __global__ void __launch_bounds__(128) batch_norm_backward(const __grid_constant__ Memory memory,
                                                                      const __grid_constant__ BatchNormBackward op) {
    const NormGradient& norm = op.gradients[blockIdx.y];
    const u32 c = blockIdx.x * 128 + threadIdx.x;
    if (c >= norm.channels) return;
    float* state = memory.state;
    const float scale = state[norm.scale + c], count = float(norm.count);
    float total = 0.0f, products = 0.0f;
    for (u32 t = norm.first; t < norm.first + norm.terms; ++t) {
        const Term& term = op.terms[t];
        const float weight = term.weight == ABSENT ? 1.0f : state[term.weight];
        total = fmaf(weight, state[term.total + c], total);
        products = fmaf(weight, state[term.products + c], products);
        state[term.factor + c] = scale * weight;
    }
    const float slope = -scale * products / count * state[norm.inverse_deviation + c];
    state[norm.slope + c] = slope;
    state[norm.offset + c] = -scale * total / count - slope * state[norm.mean + c];
    if (norm.gamma != ABSENT) state[norm.gamma + c] = products;
    if (norm.beta != ABSENT) state[norm.beta + c] = total;
}

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
