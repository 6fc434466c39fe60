// The sum of a derived cell's node, with drop path (NHWC):
//   forward:  y[n] = sum_k factors_k[n] * (scale_k * x_k[n] + shift_k); assigned.
//   backward: factors_k[n] * g[n] for each branch, in their order; assigned or added, as the targets say. The sums of the
//             branches' batch norms are those of channel_sums (batch_norm.cu).
//
// Launch: a thread an element, channels fastest.
// Bytes per element of forward: each branch read once, the node written once; of backward, the gradient read once, each
// branch's written once: the least possible.
//
// Versions: 1 as above.
#include "common.cuh"

struct NodeSumBranch {
    Reader input;
    u32 factors;
    Target target;
};

struct NodeSum {
    // The node, or its gradient.
    u32 node;
    u32 elements, image_elements, channels, count;
    NodeSumBranch branches[MAX_SUMMED];
};
static_assert(sizeof(NodeSum) == 20 + 24 * MAX_SUMMED);

__device__ inline float factor_of(const Memory& memory, const NodeSumBranch& branch, u32 image) {
    return branch.factors == ABSENT ? 1.0f : memory.state[branch.factors + image];
}

extern "C" __global__ void __launch_bounds__(256) node_sum_forward(const __grid_constant__ Memory memory,
                                                                   const __grid_constant__ NodeSum op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.elements) return;
    const u32 c = index % op.channels, image = index / op.image_elements;
    float sum = 0.0f;
    for (u32 k = 0; k < op.count; ++k) {
        const NodeSumBranch& branch = op.branches[k];
        sum = fmaf(factor_of(memory, branch, image), value_of(memory, branch.input, index, c), sum);
    }
    store(memory, op.node + index, sum);
}

extern "C" __global__ void __launch_bounds__(256) node_sum_backward(const __grid_constant__ Memory memory,
                                                                    const __grid_constant__ NodeSum op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.elements) return;
    const float gradient = load(memory, op.node + index);
    for (u32 k = 0; k < op.count; ++k) {
        const NodeSumBranch& branch = op.branches[k];
        deliver(memory, branch.target, index, factor_of(memory, branch, index / op.image_elements) * gradient);
    }
}
