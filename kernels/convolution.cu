// Dense convolution, behind a ReLU where asked for (NHWC, weights [i][j][c_in][c_out]):
//   forward: y[p, o] = sum_k patch(p, k) * w[k, o], k = (i, j, c); the statistics of y in the epilogue, where a batch norm
//            stands behind it; assigned.
//   weights: dw[k, o] = sum_p patch(p, k) * gradient(p, o), in splits of rows; assigned.
//   input:   dx[q, c] = sum_k gradient(p(q, k), o) * w[i, j, c, o], k = (i, j, o), over the windows that hold the pixel,
//            masked by the ReLU; assigned or added. Images need none.
//
// Products over pixels (matrix.cuh, outer.cuh) whose left side is read patch by patch: nothing is unfolded. Where the channels
// are packs, a run of them is one access, and windows overlap in cache. Else (images), what the windows of a block read lies
// in one piece of memory, which comes into shared memory first, where it fits.
// Launch: suffixes are the columns of a tile. forward and input: grid (blocks of rows, tiles of columns), weights (splits,
// tiles of the matrix); 256 threads.
// Bytes: images, output gradients and results once, the least possible, plus the lines that neighbouring blocks share; the images
// again for each further 64 output channels. Of packs each tap asks for its own, which caches answer.
//
// Occupancy: forward as pointwise_forward; input with two-byte storage as pointwise_forward_64, since with 80 registers the
// narrower ones spill.
//
// Versions, bytes moved over the least in the stem (tests/traffic): 1 through product.cuh, patches from global memory:
// forward 4.59, weights 3.09. 2 lines of the images in shared memory, tensor cores: 1.16, 1.08. 3 tiles of 16, 32 and 64
// columns; packs; the input gradient as a product, which was a sum by each thread that formed every output gradient anew.
#include "matrix.cuh"
#include "outer.cuh"

struct Convolution {
    Shape input, output;
    // Rows, then columns.
    u32 kernel[2], stride[2], padding[2];
    u32 rows_per_block, relu;
    // Whether results and their gradients, or inputs and theirs, are packs.
    u32 packed, packed_input;
    Factor factor;
    Target target;
    UnstoredGradient output_gradient;
};
static_assert(sizeof(Convolution) == 284);

// A run of channels of the input, behind the batch norm.
template <u32 RUN>
__device__ inline void load_input(const Memory& memory, const Convolution& op, u32 index, u32 c, float (&values)[RUN]) {
    const Reader& reader = op.factor.input;
    load_run(memory, reader.data + index, op.packed_input, c, op.input.c, values);
    if (reader.scale == ABSENT) return;
    float scale[RUN], shift[RUN];
    load_coefficients(memory, reader.scale, c, op.input.c, 1.0f, scale);
    load_coefficients(memory, reader.shift, c, op.input.c, 0.0f, shift);
#pragma unroll
    for (u32 j = 0; j < RUN; ++j) values[j] = fmaf(scale[j], values[j], shift[j]);
}

// Part of the images, as it lies in memory.
template <u32 LENGTH>
struct Band {
    alignas(16) Storage values[LENGTH];
    // Its elements are [begin, end) of the images.
    u32 begin, end;
};

// Patches of the images by (output pixel, k). The pixels that some neighbouring output pixels read lie in one piece,
// whatever images they belong to; where it fits, it comes into shared memory at once.
template <u32 LENGTH>
struct Patches {
    const Memory& memory;
    const Convolution& op;
    Band<LENGTH>& band;

    // Output pixels [first, last) come next. All threads call, between barriers.
    __device__ bool advance(u32 first, u32 last) {
        if (op.packed_input) return false;
        const u32 line = op.input.w * op.input.c, lines = op.input.n * op.input.h;
        const auto line_under = [&](u32 row) { // The first input line, counted over all images, and half a window above.
            const u32 index = row / op.output.w;
            return index / op.output.h * op.input.h + index % op.output.h * op.stride[0];
        };
        const u32 above = line_under(first), below = line_under(last - 1) + op.kernel[0] - op.padding[0];
        // A window that is cut off by the last image's end, or the first one's start.
        const u32 begin = (above - min(above, op.padding[0])) * line / 32 * 32, all = min(below, lines) * line;
        const u32 end = all - begin > LENGTH ? begin : all;
        if (threadIdx.x == 0) band.begin = begin, band.end = end;
        for (u32 i = threadIdx.x; begin + i < end; i += blockDim.x)
            band.values[i] = memory.activations[op.factor.input.data + begin + i];
        return true;
    }

    __device__ void stage(u32) {}
    __device__ u32 locate(u32 row) const { return row; }

