// The weighted sum over the branches of all edges of a node, and the softmax that gives its weights (NHWC):
//   mixed_forward:  y = sum_k (weight_k * scale_k) * x_k + sum_k weight_k * shift_k; assigned.
//   mixed_finish:   from the parts that channel_sums (batch_norm.cu) left, products_k and total, assigned; the gradient
//                   of each weight, sum_c(gamma * products_k + beta * total), added; and weight_k * g for branches
//                   without a batch norm, assigned or added, as the target says.
//   softmax_forward, softmax_backward: rows of alphas; y and dx = y * (dy - sum(y * dy)); assigned.
//
// Launch: forward grid (chunks of rows, tiles of channels), block (16 or 32 channels, rows); coefficients of the tile
// are made once a block, in shared memory. Finish: a block (32, 8) a branch, then a thread an element of each identity.
// Softmax a thread a row.
// Bytes per element of forward: each branch read once, the node written once, the least possible.
//
// Versions: 1 coefficients in shared memory, no second launch. 2 one launch for all that follows the sums.
#include "combine.cuh"

struct MixedBranch {
    Reader input;
    u32 weight;
};

struct MixedForward {
    u32 output, rows, channels, rows_per_chunk, count;
    MixedBranch branches[MAX_BRANCHES];
};
static_assert(sizeof(MixedForward) == 20 + 16 * 128);

extern "C" __global__ void __launch_bounds__(256) mixed_forward(const __grid_constant__ Memory memory,
                                                                const __grid_constant__ MixedForward op) {
    __shared__ float factors[MAX_BRANCHES * 32];
    const u32 lane = threadIdx.x, channels = op.channels, c = blockIdx.y * blockDim.x + lane;
    float shift = 0.0f;
    if (c < channels)
        for (u32 k = threadIdx.y; k < op.count; k += blockDim.y) {
            const MixedBranch& branch = op.branches[k];
            const float weight = memory.state[branch.weight];
            const bool normalised = branch.input.scale != ABSENT;
            factors[k * 32 + lane] = normalised ? weight * memory.state[branch.input.scale + c] : weight;
            if (normalised) shift = fmaf(weight, memory.state[branch.input.shift + c], shift);
        }
    // Also orders the coefficients before their use.
    shift = column_sum(shift);
    if (c >= channels) return;
    const u32 first = blockIdx.x * op.rows_per_chunk, last = min(first + op.rows_per_chunk, op.rows);
    for (u32 row = first + threadIdx.y; row < last; row += blockDim.y) {
        const u32 index = row * channels + c;
        float sum = shift;
#pragma unroll 4
        for (u32 k = 0; k < op.count; ++k)
            sum = fmaf(factors[k * 32 + lane], load(memory, op.branches[k].input.data + index), sum);
        store(memory, op.output + index, sum);
    }
}

struct BranchGradient {
    // The parts of products_k and their distance.
    u32 source, step;
    u32 products, gamma, beta, weight;
};

struct Identity {
    u32 weight;
    Target target;
};

struct MixedFinish {
    u32 gradient, len, chunks, channels, count;
    // Of sum(g).
    u32 source, step, total;
    BranchGradient branches[MAX_BRANCHES];
    Identity identities[64];
};
static_assert(sizeof(MixedFinish) == 32 + 24 * 128 + 12 * 64);

// The branch's products, the sum of g where it is asked for or this is the first branch, and the weight's gradient.
__device__ inline void finish_branch(const Memory& memory, const MixedFinish& op, u32 k) {
    const BranchGradient& branch = op.branches[k];
    const float* state = memory.state;
    double sum = 0.0;
    for (u32 first = 0; first < op.channels; first += COLUMNS) {
        const u32 c = first + threadIdx.x;
        const Sum products = {branch.source, op.chunks, branch.step, branch.products, op.channels};
        const double product = combined(memory, products, c);
        double total = 0.0;
        if (k == 0 || branch.beta != ABSENT)
            total = combined(memory, {op.source, op.chunks, op.step, k == 0 ? op.total : ABSENT, op.channels}, c);
        if (threadIdx.y != 0 || c >= op.channels) continue;
        sum += branch.gamma == ABSENT ? product : double(state[branch.gamma + c]) * product;
        if (branch.beta != ABSENT) sum += double(state[branch.beta + c]) * total;
    }
    if (threadIdx.y != 0) return;
    for (u32 step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
    if (threadIdx.x == 0) memory.state[branch.weight] = float(double(state[branch.weight]) + sum);
}

extern "C" __global__ void __launch_bounds__(256) mixed_finish(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ MixedFinish op) {
    if (blockIdx.x < op.count) return finish_branch(memory, op, blockIdx.x);
    const u32 blocks = (op.len + THREADS - 1) / THREADS, block = blockIdx.x - op.count;
    const u32 index = block % blocks * THREADS + threadIdx.y * COLUMNS + threadIdx.x;
    if (index >= op.len) return;
    const Identity& identity = op.identities[block / blocks];
    deliver(memory, identity.target, index, memory.state[identity.weight] * load(memory, op.gradient + index));
}

struct Softmax {
    u32 rows, columns, input, output, output_gradient, input_gradient;
};
static_assert(sizeof(Softmax) == 24);

extern "C" __global__ void __launch_bounds__(64) softmax_forward(const __grid_constant__ Memory memory,
                                                                 const __grid_constant__ Softmax op) {
    const u32 row = blockIdx.x * 64 + threadIdx.x;
    if (row >= op.rows) return;
    const float* x = memory.state + op.input + row * op.columns;
    float* y = memory.state + op.output + row * op.columns;
    float largest = x[0], sum = 0.0f;
    for (u32 i = 1; i < op.columns; ++i) largest = fmaxf(largest, x[i]);
    for (u32 i = 0; i < op.columns; ++i) sum += expf(x[i] - largest);
    for (u32 i = 0; i < op.columns; ++i) y[i] = expf(x[i] - largest) / sum;
}

extern "C" __global__ void __launch_bounds__(64) softmax_backward(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ Softmax op) {
    const u32 row = blockIdx.x * 64 + threadIdx.x;
    if (row >= op.rows) return;
    const float* y = memory.state + op.output + row * op.columns;
    const float* dy = memory.state + op.output_gradient + row * op.columns;
    float* dx = memory.state + op.input_gradient + row * op.columns;
    float inner = 0.0f;
    for (u32 i = 0; i < op.columns; ++i) inner = fmaf(y[i], dy[i], inner);
    for (u32 i = 0; i < op.columns; ++i) dx[i] = y[i] * (dy[i] - inner);
}
