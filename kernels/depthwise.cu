// The backward of depthwise convolutions, from the gradient dd of their results (in scratch, by separable.cu):
//   input:   dx[q, c] = [x > 0] * sum over the source's branches and taps of dd_b[p(q, tap), c] * w_b[tap, c];
//            assigned or added, as the target says. A gather, so no atomics.
//   weights: dw[tap, c] = sum_p dd[p, c] * relu(x)[under tap, c], in chunks of rows; assigned.
//
// The input gradient has two ways: by slices of channels, where a block holds dd of whole images in shared memory, 32 bytes
// of each pixel, so that no window reads twice; else a thread an element, channels fastest. Weights come from the bands of
// separable_backward.cuh where those fit, else from depthwise_weights.
// Launch: slices 512 threads; input grid (ceil(elements / 256), 1, sources), 256 threads. Weights grid (chunks, tiles of
// channels, branches * 7): blockIdx.z picks branch and row of the window, of which a thread holds all taps; block (16 or
// 32 channels, rows).
// Bytes: slices read dd of each branch and x once and write dx once, the least possible. The others read dd once for each
// tap or row of the window, which only caches make bearable.
//
// Versions, bytes moved over the least in the cells of the paper (tests/traffic): 1 a thread an element: input 14.1, weights
// 20.5. 2 slices: input 1.01; the weights' part went to the bands.
#include "bands.cuh"

struct Branch {
    u32 gradient, kernel, dilation, weights, source, partial, gate;
};

struct Source {
    Reader input;
    Target target;
    u32 first, count;
};

struct Depthwise {
    Shape input, output;
    u32 stride, rows_per_chunk;
    // Images of a block of depthwise_input_slices.
    u32 images;
    Branch branches[MAX_FACTORS];
    Source sources[MAX_FACTORS];
};
static_assert(sizeof(Depthwise) == 44 + 18 * (28 + 28));

// Finds the open branches of the block's source; whether there are any. If not, the target gets what is owed to it. All
// threads must call.
__device__ inline bool find_branches(const Memory& memory, const Depthwise& op, OpenList<MAX_FACTORS>& list) {
    const Source& source = op.sources[blockIdx.z];
    list.find(source.count, [&](u32 b) { return open(memory, op.branches[source.first + b].gate); });
    if (list.count > 0) return true;
    const u32 len = op.input.n * op.input.h * op.input.w * op.input.c;
    withhold(memory, source.target, len, blockIdx.y * gridDim.x + blockIdx.x, gridDim.x * gridDim.y);
    return false;
}

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
            sum = fmaf(wide(stored(memory, branch.gradient)[p * op.input.c + c]), weight, sum);
        }
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(256, 4) depthwise_input(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ Depthwise op) {
    __shared__ OpenList<MAX_FACTORS> list;
    if (!find_branches(memory, op, list)) return;
    const Source& source = op.sources[blockIdx.z];
    const u32 index = blockIdx.x * THREADS + threadIdx.x, channels = op.input.c;
    if (index >= op.input.n * op.input.h * op.input.w * channels) return;
    const u32 c = index % channels;
    float sum = 0.0f;
    if (value_of(memory, source.input, index, c) > 0.0f) {
        const Pixel pixel = pixel_of(op.input, index / channels);
        for (u32 b = 0; b < list.count; ++b)
            sum += gathered(memory, op, op.branches[source.first + list.numbers[b]], pixel, c);
    }
    deliver(memory, source.target, index, sum);
}

// A slice of channels: 32 bytes, which is a sector, in two words.
constexpr u32 SLICE = 2 * PACK;
constexpr u32 SLICE_THREADS = 512;
// Pixels of a thread, and of a block.
constexpr u32 EACH = 4, MOST_PIXELS = EACH * SLICE_THREADS / 2;

// Four neighbouring channels in shared memory.
__device__ inline float4 load_four(const Storage* at) {
    struct alignas(4 * sizeof(Storage)) Four {
        Storage x, y, z, w;
    };
    const Four four = *reinterpret_cast<const Four*>(at);
    return make_float4(wide(four.x), wide(four.y), wide(four.z), wide(four.w));
}

