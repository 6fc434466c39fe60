// The backward of separable convolutions in bands, but for the gradient of the input (depthwise.cu): per step of a block
//   g = output gradient of the team's pixels, once from raw result and gradients
//   d = depthwise(x) from the ring, dv += d^T g; dd = g v^T, to scratch; dw[tap] += dd * x under the tap, from the ring.
// Sums over pixels stay in registers to the end of the block's images, and blocks leave partial sums.
#pragma once

#include "bands.cuh"

// The coefficients of the output gradients of the group's branches, each raw factor, constant and the factors of the terms,
// [2 + terms][C], one behind the other; gives where those of the thread's branch begin.
template <u32 C>
__device__ inline u32 load_coefficients(const Memory& memory, const Separable& op, float* coefficients) {
    const Place<C> place(op.bands);
    u32 at = 0, own = 0;
    for (u32 b = 0; b < block_branches().count; ++b) {
        const UnstoredGradient& output_gradient = op.output_gradients[block_branches().factors[b]];
        const u32 len = (2 + output_gradient.count) * C;
        if (b == place.branch) own = at;
        for (u32 i = threadIdx.x; i < len; i += BAND_THREADS) {
            const u32 which = i / C;
            const u32 from = which == 0 ? output_gradient.raw_factor : which == 1 ? output_gradient.constant : output_gradient.factor[which - 2];
            coefficients[at + i] = memory.state[from + i % C];
        }
        at += len;
    }
    return own;
}

// The output gradient of the team's pixels, rounded to the storage type; zero in the rows behind them.
template <u32 C>
__device__ inline void output_gradient_tile(const Memory& memory, const Separable& op, const Step& step,
                                      const float* coefficients, Storage* tile) {
    using T = Team<C>;
    const Place<C> place(op.bands);
    const Pixels pixels(op, place, step);
    const UnstoredGradient& output_gradient = op.output_gradients[place.factor()];
    const u32 channel = place.lane % T::PACKS * PACK, start = pixels.start * C;
    coefficients += channel;
    for (u32 i = place.lane; i < tile_rows(op.bands) * T::PACKS; i += T::THREADS) {
        float sums[PACK] = {}, values[PACK];
        if (i < pixels.count * T::PACKS) {
            load_pack(memory, output_gradient.raw + start + i * PACK, values);
#pragma unroll
            for (u32 k = 0; k < PACK; ++k) sums[k] = fmaf(coefficients[k], values[k], coefficients[C + k]);
            for (u32 t = 0; t < output_gradient.count; ++t) {
                load_pack(memory, output_gradient.gradient[t] + start + i * PACK, values);
#pragma unroll
                for (u32 k = 0; k < PACK; ++k) sums[k] = fmaf(coefficients[(2 + t) * C + k], values[k], sums[k]);
            }
        }
        *reinterpret_cast<Pack*>(tile + i / T::PACKS * T::PITCH + channel) = pack_of(sums);
    }
}

// A thread's part of sums over pixels of products of two tiles: sums[c][o] of d[p][c] * g[p][o].
template <u32 C>
struct Outer {
    using T = Team<C>;
#if (defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)) && __CUDA_ARCH__ >= 800
    // A warp has eight columns. Where a team has more warps than that, they share the rows or, with 16 of them, the pixels.
    static constexpr u32 ACROSS = C / 8, WARPS = T::THREADS / 32 / ACROSS;
    static constexpr u32 SHARES = C == 16 ? WARPS : 1, DOWN = C / 16 * SHARES / WARPS;
    float sums[DOWN][4] = {};

    __device__ inline void add(const Separable& op, const Step& step, const Storage* d, const Storage* g) {
        const Place<C> place(op.bands);
        const u32 lane = place.lane, count = Pixels(op, place, step).count;
        const u32 warp = lane / 32, n = warp % ACROSS * 8, first = first_row(lane);
        for (u32 k = share(lane) * 16; k < count; k += SHARES * 16) {
            u32 b[2];
            const u32 address = shared_address(g + (k + lane % 16) * T::PITCH + n);
            asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                         : "=r"(b[0]), "=r"(b[1])
                         : "r"(address)
                         : "memory");
#pragma unroll
            for (u32 m = 0; m < DOWN; ++m) {
                u32 a[4];
                load_rows_transposed(a, d + k * T::PITCH + first + m * 16, T::PITCH);
                multiply_accumulate(sums[m], a, b);
            }
        }
    }

    __device__ static inline u32 first_row(u32 lane) { return SHARES > 1 ? 0 : lane / 32 / ACROSS * DOWN * 16; }
    __device__ static inline u32 share(u32 lane) { return SHARES > 1 ? lane / 32 / ACROSS : 0; }

    template <class Visit>
    __device__ inline void each(u32 lane, Visit visit) const {
        const u32 column = lane / 32 % ACROSS * 8 + lane % 4 * 2, row = first_row(lane) + lane % 32 / 4;
#pragma unroll
        for (u32 m = 0; m < DOWN; ++m)
#pragma unroll
            for (u32 i = 0; i < 4; ++i) visit((m * 16 + i / 2 * 8 + row) * C + column + i % 2, sums[m][i]);
    }
