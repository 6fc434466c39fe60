// Matrix products over pixels in shared-memory tiles, in f32 (FFMA), for separable convolutions of numbers of channels that
// bands.cuh does not take. What is multiplied is computed while it is read: a loader is a function of (row, column).
// Products that read by packs are in matrix.cuh and outer.cuh.
//
// A block has 256 threads. multiply(): each thread holds 4 rows x 4 columns, so a tile is COLUMNS wide and
// 4096 / COLUMNS rows high, 16 deep. outer(): the sum over rows of a product of two loaders, a tile of
// SIDE x SIDE results.
//
// Determinism: each result is summed by one thread in the order of the depth; tiles of rows leave partial sums that
// combine.cu adds in their order.
//
// Versions: 1 tiles of 16 deep, one buffer.
#pragma once

#include "common.cuh"

constexpr u32 DEPTH = 16;

template <u32 COLUMNS>
struct Tile {
    static constexpr u32 ACROSS = COLUMNS / 4;
    static constexpr u32 DOWN = THREADS / ACROSS;
    static constexpr u32 ROWS = DOWN * 4;
    // A row is padded by one 16-byte word: lanes that store along the depth then meet in fewer banks.
    union {
        struct {
            float a[DEPTH][ROWS + 4];
            float b[DEPTH][COLUMNS];
        };
        float sums[DOWN][COLUMNS];
    };
    float means[COLUMNS];
};

