// Depthwise separable convolutions in bands: a block walks down its images, a few output rows a step, and keeps the input
// rows under them in shared memory, so that all branches of a source share one reading of it and no window reads twice.
//
// A block has 512 threads in teams; a branch has one or more teams, which share the pixels of a step. Shared memory:
//   ring:    activated input rows, [slot][column][channel] in the storage type. Rows are kept by their residue modulo the
//            stride, each class in a ring of its own: at stride 2 taps of even offset leave the odd rows early.
//   tiles:   a team's matrices, [pixel][channel], a row padded by 16 bytes so that rows meet in different banks.
//   windows: the depthwise weights of the block's branches, f32.
//   lines:   where the rows of the step's windows lie in the ring.
// The pointwise matrix lies in registers: each weight once in a team, so it is read once for all images of a block.
//
// 48 KiB and 64 registers let two blocks on a multiprocessor of 100 KiB and one on that of 64 KiB: half of its threads or
// more. What does not fit (src/backend/cuda/bands.rs) takes the kernels of product.cuh.
#pragma once

#include "tensor.cuh"

constexpr u32 BAND_THREADS = 512;
// Shared memory of a block in bytes, but for the list of its branches; and rows of the table of lines.
constexpr u32 BAND_SHARED = (48 << 10) - 16;
constexpr u32 MAX_LINES = 64;

// A block takes open branches of a source: `count` factors from `first` on. They fill groups in their order, each as far as
// branches and windows of a block allow; a block takes group `index`. Closed branches leave groups at the end empty.
struct Group {
    unsigned char first, count, index, unused;
};
static_assert(sizeof(Group) == 4);

// How blocks walk, the same for all groups of a launch.
struct Bands {
    // Images of a block; output rows of a step; pixels of a team's tile; branches of a block, and teams of each.
    u32 images, rows, pixels, branches, share;
    // The largest padding of all branches.
    u32 padding;
    // Of each class of rows: output row r needs rows r + low to r + high of it; slots from `base` on, `depth` of them.
    int low[2], high[2];
    u32 base[2], depth[2];
    // Elements of the ring, floats of the windows.
    u32 ring, windows;
    Group groups[MAX_FACTORS];
};
static_assert(sizeof(Bands) == 64 + 4 * 18);

// Partial gradients of a branch's weights in the scratch memory: [block][c_in][c_out] and [block][tap][c].
struct Partials {
    u32 pointwise, depthwise;
};

struct Separable {
    Shape input, output;
    u32 stride, rows_per_split;
    Factor factors[MAX_FACTORS];
    UnstoredGradient output_gradients[MAX_FACTORS];
    Partials partials[MAX_FACTORS];
    Bands bands;
};
static_assert(sizeof(Separable) == 40 + 212 * 18 + 136);

// The gradients of depthwise results lie in the scratch memory, in the storage type.
__device__ inline Storage* stored(const Memory& memory, u32 place) {
    return reinterpret_cast<Storage*>(memory.scratch + place);
}

// A team for matrices of C x C.
template <u32 C>
struct Team {
    static constexpr u32 COUNT = C == 64 ? 1 : 4;
    static constexpr u32 THREADS = BAND_THREADS / COUNT;
    // Most pixels of a tile: each thread holds 8 results of a product.
    static constexpr u32 PIXELS = 8 * THREADS / C;
    static constexpr u32 PITCH = C + PACK;
    // 16-byte words of a pixel.
    static constexpr u32 PACKS = C / PACK;
};

// The branches of a block, by their factors.
struct BlockBranches {
    u32 count;
    unsigned char factors[4];
};

__device__ inline BlockBranches& block_branches() {
    __shared__ BlockBranches branches;
    return branches;
}

