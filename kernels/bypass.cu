// A node with partial channel connections (NHWC), with p channels a group and z in the order of the edges, of which channel
// g * p + c is channel c * groups + g of the node:
//   forward:  z[c] = mixed[c] for c < p, else sum_e weight_e * (scale_e[c] * x_e[c] + shift_e[c]); assigned.
//   backward: the gradient of mixed; for each edge weight_e * dz[c], zero for c < p; assigned or added, as the targets say.
//             The parts of sum(dz * y_e) over c >= p that blocks leave in scratch.
//   finish:   adds a weight's parts to its gradient.
//
// Launch: forward a thread an element of the node, channels fastest. Backward grid (chunks of elements, edges + 1), 256
// threads: a row of blocks an edge, so that a thread has one sum, and the last row the gradient of mixed. Finish: a block an
// edge. Order of a sum: a thread's elements, threads in a tree, warps, then chunks, each in their order.
// Bytes per element of forward: what passes by read once an edge, mixed read and the node written once, the least possible.
// Backward reads the gradient once an edge, of which a cache of the device keeps all but the first; x_e and targets once.
//
// Versions: 1 as above.
#include "common.cuh"

struct BypassSource {
    Reader input;
    u32 weight;
    Target target;
    // The gradient of the weight.
    u32 gradient;
};

struct Bypass {
    // The node and what is mixed, or their gradients.
    u32 node, mixed;
    Target target;
    u32 pixels, channels, groups, count;
    // Elements of a chunk, chunks, and the parts of the sums, `[edge][chunk]` in scratch.
    u32 each, chunks, partial;
    BypassSource sources[MAX_INPUTS];
};
static_assert(sizeof(Bypass) == 44 + 28 * MAX_INPUTS);

// Where a channel of z stands in the node.
__device__ inline u32 shuffled(const Bypass& op, u32 c) {
    const u32 each = op.channels / op.groups;
    return c % each * op.groups + c / each;
}

extern "C" __global__ void __launch_bounds__(256) bypass_forward(const __grid_constant__ Memory memory,
                                                                 const __grid_constant__ Bypass op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.pixels * op.channels) return;
    const u32 each = op.channels / op.groups, place = index % op.channels, pixel = index / op.channels;
    const u32 group = place % op.groups, c = group * each + place / op.groups;
    float sum = 0.0f;
    if (group == 0)
        sum = load(memory, op.mixed + pixel * each + c);
    else
        for (u32 e = 0; e < op.count; ++e) {
            const BypassSource& source = op.sources[e];
            const float value = value_of(memory, source.input, pixel * op.channels + c, c);
            sum = fmaf(memory.state[source.weight], value, sum);
        }
    store(memory, op.node + index, sum);
}

extern "C" __global__ void __launch_bounds__(256) bypass_backward(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ Bypass op) {
    __shared__ float warps[THREADS / 32];
    const u32 each = op.channels / op.groups, thread = threadIdx.x, e = blockIdx.y;
    const u32 first = blockIdx.x * op.each;
    if (e == op.count) {
        const u32 last = min(first + op.each, op.pixels * op.channels);
        for (u32 index = first + thread; index < last; index += THREADS) {
            const u32 place = index % op.channels;
            if (place % op.groups != 0) continue;
            const u32 at = index / op.channels * each + place / op.groups;
            deliver(memory, op.target, at, load(memory, op.node + index));
        }
        return;
    }
    const BypassSource& source = op.sources[e];
    const u32 last = min(first + op.each, op.pixels * op.channels);
    const float weight = memory.state[source.weight];
    float product = 0.0f;
    for (u32 index = first + thread; index < last; index += THREADS) {
        const u32 c = index % op.channels;
        if (c < each) {
            if (!adds(source.target)) deliver(memory, source.target, index, 0.0f);
            continue;
        }
        const float gradient = load(memory, op.node + index - c + shuffled(op, c));
        product = fmaf(gradient, value_of(memory, source.input, index, c), product);
        deliver(memory, source.target, index, weight * gradient);
    }
    for (u32 step = 16; step > 0; step /= 2) product += __shfl_down_sync(0xffffffffu, product, step);
    if (thread % 32 == 0) warps[thread / 32] = product;
    __syncthreads();
    if (thread != 0) return;
    float sum = 0.0f;
    for (u32 warp = 0; warp < THREADS / 32; ++warp) sum += warps[warp];
    memory.scratch[op.partial + e * op.chunks + blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(32) bypass_finish(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ Bypass op) {
    const u32 e = blockIdx.x;
    double sum = 0.0;
    for (u32 chunk = threadIdx.x; chunk < op.chunks; chunk += 32)
        sum += double(memory.scratch[op.partial + e * op.chunks + chunk]);
    for (u32 step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
    float& gradient = memory.state[op.sources[e].gradient];
    if (threadIdx.x == 0) gradient = float(double(gradient) + sum);
}
