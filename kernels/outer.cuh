// Gradients of weight matrices: sums over pixels of products of two readers, partial[m][n] = sum_p left(p, m) * right(p, n).
// A block takes a split of the pixels and a tile of M x N results, 32 of them a thread; both sides pass through shared
// memory, and are read from memory once where the tile covers the matrix. Where the matrix is smaller than the tile,
// its results belong to a team of the block's threads, and the teams share the pixels: team 0 adds up what they have, in
// their order. combine.cu adds the splits in theirs.
//   f32 (and all before compute capability 8.0): a thread holds 8 x 4 results.
//   bf16, f16: a warp holds (1024 / N) x N results in tensor cores; both sides lie transposed, as ldmatrix can.
//
// Versions: 1 scalar loads, up to 4 x 4 results a thread, tiles of 64 x 64, in product.cuh. 2 as above.
#pragma once

#include "readers.cuh"
#include "tensor.cuh"

template <u32 M, u32 N, u32 THREADS_USED>
struct Outer {
    static constexpr u32 UNIT = TENSOR_CORES ? 1024 / N : 8;
    // Threads of the smallest team, and rows of a unit's work: 16 deep are a step of the tensor cores.
    static constexpr u32 UNIT_THREADS = TENSOR_CORES ? 32 : N / 4, STEP = TENSOR_CORES ? 16 : 1;
    // Pixels in shared memory at once: 20 KiB of values, and padding.
    static constexpr u32 PIXELS = 5120 / (M + N) / 16 * 16 * (TENSOR_CORES ? 2 : 1);
    // Channels that a thread reads at once.
    static constexpr u32 RUN = 4;
    static constexpr u32 PADDING = TENSOR_CORES ? 8 : 0;
#if defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)
    using Value = typename Choose<TENSOR_CORES, Storage, float>::Type;
#else
    using Value = float;
#endif
    union Shared {
        struct {
            alignas(16) Value left[PIXELS][M + PADDING];
            alignas(16) Value right[PIXELS][N + PADDING];
        };
        float4 parts[THREADS_USED];
    };

    // Fills one side: channels [first, first + width) of pixels [start, last).
    template <u32 PITCH, class Reader_>
    __device__ static void fill(Value (&side)[PIXELS][PITCH], u32 start, u32 last, u32 first, u32 width, u32 channels,
                                const Reader_& reader) {
        const u32 runs = width / RUN;
#pragma unroll 1
        for (u32 i = threadIdx.x; i < PIXELS * runs; i += THREADS_USED) {
            const u32 r = i / runs, k = i % runs * RUN;
            const u32 pixel = start + r < last ? reader.locate(start + r) : ABSENT;
            float values[RUN] = {};
            if (pixel != ABSENT && first + k < channels) reader.load(pixel, first + k, values);
            put(&side[r][k], values);
        }
    }

    __device__ static void put(float* place, const float (&values)[RUN]) {
#pragma unroll
        for (u32 j = 0; j < RUN; ++j) place[j] = values[j];
    }

#if defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)
    __device__ static void put(Storage* place, const float (&values)[RUN]) {
        Stored<RUN> run;
#pragma unroll
        for (u32 j = 0; j < RUN; ++j) run.values[j] = narrow(values[j]);
        *reinterpret_cast<Stored<RUN>*>(place) = run;
    }

    // Adds the products of 16 pixels from `p` on: the team's unit from row `m` on.
    __device__ static void multiply(const Storage (&left)[PIXELS][M + PADDING],
                                    const Storage (&right)[PIXELS][N + PADDING], u32 p, u32 m, u32, float (&sums)[8][4]) {
        u32 b[N / 16][2][2];
#pragma unroll
        for (u32 n = 0; n < N / 16; ++n) load_columns(b[n], &right[p][n * 16], N + PADDING);
#pragma unroll
        for (u32 i = 0; i < 64 / N; ++i) {
            u32 a[4];
            load_rows_transposed(a, &left[p][m + i * 16], M + PADDING);
#pragma unroll
            for (u32 n = 0; n < N / 8; ++n) multiply_accumulate(sums[i * (N / 8) + n], a, b[n / 2][n % 2]);
        }
    }
#endif

