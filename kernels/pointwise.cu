// 1x1 convolution behind a ReLU over concatenated inputs: ReLUConvBN, and FactorizedReduce with two matrices at
// stride 2, the second reading the input shifted by one pixel (NHWC, weights [c_in][c_out]):
//   forward:  y[p, o] = sum_c relu(scale x + shift)[p, c] * w[c, o]; the statistics of y in the epilogue; assigned.
//   input:    dx[q, c] = [x > 0] * sum_o gradient(p(q), o) * w[c, o]; assigned or added, as the target says.
//   weights:  dw[c, o] = sum_p relu(..)[p, c] * gradient(p, o), in splits of rows; assigned.
//
// Products over pixels (matrix.cuh, outer.cuh); scale, shift and ReLU are applied while reading, the output gradient is formed
// while reading, and neither is ever stored. Suffixes are the columns of a tile (forward, weights) or the depth that stays
// resident (input). Launch:
//   forward: grid (blocks of rows, tiles of columns, matrices), 256 threads.
//   input:   grid (blocks of 256 output pixels, 1, classes), 512 threads. At stride 2 a matrix feeds the pixels of one
//            parity only, so a class is a matrix and its pixels; two more classes write zeros to the others, where
//            nothing else has been added.
//   weights: grid (splits, tiles of the matrix, matrices), 256 threads, or 512 for tiles of 64 columns.
// Bytes: inputs, output gradients and results once, as long as c_out <= 64 (input), c_in <= 256 (weights); each further 64 output
// channels read the inputs again. Weights once a block. See tests/traffic for what was counted.
//
// Occupancy: half of a multiprocessor's threads, but for the forward products with two-byte storage, which take 80
// registers, and with 64 columns up to 128: 24 or 16 warps of 64. With more they would spill the 32 results that a thread
// holds; several reads of each lane are under way, which hides the latency.
//
// Versions, bytes moved over the least in the cells of the paper (tests/traffic): 1 through product.cuh: forward 2.26, input
// 6.30, weights 2.86. 2 packs, tensor cores, rows of one parity: 1.02, 1.02, 1.01. 3 twice the threads, as no
// read of a depth is begun before its registers are free: 1.04, 1.02, 1.01.
#include "matrix.cuh"
#include "outer.cuh"

struct Pointwise {
    Shape input, output;
    u32 stride, packed, rows_per_block;
    Factor factors[2];
    Concatenation inputs;
    Target targets[MAX_INPUTS];
    UnstoredGradient output_gradient;
};
static_assert(sizeof(Pointwise) == 32 + 12 + 104 + 280 + 136 + 152);

// The pixel of the input that an output pixel reads, or ABSENT.
__device__ inline u32 pixel_under(const Pointwise& op, u32 row, u32 shift) {
    if (op.stride == 1) return row;
    const Pixel pixel = pixel_of(op.output, row);
    const u32 y = pixel.row * op.stride + shift, x = pixel.column * op.stride + shift;
    if (y >= op.input.h || x >= op.input.w) return ABSENT;
    return (pixel.image * op.input.h + y) * op.input.w + x;
}

// The activated inputs by output pixel.
template <u32 CHANNELS>
struct Inputs : Activations<CHANNELS> {
    const Pointwise& op;
    u32 shift;
    __device__ Inputs(const Memory& memory, const Pointwise& op, ChannelTable<CHANNELS>& table, u32 shift)
        : Activations<CHANNELS>{memory, op.inputs, op.packed != 0, table}, op(op), shift(shift) {}
    __device__ u32 locate(u32 row) const { return pixel_under(op, row, shift); }
    __device__ bool advance(u32, u32) { return false; }
};

// A matrix [c_in][c_out], and its transpose, of which neighbours lie along the depth. The transpose is what an input
// gradient reads, whose columns are channels of the inputs.
struct Matrix {
    static constexpr bool ALONG_DEPTH = false;
    const float* weights;
    u32 columns;
    __device__ void stage(u32, u32) {}
    __device__ float operator()(u32 k, u32 column) const { return weights[k * columns + column]; }
};

template <u32 CHANNELS>
struct Transpose {
    static constexpr bool ALONG_DEPTH = true;
    const float* weights;
    u32 columns;
    Inputs<CHANNELS>& inputs;
    __device__ void stage(u32 column, u32) { inputs.stage(column); }
    __device__ float operator()(u32 k, u32 column) const { return weights[column * columns + k]; }
};

