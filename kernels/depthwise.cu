// The backward of depthwise convolutions, from the gradient dd of their results (in scratch, by separable.cu):
//   input:   dx[q, c] = [x > 0] * sum over the source's branches and taps of dd_b[p(q, tap), c] * w_b[tap, c];
//            assigned or added, as the target says. A gather, so no atomics.
//   weights: dw[tap, c] = sum_p dd[p, c] * relu(x)[under tap, c], in chunks of rows; assigned.
//
// Launch: input grid (ceil(elements / 256), 1, sources), a thread an element, channels fastest. Weights grid
// (chunks, tiles of channels, branches * 7): blockIdx.z picks branch and row of the window, of which a thread holds
// all taps; block (16 or 32 channels, rows).
// Bytes per element: input reads dd of each branch and x once (windows overlap in cache), the least possible. Weights
// read dd and x once for each row of the window: 3 to 5 times the least from DRAM if the cache held nothing.
//
// Versions: 1 as above.
#include "common.cuh"

struct Branch {
    u32 gradient, kernel, dilation, weights, source, partial;
};

struct Source {
    Reader input;
    Target target;
    u32 first, count;
};

struct Depthwise {
    Shape input, output;
    u32 stride, rows_per_chunk;
    Branch branches[MAX_FACTORS];
    Source sources[MAX_FACTORS];
};
static_assert(sizeof(Depthwise) == 40 + 18 * (24 + 28));

// dd * w over a branch's taps for one input pixel.
__device__ inline float gathered(const Memory& memory, const Depthwise& op, const Branch& branch, const Pixel& pixel,
                                 u32 c) {
    const u32 padding = branch.dilation * (branch.kernel - 1) / 2, stride = op.stride;
    float sum = 0.0f;
    for (u32 i = 0; i < branch.kernel; ++i) {
        const u32 row = pixel.row + padding - i * branch.dilation;
        // A difference below zero wraps and is far beyond the image.
        if (row % stride != 0 || row / stride >= op.output.h) continue;
        for (u32 j = 0; j < branch.kernel; ++j) {
            const u32 column = pixel.column + padding - j * branch.dilation;
            if (column % stride != 0 || column / stride >= op.output.w) continue;
            const u32 p = (pixel.image * op.output.h + row / stride) * op.output.w + column / stride;
            const float weight = memory.state[branch.weights + (i * branch.kernel + j) * op.input.c + c];
            sum = fmaf(memory.scratch[branch.gradient + p * op.input.c + c], weight, sum);
        }
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(256, 4) depthwise_input(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ Depthwise op) {
    const Source& source = op.sources[blockIdx.z];
    const u32 index = blockIdx.x * THREADS + threadIdx.x, channels = op.input.c;
    if (index >= op.input.n * op.input.h * op.input.w * channels) return;
    const u32 c = index % channels;
    float sum = 0.0f;
    if (value_of(memory, source.input, index, c) > 0.0f) {
        const Pixel pixel = pixel_of(op.input, index / channels);
        for (u32 b = 0; b < source.count; ++b)
            sum += gathered(memory, op, op.branches[source.first + b], pixel, c);
    }
    deliver(memory, source.target, index, sum);
}

extern "C" __global__ void __launch_bounds__(256) depthwise_weights(const __grid_constant__ Memory memory,
                                                                    const __grid_constant__ Depthwise op) {
    const Branch& branch = op.branches[blockIdx.z / MAX_WINDOW];
    const u32 i = blockIdx.z % MAX_WINDOW, kernel = branch.kernel, channels = op.input.c;
    if (i >= kernel) return;
    const Reader& input = op.sources[branch.source].input;
    const u32 c = blockIdx.y * blockDim.x + threadIdx.x, padding = branch.dilation * (kernel - 1) / 2;
    const u32 rows = op.output.n * op.output.h * op.output.w;
    const u32 first = blockIdx.x * op.rows_per_chunk, last = min(first + op.rows_per_chunk, rows);
    float sums[MAX_WINDOW] = {};
    if (c < channels)
        for (u32 row = first + threadIdx.y; row < last; row += blockDim.y) {
            const Pixel pixel = pixel_of(op.output, row);
            const u32 y = under(pixel.row, op.stride, i * branch.dilation, padding);
            if (y >= op.input.h) continue;
            const float gradient = memory.scratch[branch.gradient + row * channels + c];
#pragma unroll
            for (u32 j = 0; j < MAX_WINDOW; ++j) {
                const u32 x = under(pixel.column, op.stride, j * branch.dilation, padding);
                if (j < kernel && x < op.input.w)
                    sums[j] = fmaf(gradient, activated(memory, input, index_of(op.input, pixel.image, y, x) + c, c), sums[j]);
            }
        }
    float* partial = memory.scratch + branch.partial + (blockIdx.x * kernel + i) * kernel * channels;
#pragma unroll
    for (u32 j = 0; j < MAX_WINDOW; ++j) {
        if (j >= kernel) break;
        const float sum = column_sum(sums[j]);
        if (threadIdx.y == 0 && c < channels) partial[j * channels + c] = sum;
    }
}
