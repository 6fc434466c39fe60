// Depthwise separable convolutions, all branches of all sources in one grid (NHWC, depthwise weights [i][j][c],
// pointwise [c_in][c_out]):
//   forward:  d[p, c] = sum_taps relu(scale x + shift)[under tap, c] * w[tap, c], y[p, o] = sum_c d[p, c] * v[c, o];
//             the statistics of y in the epilogue; assigned. d is formed while the product reads it, never stored.
//   depthwise results' gradient: dd[p, c] = sum_o gradient(p, o) * v[c, o], into scratch for depthwise.cu.
//   weights:  dv[c, o] = sum_p d[p, c] * gradient(p, o), d formed again, in splits of rows; assigned.
//
// Two ways: in bands (bands.cuh, separable_backward.cuh), where what a block needs fits its shared memory, as it does in
// the cells of the paper; else through product.cuh, which forms d in the loader of the product.
// Launch: bands grid (blocks of images, groups of branches), 512 threads; products grid (tiles of rows or splits, tiles
// of columns, branches), 256 threads. Tables by value say which branches.
// Bytes: bands read x once for all branches of a group, output gradients once, and the matrices once a block; the groups of a
// source read x again. Products read x once for each tap, which only caches make bearable.
//
// Versions, bytes moved over the least in the cells of the paper (tests/traffic): 1 depthwise in the loader of the product:
// forward 23.3, weights 18.1, depthwise results' gradient 3.75. 2 in bands: forward 1.21, both gradients together 1.21,
// the depthwise results' gradient alone 1.13.
#include "product.cuh"
#include "separable_backward.cuh"

__device__ inline float depthwise(const Memory& memory, const Separable& op, const Factor& factor, u32 row, u32 c) {
    const Pixel pixel = pixel_of(op.output, row);
    const u32 kernel = factor.kernel, dilation = factor.dilation, padding = dilation * (kernel - 1) / 2;
    float sum = 0.0f;
    for (u32 i = 0; i < kernel; ++i) {
        const u32 y = under(pixel.row, op.stride, i * dilation, padding);
        if (y >= op.input.h) continue;
        for (u32 j = 0; j < kernel; ++j) {
            const u32 x = under(pixel.column, op.stride, j * dilation, padding);
            if (x >= op.input.w) continue;
            const float value = activated(memory, factor.input, index_of(op.input, pixel.image, y, x) + c, c);
            sum = fmaf(value, memory.state[factor.depthwise + (i * kernel + j) * op.input.c + c], sum);
        }
    }
    return sum;
}