// Finds the block's branches; whether there are any. All threads must call.
template <u32 C>
__device__ inline bool find_branches(const Memory& memory, const Separable& op) {
    const Bands& bands = op.bands;
    const Group group = bands.groups[blockIdx.y];
    BlockBranches& found = block_branches();
    if (threadIdx.x < 32) {
        const bool is_open = threadIdx.x < group.count && open(memory, op.factors[group.first + threadIdx.x].gate);
        const u32 mask = __ballot_sync(0xffffffffu, is_open);
        if (threadIdx.x == 0) {
            u32 index = 0, branches = 0, windows = 0;
            found.count = 0;
            for (u32 i = 0; i < group.count; ++i) {
                if (!(mask >> i & 1)) continue;
                const u32 kernel = op.factors[group.first + i].kernel, len = kernel * kernel * C;
                const bool fits = bands.windows == 0 || windows + len <= bands.windows;
                if (branches == bands.branches || !fits) ++index, branches = 0, windows = 0;
                if (index == group.index) found.factors[found.count++] = group.first + i;
                ++branches, windows += len;
            }
        }
    }
    __syncthreads();
    return found.count > 0;
}

// What a thread is in its block. Every function finds it anew, hidden from the compiler, which would otherwise keep what it
// derives from it in registers from step to step.
template <u32 C>
struct Place {
    // Team; thread of it; teams of its branch; number among these; branch.
    u32 team, lane, share, part, branch;
    bool works;

    __device__ inline Place(const Bands& bands) {
        using T = Team<C>;
        u32 thread = threadIdx.x;
        asm volatile("" : "+r"(thread));
        team = thread / T::THREADS, lane = thread % T::THREADS;
        share = bands.share;
        branch = team * bands.branches / T::COUNT;
        part = team - branch * share;
        works = branch < block_branches().count;
        // Idle teams do as the first branch does, and leave nothing.
        if (!works) branch = 0;
    }
    __device__ inline u32 factor() const { return block_branches().factors[branch]; }
};

// A step: an image and the first of the output rows.
struct Step {
    u32 image, row;

    __device__ inline u32 rows(const Separable& op) const { return min(op.bands.rows, op.output.h - row); }
};

// A team's pixels of a step, in the order of an image.
struct Pixels {
    // The first of them in the step, their number, and the first of them in the output.
    u32 first, count, start;

    template <u32 C>
    __device__ inline Pixels(const Separable& op, const Place<C>& place, const Step& step) {
        first = place.part * op.bands.pixels;
        const u32 pixels = step.rows(op) * op.output.w;
        count = place.works && first < pixels ? min(op.bands.pixels, pixels - first) : 0;
        start = (step.image * op.output.h + step.row) * op.output.w + first;
    }
};

// Two neighbouring channels in shared memory.
__device__ inline float2 load_two(const Storage* at) {
    struct alignas(2 * sizeof(Storage)) Two {
        Storage x, y;
    };
    const Two two = *reinterpret_cast<const Two*>(at);
    return make_float2(wide(two.x), wide(two.y));
}

__device__ inline void store_two(Storage* at, float x, float y) {
    struct alignas(2 * sizeof(Storage)) Two {
        Storage x, y;
    };
    *reinterpret_cast<Two*>(at) = {narrow(x), narrow(y)};
}

__device__ inline Pack pack_of(const float (&values)[PACK]) {
    Pack pack;
#pragma unroll
    for (u32 i = 0; i < PACK; ++i) pack.values[i] = narrow(values[i]);
    return pack;
}

// Scale and shift of the input's channels, [2][C].
template <u32 C>
__device__ inline void load_norm(const Memory& memory, const Reader& input, float* norm) {
    for (u32 c = threadIdx.x; c < C; c += BAND_THREADS) {
        norm[c] = input.scale == ABSENT ? 1.0f : memory.state[input.scale + c];
        norm[C + c] = input.scale == ABSENT ? 0.0f : memory.state[input.shift + c];
    }
}

// The depthwise weights of the group's branches, one behind the other; gives where those of `branch` begin.
template <u32 C>
__device__ inline u32 load_windows(const Memory& memory, const Separable& op, float* windows) {
    const Place<C> place(op.bands);
    u32 at = 0, own = 0;
    for (u32 b = 0; b < block_branches().count; ++b) {
        const Factor& factor = op.factors[block_branches().factors[b]];
        const u32 len = factor.kernel * factor.kernel * C;
        if (b == place.branch) own = at;
        for (u32 i = threadIdx.x; i < len; i += BAND_THREADS) windows[at + i] = memory.state[factor.depthwise + i];
        at += len;
    }
    return own;
}

