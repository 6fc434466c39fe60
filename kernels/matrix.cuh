// Matrix products over pixels: result[row][column] = sum_k left(row, k) * right(k, column), where left is computed while
// it is read (readers.cuh) and right is a weight matrix. A block takes a tile of rows; what becomes of its results is
// up to the kernel. The storage type decides how the products are formed:
//   f32 (and all before compute capability 8.0): a thread holds 8 rows x 4 columns; both sides lie in shared memory in
//     f32, so three 16-byte reads feed 32 multiply-adds.
//   bf16, f16: tensor cores (tensor.cuh). Left goes from memory to registers: a lane's run of four is its share of a step
//     of the depth, as the order of the depth is free. Right is rounded to the storage type and lies in shared
//     memory, in chunks [32 deep][column][32] of which a lane reads 16 bytes for two steps; an exclusive-or of the column
//     keeps writers out of each other's banks. The order of columns is free too: a lane holds runs of neighbouring ones.
// Either way 32 results a thread at most, so that two blocks of 512 threads or four of 256 fit a multiprocessor.
//
// Bytes: left once, as long as a tile covers all columns, or the depth is at most what stays resident; right once a tile.
// Tiles have 128 to 512 rows so that this is little.
//
// Determinism: a result is summed by one thread in the order of the depth; tiles leave moments, which combine.cu adds in
// their order.
//
// Versions: 1 scalar loads, 4 x 4 results a thread, in product.cuh. 2 packs, coefficients in shared memory, tensor cores.
#pragma once

#include "readers.cuh"
#include "tensor.cuh"

// Channels whose coefficients are in shared memory at once, in a product that does not keep its left side.
constexpr u32 SLAB = 256;

struct alignas(16) Four {
    float values[4];
};

// How f32 is multiplied: tiles of ROWS x COLUMNS; of the left side STAGE deep is in shared memory at once, of the right
// side STEP deep; coefficients are staged for DEEP. More than UNROLLED steps of the depth side by side would spill.
template <u32 ROWS_, u32 COLUMNS_, u32 STAGE, u32 STEP, u32 DEEP, u32 UNROLLED>
struct Multiplying {
    static constexpr u32 ROWS = ROWS_, COLUMNS = COLUMNS_, LINES = 8, WIDTH = 4, RUN = 4, ACROSS = COLUMNS / 4;
    static constexpr u32 THREADS_USED = ROWS / 8 * ACROSS;
    // The columns that one call of right.stage() brings.
    static constexpr u32 WIDE = COLUMNS;
    // Rows are padded for writers along the depth.
    struct Shared {
        alignas(16) float left[STAGE][ROWS];
        alignas(16) float right[STEP][COLUMNS + 4];
    };
    struct Results {
        float values[8][4];
        __device__ float& at(u32 line, u32 j) { return values[line][j]; }
        __device__ static u32 row(u32 line) { return threadIdx.x / ACROSS * 8 + line; }
        __device__ static u32 column(u32 j) { return threadIdx.x % ACROSS * 4 + j; }
    };

    // Where a row of the left side lies: writers of neighbouring depths find banks of their own.
    __device__ static u32 swizzled(u32 k, u32 row) { return row ^ (k / 4 * 8 % 32); }

    template <class Left>
    __device__ static void load_left(Shared& shared, u32 first_row, u32 rows, u32 start, u32 depth, const Left& left) {
#pragma unroll 1
        for (u32 i = threadIdx.x; i < ROWS * STAGE / 4; i += THREADS_USED) {
            const u32 r = i / (STAGE / 4), k = i % (STAGE / 4) * 4;
            // A short depth leaves the rest of the stage alone, but for the step that it ends in.
            if (start + k >= (depth + STEP - 1) / STEP * STEP) continue;
            float values[4] = {};
            const u32 pixel = first_row + r < rows && start + k < depth ? left.locate(first_row + r) : ABSENT;
            if (pixel != ABSENT) left.load(pixel, start + k, values);
#pragma unroll
            for (u32 j = 0; j < 4; ++j) shared.left[k + j][swizzled(k, r)] = values[j];
        }
    }

