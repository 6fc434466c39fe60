// What all kernels lean on: reading an activation as its consumers see it, the gradient of a raw value, and sums over
// the rows of a block in a fixed order.
#pragma once

#include "geometry.cuh"

// Activations are stored as f32; these two are the only places that know.
__device__ inline float load(const Memory& memory, u32 index) { return memory.activations[index]; }
__device__ inline void store(const Memory& memory, u32 index, float value) { memory.activations[index] = value; }

__device__ inline float value_of(const Memory& memory, const Reader& reader, u32 index, u32 channel) {
    const float x = load(memory, reader.data + index);
    if (reader.scale == ABSENT) return x;
    return fmaf(memory.state[reader.scale + channel], x, memory.state[reader.shift + channel]);
}

__device__ inline float activated(const Memory& memory, const Reader& reader, u32 index, u32 channel) {
    return fmaxf(value_of(memory, reader, index, channel), 0.0f);
}

__device__ inline float cotangent_of(const Memory& memory, const Cotangent& c, u32 index, u32 channel) {
    float sum = fmaf(memory.state[c.slope + channel], load(memory, c.raw + index), memory.state[c.offset + channel]);
    for (u32 t = 0; t < c.count; ++t)
        sum = fmaf(memory.state[c.factor[t] + channel], load(memory, c.gradient[t] + index), sum);
    return sum;
}

__device__ inline void deliver(const Memory& memory, const Target& target, u32 index, float value) {
    const u32 place = target.data + index;
    store(memory, place, target.accumulate ? load(memory, place) + value : value);
}

struct Pixel {
    u32 image, row, column;
};

__device__ inline Pixel pixel_of(const Shape& shape, u32 index) {
    const u32 line = index / shape.w;
    return {line / shape.h, line % shape.h, index - line * shape.w};
}

// Index of a pixel's first channel.
__device__ inline u32 index_of(const Shape& shape, u32 image, u32 row, u32 column) {
    return ((image * shape.h + row) * shape.w + column) * shape.c;
}

// The position under a tap of a window; beyond the image it is at least `side`, as unsigned numbers wrap.
__device__ inline u32 under(u32 position, u32 stride, u32 tap, u32 padding) { return position * stride + tap - padding; }

// Blocks of these kernels are 256 threads, threadIdx.x the channel and threadIdx.y the row.
constexpr u32 THREADS = 256;

// The sum of `value` over threadIdx.y, in order, for all threads of the column. All threads of the block must call.
__device__ inline float column_sum(float value) {
    __shared__ float sums[THREADS];
    const u32 lanes = blockDim.x, lane = threadIdx.x;
    __syncthreads();
    sums[threadIdx.y * lanes + lane] = value;
    __syncthreads();
    float sum = 0.0f;
    for (u32 y = 0; y < blockDim.y; ++y) sum += sums[y * lanes + lane];
    return sum;
}

// Leaves, of the values that `value(row)` gives for the block's rows of a channel, their mean m as f32 has it, and the
// sums of deviations and of squared deviations from m, at partial[0..3][c]. `sum` is the thread's part of the sum. With
// the deviations, the second stage knows the mean beyond f32, and nothing cancels.
template <class Value>
__device__ inline void leave_moments(float sum, u32 first, u32 last, u32 channel, u32 channels, float* partial,
                                     Value value) {
    const float mean = column_sum(sum) / float(last - first);
    float deviations = 0.0f, squares = 0.0f;
    if (channel < channels)
        for (u32 row = first + threadIdx.y; row < last; row += blockDim.y) {
            const float deviation = value(row) - mean;
            deviations += deviation;
            squares = fmaf(deviation, deviation, squares);
        }
    deviations = column_sum(deviations);
    squares = column_sum(squares);
    if (threadIdx.y == 0 && channel < channels) {
        partial[channel] = mean;
        partial[channels + channel] = deviations;
        partial[2 * channels + channel] = squares;
    }
}
