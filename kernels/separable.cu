// Depthwise separable convolutions, all branches of all sources in one grid (NHWC, depthwise weights [i][j][c],
// pointwise [c_in][c_out]):
//   forward:  d[p, c] = sum_taps relu(scale x + shift)[under tap, c] * w[tap, c], y[p, o] = sum_c d[p, c] * v[c, o];
//             the statistics of y in the epilogue; assigned. d is formed while the product reads it, never stored.
//   depthwise results' gradient: dd[p, c] = sum_o cotangent(p, o) * v[c, o], into scratch for depthwise.cu.
//   weights:  dv[c, o] = sum_p d[p, c] * cotangent(p, o), d formed again, in splits of rows; assigned.
//
// Launch: grid (tiles of rows or splits, tiles of columns, branches), 256 threads. blockIdx.z picks the branch from a
// table by value.
// Bytes per element: forward reads x once (windows overlap in cache) and writes y once, the least possible, as long as
// c_out <= 64; each further 64 output channels form d again.
//
// Versions: 1 depthwise in the loader of the product.
#include "product.cuh"

struct Separable {
    Shape input, output;
    u32 stride, rows_per_split;
    Factor factors[MAX_FACTORS];
    Cotangent cotangents[MAX_FACTORS];
};
static_assert(sizeof(Separable) == 40 + 200 * 18);

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
    const Cotangent& cotangent = op.cotangents[blockIdx.z];
    const u32 rows = op.output.n * op.output.h * op.output.w, channels = op.input.c;
    float acc[4][4];
    multiply<COLUMNS>(
        tile, rows, op.output.c, channels,
        [&](u32 row, u32 o) { return cotangent_of(memory, cotangent, row * op.output.c + o, o); },
        [&](u32 o, u32 c) { return memory.state[factor.weights + c * op.output.c + o]; }, acc);
    each_result<COLUMNS>(rows, channels, acc, [&](u32 row, u32 c, float value) {
        memory.scratch[factor.partial + row * channels + c] = value;
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
    const Cotangent& cotangent = op.cotangents[blockIdx.z];
    outer<SIDE>(
        op.output.n * op.output.h * op.output.w, op.rows_per_split, op.input.c, op.output.c,
        memory.scratch + factor.partial, [&](u32 row, u32 c) { return depthwise(memory, op, factor, row, c); },
        [&](u32 row, u32 o) { return cotangent_of(memory, cotangent, row * op.output.c + o, o); });
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_weights_16(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Separable op) {
    weight_gradient<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) separable_weights_64(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Separable op) {
    weight_gradient<64>(memory, op);
}