    template <class Right>
    __device__ static void load_right(Shared& shared, u32 start, u32 depth, u32 column, u32 columns,
                                      const Right& right) {
#pragma unroll 1
        for (u32 i = threadIdx.x; i < STEP * COLUMNS; i += THREADS_USED) {
            const u32 k = Right::ALONG_DEPTH ? i % STEP : i / COLUMNS, n = Right::ALONG_DEPTH ? i / STEP : i % COLUMNS;
            const bool exists = start + k < depth && column + n < columns;
            shared.right[k][n] = exists ? right(start + k, column + n) : 0.0f;
        }
    }

    __device__ static void step(const Shared& shared, u32 deep, Results& results) {
        const u32 row = Results::row(0), column = Results::column(0);
#pragma unroll(UNROLLED)
        for (u32 k = 0; k < STEP; ++k) {
            const u32 place = swizzled(deep + k, row);
            const Four upper = *reinterpret_cast<const Four*>(&shared.left[deep + k][place]);
            const Four lower = *reinterpret_cast<const Four*>(&shared.left[deep + k][place + 4]);
            const Four across = *reinterpret_cast<const Four*>(&shared.right[k][column]);
#pragma unroll
            for (u32 i = 0; i < 8; ++i)
#pragma unroll
                for (u32 j = 0; j < 4; ++j) {
                    const float l = i < 4 ? upper.values[i] : lower.values[i - 4];
                    results.values[i][j] = fmaf(l, across.values[j], results.values[i][j]);
                }
        }
    }

    // Calls finish(results, first row, first column) for each tile of rows [first, rows) and columns [column, columns).
    template <class Left, class Right, class Finish>
    __device__ static void products(Shared& shared, u32 first, u32 rows, u32 depth, u32 first_column, u32 columns,
                                    Left& left, Right& right, Finish finish) {
        for (; first < rows; first += ROWS)
            tile_products(shared, first, rows, depth, first_column, columns, left, right, finish);
    }

    template <class Left, class Right, class Finish>
    __device__ static void tile_products(Shared& shared, u32 first_row, u32 rows, u32 depth, u32 first_column,
                                         u32 columns, Left& left, Right& right, Finish finish) {
        bool loaded = false;
        for (u32 column = first_column; column < columns; column += COLUMNS) {
            Results results = {};
            for (u32 start = 0; start < depth; start += STEP) {
                __syncthreads();
                if (!loaded && start % DEEP == 0) {
                    left.stage(start);
                    __syncthreads();
                }
                if (!loaded && start % STAGE == 0) load_left(shared, first_row, rows, start, depth, left);
                if (start == 0) right.stage(column, columns);
                load_right(shared, start, depth, column, columns, right);
                __syncthreads();
                step(shared, start % STAGE, results);
            }
            loaded = depth <= STAGE;
            finish(results, first_row, column);
        }
    }
};

#if defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)
// How bf16 and f16 are multiplied: a warp has LINES * 8 rows and COLUMNS columns at a time; of the right side DEEP x WIDE
// is in shared memory at once. With KEEP, the left side stays in registers where the depth is at most DEEP.
template <u32 LINES_, u32 COLUMNS_, u32 WARPS, u32 DEEP, u32 WIDE_, bool KEEP>
struct Tensors {
    static constexpr u32 LINES = LINES_, COLUMNS = COLUMNS_, WIDTH = COLUMNS / 4, WIDE = WIDE_;
    static constexpr u32 RUN = COLUMNS < 32 ? COLUMNS / 4 : 8;
    static constexpr u32 ROWS = WARPS * LINES * 8, THREADS_USED = WARPS * 32, ACROSS = 4, CHUNKS = DEEP / 32;
    struct Shared {
        alignas(16) Storage right[CHUNKS][WIDE][32];
    };
    struct Results {
        float fragments[LINES / 2][WIDTH / 2][4];
        __device__ float& at(u32 line, u32 j) { return fragments[line / 2][j / 2][line % 2 * 2 + j % 2]; }
        __device__ static u32 row(u32 line) {
            return threadIdx.x / 32 * (LINES * 8) + threadIdx.x % 32 / 4 + line * 8;
        }
        __device__ static u32 column(u32 j) { return j / RUN * 32 + threadIdx.x % 4 * RUN + j % RUN; }
    };

