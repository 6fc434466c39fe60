// Dense convolution of the stem, without ReLU in front (NHWC, weights [i][j][c_in][c_out]):
//   forward:  y[p, o] = sum_k patch(p, k) * w[k, o], k = (i, j, c); the statistics of y in the epilogue; assigned.
//   backward: dw[k, o] = sum_p patch(p, k) * cotangent(p, o), in splits of rows; assigned. Images get no gradient.
#include "matrix.cuh"
#include "outer.cuh"

struct Convolution {
    Shape input, output;
    u32 kernel, stride, padding, rows_per_split, packed;
    Factor factor;
    Cotangent cotangent;
};
static_assert(sizeof(Convolution) == 252);

// Part of the images, as it lies in memory.
struct Band {
    static constexpr u32 LENGTH = 4096;
    alignas(16) Storage values[LENGTH];
};

// Patches of the images by (output pixel, k). The pixels that some neighbouring output pixels read lie in one piece,
// whatever images they belong to; where it fits, it comes into shared memory at once.
struct Patches {
    const Memory& memory;
    const Convolution& op;
    Band& band;
    u32 begin = 0, end = 0;

    // Output pixels [first, last) come next. All threads call, between barriers.
    __device__ bool advance(u32 first, u32 last) {
        const u32 line = op.input.w * op.input.c, lines = op.input.n * op.input.h;
        const auto line_under = [&](u32 row) { // The first input line, counted over all images, and half a window above.
            const u32 index = row / op.output.w;
            return index / op.output.h * op.input.h + index % op.output.h * op.stride;
        };
        const u32 above = line_under(first), below = line_under(last - 1) + op.kernel;
        // A window that is cut off by the last image's end, or the first one's start.
        begin = (above - min(above, op.padding)) * line / 32 * 32;
        end = min(below, lines) * line;
        if (end - begin > Band::LENGTH) end = begin;
        for (u32 i = threadIdx.x; begin + i < end; i += blockDim.x)
            band.values[i] = memory.activations[op.factor.input.data + begin + i];
        return true;
    }

    __device__ void stage(u32) {}
    __device__ u32 locate(u32 row) const { return row; }

    __device__ void load(u32 row, u32 k, float (&loaded)[PACK]) const {
        const Pixel pixel = pixel_of(op.output, row);
        u32 tap = k / op.input.c, c = k - tap * op.input.c, i = tap / op.kernel, j = tap - i * op.kernel;
#pragma unroll
        for (u32 next = 0; next < PACK; ++next) {
            const u32 y = under(pixel.row, op.stride, i, op.padding), x = under(pixel.column, op.stride, j, op.padding);
            loaded[next] = 0.0f;
            if (i < op.kernel && y < op.input.h && x < op.input.w) {
                const u32 index = index_of(op.input, pixel.image, y, x) + c;
                loaded[next] = index - begin < end - begin ? wide(band.values[index - begin])
                                                           : load_one(index);
            }
            if (++c == op.input.c) c = 0, ++j;
            if (j == op.kernel) j = 0, ++i;
        }
    }
    __device__ float load_one(u32 index) const { return ::load(memory, op.factor.input.data + index); }
};

struct Weights {
    static constexpr bool ALONG_DEPTH = false;
    const float* weights;
    u32 columns;
    __device__ void stage(u32, u32) {}
    __device__ float operator()(u32 k, u32 column) const { return weights[k * columns + column]; }
};

extern "C" __global__ void __launch_bounds__(512, 2) convolution_forward(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    using Form = typename ForwardForms<64, 64>::Form;
    __shared__ typename Form::Shared shared;
    __shared__ MomentSums<Form> sums;
    __shared__ Band band;
    const u32 rows = op.output.n * op.output.h * op.output.w, pitch = op.output.c, tile = blockIdx.x * Form::ROWS;
    const u32 first_column = blockIdx.y * 64, columns = min(first_column + 64, pitch);
    Patches left{memory, op, band};
    Weights right{memory.state + op.factor.weights, pitch};
    left.advance(tile, min(tile + Form::ROWS, rows));
    float* partial = memory.scratch + op.factor.partial + blockIdx.x * 3 * pitch;
    Form::products(shared, tile, rows, op.kernel * op.kernel * op.input.c, first_column, columns, left, right,
                   [&](auto& results, u32 first_row, u32 column) {
        each_run<Form>(results, first_row, rows, column, columns, [&](u32 row, u32 column, const auto& values) {
            put_run(memory, op.factor.output + row * pitch + column, columns - column, op.packed, values);
        });
        leave_moments<Form>(sums, results, first_row, rows, column, columns, pitch, partial);
    });
}

struct Gradients : Cotangents<64> {
    __device__ u32 locate(u32 row) const { return row; }
};

extern "C" __global__ void __launch_bounds__(256, 3) convolution_weights(const __grid_constant__ Memory memory,
                                                                         const __grid_constant__ Convolution op) {
    using Sums = Outer<32, 64, 256>;
    __shared__ typename Sums::Shared shared;
    __shared__ CoefficientTable<64> coefficients;
    __shared__ Band band;
    const u32 rows = op.output.n * op.output.h * op.output.w, depth = op.kernel * op.kernel * op.input.c;
    const u32 columns = op.output.c, across = (columns + 63) / 64;
    const u32 first = blockIdx.x * op.rows_per_split, last = min(first + op.rows_per_split, rows);
    Patches left{memory, op, band};
    Gradients right{{memory, op.cotangent, columns, 0, columns, op.packed != 0, coefficients}};
    Sums::sum(shared, first, last, depth, blockIdx.y / across * 32, columns, blockIdx.y % across * 64, left, right,
              memory.scratch + op.factor.partial + blockIdx.x * depth * columns);
}