#else
    static constexpr u32 SHARES = 1, DOWN = C / 16, ACROSS = C == 32 ? 4 : 2;
    static_assert(C / DOWN * (C / ACROSS) == T::THREADS);
    float sums[DOWN][ACROSS] = {};

    __device__ inline void add(const Separable& op, const Step& step, const Storage* d, const Storage* g) {
        const Place<C> place(op.bands);
        const u32 lane = place.lane, count = Pixels(op, place, step).count;
        d += lane / (C / ACROSS) * DOWN, g += lane % (C / ACROSS) * ACROSS;
#pragma unroll 1
        for (u32 p = 0; p < count; ++p) {
            float values[ACROSS];
#pragma unroll
            for (u32 j = 0; j < ACROSS; ++j) values[j] = wide(g[p * T::PITCH + j]);
#pragma unroll
            for (u32 i = 0; i < DOWN; ++i) {
                const float value = wide(d[p * T::PITCH + i]);
#pragma unroll
                for (u32 j = 0; j < ACROSS; ++j) sums[i][j] = fmaf(value, values[j], sums[i][j]);
            }
        }
    }

    __device__ static inline u32 share(u32) { return 0; }

    template <class Visit>
    __device__ inline void each(u32 lane, Visit visit) const {
        const u32 row = lane / (C / ACROSS) * DOWN, column = lane % (C / ACROSS) * ACROSS;
#pragma unroll
        for (u32 i = 0; i < DOWN; ++i)
#pragma unroll
            for (u32 j = 0; j < ACROSS; ++j) visit((row + i) * C + column + j, sums[i][j]);
    }
#endif
};

// A thread's part of the depthwise weights' gradient: two channels of one row of the window, of some of the pixels.
template <u32 C>
struct WindowSums {
    static constexpr u32 ACROSS = C / 2, LANES = Team<C>::THREADS / ACROSS;
    float2 sums[5] = {};

    // Threads that share a row of the window.
    __device__ static inline u32 shares(u32 kernel) { return LANES / kernel; }

    template <class W>
    __device__ inline void add(const Separable& op, const Step& step, const Storage* ring, const u32* lines,
                               const Storage* gradient) {
        const Place<C> place(op.bands);
        const Pixels pixels(op, place, step);
        const u32 lane = place.lane;
        const u32 channel = lane % ACROSS * 2, i = lane / ACROSS % W::KERNEL, share = lane / ACROSS / W::KERNEL;
        constexpr u32 SHARES = LANES / W::KERNEL;
        if (share >= SHARES) return;
        ring += channel, gradient += channel;
        lines += op.bands.padding - W::PADDING + i * W::DILATION;
        const u32 width = op.output.w, pixel = pixels.first + share;
        u32 row = pixel / width, column = pixel - row * width;
#pragma unroll 1
        for (u32 p = share; p < pixels.count; p += SHARES) {
            const u32 at = lines[row * op.stride];
            const float2 slope = load_two(gradient + p * Team<C>::PITCH);
#pragma unroll
            for (u32 j = 0; j < W::KERNEL; ++j) {
                const u32 x = column * op.stride + j * W::DILATION - W::PADDING;
                if (at == ABSENT || x >= op.input.w) continue;
                const float2 value = load_two(ring + at + x * C);
                sums[j].x = fmaf(value.x, slope.x, sums[j].x);
                sums[j].y = fmaf(value.y, slope.y, sums[j].y);
            }
            for (column += SHARES; column >= width; column -= width) ++row;
        }
    }

    // Adds the sums to room[tap][c], or sets it.
    __device__ inline void leave(u32 lane, u32 kernel, bool set, float* room) const {
        float* to = room + lane / ACROSS % kernel * kernel * C + lane % ACROSS * 2;
#pragma unroll
        for (u32 j = 0; j < 5; ++j) {
            if (j >= kernel) break;
            to[j * C] = set ? sums[j].x : to[j * C] + sums[j].x;
            to[j * C + 1] = set ? sums[j].y : to[j * C + 1] + sums[j].y;
        }
    }
};