    // The column of a B that lane group g gives for columns j and j + 1 of a lane's runs.
    __device__ static u32 column_of(u32 g, u32 j) { return j / RUN * 32 + g / 2 * RUN + j % RUN + g % 2; }

    // Where a lane's eight values of a chunk lie, of which value j is depth_of(unit, j): four for each step.
    __device__ static u32 depth_of(u32 unit, u32 j) { return j / 4 * 16 + unit * 4 + j % 4; }
    __device__ static Storage* place(Shared& shared, u32 chunk, u32 column, u32 unit) {
        return &shared.right[chunk][column][(unit ^ (column / RUN % 4)) * 8];
    }

    // The right side's `depth` x `width` from (start, column) on; zero where there is none.
    template <class Right>
    __device__ static void load_right(Shared& shared, u32 start, u32 depth, u32 column, u32 width, u32 columns,
                                      const Right& right) {
        const u32 deep = (min(depth - start, DEEP) + 31) / 32 * 32;
        if constexpr (Right::ALONG_DEPTH) {
#pragma unroll 1
            for (u32 n = threadIdx.x / 32; n < width; n += WARPS)
#pragma unroll 1
                for (u32 k = threadIdx.x % 32; k < deep; k += 32) {
                    const bool exists = start + k < depth && column + n < columns;
                    const float value = exists ? right(start + k, column + n) : 0.0f;
                    place(shared, k / 32, n, k % 16 / 4)[k % 32 / 16 * 4 + k % 4] = narrow(value);
                }
        } else {
#pragma unroll 1
            for (u32 i = threadIdx.x; i < deep / 8 * width; i += THREADS_USED) {
                // Lanes take columns in the order in which lane groups will, which keeps them apart.
                const u32 lane = i % width, chunk = i / width / 4, unit = i / width % 4;
                const u32 n = lane / (4 * RUN) * (4 * RUN) + lane / 2 % 4 * RUN + lane / 8 % (RUN / 2) * 2 + lane % 2;
                Pack eight;
#pragma unroll
                for (u32 j = 0; j < 8; ++j) {
                    const u32 k = start + chunk * 32 + depth_of(unit, j);
                    eight.values[j] = narrow(k < depth && column + n < columns ? right(k, column + n) : 0.0f);
                }
                *reinterpret_cast<Pack*>(place(shared, chunk, n, unit)) = eight;
            }
        }
    }

