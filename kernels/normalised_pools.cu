// Maximum and average of 3x3 neighbourhoods, padding 1, of v = scale x + shift (NHWC). Pixels outside count for neither:
//   normalised_pools_forward:  both results, assigned, and the partial moments of both, partial[block][3][c] of combine.cu.
//   normalised_pools_backward: dx[p] = sum over the windows that hold p of average_gradient / pixels of the window, and of
//                  maximum_gradient where p is the window's first maximum; assigned or added, as the target says.
//
// A block takes SLICE channels (one 32-byte sector of each pixel; a thread a run of them) of some whole lines. Lines count
// on over the images, so small images share a block. What lines and columns fit in shared memory, the host decides; wider
// images pass tile by tile of columns.
// Forward: values of the lines that the windows touch into shared memory, scaled once; then a thread a run of results,
// stored as they leave the registers. Moments in one pass: sums of deviations from m and of their squares, where m is the
// mean of a few of the block's n results. It is as near to the mean of all as they are spread: (m - mean)^2 is below
// n variance, and on the whole far below the variance, so little cancels however large the mean is.
// Backward: the same values give the place of each window's first maximum, one byte; both output gradients then take the values'
// memory; then a thread a run of pixels gathers. Gradients that flow into both pools are read once.
//
// Launch: forward grid (lines / lines of a block, slices), 256 threads; backward the same with 512 threads.
// Bytes per element: forward x once and two results; backward x, the raw results and each gradient once, dx once (twice
// where added): the least possible but for lines that neighbouring blocks share.
//
// Versions: 1 windows from global memory; moments read the results again; backward through 12 bytes of scratch an element:
// 5.3 (forward) and about 3.9 (backward) of the least. 2 lines in shared memory, backward in one kernel.
#include "stream.cuh"

// Channels of a block.
constexpr u32 SLICE = 32 / sizeof(Storage);
// Channels of a thread of forward, whose moments take four registers each.
constexpr u32 FEW = 4;
// Floats of shared memory: values of forward, windows of backward.
constexpr u32 VALUES = 5120, WINDOWS = 5120;
constexpr u32 BACKWARD_THREADS = 512;
constexpr u32 MAX_POOL_TERMS = 20;

// What the output gradients of maximum and average sum: a gradient or a raw result, and its factor in each; ABSENT where one
// does not have it.
struct PoolTerm {
    u32 data, factors[2];
};

struct NormalisedPools {
    Shape input, output;
    // Of a block: results of forward, pixels of backward.
    u32 stride, packed, lines, columns;
    Reader reader;
    u32 maximum, average, maximum_partial, average_partial;
    Target target;
    // Of maximum and average.
    u32 gates[2];
    u32 constants[2], count;
    PoolTerm terms[MAX_POOL_TERMS];
};
static_assert(sizeof(NormalisedPools) == 32 + 16 + 12 + 16 + 8 + 8 + 12 + 12 * 20);

struct Range {
    u32 first, count;
};

struct Part {
    Range lines, columns;
    __device__ u32 pixels() const { return lines.count * columns.count; }
};

// The positions that windows touch. Positions count on over images of `to` of them and `from` windows.
__device__ inline Range touched(const Range& windows, u32 from, u32 to, u32 stride) {
    const u32 last = windows.first + windows.count - 1;
    const u32 low = windows.first % from * stride, high = min(last % from * stride + 1, to - 1);
    const u32 first = windows.first / from * to + (low > 0 ? low - 1 : 0);
    return {first, last / from * to + high + 1 - first};
}

// The windows that touch positions.
__device__ inline Range touching(const Range& positions, u32 from, u32 to, u32 stride) {
    const u32 last = positions.first + positions.count - 1, low = positions.first % from;
    const u32 first = positions.first / from * to + (low > 0 ? (low + stride - 2) / stride : 0);
    return {first, last / from * to + min((last % from + 1) / stride, to - 1) + 1 - first};
}