// The block's partial gradients: what threads share is added in their order, in `room`, which is all of shared memory.
template <u32 C>
__device__ inline void leave_gradients(const Memory& memory, const Separable& op, const Outer<C>& outer,
                                       const WindowSums<C>& window, u32 kernel, float* room) {
    using T = Team<C>;
    const Place<C> place(op.bands);
    const Partials& partials = op.partials[place.factor()];
    float* own = room + place.branch * C * C;
    const u32 thread = place.part * T::THREADS + place.lane, threads = place.share * T::THREADS;
    const u32 rank = place.part * Outer<C>::SHARES + outer.share(place.lane);
    for (u32 round = 0; round < place.share * Outer<C>::SHARES; ++round) {
        __syncthreads();
        if (place.works && rank == round)
            outer.each(place.lane, [&](u32 at, float sum) { own[at] = round == 0 ? sum : own[at] + sum; });
    }
    __syncthreads();
    if (place.works)
        for (u32 i = thread; i < C * C; i += threads) memory.scratch[partials.pointwise + blockIdx.x * C * C + i] = own[i];

    const u32 shares = WindowSums<C>::shares(kernel), share = place.lane / WindowSums<C>::ACROSS / kernel;
    own = room + place.branch * 25 * C;
    // As many rounds as any branch needs: all threads meet.
    for (u32 round = 0; round < place.share * WindowSums<C>::shares(3); ++round) {
        __syncthreads();
        if (place.works && share < shares && place.part * shares + share == round)
            window.leave(place.lane, kernel, round == 0, own);
    }
    __syncthreads();
    const u32 len = kernel * kernel * C;
    if (place.works)
        for (u32 i = thread; i < len; i += threads) memory.scratch[partials.depthwise + blockIdx.x * len + i] = own[i];
}

template <u32 C, bool WEIGHTS>
__device__ inline void gradient_bands(const Memory& memory, const Separable& op) {
    using T = Team<C>;
    __shared__ alignas(16) unsigned char shared[BAND_SHARED];
    if (!find_branches<C>(memory, op)) return;
    const Bands& bands = op.bands;
    const Place<C> place(bands);
    const Factor& factor = op.factors[place.factor()];
    const Reader& input = op.factors[bands.groups[blockIdx.y].first].input;
    const u32 size = tile_rows(bands) * T::PITCH;
    Storage* ring = reinterpret_cast<Storage*>(shared);
    Storage* g = ring + bands.ring + place.team * size;
    Storage* d = WEIGHTS ? g + T::COUNT * size : g;
    float* windows = reinterpret_cast<float*>(ring + bands.ring + (WEIGHTS ? 2 : 1) * T::COUNT * size);
    float* norm = windows + bands.windows;
    u32* lines = reinterpret_cast<u32*>(norm + 2 * C);
    float* coefficients = reinterpret_cast<float*>(lines + MAX_LINES);

    Product<C> product;
    load_matrices<C>(memory, op, reinterpret_cast<float*>(shared), product,
                     [](const float* matrix, u32 k, u32 n) { return matrix[n * C + k]; });
    const float* weights = windows;
    if (WEIGHTS) {
        weights += load_windows<C>(memory, op, windows);
        load_norm<C>(memory, input, norm);
    }
    coefficients += load_coefficients<C>(memory, op, coefficients);
    __syncthreads();

    Outer<C> outer;
    WindowSums<C> window_sums;
    const u32 last = min((blockIdx.x + 1) * bands.images, op.output.n);
    for (Step step = {blockIdx.x * bands.images, 0}; step.image < last; ++step.image)
        for (step.row = 0; step.row < op.output.h; step.row += bands.rows) {
            output_gradient_tile<C>(memory, op, step, coefficients, g);
            if (WEIGHTS) {
                load_ring<C>(memory, op, input, step, norm, ring);
                place_lines<C>(op, step, lines);
                __syncthreads();
                by_window(factor, [&](auto window) {
                    depthwise_tile<C, decltype(window)>(op, step, ring, lines, weights, d);
                });
            }
            __syncthreads();
            if (WEIGHTS) {
                outer.add(op, step, d, g);
                __syncthreads();
                product.multiply(op, step, g, [&](u32 part, const float (&sums)[4]) {
                    product.leave(op, step, part, sums, d);
                });
            } else {
                product.multiply_in_place(op, step, g);
            }
            __syncthreads();
            leave_tile<C>(op, step, d, stored(memory, factor.partial));
            if (WEIGHTS)
                by_window(factor, [&](auto window) {
                    window_sums.template add<decltype(window)>(op, step, ring, lines, d);
                });
            __syncthreads();
        }
    if (WEIGHTS)
        leave_gradients<C>(memory, op, outer, window_sums, factor.kernel, reinterpret_cast<float*>(shared));
}
