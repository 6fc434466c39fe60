// What all kernels lean on: reading an activation as its consumers see it, the gradient of a raw value, and sums over
// the rows of a block in a fixed order.
#pragma once

#include "geometry.cuh"

// Between the storage type and f32, to the nearest value. Nothing else knows how activations are stored.
#if defined(DARTS_STORAGE_BF16)
__device__ inline float wide(Storage value) { return __bfloat162float(value); }
__device__ inline Storage narrow(float value) { return __float2bfloat16_rn(value); }
#elif defined(DARTS_STORAGE_F16)
__device__ inline float wide(Storage value) { return __half2float(value); }
__device__ inline Storage narrow(float value) { return __float2half_rn(value); }
#else
__device__ inline float wide(Storage value) { return value; }
__device__ inline Storage narrow(float value) { return value; }
#endif

__device__ inline float load(const Memory& memory, u32 index) { return wide(memory.activations[index]); }
__device__ inline void store(const Memory& memory, u32 index, float value) { memory.activations[index] = narrow(value); }

// Activations that one 16-byte access moves.
constexpr u32 PACK = 16 / sizeof(Storage);

struct alignas(16) Pack {
    Storage values[PACK];
};
static_assert(sizeof(Pack) == 16);

// PACK activations from a multiple of PACK on.
__device__ inline void load_pack(const Memory& memory, u32 index, float (&values)[PACK]) {
    const Pack pack = *reinterpret_cast<const Pack*>(memory.activations + index);
#pragma unroll
    for (u32 i = 0; i < PACK; ++i) values[i] = wide(pack.values[i]);
}

__device__ inline void store_pack(const Memory& memory, u32 index, const float (&values)[PACK]) {
    Pack pack;
#pragma unroll
    for (u32 i = 0; i < PACK; ++i) pack.values[i] = narrow(values[i]);
    *reinterpret_cast<Pack*>(memory.activations + index) = pack;
}

__device__ inline float value_of(const Memory& memory, const Reader& reader, u32 index, u32 channel) {
    const float x = load(memory, reader.data + index);
    if (reader.scale == ABSENT) return x;
    return fmaf(memory.state[reader.scale + channel], x, memory.state[reader.shift + channel]);
}

__device__ inline float activated(const Memory& memory, const Reader& reader, u32 index, u32 channel) {
    return fmaxf(value_of(memory, reader, index, channel), 0.0f);
}

__device__ inline float unstored_gradient_of(const Memory& memory, const UnstoredGradient& c, u32 index, u32 channel) {
    float sum = load(memory, c.raw + index);
    if (c.raw_factor == ABSENT) return sum;
    sum = fmaf(memory.state[c.raw_factor + channel], sum, memory.state[c.constant + channel]);
#pragma unroll 1
    for (u32 t = 0; t < c.count; ++t)
        sum = fmaf(memory.state[c.factor[t] + channel], load(memory, c.gradient[t] + index), sum);
    return sum;
}

__device__ inline bool adds(const Target& target) { return target.gate & MARK; }

__device__ inline void deliver(const Memory& memory, const Target& target, u32 index, float value) {
    const u32 place = target.data + index;
    store(memory, place, adds(target) ? load(memory, place) + value : value);
}

// Whether work behind this gate is done: the same for all threads of a block, which read it first.
__device__ inline bool open(const Memory& memory, u32 gate) {
    const u32 place = gate & ~MARK;
    return place == 0 || memory.state[place - 1] != 0.0f;
}

// Whether closed work owes a target zeros: if it comes first, and somebody reads them.
__device__ inline bool owes_zeros(const Memory& memory, const Target& target) {
    return !adds(target) && open(memory, target.gate);
}

// The open ones of up to MOST pieces of work, in their order, in shared memory.
template <u32 MOST>
struct OpenList {
    u32 count;
    unsigned char numbers[MOST];

    // All threads of the block must call.
    template <class IsOpen>
    __device__ inline void find(u32 all, IsOpen is_open) {
        const u32 lane = threadIdx.y * blockDim.x + threadIdx.x;
        if (lane < 32) {
            u32 found = 0;
            for (u32 first = 0; first < all; first += 32) {
                const u32 k = first + lane;
                const bool counts = k < all && is_open(k);
                const u32 mask = __ballot_sync(0xffffffffu, counts);
                if (counts) numbers[found + __popc(mask & ((1u << lane) - 1))] = k;
                found += __popc(mask);
            }
            if (lane == 0) count = found;
        }
        __syncthreads();
    }
};

// Block `part` of `parts` leaves what closed work owes a target of `len` elements.
__device__ inline void withhold(const Memory& memory, const Target& target, u32 len, u32 part, u32 parts) {
    if (!owes_zeros(memory, target)) return;
    const u32 thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    for (u32 i = part * threads + thread; i < len; i += parts * threads) store(memory, target.data + i, 0.0f);
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