// One over the number of a window's pixels inside the image.
__device__ inline float share_of(const NormalisedPools& op, u32 line, u32 column) {
    const auto inside = [&](u32 window, u32 side) {
        return 3 - (window == 0 ? 1 : 0) - (window * op.stride + 1 >= side ? 1 : 0);
    };
    return 1.0f / float(inside(line % op.output.h, op.input.h) * inside(column, op.input.w));
}

// A thread's run of channels, the same for all pixels that it visits.
template <u32 COUNT>
struct Channels {
    static constexpr u32 RUNS = SLICE / COUNT;
    u32 run = threadIdx.x % RUNS * COUNT, first = blockIdx.y * SLICE + run;

    // Calls visit(i, line, column) for the pixels of a part; i counts them.
    template <class Visit>
    __device__ void each_pixel(const Part part, Visit visit) const {
#pragma unroll 1
        for (u32 i = threadIdx.x / RUNS; i < part.pixels(); i += blockDim.x / RUNS) {
            const u32 line = i / part.columns.count;
            visit(i, part.lines.first + line, part.columns.first + i - line * part.columns.count);
        }
    }
};

// values[pixel of the part][SLICE] of the input as its readers see it.
__device__ inline void load_values(const Memory& memory, const NormalisedPools& op, const Part& part, float* values) {
    const Channels<PACK> c;
    const u32 channels = op.input.c;
    if (c.first >= channels) return;
    float scale[PACK], shift[PACK];
    load_coefficients(memory, op.reader.scale, c.first, channels, 1.0f, scale);
    load_coefficients(memory, op.reader.shift, c.first, channels, 0.0f, shift);
    c.each_pixel(part, [&](u32 i, u32 line, u32 column) {
        const u32 index = (line * op.input.w + column) * channels + c.first;
        float x[PACK];
        load_run(memory, op.reader.data + index, op.packed, c.first, channels, x);
#pragma unroll
        for (u32 k = 0; k < PACK; ++k) x[k] = fmaf(scale[k], x[k], shift[k]);
        store_shared(values + i * SLICE + c.run, x);
    });
}

// Calls visit(tap, x) for the pixels of a window, line by line; `values` begins at the run.
template <u32 COUNT, class Visit>
__device__ inline void each_tap(const NormalisedPools& op, const Part& input, const float* values, u32 line, u32 column,
                                Visit visit) {
    const u32 image = line / op.output.h, row = line - image * op.output.h;
#pragma unroll 1
    for (u32 i = 0; i < 3; ++i) {
        const u32 y = under(row, op.stride, i, 1);
        if (y >= op.input.h) continue;
        const float* values_of_line =
            values + (image * op.input.h + y - input.lines.first) * input.columns.count * SLICE;
#pragma unroll
        for (u32 j = 0; j < 3; ++j) {
            const u32 x = under(column, op.stride, j, 1);
            if (x >= op.input.w) continue;
            float value[COUNT];
            load_shared(values_of_line + (x - input.columns.first) * SLICE, value);
            visit(i * 3 + j, value);
        }
    }
}

// Maximum and average of a window, as they are stored.
template <u32 COUNT>
__device__ inline void pool_window(const NormalisedPools& op, const Part& input, const float* values, u32 line, u32 column,
                                   float (&maximum)[COUNT], float (&average)[COUNT]) {
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) maximum[k] = -INFINITY, average[k] = 0.0f;
    each_tap<COUNT>(op, input, values, line, column, [&](u32, const float(&value)[COUNT]) {
#pragma unroll
        for (u32 k = 0; k < COUNT; ++k) {
            maximum[k] = fmaxf(maximum[k], value[k]);
            average[k] += value[k];
        }
    });
    const float share = share_of(op, line, column);
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) {
        maximum[k] = wide(narrow(maximum[k]));
        average[k] = wide(narrow(average[k] * share));
    }
}

// Windows of a block's first line whose mean is the origin of its moments, a lane each.
constexpr u32 SAMPLES = 32 / Channels<FEW>::RUNS;

// The mean over the samples, of the first warp.
__device__ inline void leave_mean(float (&values)[FEW], float* origin) {
#pragma unroll
    for (u32 k = 0; k < FEW; ++k) {
        for (u32 step = 16; step >= 32 / SAMPLES; step /= 2) values[k] += __shfl_xor_sync(0xffffffffu, values[k], step);
        values[k] *= 1.0f / SAMPLES;
    }
    if (threadIdx.x < 32 / SAMPLES) store_shared(origin, values);
}

