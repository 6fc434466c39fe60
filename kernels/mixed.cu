// The weighted sum over the branches of all edges of a node (NHWC):
//   mixed_forward:  y = sum_k (weight_k * scale_k) * x_k + sum_k weight_k * shift_k; assigned.
//   mixed_finish:   from the parts that channel_sums.cu left, products_k and total, assigned; the sum of total, and the
//                   gradient of each weight, sum_c(gamma * products_k + beta * total), added.
//
// Launch: forward grid (chunks of rows, tiles of channels), block (16 or 32 channels, rows); coefficients of the tile
// are made once a block, in shared memory, then a thread takes runs of channels. Finish: a block (32, 8) a branch.
// Bytes per element of forward: each branch read once, the node written once, the least possible.
//
// Versions: 1 coefficients in shared memory, no second launch. 2 one launch for all that follows the sums. 3 16-byte
// accesses; the gradients of identities moved to channel_sums.cu, which reads g anyway.
#include "combine.cuh"
#include "stream.cuh"

struct MixedBranch {
    Reader input;
    u32 weight, gate;
};

struct MixedForward {
    u32 output, rows, channels, rows_per_chunk, packed, count;
    MixedBranch branches[MAX_BRANCHES];
};
static_assert(sizeof(MixedForward) == 24 + 20 * 128);

extern "C" __global__ void __launch_bounds__(256, 4) mixed_forward(const __grid_constant__ Memory memory,
                                                                const __grid_constant__ MixedForward op) {
    __shared__ __align__(16) float factors[MAX_BRANCHES][MAX_TILE];
    __shared__ __align__(16) float shifts[MAX_TILE];
    __shared__ OpenList<MAX_BRANCHES> list;
    // Of the open branches.
    __shared__ u32 places[MAX_BRANCHES];
    list.find(op.count, [&](u32 k) { return open(memory, op.branches[k].gate); });
    const u32 channels = op.channels, width = blockDim.x, lane = threadIdx.x, own = blockIdx.y * width + lane;
    float shift = 0.0f;
    for (u32 k = threadIdx.y; k < op.count; k += blockDim.y) {
        const MixedBranch& branch = op.branches[k];
        if (!open(memory, branch.gate)) continue;
        const float weight = memory.state[branch.weight];
        const bool normalised = branch.input.scale != ABSENT && own < channels;
        factors[k][lane] = normalised ? weight * memory.state[branch.input.scale + own] : weight;
        if (normalised) shift = fmaf(weight, memory.state[branch.input.shift + own], shift);
    }
    for (u32 k = threadIdx.y * width + lane; k < list.count; k += THREADS)
        places[k] = op.branches[list.numbers[k]].input.data;
    shift = column_sum(shift);
    if (threadIdx.y == 0) shifts[lane] = shift;
    __syncthreads();

    const u32 runs = width / PACK, thread = threadIdx.y * width + lane, run = thread % runs * PACK;
    const u32 c = blockIdx.y * width + run;
    if (c >= channels) return;
    const u32 first = blockIdx.x * op.rows_per_chunk, last = min(first + op.rows_per_chunk, op.rows);
    for (u32 row = first + thread / runs; row < last; row += THREADS / runs) {
        const u32 index = row * channels + c;
        float sum[PACK];
        load_shared(shifts + run, sum);
#pragma unroll 4
        for (u32 k = 0; k < list.count; ++k) {
            float x[PACK], factor[PACK];
            load_run(memory, places[k] + index, op.packed, c, channels, x);
            load_shared(factors[list.numbers[k]] + run, factor);
#pragma unroll
            for (u32 i = 0; i < PACK; ++i) sum[i] = fmaf(factor[i], x[i], sum[i]);
        }
        store_run(memory, op.output + index, op.packed, c, channels, sum);
    }
}

struct BranchGradient {
    // The parts of products_k.
    u32 source;
    u32 products, gamma, beta, weight, gate;
};

struct MixedFinish {
    u32 chunks, channels;
    // Of sum(g), and where the sum of that goes.
    u32 source, step, total, sum;
    BranchGradient branches[MAX_BRANCHES];
};
static_assert(sizeof(MixedFinish) == 24 + 24 * 128);

// Adds what the lanes of a warp have, in an order that depends on nothing, to a number of the state.
__device__ inline void add_lanes(const Memory& memory, u32 place, double sum) {
    for (u32 step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
    if (threadIdx.x == 0) memory.state[place] = float(double(memory.state[place]) + sum);
}

// A branch's products, the sum of g where it is needed or this is the first branch, and the weight's gradient. A node of no
// branch has a block all the same.
extern "C" __global__ void __launch_bounds__(256) mixed_finish(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ MixedFinish op) {
    const u32 k = blockIdx.x;
    const BranchGradient& branch = op.branches[k];
    const float* state = memory.state;
    const bool branch_open = branch.products != ABSENT && open(memory, branch.gate);
    double sum = 0.0, whole = 0.0;
    for (u32 first = 0; first < op.channels; first += COLUMNS) {
        const u32 c = first + threadIdx.x;
        double total = 0.0;
        if (k == 0 || (branch_open && branch.beta != ABSENT))
            total = combined(memory, {op.source, op.chunks, op.step, k == 0 ? op.total : ABSENT, op.channels}, c);
        whole += total;
        if (!branch_open) continue;
        const Sum products = {branch.source, op.chunks, op.step, branch.products, op.channels};
        const double product = combined(memory, products, c);
        if (threadIdx.y != 0 || c >= op.channels) continue;
        sum += branch.gamma == ABSENT ? product : double(state[branch.gamma + c]) * product;
        if (branch.beta != ABSENT) sum += double(state[branch.beta + c]) * total;
    }
    if (threadIdx.y != 0) return;
    if (k == 0) add_lanes(memory, op.sum, whole);
    if (branch_open) add_lanes(memory, branch.weight, sum);
}
