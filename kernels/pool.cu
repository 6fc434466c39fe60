// Maximum or average of square windows of scale x + shift, behind a ReLU where asked for (NHWC). Pixels outside the image
// count for neither:
//   forward: assigned.
//   places:  for each window of a maximum, the tap of its first largest pixel, into scratch.
//   input:   each pixel gathers from the windows that hold it, masked by the ReLU; assigned or added.
//
// Launch: a thread an element, channels fastest.
// Bytes per output element of forward: x once (windows overlap in cache), y written: the least possible. Backward reads
// the gradient once and, of a maximum, x once and 8 bytes of scratch.
//
// Versions: 1 as above.
#include "common.cuh"

struct Pool {
    Shape input, output;
    u32 relu, maximum, kernel, stride, padding;
    Reader reader;
    // The result, or its gradient.
    u32 result;
    // Taps, in scratch.
    u32 places;
    Target target;
};
static_assert(sizeof(Pool) == 80);

__device__ inline float read(const Memory& memory, const Pool& op, u32 index, u32 c) {
    const float value = value_of(memory, op.reader, index, c);
    return op.relu ? fmaxf(value, 0.0f) : value;
}

// How many rows, or columns, of an image with `side` of them the window at a position holds.
__device__ inline u32 inside(const Pool& op, u32 position, u32 side) {
    const u32 start = position * op.stride, end = min(start + op.kernel - op.padding, side);
    return end - (max(start, op.padding) - op.padding);
}

struct Window {
    float largest, sum;
    u32 place;
};

__device__ inline Window window(const Memory& memory, const Pool& op, const Pixel& pixel, u32 c) {
    Window result = {0.0f, 0.0f, ABSENT};
    for (u32 tap = 0; tap < op.kernel * op.kernel; ++tap) {
        const u32 y = under(pixel.row, op.stride, tap / op.kernel, op.padding);
        const u32 x = under(pixel.column, op.stride, tap % op.kernel, op.padding);
        if (y >= op.input.h || x >= op.input.w) continue;
        const float value = read(memory, op, index_of(op.input, pixel.image, y, x) + c, c);
        if (result.place == ABSENT || value > result.largest) {
            result.largest = value;
            result.place = tap;
        }
        result.sum += value;
    }
    return result;
}

extern "C" __global__ void __launch_bounds__(256) pool_forward(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ Pool op) {
    const u32 channels = op.output.c, index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.output.n * op.output.h * op.output.w * channels) return;
    const Pixel pixel = pixel_of(op.output, index / channels);
    const Window found = window(memory, op, pixel, index % channels);
    const u32 count = inside(op, pixel.row, op.input.h) * inside(op, pixel.column, op.input.w);
    store(memory, op.result + index, op.maximum ? found.largest : found.sum / float(count));
}

extern "C" __global__ void __launch_bounds__(256) pool_places(const __grid_constant__ Memory memory,
                                                              const __grid_constant__ Pool op) {
    const u32 channels = op.output.c, index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.output.n * op.output.h * op.output.w * channels) return;
    const Pixel pixel = pixel_of(op.output, index / channels);
    reinterpret_cast<u32*>(memory.scratch)[op.places + index] = window(memory, op, pixel, index % channels).place;
}

extern "C" __global__ void __launch_bounds__(256) pool_input(const __grid_constant__ Memory memory,
                                                             const __grid_constant__ Pool op) {
    const u32 channels = op.input.c, index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.input.n * op.input.h * op.input.w * channels) return;
    const u32 c = index % channels;
    const Pixel pixel = pixel_of(op.input, index / channels);
    const u32* places = reinterpret_cast<const u32*>(memory.scratch) + op.places;
    float sum = 0.0f;
    for (u32 tap = 0; tap < op.kernel * op.kernel; ++tap) {
        // The place of the window; before the image it wraps beyond the last.
        const u32 row = pixel.row + op.padding - tap / op.kernel, column = pixel.column + op.padding - tap % op.kernel;
        if (row % op.stride != 0 || column % op.stride != 0) continue;
        const u32 y = row / op.stride, x = column / op.stride;
        if (y >= op.output.h || x >= op.output.w) continue;
        const u32 above = index_of(op.output, pixel.image, y, x) + c;
        const float gradient = load(memory, op.result + above);
        if (!op.maximum)
            sum += gradient / float(inside(op, y, op.input.h) * inside(op, x, op.input.w));
        else if (places[above] == tap)
            sum += gradient;
    }
    if (op.relu && !(value_of(memory, op.reader, index, c) > 0.0f)) sum = 0.0f;
    deliver(memory, op.target, index, sum);
}