// A thread's part of the moments of one result, as sums of deviations from `origin`.
struct Moments {
    float deviations[FEW] = {}, squares[FEW] = {};

    __device__ void add(const float (&values)[FEW], const float* origin) {
#pragma unroll
        for (u32 k = 0; k < FEW; ++k) {
            const float deviation = values[k] - origin[k];
            deviations[k] += deviation;
            squares[k] = fmaf(deviation, deviation, squares[k]);
        }
    }
};

// Leaves the block's moments at partial[0..3][c]. `space` holds 2 * FEW + 1 floats for each thread.
__device__ inline void leave(const Moments& moments, const float* origin, u32 channels, float* space, float* partial) {
    constexpr u32 RESULTS = 2 * SLICE, PARTS = THREADS / RESULTS, RUNS = Channels<FEW>::RUNS;
    constexpr u32 EACH = THREADS / RUNS / PARTS;
    float* parts = space + THREADS * 2 * FEW;
    const u32 thread = threadIdx.x, result = thread % RESULTS, channel = blockIdx.y * SLICE + result % SLICE;
    float* own = space + thread / RUNS * RESULTS + thread % RUNS * FEW;
    __syncthreads();
    store_shared(own, moments.deviations);
    store_shared(own + SLICE, moments.squares);
    __syncthreads();
    float sum = 0.0f;
    for (u32 i = 0; i < EACH; ++i) sum += space[(thread / RESULTS * EACH + i) * RESULTS + result];
    parts[thread] = sum;
    __syncthreads();
    if (thread >= RESULTS || channel >= channels) return;
    sum = 0.0f;
    for (u32 i = 0; i < PARTS; ++i) sum += parts[i * RESULTS + result];
    partial[(1 + result / SLICE) * channels + channel] = sum;
    if (result < SLICE) partial[channel] = origin[result];
}

extern "C" __global__ void __launch_bounds__(256, 4) normalised_pools_forward(const __grid_constant__ Memory memory,
                                                                              const __grid_constant__ NormalisedPools op) {
    __shared__ __align__(16) float values[VALUES];
    __shared__ __align__(16) float origins[2][SLICE];
    static_assert(VALUES >= THREADS * (2 * FEW + 1));
    const bool maximum_open = open(memory, op.gates[0]), average_open = open(memory, op.gates[1]);
    if (!maximum_open && !average_open) return;
    const Channels<FEW> c;
    const u32 channels = op.output.c, all = op.output.n * op.output.h, first = blockIdx.x * op.lines;
    Part part = {{first, min(op.lines, all - first)}, {}};
    Part input = {touched(part.lines, op.output.h, op.input.h, op.stride), {}};
    Moments maxima, averages;
    float maximum[FEW], average[FEW];
    for (u32 column = 0; column < op.output.w; column += op.columns) {
        part.columns = {column, min(op.columns, op.output.w - column)};
        input.columns = touched(part.columns, op.output.w, op.input.w, op.stride);
        __syncthreads();
        load_values(memory, op, input, values);
        __syncthreads();
        if (column == 0) {
            if (threadIdx.x < 32) {
                const u32 sample = threadIdx.x / c.RUNS * part.columns.count / SAMPLES;
                pool_window(op, input, values + c.run, first, sample, maximum, average);
                leave_mean(maximum, origins[0] + c.run);
                leave_mean(average, origins[1] + c.run);
            }
            __syncthreads();
        }
        if (c.first < channels)
            c.each_pixel(part, [&](u32, u32 line, u32 column) {
                const u32 index = (line * op.output.w + column) * channels + c.first;
                pool_window(op, input, values + c.run, line, column, maximum, average);
                if (maximum_open) store_run(memory, op.maximum + index, op.packed, c.first, channels, maximum);
                if (average_open) store_run(memory, op.average + index, op.packed, c.first, channels, average);
                maxima.add(maximum, origins[0] + c.run);
                averages.add(average, origins[1] + c.run);
            });
    }
    float* partial = memory.scratch + blockIdx.x * 3 * channels;
    leave(maxima, origins[0], channels, values, partial + op.maximum_partial);
    leave(averages, origins[1], channels, values, partial + op.average_partial);
}