// Adds dd * w over a branch's taps to the thread's word of its pixels, from the slice of dd in shared memory.
template <u32 STRIDE>
__device__ inline void gather(const Depthwise& op, const Branch& branch, const Pack* gradient, const float* weights,
                              float (&sums)[EACH][PACK]) {
    const u32 padding = branch.dilation * (branch.kernel - 1) / 2, width = op.output.w, height = op.output.h;
    // Place in the block's results, were its row and column those of the input; row and column under tap 0.
    u32 base[EACH], row[EACH], column[EACH];
#pragma unroll
    for (u32 t = 0; t < EACH; ++t) {
        const Pixel pixel = pixel_of(op.input, (threadIdx.x + t * SLICE_THREADS) / 2);
        base[t] = pixel.image * height;
        // Images beyond the block's have rows beyond the result.
        row[t] = (pixel.image < op.images ? pixel.row : ABSENT / 2) + padding;
        column[t] = pixel.column + padding;
    }
    const Storage* word = reinterpret_cast<const Storage*>(gradient) + threadIdx.x % 2 * PACK;
    weights += threadIdx.x % 2 * PACK;
#pragma unroll 1
    for (u32 tap = 0; tap < branch.kernel * branch.kernel; ++tap) {
        const u32 i = tap / branch.kernel, down = i * branch.dilation;
        const u32 across = (tap - i * branch.kernel) * branch.dilation;
        u32 at[EACH];
#pragma unroll
        for (u32 t = 0; t < EACH; ++t) {
            // A difference below zero wraps and is far beyond the image.
            const u32 y = row[t] - down, x = column[t] - across;
            const bool there = y % STRIDE == 0 && x % STRIDE == 0 && y / STRIDE < height && x / STRIDE < width;
            at[t] = there ? ((base[t] + y / STRIDE) * width + x / STRIDE) * SLICE : ABSENT;
        }
#pragma unroll
        for (u32 k = 0; k < PACK; k += 4) {
            const float4 weight = *reinterpret_cast<const float4*>(weights + tap * SLICE + k);
#pragma unroll
            for (u32 t = 0; t < EACH; ++t) {
                if (at[t] == ABSENT) continue;
                const float4 value = load_four(word + at[t] + k);
                sums[t][k] = fmaf(value.x, weight.x, sums[t][k]);
                sums[t][k + 1] = fmaf(value.y, weight.y, sums[t][k + 1]);
                sums[t][k + 2] = fmaf(value.z, weight.z, sums[t][k + 2]);
                sums[t][k + 3] = fmaf(value.w, weight.w, sums[t][k + 3]);
            }
        }
    }
}

// The thread's words of the input gradient: masked by the ReLU, then assigned or added.
__device__ inline void deliver_slice(const Memory& memory, const Depthwise& op, const Source& source, const float* norm,
                                     u32 first, float (&sums)[EACH][PACK]) {
    const u32 image = blockIdx.x * op.images, side = op.input.h * op.input.w, word = threadIdx.x % 2 * PACK;
    const u32 pixels = min(op.images, op.input.n - image) * side;
#pragma unroll
    for (u32 t = 0; t < EACH; ++t) {
        const u32 pixel = (threadIdx.x + t * SLICE_THREADS) / 2;
        if (pixel >= pixels) break;
        const u32 index = (image * side + pixel) * op.input.c + first + word;
        float values[PACK], before[PACK] = {};
        load_pack(memory, source.input.data + index, values);
        if (adds(source.target)) load_pack(memory, source.target.data + index, before);
#pragma unroll
        for (u32 k = 0; k < PACK; ++k) {
            const bool passes = fmaf(norm[word + k], values[k], norm[SLICE + word + k]) > 0.0f;
            values[k] = before[k] + (passes ? sums[t][k] : 0.0f);
        }
        store_pack(memory, source.target.data + index, values);
    }
}

extern "C" __global__ void __launch_bounds__(512, 2) depthwise_input_slices(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Depthwise op) {
    __shared__ Pack gradient[2 * MOST_PIXELS];
    __shared__ alignas(16) float weights[MAX_WINDOW * MAX_WINDOW * SLICE];
    __shared__ float norm[2 * SLICE];
    __shared__ OpenList<MAX_FACTORS> list;
    if (!find_branches(memory, op, list)) return;
    const Source& source = op.sources[blockIdx.z];
    const u32 first = blockIdx.y * SLICE, channels = op.input.c, side = op.output.h * op.output.w;
    const u32 image = blockIdx.x * op.images, words = min(op.images, op.input.n - image) * side * 2;
    if (threadIdx.x < 2 * SLICE) {
        const u32 c = threadIdx.x % SLICE, place = threadIdx.x < SLICE ? source.input.scale : source.input.shift;
        norm[threadIdx.x] = place == ABSENT ? float(threadIdx.x < SLICE) : memory.state[place + first + c];
    }
    float sums[EACH][PACK] = {};
    for (u32 b = source.first; b < source.first + source.count; ++b) {
        const Branch& branch = op.branches[b];
        if (!open(memory, branch.gate)) continue;
        const Storage* from = stored(memory, branch.gradient) + image * side * channels + first;
        __syncthreads();
        for (u32 i = threadIdx.x; i < branch.kernel * branch.kernel * SLICE; i += SLICE_THREADS)
            weights[i] = memory.state[branch.weights + i / SLICE * channels + first + i % SLICE];
        for (u32 i = threadIdx.x; i < words; i += SLICE_THREADS)
            gradient[i] = *reinterpret_cast<const Pack*>(from + i / 2 * channels + i % 2 * PACK);
        __syncthreads();
        if (op.stride == 1) gather<1>(op, branch, gradient, weights, sums);
        else gather<2>(op, branch, gradient, weights, sums);
    }
    deliver_slice(memory, op, source, norm, first, sums);
}

extern "C" __global__ void __launch_bounds__(256) depthwise_weights(const __grid_constant__ Memory memory,
                                                                    const __grid_constant__ Depthwise op) {
    const Branch& branch = op.branches[blockIdx.z / MAX_WINDOW];
    const u32 i = blockIdx.z % MAX_WINDOW, kernel = branch.kernel, channels = op.input.c;
    if (i >= kernel || !open(memory, branch.gate)) return;
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
            const float gradient = wide(stored(memory, branch.gradient)[row * channels + c]);
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
