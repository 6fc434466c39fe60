// Second stages: partial sums of blocks, added in a fixed order, and what batch norm makes of them. Batch norm is never
// materialised; these kernels make what its readers apply and what its backward needs.
//
// combine_sums:        destination[i] = sum_k scratch[source + k * step + i], assigned; a table of such sums in one grid.
// combine_moments:     mean and biased variance of all rows from each block's m, sum of deviations d_b and of their
//                      squares s_b (common.cuh): mean_b = m + d_b / n_b, mean = sum(n_b mean_b) / n,
//                      variance = sum(s_b - d_b^2 / n_b + n_b (mean_b - mean)^2) / n, assigned.
// batch_norm_forward:  from mean and variance, which it combines first where a producer has just left them in parts, to
//                      inverse_deviation = 1/sqrt(variance + epsilon), scale = gamma * inverse_deviation,
//                      shift = beta - scale * mean; assigned. Training moves the running statistics, in place.
// batch_norm_backward: from S1 = sum_t w_t total_t and S2 = sum_t w_t products_t, whose terms it combines first where
//                      they were just left in parts: factor_t = scale * w_t, raw_factor = -scale * S2/n * inverse_deviation,
//                      constant = -scale * S1/n - raw_factor * mean, dgamma = S2, dbeta = S1; assigned; in inference raw_factor and
//                      constant are 0. The grid's last entries are further sums of the same table.
//
// Launch: grid (tiles of 32 results, entries), block (32, 8): a column of 8 threads adds a result, each every eighth part,
// and the eight in order. Neighbouring threads are neighbouring results.
// Sums are f64: they are short, and blocks of thousands of terms meet here.
// Bytes per result: the partials once, which is the least possible for two stages.
//
// Versions: 1 all sums of an operator in one launch. 2 eight threads a result; batch norm takes the partial sums itself.
#include "combine.cuh"

struct CombineSums {
    Sum sums[64];
};
static_assert(sizeof(CombineSums) == 24 * 64);

extern "C" __global__ void __launch_bounds__(256) combine_sums(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ CombineSums op) {
    const Sum& entry = op.sums[blockIdx.y];
    if (blockIdx.x * COLUMNS < entry.len) combined(memory, entry, blockIdx.x * COLUMNS + threadIdx.x);
}

struct Moments {
    u32 partial, rows, rows_per_block, channels, statistics, gate;
};

// Mean and variance of one channel, left in their place. All threads of the block must call.
__device__ inline float2 combined(const Memory& memory, const Moments& entry, u32 c) {
    const u32 channels = entry.channels, blocks = (entry.rows + entry.rows_per_block - 1) / entry.rows_per_block;
    const float* partial = memory.scratch + entry.partial;
    const auto count = [&](u32 block) { return double(min(entry.rows_per_block, entry.rows - block * entry.rows_per_block)); };
    const auto mean_of = [&](u32 block) {
        const float* at = partial + block * 3 * channels + c;
        return double(at[0]) + double(at[channels]) / count(block);
    };
    double sum = 0.0;
    if (c < channels)
        for (u32 b = threadIdx.y; b < blocks; b += SLICES) sum += count(b) * mean_of(b);
    const double mean = slices_sum(sum) / double(entry.rows);
    double squares = 0.0;
    if (c < channels)
        for (u32 b = threadIdx.y; b < blocks; b += SLICES) {
            const double deviations = double(partial[(b * 3 + 1) * channels + c]), distance = mean_of(b) - mean;
            squares += double(partial[(b * 3 + 2) * channels + c]) - deviations * deviations / count(b) +
                       count(b) * distance * distance;
        }
    const float2 moments = {float(mean), float(slices_sum(squares) / double(entry.rows))};
    if (threadIdx.y == 0 && c < channels) {
        memory.state[entry.statistics + c] = moments.x;
        memory.state[entry.statistics + channels + c] = moments.y;
    }
    return moments;
}

struct CombineMoments {
    Moments entries[64];
};
static_assert(sizeof(CombineMoments) == 24 * 64);

extern "C" __global__ void __launch_bounds__(256) combine_moments(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ CombineMoments op) {
    const Moments& entry = op.entries[blockIdx.y];
    if (open_for_block(memory, entry.gate)) combined(memory, entry, blockIdx.x * COLUMNS + threadIdx.x);
}

struct Norm {
    // `partial` is absent where mean and variance are there already. Their gate is that of the norm.
    Moments moments;
    u32 running, mean, inverse_deviation, scale, shift, gamma, beta;
};

struct BatchNormForward {
    u32 mode;
    float momentum, epsilon;
    Norm norms[64];
};
static_assert(sizeof(BatchNormForward) == 12 + 52 * 64);
constexpr u32 TRAIN = 0, INFERENCE = 2;

