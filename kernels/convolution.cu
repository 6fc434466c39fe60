// Dense convolution, behind a ReLU where asked for (NHWC, weights [i][j][c_in][c_out]):
//   forward:  y[p, o] = sum_k patch(p, k) * w[k, o], k = (i, j, c); the statistics of y in the epilogue; assigned.
//   backward: dw[k, o] = sum_p patch(p, k) * cotangent(p, o), in splits of rows; assigned.
//   input:    each pixel gathers cotangent(p, o) * w[k, o] from the windows that hold it, masked by the ReLU; assigned
//             or added. Images need none.
//
// A product over pixels (product.cuh) whose left side is read from the image patch by patch: nothing is unfolded.
// Launch: forward grid (tiles of rows, tiles of columns), backward (splits, tiles of the matrix), input a thread an
// element, channels fastest; 256 threads.
// Bytes per output element: 4 written and c_in / c_out * 4 read (windows overlap in cache): the least possible, plus the
// patches again for each further 64 output channels.
//
// Versions: 1 through product.cuh.
#include "product.cuh"

struct Convolution {
    Shape input, output;
    u32 kernel, stride, padding, rows_per_split, relu;
    Factor factor;
    Target target;
    Cotangent cotangent;
};
static_assert(sizeof(Convolution) == 260);

__device__ inline float patch(const Memory& memory, const Convolution& op, u32 row, u32 k) {
    const Pixel pixel = pixel_of(op.output, row);
    const u32 tap = k / op.input.c, c = k - tap * op.input.c;
    const u32 y = under(pixel.row, op.stride, tap / op.kernel, op.padding);
    const u32 x = under(pixel.column, op.stride, tap % op.kernel, op.padding);
    if (y >= op.input.h || x >= op.input.w) return 0.0f;
    const float value = value_of(memory, op.factor.input, index_of(op.input, pixel.image, y, x) + c, c);
    return op.relu ? fmaxf(value, 0.0f) : value;
}

template <u32 COLUMNS>
__device__ inline void forward(const Memory& memory, const Convolution& op) {
    const u32 rows = op.output.n * op.output.h * op.output.w;
    product_with_moments<COLUMNS>(
        memory, rows, op.kernel * op.kernel * op.input.c, op.factor, op.output.c,
        [&](u32 row, u32 k) { return patch(memory, op, row, k); },
        [&](u32 k, u32 column) { return memory.state[op.factor.weights + k * op.factor.columns + column]; });
}

extern "C" __global__ void __launch_bounds__(256, 4) convolution_forward_16(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    forward<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) convolution_forward_64(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    forward<64>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) convolution_weights(const __grid_constant__ Memory memory,
                                                                      const __grid_constant__ Convolution op) {
    const u32 rows = op.output.n * op.output.h * op.output.w, columns = op.factor.columns;
    outer<64>(
        rows, op.rows_per_split, op.kernel * op.kernel * op.input.c, columns, memory.scratch + op.factor.partial,
        [&](u32 row, u32 k) { return patch(memory, op, row, k); },
        [&](u32 row, u32 n) { return cotangent_of(memory, op.cotangent, row * columns + n, n); });
}

extern "C" __global__ void __launch_bounds__(256) convolution_input(const __grid_constant__ Memory memory,
                                                                    const __grid_constant__ Convolution op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x, channels = op.input.c, columns = op.factor.columns;
    if (index >= op.input.n * op.input.h * op.input.w * channels) return;
    const u32 c = index % channels;
    const Pixel pixel = pixel_of(op.input, index / channels);
    float sum = 0.0f;
    for (u32 tap = 0; tap < op.kernel * op.kernel; ++tap) {
        // The place of the window; before the image it wraps beyond the last.
        const u32 y = pixel.row + op.padding - tap / op.kernel, x = pixel.column + op.padding - tap % op.kernel;
        if (y % op.stride != 0 || x % op.stride != 0) continue;
        if (y / op.stride >= op.output.h || x / op.stride >= op.output.w) continue;
        const u32 above = index_of(op.output, pixel.image, y / op.stride, x / op.stride);
        const u32 weights = op.factor.weights + (tap * channels + c) * columns;
        for (u32 o = 0; o < columns; ++o)
            sum = fmaf(cotangent_of(memory, op.cotangent, above + o, o), memory.state[weights + o], sum);
    }
    if (op.relu && !(value_of(memory, op.factor.input, index, c) > 0.0f)) sum = 0.0f;
    deliver(memory, op.target, index, sum);
}