    // Adds the products of pixel `p`: 8 rows from `m` and 4 columns from `n` on.
    __device__ static void multiply(const float (&left)[PIXELS][M + PADDING], const float (&right)[PIXELS][N + PADDING],
                                    u32 p, u32 m, u32 n, float (&sums)[8][4]) {
        const float4 upper = *reinterpret_cast<const float4*>(&left[p][m]);
        const float4 lower = *reinterpret_cast<const float4*>(&left[p][m + 4]);
        const float4 across = *reinterpret_cast<const float4*>(&right[p][n]);
        const float down[8] = {upper.x, upper.y, upper.z, upper.w, lower.x, lower.y, lower.z, lower.w};
        const float columns[4] = {across.x, across.y, across.z, across.w};
#pragma unroll
        for (u32 i = 0; i < 8; ++i)
#pragma unroll
            for (u32 j = 0; j < 4; ++j) sums[i][j] = fmaf(down[i], columns[j], sums[i][j]);
    }

    // Threads of a team for this many rows: a power of two of units, and no more teams than steps of pixels.
    __device__ static u32 team_of(u32 rows) {
        u32 threads = UNIT_THREADS;
        while (threads / UNIT_THREADS * UNIT < min(rows, M) || THREADS_USED / threads > PIXELS / STEP) threads *= 2;
        return threads;
    }

    // The sums for `columns` columns and rows [first_m, depth) over pixels [first, last), in partial[depth][columns].
    // left and right are staged for first_m and first_n here.
    template <class Left, class Right>
    __device__ static void sum(Shared& shared, u32 first, u32 last, u32 depth, u32 first_m, u32 columns, u32 first_n,
                               Left& left, Right& right, float* partial) {
        const u32 team = team_of(depth - first_m), teams = THREADS_USED / team;
        const u32 index = threadIdx.x / team, member = threadIdx.x % team;
        const u32 m = member / UNIT_THREADS * UNIT, n = TENSOR_CORES ? 0 : member % UNIT_THREADS * 4;
        const u32 width = team / UNIT_THREADS * UNIT;
        float sums[8][4] = {};
        left.stage(first_m);
        right.stage(first_n);
        for (u32 start = first; start < last; start += PIXELS) {
            __syncthreads();
            if (left.advance(start, min(start + PIXELS, last))) __syncthreads();
            fill(shared.left, start, last, first_m, min(width, M), depth, left);
            fill(shared.right, start, last, first_n, N, columns, right);
            __syncthreads();
#pragma unroll 1
            for (u32 p = index * STEP; p < PIXELS && start + p < last; p += teams * STEP)
                if (m < M) multiply(shared.left, shared.right, p, m, n, sums);
        }
        for (u32 i = 0; teams > 1 && i < 8; ++i) {
            __syncthreads();
            shared.parts[threadIdx.x] = {sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
            __syncthreads();
            for (u32 other = 1; index == 0 && other < teams; ++other) {
                const float4 part = shared.parts[other * team + member];
                sums[i][0] += part.x;
                sums[i][1] += part.y;
                sums[i][2] += part.z;
                sums[i][3] += part.w;
            }
        }
        if (index == 0) leave(sums, depth, first_m + m, columns, first_n + n, partial);
    }

    // Writes the thread's results, several at once where they are aligned.
    __device__ static void leave(const float (&sums)[8][4], u32 depth, u32 m, u32 columns, u32 n, float* partial) {
        constexpr u32 EACH = TENSOR_CORES ? 2 : 4;
        const u32 lane = threadIdx.x % 32;
#pragma unroll
        for (u32 i = 0; i < 8; ++i)
#pragma unroll
            for (u32 j = 0; j < 4; j += EACH) {
                const u32 row = m + (TENSOR_CORES ? i / (N / 8) * 16 + lane / 4 + j / 2 * 8 : i);
                const u32 column = n + (TENSOR_CORES ? i % (N / 8) * 8 + lane % 4 * 2 : j);
                if (row >= depth) continue;
                float* place = partial + row * columns + column;
                if (columns % EACH == 0 && column < columns) {
                    if constexpr (TENSOR_CORES)
                        *reinterpret_cast<float2*>(place) = {sums[i][j], sums[i][j + 1]};
                    else
                        *reinterpret_cast<float4*>(place) = {sums[i][0], sums[i][1], sums[i][2], sums[i][3]};
                    continue;
                }
#pragma unroll
                for (u32 e = 0; e < EACH; ++e)
                    if (column + e < columns) place[e] = sums[i][j + e];
            }
    }
};