// Brings the input rows that the step needs and the ring has not: 16 bytes a thread.
template <u32 C>
__device__ inline void load_ring(const Memory& memory, const Separable& op, const Reader& input, const Step& step,
                                 const float* norm, Storage* ring) {
    const Bands& bands = op.bands;
    const u32 packs = op.input.w * Team<C>::PACKS;
    for (u32 remainder = 0; remainder < op.stride; ++remainder) {
        if (bands.depth[remainder] == 0) continue;
        const int rows = int((op.input.h - remainder + op.stride - 1) / op.stride), first = int(step.row);
        const int begin = max(first == 0 ? bands.low[remainder] : first + bands.high[remainder], 0);
        const int end = min(first + int(step.rows(op)) + bands.high[remainder], rows);
        const u32 count = begin < end ? u32(end - begin) * packs : 0;
        for (u32 i = threadIdx.x; i < count; i += BAND_THREADS) {
            const u32 line = i / packs, at = (i - line * packs) * PACK, c = at % C, index = u32(begin) + line;
            const u32 y = index * op.stride + remainder;
            float values[PACK];
            load_pack(memory, input.data + index_of(op.input, step.image, y, 0) + at, values);
#pragma unroll
            for (u32 k = 0; k < PACK; ++k) values[k] = fmaxf(fmaf(norm[c + k], values[k], norm[C + c + k]), 0.0f);
            const u32 slot = bands.base[remainder] + index % bands.depth[remainder];
            *reinterpret_cast<Pack*>(ring + slot * op.input.w * C + at) = pack_of(values);
        }
    }
}

// Where the step's rows lie: lines[i] for input row row * stride - padding + i; ABSENT beyond the image.
template <u32 C>
__device__ inline void place_lines(const Separable& op, const Step& step, u32* lines) {
    const Bands& bands = op.bands;
    const u32 i = threadIdx.x;
    if (i > (step.rows(op) - 1) * op.stride + 2 * bands.padding) return;
    const u32 y = step.row * op.stride + i - bands.padding, remainder = y % op.stride;
    u32 line = ABSENT;
    if (y < op.input.h && bands.depth[remainder] != 0)
        line = (bands.base[remainder] + y / op.stride % bands.depth[remainder]) * op.input.w * C;
    lines[i] = line;
}

// A window known to the compiler.
template <u32 KERNEL_, u32 DILATION_>
struct Window {
    static constexpr u32 KERNEL = KERNEL_, DILATION = DILATION_, PADDING = DILATION_ * (KERNEL_ - 1) / 2;
};

// Calls visit with the branch's window; others do not take bands.
template <class Visit>
__device__ inline void by_window(const Factor& factor, Visit visit) {
    if (factor.kernel == 3 && factor.dilation == 1) visit(Window<3, 1>());
    else if (factor.kernel == 3) visit(Window<3, 2>());
    else if (factor.dilation == 1) visit(Window<5, 1>());
    else visit(Window<5, 2>());
}

// Rows of a team's tile: whole fragments of a product.
__device__ inline u32 tile_rows(const Bands& bands) {
    constexpr u32 ROUND = sizeof(Storage) == 2 ? 16 : 8;
    return (bands.pixels + ROUND - 1) / ROUND * ROUND;
}

