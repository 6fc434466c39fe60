// The second stage of sums: parts that blocks left in the scratch memory, added in a fixed order by blocks of (32, 8)
// threads, neighbouring threads neighbouring results, the eight threads of a column each every eighth part.
#pragma once

#include "common.cuh"

constexpr u32 COLUMNS = 32, SLICES = 8;

// The sum of `value` over threadIdx.y, in order, for all threads of the column. All threads of the block must call.
__device__ inline double slices_sum(double value) {
    __shared__ double slices[SLICES][COLUMNS];
    __syncthreads();
    slices[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    double sum = 0.0;
    for (u32 y = 0; y < SLICES; ++y) sum += slices[y][threadIdx.x];
    return sum;
}

// Whether work behind this gate is done, read once for a block: its warps read few bytes more. All threads must call.
__device__ inline bool open_for_block(const Memory& memory, u32 gate) {
    if ((gate & ~MARK) == 0) return true;
    return __syncthreads_and(threadIdx.y > 0 || open(memory, gate));
}

struct Sum {
    u32 source, count, step, destination, len;
    // With a mark where the sum is zero if it is closed; else it is left as it is.
    u32 gate;
};

// Adds one result of an entry and leaves it in its place, if there is one. All threads of the block must call.
__device__ inline float combined(const Memory& memory, const Sum& entry, u32 i) {
    if (!open_for_block(memory, entry.gate)) {
        if (entry.gate & MARK && threadIdx.y == 0 && i < entry.len) memory.state[entry.destination + i] = 0.0f;
        return 0.0f;
    }
    double sum = 0.0;
    if (i < entry.len)
        for (u32 k = threadIdx.y; k < entry.count; k += SLICES)
            sum += double(memory.scratch[entry.source + k * entry.step + i]);
    const float result = float(slices_sum(sum));
    if (threadIdx.y == 0 && i < entry.len && entry.destination != ABSENT)
        memory.state[entry.destination + i] = result;
    return result;
}