template <u32 COLUMNS>
__device__ inline void forward(const Memory& memory, const Separable& op) {
    const Factor& factor = op.factors[blockIdx.z];
    if (!open(memory, factor.gate)) return;
    product_with_moments<COLUMNS>(
        memory, op.output.n * op.output.h * op.output.w, op.input.c, factor, op.output.c,
        [&](u32 row, u32 c) { return depthwise(memory, op, factor, row, c); },
        [&](u32 c, u32 o) { return memory.state[factor.weights + c * op.output.c + o]; });
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_forward_16(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Separable op) {
    forward<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_forward_64(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Separable op) {
    forward<64>(memory, op);
}

template <u32 COLUMNS>
__device__ inline void depthwise_gradient(const Memory& memory, const Separable& op) {
    __shared__ Tile<COLUMNS> tile;
    const Factor& factor = op.factors[blockIdx.z];
    const UnstoredGradient& output_gradient = op.output_gradients[blockIdx.z];
    if (!open(memory, factor.gate)) return;
    const u32 rows = op.output.n * op.output.h * op.output.w, channels = op.input.c;
    float acc[4][4];
    multiply<COLUMNS>(
        tile, rows, op.output.c, channels,
        [&](u32 row, u32 o) { return unstored_gradient_of(memory, output_gradient, row * op.output.c + o, o); },
        [&](u32 o, u32 c) { return memory.state[factor.weights + c * op.output.c + o]; }, acc);
    each_result<COLUMNS>(rows, channels, acc, [&](u32 row, u32 c, float value) {
        stored(memory, factor.partial)[row * channels + c] = narrow(value);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_depthwise_16(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Separable op) {
    depthwise_gradient<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_depthwise_64(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Separable op) {
    depthwise_gradient<64>(memory, op);
}

template <u32 SIDE>
__device__ inline void weight_gradient(const Memory& memory, const Separable& op) {
    const Factor& factor = op.factors[blockIdx.z];
    const UnstoredGradient& output_gradient = op.output_gradients[blockIdx.z];
    if (!open(memory, factor.gate)) return;
    outer<SIDE>(
        op.output.n * op.output.h * op.output.w, op.rows_per_split, op.input.c, op.output.c,
        memory.scratch + factor.partial, [&](u32 row, u32 c) { return depthwise(memory, op, factor, row, c); },
        [&](u32 row, u32 o) { return unstored_gradient_of(memory, output_gradient, row * op.output.c + o, o); });
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_weights_16(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Separable op) {
    weight_gradient<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_weights_64(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Separable op) {
    weight_gradient<64>(memory, op);
}

// A thread's sums of a channel's results, for the statistics.
struct Moments {
    float deviations, squares;
};

// A step's results, as deviations from the provisional mean.
template <u32 C>
__device__ inline void add_results(const Separable& op, const Step& step, const Storage* tile, const float* means,
                                   Moments& moments) {
    using T = Team<C>;
    const Place<C> place(op.bands);
    const u32 count = Pixels(op, place, step).count, c = place.lane % C;
    const float mean = means[place.branch * C + c];
    for (u32 p = place.lane / C; p < count; p += T::THREADS / C) {
        const float deviation = wide(tile[p * T::PITCH + c]) - mean;
        moments.deviations += deviation;
        moments.squares = fmaf(deviation, deviation, moments.squares);
    }
}

// Provisional means: of a branch's first pixels. The variance of all n pixels is at least the squared distance of the means
// times the share of these pixels, so no more than that share's inverse of it cancels.
template <u32 C>
__device__ inline void find_means(const Separable& op, const Step& step, const Storage* tile, float* means) {
    const Place<C> place(op.bands);
    const u32 count = Pixels(op, place, step).count;
    if (!place.works || place.part > 0 || place.lane >= C) return;
    float sum = 0.0f;
    for (u32 p = 0; p < count; ++p) sum += wide(tile[p * Team<C>::PITCH + place.lane]);
    means[place.branch * C + place.lane] = sum / float(count);
}

// The block's sums of each channel, over threads in their order, through `room` ([2][BAND_THREADS]); leaves
// partial[block][3][C].
template <u32 C>
__device__ inline void combine_bands(const Memory& memory, const Separable& op, const Moments& moments,
                                     const float* means, float* room) {
    const Place<C> place(op.bands);
    const float mean = means[place.branch * C + place.lane % C];
    __syncthreads();
    room[threadIdx.x] = moments.deviations;
    room[BAND_THREADS + threadIdx.x] = moments.squares;
    __syncthreads();
    if (!place.works || place.part > 0 || place.lane >= C) return;
    const u32 last = threadIdx.x + place.share * Team<C>::THREADS;
    float deviations = 0.0f, squares = 0.0f;
    for (u32 i = threadIdx.x; i < last; i += C) {
        deviations += room[i];
        squares += room[BAND_THREADS + i];
    }
    float* partial = memory.scratch + op.factors[place.factor()].partial + blockIdx.x * 3 * C + place.lane;
    partial[0] = mean;
    partial[C] = deviations;
    partial[2 * C] = squares;
}

template <u32 C>
__device__ inline void forward_bands(const Memory& memory, const Separable& op) {
    using T = Team<C>;
    __shared__ alignas(16) unsigned char shared[BAND_SHARED];
    if (!find_branches<C>(memory, op)) return;
    const Bands& bands = op.bands;
    const Place<C> place(bands);
    const Factor& factor = op.factors[place.factor()];
    const Reader& input = op.factors[bands.groups[blockIdx.y].first].input;
    const u32 size = tile_rows(bands) * T::PITCH;
    Storage* ring = reinterpret_cast<Storage*>(shared);
    Storage* tile = ring + bands.ring + place.team * size;
    float* windows = reinterpret_cast<float*>(ring + bands.ring + T::COUNT * size);
    float* norm = windows + bands.windows;
    float* means = norm + 2 * C;
    u32* lines = reinterpret_cast<u32*>(means + T::COUNT * C);

    Product<C> product;
    load_matrices<C>(memory, op, reinterpret_cast<float*>(shared), product,
                     [](const float* matrix, u32 k, u32 n) { return matrix[k * C + n]; });
    const float* weights = windows + load_windows<C>(memory, op, windows);
    load_norm<C>(memory, input, norm);
    __syncthreads();

    Moments moments = {};
    const Step start = {blockIdx.x * bands.images, 0};
    const u32 last = min(start.image + bands.images, op.output.n);
    for (Step step = start; step.image < last; ++step.image)
        for (step.row = 0; step.row < op.output.h; step.row += bands.rows) {
            load_ring<C>(memory, op, input, step, norm, ring);
            place_lines<C>(op, step, lines);
            __syncthreads();
            by_window(factor, [&](auto window) {
                depthwise_tile<C, decltype(window)>(op, step, ring, lines, weights, tile);
            });
            __syncthreads();
            product.multiply_in_place(op, step, tile);
            __syncthreads();
            if (step.image == start.image && step.row == 0) {
                find_means<C>(op, step, tile, means);
                __syncthreads();
            }
            leave_tile<C>(op, step, tile, memory.activations + factor.output);
            add_results<C>(op, step, tile, means, moments);
        }
    combine_bands<C>(memory, op, moments, means, reinterpret_cast<float*>(shared));
}

extern "C" __global__ void __launch_bounds__(512, 2) separable_forward_bands_16(const __grid_constant__ Memory memory,
                                                                             const __grid_constant__ Separable op) {
    forward_bands<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(512, 2) separable_forward_bands_32(const __grid_constant__ Memory memory,
                                                                             const __grid_constant__ Separable op) {
    forward_bands<32>(memory, op);
}

extern "C" __global__ void __launch_bounds__(512, 2) separable_forward_bands_64(const __grid_constant__ Memory memory,
                                                                             const __grid_constant__ Separable op) {
    forward_bands<64>(memory, op);
}

#define GRADIENT_BANDS(NAME, C, WEIGHTS)                                                                         \
    extern "C" __global__ void __launch_bounds__(512, 2) NAME(const __grid_constant__ Memory memory,             \
                                                              const __grid_constant__ Separable op) {            \
        gradient_bands<C, WEIGHTS>(memory, op);                                                                  \
    }
GRADIENT_BANDS(separable_depthwise_bands_16, 16, false)
GRADIENT_BANDS(separable_depthwise_bands_32, 32, false)
GRADIENT_BANDS(separable_depthwise_bands_64, 64, false)
GRADIENT_BANDS(separable_gradients_16, 16, true)
GRADIENT_BANDS(separable_gradients_32, 32, true)
GRADIENT_BANDS(separable_gradients_64, 64, true)