extern "C" __global__ void __launch_bounds__(256) batch_norm_forward(const __grid_constant__ Memory memory,
                                                                     const __grid_constant__ BatchNormForward op) {
    const Norm& norm = op.norms[blockIdx.y];
    if (!open_for_block(memory, norm.moments.gate)) return;
    const u32 c = blockIdx.x * COLUMNS + threadIdx.x, channels = norm.moments.channels;
    float* state = memory.state;
    float2 moments = {};
    if (norm.moments.partial != ABSENT) moments = combined(memory, norm.moments, c);
    if (threadIdx.y != 0 || c >= channels) return;
    if (norm.moments.partial == ABSENT)
        moments = {state[norm.moments.statistics + c], state[norm.moments.statistics + channels + c]};
    if (op.mode == TRAIN) {
        const float rest = 1.0f - op.momentum, n = float(norm.moments.rows);
        const float unbiased = moments.y * (n / fmaxf(n - 1.0f, 1.0f));
        state[norm.running + c] = fmaf(rest, state[norm.running + c], op.momentum * moments.x);
        state[norm.running + channels + c] = fmaf(rest, state[norm.running + channels + c], op.momentum * unbiased);
    }
    if (op.mode == INFERENCE) moments = {state[norm.running + c], state[norm.running + channels + c]};
    const float inverse_deviation = 1.0f / sqrtf(moments.y + op.epsilon);
    const float scale = norm.gamma == ABSENT ? inverse_deviation : state[norm.gamma + c] * inverse_deviation;
    const float beta = norm.beta == ABSENT ? 0.0f : state[norm.beta + c];
    state[norm.mean + c] = moments.x;
    state[norm.inverse_deviation + c] = inverse_deviation;
    state[norm.scale + c] = scale;
    state[norm.shift + c] = beta - scale * moments.x;
}

struct NormGradient {
    u32 mean, inverse_deviation, scale, raw_factor, constant, gamma, beta, channels, count, first, terms, gate;
};

struct Term {
    u32 total, products, weight, factor;
    // Entries of the table of sums; absent where the sums are there already.
    u32 total_sum, products_sum, gate;
};

struct BatchNormBackward {
    u32 norms, first_sum, in_inference;
    NormGradient gradients[24];
    Term terms[48];
    Sum sums[64];
};
static_assert(sizeof(BatchNormBackward) == 12 + 48 * 24 + 28 * 48 + 24 * 64);

extern "C" __global__ void __launch_bounds__(256) batch_norm_backward(const __grid_constant__ Memory memory,
                                                                      const __grid_constant__ BatchNormBackward op) {
    const u32 c = blockIdx.x * COLUMNS + threadIdx.x;
    if (blockIdx.y >= op.norms) {
        const Sum& entry = op.sums[op.first_sum + blockIdx.y - op.norms];
        if (blockIdx.x * COLUMNS < entry.len) combined(memory, entry, c);
        return;
    }
    const NormGradient& norm = op.gradients[blockIdx.y];
    if (blockIdx.x * COLUMNS >= norm.channels) return;
    const bool mine = threadIdx.y == 0 && c < norm.channels;
    // The other threads only help to sum.
    const bool norm_open = mine && open(memory, norm.gate);
    float* state = memory.state;
    const float scale = mine ? state[norm.scale + c] : 0.0f, count = float(norm.count);
    float total = 0.0f, products = 0.0f;
    for (u32 t = norm.first; t < norm.first + norm.terms; ++t) {
        const Term& term = op.terms[t];
        const auto sum_of = [&](u32 place, u32 sum) {
            if (sum != ABSENT) return combined(memory, op.sums[sum], c);
            return mine ? state[place + c] : 0.0f;
        };
        const float term_total = sum_of(term.total, term.total_sum);
        const float term_products = sum_of(term.products, term.products_sum);
        if (!norm_open) continue;
        const bool term_open = open(memory, term.gate);
        const float weight = !term_open ? 0.0f : term.weight == ABSENT ? 1.0f : state[term.weight];
        if (term_open) {
            total = fmaf(weight, term_total, total);
            products = fmaf(weight, term_products, products);
        }
        state[term.factor + c] = term_open ? scale * weight : 0.0f;
    }
    if (!mine) return;
    if (!norm_open) {
        if (norm.gamma != ABSENT) state[norm.gamma + c] = 0.0f;
        if (norm.beta != ABSENT) state[norm.beta + c] = 0.0f;
        return;
    }
    const float raw_factor =
        op.in_inference ? 0.0f : -scale * products / count * state[norm.inverse_deviation + c];
    state[norm.raw_factor + c] = raw_factor;
    state[norm.constant + c] =
        op.in_inference ? 0.0f : -scale * total / count - raw_factor * state[norm.mean + c];
    if (norm.gamma != ABSENT) state[norm.gamma + c] = products;
    if (norm.beta != ABSENT) state[norm.beta + c] = total;
}