// The terms that an open half has.
using Terms = OpenList<MAX_POOL_TERMS>;

// The coefficients of a block's channels, [row][SLICE]: both constants, then both factors of each term, or zero, as for all
// of a closed half.
__device__ inline void load_factors(const Memory& memory, const NormalisedPools& op, const Terms& terms,
                                    bool maximum_open, bool average_open, float* factors) {
    for (u32 i = threadIdx.x; i < 2 * (1 + terms.count) * SLICE; i += BACKWARD_THREADS) {
        const u32 row = i / SLICE, channel = blockIdx.y * SLICE + i % SLICE;
        u32 place = row < 2 ? op.constants[row] : op.terms[terms.numbers[row / 2 - 1]].factors[row % 2];
        if (!(row % 2 == 0 ? maximum_open : average_open)) place = ABSENT;
        factors[i] = place != ABSENT && channel < op.input.c ? memory.state[place + channel] : 0.0f;
    }
}

// places[window of the part][SLICE], a byte each: the tap of its first maximum.
__device__ inline void find_places(const NormalisedPools& op, const Part& windows, const Part& input, const float* values,
                                   u32* places) {
    const Channels<PACK> c;
    c.each_pixel(windows, [&](u32 i, u32 line, u32 column) {
        float largest[PACK];
        u32 found[PACK / 4];
        // The first tap inside the image, four times.
        const u32 first = ((line % op.output.h == 0 ? 3 : 0) + (column == 0 ? 1 : 0)) * 0x01010101u;
#pragma unroll
        for (u32 k = 0; k < PACK; ++k) largest[k] = -INFINITY, found[k / 4] = first;
        each_tap<PACK>(op, input, values + c.run, line, column, [&](u32 tap, const float(&value)[PACK]) {
#pragma unroll
            for (u32 k = 0; k < PACK; ++k)
                if (value[k] > largest[k]) {
                    largest[k] = value[k];
                    found[k / 4] = (found[k / 4] & ~(255u << k % 4 * 8)) | tap << k % 4 * 8;
                }
        });
#pragma unroll
        for (u32 k = 0; k < PACK / 4; ++k) places[(i * SLICE + c.run) / 4 + k] = found[k];
    });
}

// Both output gradients of the windows of a part, that of the average as each pixel's share: output gradients[2][window][SLICE].
__device__ inline void load_output_gradients(const Memory& memory, const NormalisedPools& op, const Part& windows,
                                             const Terms& terms, const float* factors,
                                             float (*output_gradients)[WINDOWS]) {
    const Channels<PACK> c;
    const u32 channels = op.output.c;
    if (c.first >= channels) return;
    c.each_pixel(windows, [&](u32 i, u32 line, u32 column) {
        const u32 index = (line * op.output.w + column) * channels + c.first;
        const float share = share_of(op, line, column);
        float sums[2][PACK] = {};
        // The constants are the factors of one. In the loop, as before it they would fill registers for all pixels.
#pragma unroll 1
        for (u32 t = 0; t <= terms.count; ++t) {
            float x[PACK];
#pragma unroll
            for (u32 k = 0; k < PACK; ++k) x[k] = 1.0f;
            if (t > 0) load_run(memory, op.terms[terms.numbers[t - 1]].data + index, op.packed, c.first, channels, x);
#pragma unroll
            for (u32 r = 0; r < 2; ++r) {
                float factor[PACK];
                load_shared(factors + (2 * t + r) * SLICE + c.run, factor);
#pragma unroll
                for (u32 k = 0; k < PACK; ++k) sums[r][k] = fmaf(factor[k], x[k], sums[r][k]);
            }
        }
#pragma unroll
        for (u32 k = 0; k < PACK; ++k) sums[1][k] *= share;
        store_shared(output_gradients[0] + i * SLICE + c.run, sums[0]);
        store_shared(output_gradients[1] + i * SLICE + c.run, sums[1]);
    });
}

