// What kernels that move much and compute little share: runs of neighbouring channels in one access, ranges of lines of
// a stack of images, and the width of a block's channels.
//
// A run is COUNT channels in one access: PACK of them in 16 bytes, or half as many where registers are short. Where every
// place and the number of channels is a multiple of PACK the host says `packed`; else a run's elements are read one by
// one, and those beyond the channels count as zero.
#pragma once

#include "common.cuh"

template <u32 COUNT>
struct alignas(COUNT * sizeof(Storage)) Stored {
    Storage values[COUNT];
};

// The run of a value that begins at channel `c`.
template <u32 COUNT>
__device__ inline void load_run(const Memory& memory, u32 index, bool packed, u32 c, u32 channels,
                                float (&values)[COUNT]) {
    if (packed) {
        const auto stored = *reinterpret_cast<const Stored<COUNT>*>(memory.activations + index);
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) values[i] = wide(stored.values[i]);
        return;
    }
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i) values[i] = c + i < channels ? load(memory, index + i) : 0.0f;
}

template <u32 COUNT>
__device__ inline void store_run(const Memory& memory, u32 index, bool packed, u32 c, u32 channels,
                                 const float (&values)[COUNT]) {
    if (packed) {
        Stored<COUNT> stored;
#pragma unroll
        for (u32 i = 0; i < COUNT; ++i) stored.values[i] = narrow(values[i]);
        *reinterpret_cast<Stored<COUNT>*>(memory.activations + index) = stored;
        return;
    }
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i)
        if (c + i < channels) store(memory, index + i, values[i]);
}

template <u32 COUNT>
__device__ inline void deliver_run(const Memory& memory, const Target& target, u32 index, bool packed, u32 c,
                                   u32 channels, const float (&values)[COUNT]) {
    float result[COUNT];
    if (adds(target)) load_run(memory, target.data + index, packed, c, channels, result);
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i) result[i] = adds(target) ? result[i] + values[i] : values[i];
    store_run(memory, target.data + index, packed, c, channels, result);
}

// Coefficients of a run: state[place + c ..], or `otherwise` where they are absent.
template <u32 COUNT>
__device__ inline void load_coefficients(const Memory& memory, u32 place, u32 c, u32 channels, float otherwise,
                                         float (&values)[COUNT]) {
    if (place != ABSENT && (place + c) % 4 == 0 && c + COUNT <= channels) {
#pragma unroll
        for (u32 i = 0; i < COUNT; i += 4) {
            const float4 four = *reinterpret_cast<const float4*>(memory.state + place + c + i);
            values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
        }
        return;
    }
#pragma unroll
    for (u32 i = 0; i < COUNT; ++i)
        values[i] = place != ABSENT && c + i < channels ? memory.state[place + c + i] : otherwise;
}

// A run of a shared array of f32, from a multiple of 4 on.
template <u32 COUNT>
__device__ inline void load_shared(const float* from, float (&values)[COUNT]) {
#pragma unroll
    for (u32 i = 0; i < COUNT; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(from + i);
        values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
    }
}

template <u32 COUNT>
__device__ inline void store_shared(float* to, const float (&values)[COUNT]) {
#pragma unroll
    for (u32 i = 0; i < COUNT; i += 4)
        *reinterpret_cast<float4*>(to + i) = make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]);
}

// Channels of a block that holds coefficients in shared memory.
constexpr u32 MAX_TILE = 32;
__device__ inline u32 tile_width(u32 channels) { return channels <= 16 ? 16 : MAX_TILE; }