template <u32 COLUMNS>
__device__ inline void forward(const Memory& memory, const Pointwise& op) {
    using Form = typename ForwardForms<COLUMNS>::Form;
    __shared__ typename Form::Shared shared;
    __shared__ MomentSums<Form> sums;
    __shared__ ChannelTable<SLAB> table;
    const Factor& factor = op.factors[blockIdx.z];
    const u32 rows = op.output.n * op.output.h * op.output.w, first_column = blockIdx.y * COLUMNS;
    const u32 columns = min(first_column + COLUMNS, factor.columns), pitch = op.output.c;
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    // The other half may be one channel wider, and the grid is made for both.
    if (first_column >= columns || !open(memory, factor.gate)) return;
    Inputs<SLAB> left(memory, op, table, factor.shift);
    Matrix right{memory.state + factor.weights, factor.columns};
    Form::products(shared, first, last, op.inputs.first[op.inputs.count], first_column, columns, left, right,
                   [&](auto& results, u32 first_row, u32 column) {
        each_run<Form>(results, first_row, last, column, columns, [&](u32 row, u32 column, const auto& values) {
            store_run(memory, factor.output + row * pitch + factor.first + column, op.packed, 0, columns - column, values);
        });
        float* partial = memory.scratch + factor.partial + blockIdx.x * 3 * pitch + factor.first;
        leave_moments<Form>(sums, results, first, last, first_row, column, columns, pitch, partial);
    });
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS) pointwise_forward_16(const __grid_constant__ Memory memory,
                                                                          const __grid_constant__ Pointwise op) {
    forward<16>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS) pointwise_forward_32(const __grid_constant__ Memory memory,
                                                                          const __grid_constant__ Pointwise op) {
    forward<32>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, FORWARD_BLOCKS_64) pointwise_forward_64(const __grid_constant__ Memory memory,
                                                                          const __grid_constant__ Pointwise op) {
    forward<64>(memory, op);
}

// The output gradients of a matrix's columns by output pixel.
template <u32 CHANNELS>
struct Gradients : OutputGradients<CHANNELS> {
    __device__ Gradients(const Memory& memory, const Pointwise& op, const Factor& factor, CoefficientTable<CHANNELS>& table)
        : OutputGradients<CHANNELS>{memory, op.output_gradient, op.output.c, factor.first, factor.columns, op.packed != 0, table} {}
    __device__ u32 locate(u32 row) const { return row; }
};

// Adds the gradient of `RUN` channels of a pixel, or assigns it.
template <u32 RUN>
__device__ inline void deliver_run(const Memory& memory, const Pointwise& op, u32 pixel, u32 channel,
                                   float (&values)[RUN]) {
    const u32 depth = op.inputs.first[op.inputs.count];
    const auto place = [&](u32 i, u32 channel) {
        const u32 first = op.inputs.first[i], channels = op.inputs.first[i + 1] - first;
        return op.targets[i].data + pixel * channels + channel - first;
    };
    if (op.packed) {
        const u32 i = input_of(op.inputs, channel);
        if (adds(op.targets[i])) {
            float before[RUN];
            load_run(memory, place(i, channel), before);
#pragma unroll
            for (u32 j = 0; j < RUN; ++j) values[j] += before[j];
        }
        return store_run(memory, place(i, channel), true, 0, RUN, values);
    }
#pragma unroll
    for (u32 j = 0; j < RUN; ++j) {
        if (channel + j >= depth) break;
        const u32 i = input_of(op.inputs, channel + j);
        deliver(memory, {place(i, channel + j), op.targets[i].gate}, 0, values[j]);
    }
}

// What no output pixel reads: zero, where nothing else is there yet.
__device__ inline void assign_zeros(const Memory& memory, const Pointwise& op, u32 first_row, u32 last_row, u32 down,
                                    u32 right) {
    const u32 depth = op.inputs.first[op.inputs.count], runs = (depth + PACK - 1) / PACK;
    for (u32 index = first_row * runs + threadIdx.x; index < last_row * runs; index += blockDim.x) {
        const u32 channel = index % runs * PACK;
        const Pixel pixel = pixel_of(op.output, index / runs);
        const u32 y = pixel.row * 2 + down, x = pixel.column * 2 + right;
        if (y >= op.input.h || x >= op.input.w) continue;
        const u32 place = (pixel.image * op.input.h + y) * op.input.w + x;
        float zeros[PACK] = {};
        if (!op.packed || !adds(op.targets[input_of(op.inputs, channel)]))
            deliver_run(memory, op, place, channel, zeros);
    }
}