// The input gradient of a part, from its windows.
__device__ inline void gather(const Memory& memory, const NormalisedPools& op, const Part& part, const Part& windows,
                              const float (*output_gradients)[WINDOWS], const u32* places) {
    const Channels<PACK> c;
    const u32 channels = op.input.c;
    if (c.first >= channels) return;
    c.each_pixel(part, [&](u32, u32 line, u32 column) {
        const u32 image = line / op.input.h, row = line - image * op.input.h;
        float sum[PACK] = {};
#pragma unroll 1
        for (u32 i = 0; i < 3; ++i) {
            // The windows that hold the pixel under this tap; a line before the first wraps.
            const u32 y = row + 1 - i;
            if (y % op.stride != 0 || y / op.stride >= op.output.h) continue;
            const u32 window = (image * op.output.h + y / op.stride - windows.lines.first) * windows.columns.count;
#pragma unroll 1
            for (u32 j = 0; j < 3; ++j) {
                const u32 x = column + 1 - j;
                if (x % op.stride != 0 || x / op.stride >= op.output.w) continue;
                const u32 at = (window + x / op.stride - windows.columns.first) * SLICE + c.run;
                float output_gradient[PACK];
                load_shared(output_gradients[1] + at, output_gradient);
#pragma unroll
                for (u32 k = 0; k < PACK; ++k) sum[k] += output_gradient[k];
                load_shared(output_gradients[0] + at, output_gradient);
#pragma unroll
                for (u32 k = 0; k < PACK; ++k)
                    if ((places[at / 4 + k / 4] >> k % 4 * 8 & 255) == i * 3 + j) sum[k] += output_gradient[k];
            }
        }
        const u32 index = (line * op.input.w + column) * channels + c.first;
        deliver_run(memory, op.target, index, op.packed, c.first, channels, sum);
    });
}

extern "C" __global__ void __launch_bounds__(512, 2) normalised_pools_backward(const __grid_constant__ Memory memory,
                                                                               const __grid_constant__ NormalisedPools op) {
    // The values of the input make room for the output gradients.
    __shared__ __align__(16) float output_gradients[2][WINDOWS];
    __shared__ u32 places[WINDOWS / 4];
    __shared__ __align__(16) float factors[2 * (1 + MAX_POOL_TERMS) * SLICE];
    __shared__ Terms terms;
    const bool maximum_open = open(memory, op.gates[0]), average_open = open(memory, op.gates[1]);
    if (!maximum_open && !average_open) {
        const u32 len = op.input.n * op.input.h * op.input.w * op.input.c;
        return withhold(memory, op.target, len, blockIdx.y * gridDim.x + blockIdx.x, gridDim.x * gridDim.y);
    }
    terms.find(op.count, [&](u32 t) {
        const u32(&factors)[2] = op.terms[t].factors;
        return (maximum_open && factors[0] != ABSENT) || (average_open && factors[1] != ABSENT);
    });
    float* values = output_gradients[0];
    // What the block sees to, its windows, and their pixels: in shared memory, as registers are short.
    __shared__ Part part, windows, input;
    load_factors(memory, op, terms, maximum_open, average_open, factors);
    for (u32 column = 0; column < op.input.w; column += op.columns) {
        __syncthreads();
        if (threadIdx.x == 0) {
            const u32 all = op.input.n * op.input.h, first = blockIdx.x * op.lines;
            part = {{first, min(op.lines, all - first)}, {column, min(op.columns, op.input.w - column)}};
            windows = {touching(part.lines, op.input.h, op.output.h, op.stride),
                       touching(part.columns, op.input.w, op.output.w, op.stride)};
            input = {touched(windows.lines, op.output.h, op.input.h, op.stride),
                     touched(windows.columns, op.output.w, op.input.w, op.stride)};
        }
        __syncthreads();
        load_values(memory, op, input, values);
        __syncthreads();
        find_places(op, windows, input, values, places);
        __syncthreads();
        load_output_gradients(memory, op, windows, terms, factors, output_gradients);
        __syncthreads();
        gather(memory, op, part, windows, output_gradients, places);
    }
}
