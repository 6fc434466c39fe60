// Dense convolution, behind a ReLU where asked for (NHWC, weights [i][j][c_in][c_out]):
//   forward:  y[p, o] = sum_k patch(p, k) * w[k, o], k = (i, j, c); the statistics of y in the epilogue; assigned.
//   backward: dw[k, o] = sum_p patch(p, k) * gradient(p, o), in splits of rows; assigned.
//   input:    each pixel gathers gradient(p, o) * w[k, o] from the windows that hold it, masked by the ReLU; assigned
//             or added. Images need none.
//
// Products over pixels (matrix.cuh, outer.cuh) whose left side is read patch by patch: nothing is unfolded. What the windows
// of a block read lies in one piece of memory, which comes into shared memory first, where it fits; else (many channels:
// the auxiliary head) they read global memory, and overlap in cache.
// Launch: forward grid (blocks of 256 pixels, tiles of 64 columns), weights (splits, tiles of 32 x 64), 256 threads; input
// a thread an element, channels fastest.
// Bytes: images, output gradients and results once, the least possible, plus the lines that neighbouring blocks share; the images
// again for each further 64 output channels.
//
// Occupancy: forward as pointwise_forward_64.
//
// Versions, bytes moved over the least in the stem (tests/traffic): 1 through product.cuh, patches from global memory:
// forward 4.59, weights 3.09. 2 lines of the images in shared memory, tensor cores: 1.16, 1.08.
#include "matrix.cuh"
#include "outer.cuh"

struct Convolution {
    Shape input, output;
    // Rows, then columns.
    u32 kernel[2], stride[2], padding[2];
    u32 rows_per_block, relu, packed;
    Factor factor;
    Target target;
    UnstoredGradient output_gradient;
};
static_assert(sizeof(Convolution) == 280);

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

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS_64) convolution_forward(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    using Form = typename ForwardForms<64, 64>::Form;
    __shared__ typename Form::Shared shared;
    __shared__ MomentSums<Form> sums;
    __shared__ Band<3072> band;
    if (!open(memory, op.factor.gate)) return;
    const u32 rows = op.output.n * op.output.h * op.output.w, pitch = op.output.c;
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    const u32 first_column = blockIdx.y * 64, columns = min(first_column + 64, pitch);
    Patches<3072> left{memory, op, band};
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

struct Gradients : OutputGradients<64> {
    __device__ u32 locate(u32 row) const { return row; }
};

extern "C" __global__ void __launch_bounds__(256, 4) convolution_weights(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    using Sums = Outer<32, 64, 256>;
    __shared__ typename Sums::Shared shared;
    __shared__ CoefficientTable<64> coefficients;
    // Under fewer pixels than in the forward lie fewer lines.
    __shared__ Band<2048> band;
    if (!open(memory, op.factor.gate)) return;
    const u32 rows = op.output.n * op.output.h * op.output.w, depth = op.kernel[0] * op.kernel[1] * op.input.c;
    const u32 columns = op.output.c, across = (columns + 63) / 64;
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    Patches<2048> left{memory, op, band};
    Gradients right{{memory, op.output_gradient, columns, 0, columns, op.packed != 0, coefficients}};
    Sums::sum(shared, first, last, depth, blockIdx.y / across * 32, columns, blockIdx.y % across * 64, left, right,
              memory.scratch + op.factor.partial + blockIdx.x * depth * columns);
}

extern "C" __global__ void __launch_bounds__(256) convolution_input(const __grid_constant__ Memory memory,
                                                                    const __grid_constant__ Convolution op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x, channels = op.input.c, columns = op.factor.columns;
    if (index >= op.input.n * op.input.h * op.input.w * channels) return;
    if (!open(memory, op.factor.gate)) {
        if (owes_zeros(memory, op.target)) store(memory, op.target.data + index, 0.0f);
        return;
    }
    const u32 c = index % channels;
    const Pixel pixel = pixel_of(op.input, index / channels);
    float sum = 0.0f;
    for (u32 tap = 0; tap < op.kernel[0] * op.kernel[1]; ++tap) {
        // The place of the window; before the image it wraps beyond the last.
        const u32 y = pixel.row + op.padding[0] - tap / op.kernel[1], x = pixel.column + op.padding[1] - tap % op.kernel[1];
        if (y % op.stride[0] != 0 || x % op.stride[1] != 0) continue;
        if (y / op.stride[0] >= op.output.h || x / op.stride[1] >= op.output.w) continue;
        const u32 above = index_of(op.output, pixel.image, y / op.stride[0], x / op.stride[1]);
        const u32 weights = op.factor.weights + (tap * channels + c) * columns;
        for (u32 o = 0; o < columns; ++o)
            sum = fmaf(unstored_gradient_of(memory, op.output_gradient, above + o, o), memory.state[weights + o], sum);
    }
    if (op.relu && !(value_of(memory, op.factor.input, index, c) > 0.0f)) sum = 0.0f;
    deliver(memory, op.target, index, sum);
}