// acc[i][j] = sum_k a(row, k) * b(k, column) of the thread's 4 x 4 results; beyond rows or columns, zero.
template <u32 COLUMNS, class A, class B>
__device__ inline void multiply(Tile<COLUMNS>& tile, u32 rows, u32 depth, u32 columns, A a, B b, float (&acc)[4][4]) {
    using T = Tile<COLUMNS>;
    const u32 thread = threadIdx.x, first_row = blockIdx.x * T::ROWS, first_column = blockIdx.y * COLUMNS;
    const u32 x = thread % T::ACROSS * 4, y = thread / T::ACROSS * 4;
    for (u32 i = 0; i < 4; ++i)
        for (u32 j = 0; j < 4; ++j) acc[i][j] = 0.0f;
    for (u32 start = 0; start < depth; start += DEPTH) {
        const u32 k = thread % DEPTH;
        for (u32 r = thread / DEPTH; r < T::ROWS; r += THREADS / DEPTH) {
            const u32 row = first_row + r;
            tile.a[k][r] = row < rows && start + k < depth ? a(row, start + k) : 0.0f;
        }
        for (u32 i = thread; i < DEPTH * COLUMNS; i += THREADS) {
            const u32 deep = i / COLUMNS, column = first_column + i % COLUMNS;
            tile.b[deep][i % COLUMNS] = start + deep < depth && column < columns ? b(start + deep, column) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (u32 deep = 0; deep < DEPTH; ++deep) {
            const float4 av = *reinterpret_cast<const float4*>(&tile.a[deep][y]);
            const float4 bv = *reinterpret_cast<const float4*>(&tile.b[deep][x]);
            const float as[4] = {av.x, av.y, av.z, av.w}, bs[4] = {bv.x, bv.y, bv.z, bv.w};
#pragma unroll
            for (u32 i = 0; i < 4; ++i)
#pragma unroll
                for (u32 j = 0; j < 4; ++j) acc[i][j] = fmaf(as[i], bs[j], acc[i][j]);
        }
        __syncthreads();
    }
}

// Calls visit(row, column, value) for the thread's results that exist.
template <u32 COLUMNS, class Visit>
__device__ inline void each_result(u32 rows, u32 columns, const float (&acc)[4][4], Visit visit) {
    using T = Tile<COLUMNS>;
    const u32 row = blockIdx.x * T::ROWS + threadIdx.x / T::ACROSS * 4;
    const u32 column = blockIdx.y * COLUMNS + threadIdx.x % T::ACROSS * 4;
#pragma unroll
    for (u32 i = 0; i < 4; ++i)
#pragma unroll
        for (u32 j = 0; j < 4; ++j)
            if (row + i < rows && column + j < columns) visit(row + i, column + j, acc[i][j]);
}

// The sums over the tile's rows of term(value, column of the tile), valid in the first COLUMNS threads.
template <u32 COLUMNS, class Term>
__device__ inline float sum_rows(Tile<COLUMNS>& tile, u32 rows, const float (&acc)[4][4], Term term) {
    using T = Tile<COLUMNS>;
    const u32 x = threadIdx.x % T::ACROSS * 4, y = threadIdx.x / T::ACROSS, row = blockIdx.x * T::ROWS + y * 4;
    __syncthreads();
#pragma unroll
    for (u32 j = 0; j < 4; ++j) {
        float sum = 0.0f;
#pragma unroll
        for (u32 i = 0; i < 4; ++i)
            if (row + i < rows) sum += term(acc[i][j], x + j);
        tile.sums[y][x + j] = sum;
    }
    __syncthreads();
    float sum = 0.0f;
    if (threadIdx.x < COLUMNS)
        for (u32 down = 0; down < T::DOWN; ++down) sum += tile.sums[down][threadIdx.x];
    return sum;
}

// A product whose result is stored with `pitch` channels a pixel, beginning at `first`, and its moments per tile of
// rows, as leave_moments() in matrix.cuh leaves them: partial[tile][3][pitch].
template <u32 COLUMNS, class A, class B>
__device__ inline void product_with_moments(const Memory& memory, u32 rows, u32 depth, const Factor& factor, u32 pitch,
                                            A a, B b) {
    using T = Tile<COLUMNS>;
    __shared__ T tile;
    const u32 columns = factor.columns;
    // Sibling matrices may be narrower than the widest, which the grid is made for.
    if (blockIdx.y * COLUMNS >= columns) return;
    float acc[4][4];
    multiply<COLUMNS>(tile, rows, depth, columns, a, b, acc);
    each_result<COLUMNS>(rows, columns, acc, [&](u32 row, u32 column, float value) {
        store(memory, factor.output + row * pitch + factor.first + column, value);
    });
    const u32 first_row = blockIdx.x * T::ROWS, count = min(T::ROWS, rows - first_row);
    const float sum = sum_rows<COLUMNS>(tile, rows, acc, [](float value, u32) { return value; });
    if (threadIdx.x < COLUMNS) tile.means[threadIdx.x] = sum / float(count);
    __syncthreads();
    const float deviations = sum_rows<COLUMNS>(
        tile, rows, acc, [&](float value, u32 column) { return value - tile.means[column]; });
    const float squares = sum_rows<COLUMNS>(tile, rows, acc, [&](float value, u32 column) {
        const float deviation = value - tile.means[column];
        return deviation * deviation;
    });
    const u32 column = blockIdx.y * COLUMNS + threadIdx.x;
    if (threadIdx.x < COLUMNS && column < columns) {
        float* partial = memory.scratch + factor.partial + blockIdx.x * 3 * pitch + factor.first + column;
        partial[0] = tile.means[threadIdx.x];
        partial[pitch] = deviations;
        partial[2 * pitch] = squares;
    }
}

// partial[split][depth][columns] = sum over the split's rows of a(row, m) * g(row, n). blockIdx.x is the split,
// blockIdx.y the tile.
template <u32 SIDE, class A, class G>
__device__ inline void outer(u32 rows, u32 rows_per_split, u32 depth, u32 columns, float* partial, A a, G g) {
    constexpr u32 EACH = SIDE / 16;
    __shared__ float as[DEPTH][SIDE], gs[DEPTH][SIDE];
    const u32 across = (columns + SIDE - 1) / SIDE, thread = threadIdx.x;
    const u32 first_m = blockIdx.y / across * SIDE, first_n = blockIdx.y % across * SIDE;
    if (first_m >= depth) return;
    const u32 first = blockIdx.x * rows_per_split, last = min(first + rows_per_split, rows);
    const u32 x = thread % 16 * EACH, y = thread / 16 * EACH;
    float acc[EACH][EACH] = {};
    for (u32 start = first; start < last; start += DEPTH) {
        for (u32 i = thread; i < DEPTH * SIDE; i += THREADS) {
            const u32 row = start + i / SIDE, m = first_m + i % SIDE, n = first_n + i % SIDE;
            as[i / SIDE][i % SIDE] = row < last && m < depth ? a(row, m) : 0.0f;
            gs[i / SIDE][i % SIDE] = row < last && n < columns ? g(row, n) : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (u32 k = 0; k < DEPTH; ++k)
#pragma unroll
            for (u32 i = 0; i < EACH; ++i)
#pragma unroll
                for (u32 j = 0; j < EACH; ++j) acc[i][j] = fmaf(as[k][y + i], gs[k][x + j], acc[i][j]);
        __syncthreads();
    }
#pragma unroll
    for (u32 i = 0; i < EACH; ++i)
#pragma unroll
        for (u32 j = 0; j < EACH; ++j)
            if (first_m + y + i < depth && first_n + x + j < columns)
                partial[(blockIdx.x * depth + first_m + y + i) * columns + first_n + x + j] = acc[i][j];
}