    template <u32 RUN>
    __device__ void load(u32 row, u32 k, float (&loaded)[RUN]) const {
        const Pixel pixel = pixel_of(op.output, row);
        u32 tap = k / op.input.c, c = k - tap * op.input.c, i = tap / op.kernel[1], j = tap - i * op.kernel[1];
        if (op.packed_input) {
            const u32 y = under(pixel.row, op.stride[0], i, op.padding[0]);
            const u32 x = under(pixel.column, op.stride[1], j, op.padding[1]);
            if (y >= op.input.h || x >= op.input.w) {
#pragma unroll
                for (u32 r = 0; r < RUN; ++r) loaded[r] = 0.0f;
                return;
            }
            load_input(memory, op, index_of(op.input, pixel.image, y, x) + c, c, loaded);
#pragma unroll
            for (u32 r = 0; r < RUN; ++r) loaded[r] = op.relu ? fmaxf(loaded[r], 0.0f) : loaded[r];
            return;
        }
        one_by_one(loaded, [&](u32) {
            const u32 y = under(pixel.row, op.stride[0], i, op.padding[0]);
            const u32 x = under(pixel.column, op.stride[1], j, op.padding[1]);
            float value = 0.0f;
            if (i < op.kernel[0] && y < op.input.h && x < op.input.w) {
                const u32 index = index_of(op.input, pixel.image, y, x) + c;
                value = index >= band.begin && index < band.end ? wide(band.values[index - band.begin])
                                                                : ::load(memory, op.factor.input.data + index);
                const Reader& reader = op.factor.input;
                if (reader.scale != ABSENT)
                    value = fmaf(memory.state[reader.scale + c], value, memory.state[reader.shift + c]);
                if (op.relu) value = fmaxf(value, 0.0f);
            }
            if (++c == op.input.c) c = 0, ++j;
            if (j == op.kernel[1]) j = 0, ++i;
            return value;
        });
    }
};

struct Weights {
    static constexpr bool ALONG_DEPTH = false;
    const float* weights;
    u32 columns;
    __device__ void stage(u32, u32) {}
    __device__ float operator()(u32 k, u32 column) const { return weights[k * columns + column]; }
};

template <u32 COLUMNS>
__device__ inline void forward(const Memory& memory, const Convolution& op) {
    using Form = typename ForwardForms<COLUMNS, 64>::Form;
    __shared__ typename Form::Shared shared;
    __shared__ MomentSums<Form> sums;
    // As much as two blocks of a multiprocessor of 64 KiB leave.
    constexpr u32 LENGTH = COLUMNS == 32 ? 2560 : 3072;
    __shared__ Band<LENGTH> band;
    if (!open(memory, op.factor.gate)) return;
    const u32 rows = op.output.n * op.output.h * op.output.w, pitch = op.output.c;
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    const u32 first_column = blockIdx.y * COLUMNS, columns = min(first_column + COLUMNS, pitch);
    Patches<LENGTH> left{memory, op, band};
    Weights right{memory.state + op.factor.weights, pitch};
    left.advance(first, last);
    float* partial = memory.scratch + op.factor.partial + blockIdx.x * 3 * pitch;
    Form::products(shared, first, last, op.kernel[0] * op.kernel[1] * op.input.c, first_column, columns, left, right,
                   [&](auto& results, u32 first_row, u32 column) {
        each_run<Form>(results, first_row, last, column, columns, [&](u32 row, u32 column, const auto& values) {
            store_run(memory, op.factor.output + row * pitch + column, op.packed, 0, columns - column, values);
        });
        if (op.factor.partial != ABSENT)
            leave_moments<Form>(sums, results, first, last, first_row, column, columns, pitch, partial);
    });
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS) convolution_forward_16(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    forward<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS) convolution_forward_32(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    forward<32>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS_64) convolution_forward_64(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    forward<64>(memory, op);
}

template <u32 CHANNELS>
struct Gradients : OutputGradients<CHANNELS> {
    __device__ u32 locate(u32 row) const { return row; }
};

template <u32 M, u32 N>
__device__ inline void weight_gradient(const Memory& memory, const Convolution& op) {
    using Sums = Outer<M, N, 256>;
    __shared__ typename Sums::Shared shared;
    __shared__ CoefficientTable<N> coefficients;
    // Under fewer pixels than in the forward lie fewer lines.
    __shared__ Band<2048> band;
    if (!open(memory, op.factor.gate)) return;
    const u32 rows = op.output.n * op.output.h * op.output.w, depth = op.kernel[0] * op.kernel[1] * op.input.c;
    const u32 columns = op.output.c, across = (columns + N - 1) / N;
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    Patches<2048> left{memory, op, band};
    Gradients<N> right{{memory, op.output_gradient, columns, 0, columns, op.packed != 0, coefficients}};
    Sums::sum(shared, first, last, depth, blockIdx.y / across * M, columns, blockIdx.y % across * N, left, right,
              memory.scratch + op.factor.partial + blockIdx.x * depth * columns);
}

extern "C" __global__ void __launch_bounds__(256, 4) convolution_weights_16(const __grid_constant__ Memory memory,
                                                                            const __grid_constant__ Convolution op) {
    weight_gradient<64, 16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) convolution_weights_64(const __grid_constant__ Memory memory,
                                                                            const __grid_constant__ Convolution op) {
    weight_gradient<32, 64>(memory, op);
}

