// Maximum and average of 3x3 neighbourhoods, padding 1, of scale x + shift (NHWC). Pixels outside count for neither:
//   forward:  both results in one pass over the input, and the statistics of both; assigned.
//   backward: first, for each window, the place of its first maximum and the two cotangents, into scratch; then each
//             input pixel gathers from the windows that hold it; assigned or added, as the target says.
//
// Launch: forward grid (chunks of rows, tiles of channels), block (16 or 32 channels, rows); backward a thread an
// element, channels fastest.
// Bytes per output element: forward reads x once (windows overlap in cache), writes two, and reads both again from
// cache for the deviations: the least possible from DRAM. Backward writes and reads 12 bytes of scratch, which
// forming the cotangents nine times would not.
//
// Versions: 1 as above.
#include "common.cuh"

struct Pool {
    Shape input, output;
    u32 stride, rows_per_chunk;
    Reader reader;
    u32 maximum, average, maximum_partial, average_partial;
    // Gradients and places of windows, in scratch.
    u32 maximum_gradient, average_gradient, places;
    Target target;
    Cotangent maximum_cotangent, average_cotangent;
};
static_assert(sizeof(Pool) == 40 + 12 + 28 + 8 + 304);

struct Window {
    float largest, sum;
    u32 place, count;
};

__device__ inline Window window(const Memory& memory, const Pool& op, u32 row, u32 c) {
    const Pixel pixel = pixel_of(op.output, row);
    Window result = {0.0f, 0.0f, 0, 0};
    for (u32 tap = 0; tap < 9; ++tap) {
        const u32 y = under(pixel.row, op.stride, tap / 3, 1), x = under(pixel.column, op.stride, tap % 3, 1);
        if (y >= op.input.h || x >= op.input.w) continue;
        const float value = value_of(memory, op.reader, index_of(op.input, pixel.image, y, x) + c, c);
        if (result.count == 0 || value > result.largest) {
            result.largest = value;
            result.place = tap;
        }
        result.sum += value;
        result.count += 1;
    }
    return result;
}

extern "C" __global__ void __launch_bounds__(256) pool_forward(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ Pool op) {
    const u32 channels = op.output.c, c = blockIdx.y * blockDim.x + threadIdx.x;
    const u32 rows = op.output.n * op.output.h * op.output.w;
    const u32 first = blockIdx.x * op.rows_per_chunk, last = min(first + op.rows_per_chunk, rows);
    float maxima = 0.0f, averages = 0.0f;
    if (c < channels)
        for (u32 row = first + threadIdx.y; row < last; row += blockDim.y) {
            const Window found = window(memory, op, row, c);
            const float average = found.sum / float(found.count);
            store(memory, op.maximum + row * channels + c, found.largest);
            store(memory, op.average + row * channels + c, average);
            maxima += found.largest;
            averages += average;
        }
    // Each thread reads again what it wrote itself.
    const u32 offset = blockIdx.x * 3 * channels;
    leave_moments(maxima, first, last, c, channels, memory.scratch + op.maximum_partial + offset,
                  [&](u32 row) { return load(memory, op.maximum + row * channels + c); });
    leave_moments(averages, first, last, c, channels, memory.scratch + op.average_partial + offset,
                  [&](u32 row) { return load(memory, op.average + row * channels + c); });
}

extern "C" __global__ void __launch_bounds__(256) pool_windows(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ Pool op) {
    const u32 channels = op.output.c, index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.output.n * op.output.h * op.output.w * channels) return;
    const u32 c = index % channels;
    const Window found = window(memory, op, index / channels, c);
    memory.scratch[op.maximum_gradient + index] = cotangent_of(memory, op.maximum_cotangent, index, c);
    memory.scratch[op.average_gradient + index] =
        cotangent_of(memory, op.average_cotangent, index, c) / float(found.count);
    reinterpret_cast<u32*>(memory.scratch)[op.places + index] = found.place;
}

extern "C" __global__ void __launch_bounds__(256) pool_input(const __grid_constant__ Memory memory,
                                                             const __grid_constant__ Pool op) {
    const u32 channels = op.input.c, index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.input.n * op.input.h * op.input.w * channels) return;
    const u32 c = index % channels;
    const Pixel pixel = pixel_of(op.input, index / channels);
    const u32* places = reinterpret_cast<const u32*>(memory.scratch) + op.places;
    float sum = 0.0f;
    for (u32 tap = 0; tap < 9; ++tap) {
        const u32 row = pixel.row + 1 - tap / 3, column = pixel.column + 1 - tap % 3;
        if (row % op.stride != 0 || column % op.stride != 0) continue;
        if (row / op.stride >= op.output.h || column / op.stride >= op.output.w) continue;
        const u32 y = index_of(op.output, pixel.image, row / op.stride, column / op.stride) + c;
        if (places[y] == tap) sum += memory.scratch[op.maximum_gradient + y];
        sum += memory.scratch[op.average_gradient + y];
    }
    deliver(memory, op.target, index, sum);
}