// The depthwise results of the team's pixels, rounded to the storage type; zero in the rows behind them. A thread has two
// channels of two pixels at a time, so that a weight serves four products.
template <u32 C, class W>
__device__ inline void depthwise_tile(const Separable& op, const Step& step, const Storage* ring, const u32* lines,
                                      const float* weights, Storage* tile) {
    constexpr u32 ACROSS = C / 2, DOWN = Team<C>::THREADS / ACROSS;
    const Place<C> place(op.bands);
    const Pixels pixels(op, place, step);
    const u32 channel = place.lane % ACROSS * 2;
    ring += channel, weights += channel;
#pragma unroll 1
    for (u32 first = place.lane / ACROSS; first < tile_rows(op.bands); first += 2 * DOWN) {
        u32 line[2], column[2];
        float2 sums[2];
#pragma unroll
        for (u32 t = 0; t < 2; ++t) {
            const u32 p = first + t * DOWN, pixel = p < pixels.count ? pixels.first + p : 0;
            const u32 row = pixel / op.output.w;
            line[t] = row * op.stride + op.bands.padding - W::PADDING;
            // Beyond the image whatever the tap, where the pixel does not exist.
            column[t] = p < pixels.count ? (pixel - row * op.output.w) * op.stride - W::PADDING : ABSENT / 2;
            sums[t] = make_float2(0.0f, 0.0f);
        }
#pragma unroll 1
        for (u32 i = 0; i < W::KERNEL; ++i) {
            const u32 at[2] = {lines[line[0] + i * W::DILATION], lines[line[1] + i * W::DILATION]};
#pragma unroll
            for (u32 j = 0; j < W::KERNEL; ++j) {
                const float2 weight = *reinterpret_cast<const float2*>(weights + (i * W::KERNEL + j) * C);
#pragma unroll
                for (u32 t = 0; t < 2; ++t) {
                    const u32 x = column[t] + j * W::DILATION;
                    if (at[t] == ABSENT || x >= op.input.w) continue;
                    const float2 value = load_two(ring + at[t] + x * C);
                    sums[t].x = fmaf(value.x, weight.x, sums[t].x);
                    sums[t].y = fmaf(value.y, weight.y, sums[t].y);
                }
            }
        }
#pragma unroll
        for (u32 t = 0; t < 2; ++t) {
            const u32 p = first + t * DOWN;
            if (p < tile_rows(op.bands)) store_two(tile + p * Team<C>::PITCH + channel, sums[t].x, sums[t].y);
        }
    }
}

// result[p][n] = sum_k tile[p][k] * matrix[k][n] of a team's tile. A thread's eight results come in two parts of four, which
// leave() puts into a tile. Tensor cores: a warp has eight columns of all or half of the rows. Else: a thread has a column and
// a slice of the depth, and slices meet by shuffles, in a fixed order.
template <u32 C>
struct Product {
    using T = Team<C>;
#if (defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)) && __CUDA_ARCH__ >= 800
    static constexpr u32 ACROSS = C / 8;
    u32 b[C / 16][2];

    template <class Element>
    __device__ inline void load(u32 lane, Element element) {
        const u32 n = lane / 32 % ACROSS * 8 + lane % 32 / 4, k = lane % 4 * 2;
#pragma unroll
        for (u32 i = 0; i < C / 16; ++i)
#pragma unroll
            for (u32 half = 0; half < 2; ++half) {
                const u32 deep = i * 16 + half * 8 + k;
                b[i][half] = pair(element(deep, n), element(deep + 1, n));
            }
    }

    template <class Visit>
    __device__ inline void multiply(const Separable& op, const Step& step, const Storage* tile, Visit visit) const {
        const Place<C> place(op.bands);
        const u32 count = Pixels(op, place, step).count;
#pragma unroll
        for (u32 part = 0; part < 2; ++part) {
            const u32 row = (place.lane / 32 / ACROSS * 2 + part) * 16;
            float sums[4] = {};
            if (row < count) {
#pragma unroll
                for (u32 k = 0; k < C / 16; ++k) {
                    u32 a[4];
                    load_rows(a, tile + row * T::PITCH + k * 16, T::PITCH);
                    multiply_accumulate(sums, a, b[k]);
                }
            }
            visit(part, sums);
        }
    }

    __device__ inline void leave(const Separable& op, const Step& step, u32 part, const float (&sums)[4],
                                 Storage* tile) const {
        const Place<C> place(op.bands);
        const u32 count = Pixels(op, place, step).count;
        const u32 n = place.lane / 32 % ACROSS * 8 + place.lane % 4 * 2;
        const u32 row = (place.lane / 32 / ACROSS * 2 + part) * 16 + place.lane % 32 / 4;
        if (row < count) store_two(tile + row * T::PITCH + n, sums[0], sums[1]);
        if (row + 8 < count) store_two(tile + (row + 8) * T::PITCH + n, sums[2], sums[3]);
    }
#else
    static constexpr u32 SLICES = T::THREADS / C, DEEP = C / SLICES, EACH = DEEP < 4 ? DEEP : 4;
    float b[DEEP];

    template <class Element>
    __device__ inline void load(u32 lane, Element element) {
#pragma unroll
        for (u32 i = 0; i < DEEP; ++i)
            b[i] = element(i / EACH * SLICES * EACH + lane % SLICES * EACH + i % EACH, lane / SLICES);
    }