    // The lane's A of 16 rows for the two steps of a chunk.
    template <class Left>
    __device__ static void load_left(u32 (&a)[2][4], u32 first_row, u32 rows, u32 m, u32 k, u32 depth,
                                     const Left& left) {
        k += threadIdx.x % 4 * 4;
#pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            const u32 row = anew(first_row) + Results::row(2 * m + half);
            const u32 pixel = row < rows ? left.locate(row) : ABSENT;
#pragma unroll
            for (u32 step = 0; step < 2; ++step) {
                float values[4] = {};
                if (pixel != ABSENT && k + step * 16 < depth) left.load(pixel, k + step * 16, values);
                a[step][half] = pair(values[0], values[1]);
                a[step][half + 2] = pair(values[2], values[3]);
            }
        }
    }

    // Adds a chunk's products of 16 rows.
    __device__ static void step(Shared& shared, u32 chunk, u32 tile, const u32 (&a)[2][4], float (&d)[WIDTH / 2][4]) {
        const u32 lane = threadIdx.x % 32;
        const Storage* own = place(shared, 0, column_of(lane / 4, 0), lane % 4);
#pragma unroll
        for (u32 n = 0; n < WIDTH / 2; ++n) {
            // place() of column_of(lane / 4, 2 n), but for what all lanes have in common.
            const u32 column = tile + column_of(0, 2 * n);
            const uint4 b = *reinterpret_cast<const uint4*>(own + (chunk * WIDE + column) * 32);
            multiply_accumulate(d[n], a[0], {b.x, b.y});
            multiply_accumulate(d[n], a[1], {b.z, b.w});
        }
    }

    template <class Left, class Right, class Finish>
    __device__ static void products(Shared& shared, u32 first_row, u32 rows, u32 depth, u32 first_column, u32 columns,
                                    Left& left, Right& right, Finish finish) {
        const u32 width = depth <= DEEP ? WIDE : COLUMNS;
        // The next tile of rows finds all of the right side, and its coefficients, where this one did.
        const bool once = depth <= DEEP && columns - first_column <= width;
        bool there = false;
        for (; first_row < rows; first_row += ROWS) {
            u32 kept[KEEP ? CHUNKS : 1][LINES / 2][2][4];
            Results results;
            for (u32 first = first_column; first < columns; first += width)
                for (u32 start = 0; start < depth; start += DEEP) {
                    if (!there) {
                        __syncthreads();
                        left.stage(start);
                        if (start == 0) right.stage(first, columns);
                        load_right(shared, start, depth, first, width, columns, right);
                        __syncthreads();
                        there = once;
                    }
                    if (KEEP && (first == first_column || depth > DEEP)) {
#pragma unroll
                        for (u32 c = 0; c < (KEEP ? CHUNKS : 1); ++c)
#pragma unroll
                            for (u32 m = 0; m < LINES / 2; ++m)
                                load_left(kept[c][m], first_row, rows, m, start + c * 32, depth, left);
                    }
                    for (u32 tile = 0; tile < width && first + tile < columns; tile += COLUMNS) {
                        if (start == 0) results = {};
                        multiply(shared, first_row, rows, start, depth, tile, left, kept, results);
                        if (start + DEEP >= depth) finish(results, first_row, first + tile);
                    }
                }
        }
    }

    // Adds the products of what is in shared memory, with the left side kept or read now.
    template <u32 C, class Left>
    __device__ static void multiply(Shared& shared, u32 first_row, u32 rows, u32 start, u32 depth, u32 tile,
                                    const Left& left, const u32 (&kept)[C][LINES / 2][2][4], Results& results) {
#pragma unroll(KEEP ? CHUNKS : 1)
        for (u32 c = 0; c < CHUNKS; ++c) {
            if (start + c * 32 >= depth) break;
#pragma unroll
            for (u32 m = 0; m < LINES / 2; ++m) {
                if constexpr (KEEP) {
                    step(shared, c, tile, kept[c][m], results.fragments[m]);
                } else {
                    u32 a[2][4];
                    load_left(a, first_row, rows, m, start + c * 32, depth, left);
                    step(shared, c, tile, a, results.fragments[m]);
                    in_turn();
                }
            }
        }
    }
};
#endif

// The forms that the kernels take; both have the same tiles of rows and threads, so a launch need not know which is used.
template <u32 COLUMNS, u32 DEEP = SLAB>
struct ForwardForms {
    // 32 results for each of 256 threads.
    static constexpr u32 ROWS = 8192 / COLUMNS, STAGE = 4096 / ROWS > 16 ? 16 : 4096 / ROWS;
    using Plain = Multiplying<ROWS, COLUMNS, STAGE, STAGE, DEEP, 2>;
#if defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)
    using Form = typename Choose<TENSOR_CORES, Tensors<128 / COLUMNS, COLUMNS, 8, DEEP, COLUMNS, false>, Plain>::Type;
#else
    using Form = Plain;
#endif
};

// Blocks of a multiprocessor: with two-byte storage, 16-byte accesses take more registers.
constexpr u32 FORWARD_BLOCKS = sizeof(Storage) == 4 ? 4 : 3, FORWARD_BLOCKS_64 = sizeof(Storage) == 4 ? 4 : 2;

// Left is read once for all columns where it is at most DEPTH deep. 256 rows of 512 threads, or such in two halves.
template <u32 DEPTH>
struct InputForms {
    using Plain = Multiplying<8192 / DEPTH, 2 * DEPTH, DEPTH, 512 / DEPTH, DEPTH, 1>;
#if defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)
    using Form = typename Choose<TENSOR_CORES, Tensors<2, 16, 16, DEPTH, SLAB, true>, Plain>::Type;
#else
    using Form = Plain;
#endif
};

