// Second stages: partial sums of blocks, added in their order.
//
// combine_sums:    destination[i] = sum_k scratch[source + k * step + i], assigned; a table of such sums in one grid.
//                  Grid (ceil(longest / 256), entries), 256 threads, one a result, coalesced.
// combine_moments: mean and biased variance of all rows from each block's m, sum of deviations d_b and of their squares
//                  s_b (common.cuh): mean_b = m + d_b / n_b, mean = sum(n_b mean_b) / n,
//                  variance = sum(s_b - d_b^2 / n_b + n_b (mean_b - mean)^2) / n, assigned.
//                  Grid (ceil(channels / 32), entries), block (32, 8): 8 slices of the blocks, combined in order.
// Sums are f64: they are short, and blocks of thousands of terms meet here.
// Bytes per result: the partials once, which is the least possible for two stages.
//
// Versions: 1 all sums of an operator in one launch.
#include "common.cuh"

struct Sum {
    u32 source, count, step, destination, len;
};

struct CombineSums {
    Sum sums[MAX_BRANCHES + 1];
};
static_assert(sizeof(CombineSums) == 20 * 129);

extern "C" __global__ void __launch_bounds__(256) combine_sums(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ CombineSums parameters) {
    const Sum& entry = parameters.sums[blockIdx.y];
    const u32 i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= entry.len) return;
    double sum = 0.0;
    for (u32 k = 0; k < entry.count; ++k) sum += double(memory.scratch[entry.source + k * entry.step + i]);
    memory.state[entry.destination + i] = float(sum);
}

struct Moments {
    u32 partial, rows, rows_per_block, channels, statistics;
};

struct CombineMoments {
    Moments entries[64];
};
static_assert(sizeof(CombineMoments) == 20 * 64);

// The sum of `value` over threadIdx.y, in order, for all threads of the column.
__device__ inline double slices_sum(double value) {
    __shared__ double slices[8][32];
    __syncthreads();
    slices[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    double sum = 0.0;
    for (u32 y = 0; y < 8; ++y) sum += slices[y][threadIdx.x];
    return sum;
}

extern "C" __global__ void __launch_bounds__(256) combine_moments(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ CombineMoments parameters) {
    const Moments& entry = parameters.entries[blockIdx.y];
    const u32 c = blockIdx.x * 32 + threadIdx.x, channels = entry.channels;
    const u32 blocks = (entry.rows + entry.rows_per_block - 1) / entry.rows_per_block;
    const float* partial = memory.scratch + entry.partial;
    const auto count = [&](u32 block) { return double(min(entry.rows_per_block, entry.rows - block * entry.rows_per_block)); };
    const auto mean_of = [&](u32 block) {
        const float* at = partial + block * 3 * channels + c;
        return double(at[0]) + double(at[channels]) / count(block);
    };
    double sum = 0.0;
    if (c < channels)
        for (u32 b = threadIdx.y; b < blocks; b += 8) sum += count(b) * mean_of(b);
    const double mean = slices_sum(sum) / double(entry.rows);
    double squares = 0.0;
    if (c < channels)
        for (u32 b = threadIdx.y; b < blocks; b += 8) {
            const double deviations = double(partial[(b * 3 + 1) * channels + c]), distance = mean_of(b) - mean;
            squares += double(partial[(b * 3 + 2) * channels + c]) - deviations * deviations / count(b) +
                       count(b) * distance * distance;
        }
    squares = slices_sum(squares);
    if (threadIdx.y == 0 && c < channels) {
        memory.state[entry.statistics + c] = float(mean);
        memory.state[entry.statistics + channels + c] = float(squares / double(entry.rows));
    }
}
