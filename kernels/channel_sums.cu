// Sums over the rows of raw values x_k under a gradient g (NHWC, rows are pixels), in chunks of rows:
//   partial[chunk][0][c] = sum(g), partial[chunk][1 + k][c] = sum(g * xhat_k), xhat = (x - mean) * inverse_deviation, or
//   x where nothing normalises it; assigned. combine.cu adds the chunks. Batch norm's backward, the mixed sum and the
//   sums of separable convolutions use it, several gradients (groups) of one shape a launch.
//   On the way, weight * g for identity branches of a mixed sum; assigned or added, as the target says.
//
// Launch: grid (chunks, tiles of 16 or 32 channels, groups), 256 threads. A tile of g is read once into shared memory,
// as it is stored; then each warp takes a branch at a time, so g serves all of them whatever their number. Few branches
// share the warps by rows. A lane holds a run of channels of every 32/runs-th row: 16-byte accesses.
// Order of a sum: a lane's rows, lanes in a tree, tiles and warps in their order.
// Bytes per element: g and each x once, and each identity's target once (twice where it is added to): the least possible.
//
// Versions: 1 g once for 8 branches, held in registers: 1.24 of the least. 2 g once for all, 16-byte accesses, and the
// identities in the same pass.
#include "stream.cuh"

constexpr u32 WARPS = THREADS / 32;
// Rows of a lane whose values are on their way together, as registers allow.
constexpr u32 UNROLLED = 16 / PACK;
// Runs of g in shared memory.
constexpr u32 RUNS = 512;
// Identities among the branches of a node.
constexpr u32 MAX_IDENTITIES = 64;

struct Group {
    u32 gradient;
    unsigned short first, count;
    u32 partial, gate;
};

struct Standardised {
    u32 data, mean, inverse_deviation, gate;
};

struct Identity {
    u32 weight;
    Target target;
    u32 gate;
};

struct ChannelSums {
    u32 rows, channels, rows_per_chunk, packed;
    Group groups[32];
    Standardised values[MAX_BRANCHES];
    // Of the first group.
    u32 identity_count;
    Identity identities[MAX_IDENTITIES];
};
static_assert(sizeof(ChannelSums) == 20 + 16 * 32 + 16 * 128 + 16 * 64);

__device__ inline void unpack(const Stored<PACK>& pack, float (&values)[PACK]) {
#pragma unroll
    for (u32 i = 0; i < PACK; ++i) values[i] = wide(pack.values[i]);
}

// Assigns or adds, to the run's sums, the values of the lanes that hold it, added in a tree. All lanes must call.
__device__ inline void add_lanes(u32 runs, bool assign, float (&values)[PACK], float* sums) {
    for (u32 step = 16; step >= runs; step /= 2)
#pragma unroll
        for (u32 i = 0; i < PACK; ++i) values[i] += __shfl_xor_sync(0xffffffffu, values[i], step);
    const u32 lane = threadIdx.x % 32;
    if (lane < runs)
#pragma unroll
        for (u32 i = 0; i < PACK; ++i) sums[lane * PACK + i] = assign ? values[i] : sums[lane * PACK + i] + values[i];
}

extern "C" __global__ void __launch_bounds__(256, 4) channel_sums(const __grid_constant__ Memory memory,
                                                               const __grid_constant__ ChannelSums op) {
    __shared__ Stored<PACK> gradients[RUNS];
    // Of each branch and each warp that shares it, then of g.
    __shared__ float sums[MAX_BRANCHES + WARPS][MAX_TILE];
    __shared__ OpenList<MAX_BRANCHES> list;
    const Group& group = op.groups[blockIdx.z];
    if (!open(memory, group.gate)) return;
    list.find(group.count, [&](u32 k) { return open(memory, op.values[group.first + k].gate); });
    const u32 channels = op.channels, width = tile_width(channels), runs = width / PACK, count = list.count;
    const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32, run = lane % runs;
    const u32 c = blockIdx.y * width + run * PACK;
    const u32 first = blockIdx.x * op.rows_per_chunk, last = min(first + op.rows_per_chunk, op.rows);
    // By the number of all branches, so that a sum has one order under every mask.
    u32 across = 1;
    while (across < WARPS && across < group.count) across *= 2;
    const u32 down = WARPS / across, part = warp / across;
    const u32 identities = blockIdx.z == 0 ? op.identity_count : 0;
    for (u32 start = first; start < last; start += RUNS / runs) {
        const u32 rows = min(RUNS / runs, last - start);
        float total[PACK] = {};
        __syncthreads();
        if (c < channels)
#pragma unroll 1
            for (u32 row = thread / runs; row < rows; row += THREADS / runs) {
                const u32 index = (start + row) * channels + c;
                float g[PACK], share[PACK];
                load_run(memory, group.gradient + index, op.packed, c, channels, g);
#pragma unroll
                for (u32 i = 0; i < PACK; ++i) {
                    total[i] += g[i];
                    gradients[row * runs + run].values[i] = narrow(g[i]);
                }
                for (u32 k = 0; k < identities; ++k) {
                    const Identity& identity = op.identities[k];
                    const bool is_open = open(memory, identity.gate);
                    if (!is_open && !owes_zeros(memory, identity.target)) continue;
                    const float weight = is_open ? memory.state[identity.weight] : 0.0f;
#pragma unroll
                    for (u32 i = 0; i < PACK; ++i) share[i] = is_open ? weight * g[i] : 0.0f;
                    deliver_run(memory, identity.target, index, op.packed, c, channels, share);
                }
            }
        add_lanes(runs, start == first, total, sums[count * down + warp]);
        __syncthreads();
        for (u32 k = warp % across; k < count; k += across) {
            const Standardised& value = op.values[group.first + list.numbers[k]];
            float means[PACK], products[PACK] = {};
            load_coefficients(memory, value.mean, c, channels, 0.0f, means);
            if (c < channels)
#pragma unroll UNROLLED
                for (u32 row = part * (32 / runs) + lane / runs; row < rows; row += down * (32 / runs)) {
                    float x[PACK], g[PACK];
                    load_run(memory, value.data + (start + row) * channels + c, op.packed, c, channels, x);
                    unpack(gradients[row * runs + run], g);
#pragma unroll
                    for (u32 i = 0; i < PACK; ++i) products[i] = fmaf(g[i], x[i] - means[i], products[i]);
                }
            add_lanes(runs, start == first, products, sums[k * down + part]);
        }
    }
    __syncthreads();
    float* partial = memory.scratch + group.partial + blockIdx.x * (group.count + 1) * channels;
    for (u32 i = thread; i < (count + 1) * width; i += THREADS) {
        const u32 k = i / width, lane_channel = i % width, channel = blockIdx.y * width + lane_channel;
        if (channel >= channels) continue;
        // sum(g) first, each branch behind it.
        const u32 from = k == 0 ? count * down : (k - 1) * down, parts = k == 0 ? WARPS : down;
        float sum = 0.0f;
        for (u32 p = 0; p < parts; ++p) sum += sums[from + p][lane_channel];
        const u32 number = k == 0 ? 0 : list.numbers[k - 1] + 1;
        const u32 deviation = k == 0 ? ABSENT : op.values[group.first + number - 1].inverse_deviation;
        partial[number * channels + channel] = deviation == ABSENT ? sum : sum * memory.state[deviation + channel];
    }
}