// Calls visit(row, column, values) for the runs of the thread's results that begin within rows and columns.
template <class Form, class Results, class Visit>
__device__ inline void each_run(Results& results, u32 first_row, u32 rows, u32 first_column, u32 columns, Visit visit) {
#pragma unroll
    for (u32 line = 0; line < Form::LINES; ++line)
#pragma unroll
        for (u32 start = 0; start < Form::WIDTH; start += Form::RUN) {
            const u32 row = anew(first_row) + Results::row(line), column = first_column + Results::column(start);
            float values[Form::RUN];
#pragma unroll
            for (u32 j = 0; j < Form::RUN; ++j) values[j] = results.at(line, start + j);
            if (row < rows && column < columns) visit(row, column, values);
            in_turn();
        }
}

// What leave_moments() needs of shared memory.
template <class Form>
struct MomentSums {
    float sums[2][Form::THREADS_USED / 32][Form::COLUMNS];
    float means[Form::COLUMNS];

    // The thread's part of the sum over rows for a column, to what is there or alone.
    __device__ void add(u32 which, u32 column, float part, bool alone) {
#pragma unroll
        for (u32 lanes = Form::ACROSS; lanes < 32; lanes *= 2) part += __shfl_xor_sync(0xffffffffu, part, lanes);
        float& sum = sums[which][threadIdx.x / 32][column];
        if (threadIdx.x % 32 < Form::ACROSS) sum = alone ? part : sum + part;
    }

    // The sum for a column, when all have been added.
    __device__ float total(u32 which, u32 column) const {
        float sum = 0.0f;
        for (u32 warp = 0; warp < Form::THREADS_USED / 32; ++warp) sum += sums[which][warp][column];
        return sum;
    }
};

// Leaves, when the tile that begins at `first_row` is the last of rows [first, last), for each column the mean m of the
// first tile as f32 has it, and the sums over all rows of deviations and of squared deviations from m, at
// partial[0..3][pitch]. With the deviations, the second stage knows the mean beyond f32, and nothing cancels. All threads
// call.
template <class Form, class Results>
__device__ inline void leave_moments(MomentSums<Form>& shared, Results& results, u32 first, u32 last, u32 first_row,
                                     u32 first_column, u32 columns, u32 pitch, float* partial) {
    if (first_row == first) {
        // Rows beyond the last are zero.
#pragma unroll
        for (u32 j = 0; j < Form::WIDTH; ++j) {
            float sum = 0.0f;
#pragma unroll
            for (u32 line = 0; line < Form::LINES; ++line) sum += results.at(line, j);
            shared.add(0, Results::column(j), sum, true);
        }
        __syncthreads();
        if (threadIdx.x < Form::COLUMNS)
            shared.means[threadIdx.x] = shared.total(0, threadIdx.x) / float(min(Form::ROWS, last - first));
        __syncthreads();
    }
#pragma unroll
    for (u32 j = 0; j < Form::WIDTH; ++j) {
        const float mean = shared.means[Results::column(j)];
        const u32 count = anew(last - first_row);
        float deviations = 0.0f, squares = 0.0f;
#pragma unroll
        for (u32 line = 0; line < Form::LINES; ++line) {
            const float deviation = Results::row(line) < count ? results.at(line, j) - mean : 0.0f;
            deviations += deviation;
            squares = fmaf(deviation, deviation, squares);
        }
        shared.add(0, Results::column(j), deviations, first_row == first);
        shared.add(1, Results::column(j), squares, first_row == first);
    }
    if (first_row + Form::ROWS < last) return;
    __syncthreads();
    const u32 column = first_column + threadIdx.x;
    if (threadIdx.x >= Form::COLUMNS || column >= columns) return;
    partial[column] = shared.means[threadIdx.x];
    partial[pitch + column] = shared.total(0, threadIdx.x);
    partial[2 * pitch + column] = shared.total(1, threadIdx.x);
}