    // The thread's slice of a row's product.
    __device__ inline float part_of(const Storage* row) const {
        float sum = 0.0f;
#pragma unroll
        for (u32 i = 0; i < DEEP; i += 2) {
            const float2 two = load_two(row + i / EACH * SLICES * EACH + i % EACH);
            sum = fmaf(two.y, b[i + 1], fmaf(two.x, b[i], sum));
        }
        return sum;
    }

    template <class Visit>
    __device__ inline void multiply(const Separable& op, const Step& step, const Storage* tile, Visit visit) const {
        const Place<C> place(op.bands);
        const u32 slice = place.lane % SLICES, count = Pixels(op, place, step).count;
#pragma unroll
        for (u32 part = 0; part < 2; ++part) {
            float sums[4] = {};
#pragma unroll
            for (u32 group = 0; group < 4; ++group) {
                const u32 row = (part * 4 + group) * SLICES;
                if (row >= count) break;
                float parts[SLICES];
#pragma unroll
                for (u32 s = 0; s < SLICES; ++s) parts[s] = part_of(tile + (row + s) * T::PITCH + slice * EACH);
                // Each exchange halves the rows that a lane has and doubles the slices in them.
#pragma unroll
                for (u32 width = SLICES / 2; width > 0; width /= 2)
#pragma unroll
                    for (u32 i = 0; i < width; ++i) {
                        const bool upper = slice & width;
                        const float given = upper ? parts[i] : parts[i + width];
                        parts[i] = (upper ? parts[i + width] : parts[i]) + __shfl_xor_sync(~0u, given, width);
                    }
                sums[group] = parts[0];
            }
            visit(part, sums);
        }
    }

    __device__ inline void leave(const Separable& op, const Step& step, u32 part, const float (&sums)[4],
                                 Storage* tile) const {
        const Place<C> place(op.bands);
        const u32 count = Pixels(op, place, step).count;
#pragma unroll
        for (u32 group = 0; group < 4; ++group) {
            const u32 row = (part * 4 + group) * SLICES + place.lane % SLICES;
            if (row < count) tile[row * T::PITCH + place.lane / SLICES] = narrow(sums[group]);
        }
    }
#endif

    // The product of a tile in its place. All threads must call.
    __device__ inline void multiply_in_place(const Separable& op, const Step& step, Storage* tile) const {
        float results[2][4];
        multiply(op, step, tile, [&](u32 part, const float (&sums)[4]) {
#pragma unroll
            for (u32 i = 0; i < 4; ++i) results[part][i] = sums[i];
        });
        __syncthreads();
        leave(op, step, 0, results[0], tile);
        leave(op, step, 1, results[1], tile);
    }
};

// A team's tile to its place in an array like the output.
template <u32 C>
__device__ inline void leave_tile(const Separable& op, const Step& step, const Storage* tile, Storage* array) {
    using T = Team<C>;
    const Place<C> place(op.bands);
    const Pixels pixels(op, place, step);
    array += pixels.start * C;
    for (u32 i = place.lane; i < pixels.count * T::PACKS; i += T::THREADS)
        *reinterpret_cast<Pack*>(array + i * PACK) =
            *reinterpret_cast<const Pack*>(tile + i / T::PACKS * T::PITCH + i % T::PACKS * PACK);
}

// Brings the pointwise matrices of the group's branches through `room` (C * C floats) into their teams' registers;
// element(room, k, n) is what a product takes. All threads must call; `room` is free afterwards.
template <u32 C, class Element>
__device__ inline void load_matrices(const Memory& memory, const Separable& op, float* room, Product<C>& product,
                                     Element element) {
    const Place<C> place(op.bands);
    for (u32 b = 0; b < block_branches().count; ++b) {
        const u32 weights = op.factors[block_branches().factors[b]].weights;
        for (u32 i = threadIdx.x; i < C * C; i += BAND_THREADS) room[i] = memory.state[weights + i];
        __syncthreads();
        if (b == place.branch) product.load(place.lane, [&](u32 k, u32 n) { return element(room, k, n); });
        __syncthreads();
    }
}