// The output gradients of the windows that hold an input pixel, by (input pixel, k); 64 deep, the coefficients are in shared
// memory.
struct GradientPatches {
    const Memory& memory;
    const Convolution& op;
    CoefficientTable<64>& table;
    u32 begin = 0;

    __device__ void stage(u32 from) {
        begin = from;
        const UnstoredGradient& g = op.output_gradient;
        for (u32 i = threadIdx.x; op.packed && i < (g.count + 2) * 64; i += blockDim.x) {
            const u32 row = i / 64, c = (from + i % 64) % op.output.c;
            const u32 place = row == 0 ? g.raw_factor : row == 1 ? g.constant : g.factor[row - 2];
            table.rows[row][i % 64] = place == ABSENT ? float(row == 0) : memory.state[place + c];
        }
    }

    __device__ u32 locate(u32 row) const { return row; }

    // The first channel of the result under a window whose tap lies on the pixel, or ABSENT.
    __device__ u32 above(const Pixel& pixel, u32 tap) const {
        // The place of the window; before the image it wraps beyond the last.
        const u32 y = pixel.row + op.padding[0] - tap / op.kernel[1], x = pixel.column + op.padding[1] - tap % op.kernel[1];
        const u32 row = y / op.stride[0], column = x / op.stride[1];
        const bool exists = row * op.stride[0] == y && column * op.stride[1] == x && row < op.output.h && column < op.output.w;
        return exists ? index_of(op.output, pixel.image, row, column) : ABSENT;
    }

    template <u32 RUN>
    __device__ void load(u32 row, u32 k, float (&loaded)[RUN]) const {
        const Pixel pixel = pixel_of(op.input, row);
        const UnstoredGradient& g = op.output_gradient;
        const u32 channels = op.output.c, tap = k / channels;
        if (op.packed) {
            const u32 place = above(pixel, tap);
            if (place == ABSENT) {
#pragma unroll
                for (u32 j = 0; j < RUN; ++j) loaded[j] = 0.0f;
                return;
            }
            const u32 index = place + k - tap * channels, i = k - begin;
            load_run(memory, g.raw + index, loaded);
#pragma unroll
            for (u32 j = 0; j < RUN; ++j) loaded[j] = fmaf(table.rows[0][i + j], loaded[j], table.rows[1][i + j]);
#pragma unroll 1
            for (u32 t = 0; t < g.count; ++t) {
                float gradient[RUN];
                load_run(memory, g.gradient[t] + index, gradient);
#pragma unroll
                for (u32 j = 0; j < RUN; ++j) loaded[j] = fmaf(table.rows[t + 2][i + j], gradient[j], loaded[j]);
            }
            return;
        }
        one_by_one(loaded, [&](u32 j) {
            const u32 tap = (k + j) / channels, c = (k + j) - tap * channels;
            const u32 place = tap < op.kernel[0] * op.kernel[1] ? above(pixel, tap) : ABSENT;
            return place == ABSENT ? 0.0f : unstored_gradient_of(memory, g, place + c, c);
        });
    }
};

// The weights by (k, input channel), of which neighbours lie along the depth.
struct Turned {
    static constexpr bool ALONG_DEPTH = true;
    const float* weights;
    u32 inputs, outputs;
    __device__ void stage(u32, u32) {}
    __device__ float operator()(u32 k, u32 column) const {
        const u32 tap = k / outputs;
        return weights[(tap * inputs + column) * outputs + k - tap * outputs];
    }
};

template <u32 COLUMNS>
__device__ inline void input_gradient(const Memory& memory, const Convolution& op) {
    using Form = typename ForwardForms<COLUMNS, 64>::Form;
    __shared__ typename Form::Shared shared;
    __shared__ CoefficientTable<64> coefficients;
    const u32 channels = op.input.c, rows = op.input.n * op.input.h * op.input.w;
    if (!open(memory, op.factor.gate))
        return withhold(memory, op.target, rows * channels, blockIdx.y * gridDim.x + blockIdx.x, gridDim.y * gridDim.x);
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    const u32 first_column = blockIdx.y * COLUMNS, columns = min(first_column + COLUMNS, channels);
    GradientPatches left{memory, op, coefficients};
    Turned right{memory.state + op.factor.weights, channels, op.output.c};
    Form::products(shared, first, last, op.kernel[0] * op.kernel[1] * op.output.c, first_column, columns, left, right,
                   [&](auto& results, u32 first_row, u32 column) {
        each_run<Form>(results, first_row, last, column, columns, [&](u32 row, u32 channel, auto& values) {
            const u32 index = row * channels + channel;
            if (op.relu) {
                float x[Form::RUN];
                load_input(memory, op, index, channel, x);
#pragma unroll
                for (u32 j = 0; j < Form::RUN; ++j) values[j] = x[j] > 0.0f ? values[j] : 0.0f;
            }
            deliver_run(memory, op.target, index, op.packed_input, channel, channels, values);
        });
    });
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS_64) convolution_input_16(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    input_gradient<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS_64) convolution_input_32(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    input_gradient<32>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS_64) convolution_input_64(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    input_gradient<64>(memory, op);
}