// What a closed operator owes its inputs. A call, since its registers would make those of the products spill.
__device__ inline void withhold_inputs(const Memory& memory, const Pointwise& op) {
    const u32 pixels = op.input.n * op.input.h * op.input.w;
    for (u32 i = 0; i < op.inputs.count; ++i) {
        const u32 len = pixels * (op.inputs.first[i + 1] - op.inputs.first[i]);
        withhold(memory, op.targets[i], len, blockIdx.z * gridDim.x + blockIdx.x, gridDim.z * gridDim.x);
    }
}

template <u32 DEPTH>
__device__ inline void input_gradient(const Memory& memory, const Pointwise& op) {
    using Form = typename InputForms<DEPTH>::Form;
    __shared__ typename Form::Shared shared;
    __shared__ CoefficientTable<DEPTH> coefficients;
    __shared__ ChannelTable<Form::WIDE> table;
    if (!open(memory, op.factors[0].gate)) return withhold_inputs(memory, op);
    const u32 rows = op.output.n * op.output.h * op.output.w, columns = op.inputs.first[op.inputs.count];
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    if (blockIdx.z >= 2) return assign_zeros(memory, op, first, last, blockIdx.z - 2, 3 - blockIdx.z);
    // No index, whose multiplication by 52 bytes makes the kernel of 16 bits spill on sm_90.
    const Factor& factor = blockIdx.z == 0 ? op.factors[0] : op.factors[1];
    Gradients<DEPTH> left(memory, op, factor, coefficients);
    Inputs<Form::WIDE> inputs(memory, op, table, factor.shift);
    Transpose<Form::WIDE> right{memory.state + factor.weights, factor.columns, inputs};
    Form::products(shared, first, last, factor.columns, 0, columns, left, right,
                   [&](auto& results, u32 first_row, u32 column) {
        each_run<Form>(results, first_row, last, column, columns, [&](u32 row, u32 channel, auto& values) {
            const u32 pixel = inputs.locate(row);
            if (pixel == ABSENT) return;
            float x[Form::RUN];
            inputs.values(pixel, channel, x);
#pragma unroll
            for (u32 j = 0; j < Form::RUN; ++j) values[j] = x[j] > 0.0f ? values[j] : 0.0f;
            deliver_run(memory, op, pixel, channel, values);
        });
    });
}

extern "C" __global__ void __launch_bounds__(512, 2) pointwise_input_32(const __grid_constant__ Memory memory,
                                                                        const __grid_constant__ Pointwise op) {
    input_gradient<32>(memory, op);
}

extern "C" __global__ void __launch_bounds__(512, 2) pointwise_input_64(const __grid_constant__ Memory memory,
                                                                        const __grid_constant__ Pointwise op) {
    input_gradient<64>(memory, op);
}

template <u32 M, u32 N, u32 THREADS_USED>
__device__ inline void weight_gradient(const Memory& memory, const Pointwise& op) {
    using Sums = Outer<M, N, THREADS_USED>;
    __shared__ typename Sums::Shared shared;
    __shared__ CoefficientTable<N> coefficients;
    __shared__ ChannelTable<M> table;
    const Factor& factor = op.factors[blockIdx.z];
    const u32 rows = op.output.n * op.output.h * op.output.w, depth = op.inputs.first[op.inputs.count];
    const u32 across = (factor.columns + N - 1) / N, first_m = blockIdx.y / across * M, first_n = blockIdx.y % across * N;
    if (first_m >= depth || !open(memory, factor.gate)) return;
    const u32 first = blockIdx.x * op.rows_per_block, last = min(first + op.rows_per_block, rows);
    Inputs<M> left(memory, op, table, factor.shift);
    Gradients<N> right(memory, op, factor, coefficients);
    Sums::sum(shared, first, last, depth, first_m, factor.columns, first_n, left, right,
              memory.scratch + factor.partial + blockIdx.x * depth * factor.columns);
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_weights_16(const __grid_constant__ Memory memory,
                                                                          const __grid_constant__ Pointwise op) {
    weight_gradient<64, 16, 256>(memory, op);
}

extern "C" __global__ void __launch_bounds__(256, 4) pointwise_weights_32(const __grid_constant__ Memory memory,
                                                                          const __grid_constant__ Pointwise op) {
    weight_gradient<128, 32, 256>(memory, op);
}

extern "C" __global__ void __launch_bounds__(512, 2) pointwise_weights_64(const __grid_constant__ Memory memory,
                                                                          const __grid_constant__ Pointwise op) {
    weight_gradient<256, 64, 512>(memory, op);
}
