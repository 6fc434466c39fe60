// 1x1 convolution behind a ReLU over concatenated inputs: ReLUConvBN, and FactorizedReduce with two matrices at
// stride 2, the second reading the input shifted by one pixel (NHWC, weights [c_in][c_out]):
//   forward:  y[p, o] = sum_c relu(scale x + shift)[p, c] * w[c, o]; the statistics of y in the epilogue; assigned.
//   input:    dx[q, c] = [x > 0] * sum_o cotangent(p(q), o) * w[c, o]; assigned or added, as the target says.
//   weights:  dw[c, o] = sum_p relu(..)[p, c] * cotangent(p, o), in splits of rows; assigned.
//
// Products over pixels (product.cuh); scale, shift and ReLU are applied while reading, the cotangent is formed while
// reading, and neither is ever stored. Launch: grid (tiles of rows, tiles of columns, matrices), backward of the input
// without the third, weights (splits, tiles of the matrix, matrices); 256 threads.
// Bytes: each input and output once, the least possible, plus the left side again for each further 64 columns.
// The input gradient of FactorizedReduce multiplies by zero the half of the channels that a pixel does not feed.
//
// Versions: 1 through product.cuh.
#include "product.cuh"

struct Pointwise {
    Shape input, output;
    u32 stride, inputs, rows_per_split, first_columns;
    Factor factors[2];
    Reader readers[MAX_INPUTS];
    u32 first[MAX_INPUTS + 1];
    Target targets[MAX_INPUTS];
    Cotangent cotangent;
};
static_assert(sizeof(Pointwise) == 32 + 16 + 96 + 204 + 72 + 136 + 152);

// The input that a concatenated channel belongs to.
__device__ inline u32 input_of(const Pointwise& op, u32 channel) {
    u32 i = 0;
    while (channel >= op.first[i + 1]) ++i;
    return i;
}

// The pixel of the input under an output pixel, or ABSENT.
__device__ inline u32 pixel_under(const Pointwise& op, u32 row, u32 shift) {
    if (op.stride == 1) return row;
    const Pixel pixel = pixel_of(op.output, row);
    const u32 y = pixel.row * op.stride + shift, x = pixel.column * op.stride + shift;
    if (y >= op.input.h || x >= op.input.w) return ABSENT;
    return (pixel.image * op.input.h + y) * op.input.w + x;
}

__device__ inline float left(const Memory& memory, const Pointwise& op, u32 shift, u32 row, u32 channel) {
    const u32 pixel = pixel_under(op, row, shift);
    if (pixel == ABSENT) return 0.0f;
    const u32 i = input_of(op, channel), c = channel - op.first[i], channels = op.first[i + 1] - op.first[i];
    return activated(memory, op.readers[i], pixel * channels + c, c);
}

template <u32 COLUMNS>
__device__ inline void forward(const Memory& memory, const Pointwise& op) {
    const Factor& factor = op.factors[blockIdx.z];
    product_with_moments<COLUMNS>(
        memory, op.output.n * op.output.h * op.output.w, op.first[op.inputs], factor, op.output.c,
        [&](u32 row, u32 c) { return left(memory, op, factor.shift, row, c); },
        [&](u32 c, u32 column) { return memory.state[factor.weights + c * factor.columns + column]; });
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_forward_16(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Pointwise op) {
    forward<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_forward_64(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Pointwise op) {
    forward<64>(memory, op);
}

// The cotangent that reaches an input pixel through output channel `o`.
__device__ inline float cotangent_above(const Memory& memory, const Pointwise& op, u32 row, u32 o) {
    if (op.stride == 1) return cotangent_of(memory, op.cotangent, row * op.output.c + o, o);
    const Pixel pixel = pixel_of(op.input, row);
    const u32 parity = o < op.first_columns ? 0 : 1;
    if (pixel.row % 2 != parity || pixel.column % 2 != parity) return 0.0f;
    const u32 index = index_of(op.output, pixel.image, pixel.row / 2, pixel.column / 2);
    return cotangent_of(memory, op.cotangent, index + o, o);
}

template <u32 COLUMNS>
__device__ inline void input_gradient(const Memory& memory, const Pointwise& op) {
    __shared__ Tile<COLUMNS> tile;
    const u32 rows = op.input.n * op.input.h * op.input.w, columns = op.first[op.inputs];
    float acc[4][4];
    multiply<COLUMNS>(
        tile, rows, op.output.c, columns, [&](u32 row, u32 o) { return cotangent_above(memory, op, row, o); },
        [&](u32 o, u32 c) {
            const Factor& factor = op.factors[o < op.first_columns ? 0 : 1];
            return memory.state[factor.weights + c * factor.columns + o - factor.first];
        },
        acc);
    each_result<COLUMNS>(rows, columns, acc, [&](u32 row, u32 channel, float value) {
        const u32 i = input_of(op, channel), c = channel - op.first[i], channels = op.first[i + 1] - op.first[i];
        const bool passes = value_of(memory, op.readers[i], row * channels + c, c) > 0.0f;
        deliver(memory, op.targets[i], row * channels + c, passes ? value : 0.0f);
    });
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_input_16(const __grid_constant__ Memory memory,
                                                                     const __grid_constant__ Pointwise op) {
    input_gradient<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_input_64(const __grid_constant__ Memory memory,
                                                                     const __grid_constant__ Pointwise op) {
    input_gradient<64>(memory, op);
}

template <u32 SIDE>
__device__ inline void weight_gradient(const Memory& memory, const Pointwise& op) {
    const Factor& factor = op.factors[blockIdx.z];
    outer<SIDE>(
        op.output.n * op.output.h * op.output.w, op.rows_per_split, op.first[op.inputs], factor.columns,
        memory.scratch + factor.partial, [&](u32 row, u32 c) { return left(memory, op, factor.shift, row, c); },
        [&](u32 row, u32 n) {
            const u32 o = factor.first + n;
            return cotangent_of(memory, op.cotangent, row * op.output.c + o, o);
        });
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_weights_16(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Pointwise op) {
    weight_gradient<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_weights_64(const __grid_constant__ Memory memory,
                                                                       const __grid_constant__ Pointwise op) {
    weight_gradient<64>(memory, op);
}
