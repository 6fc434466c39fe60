// Arithmetic over flat vectors of the state memory, each one launch over the whole vector:
//   fill, scaled_add (target += factor * source, or factor / divisor), gradient_descent (momentum, decay, clipping);
//   norm_partials and norm_result: the Euclidean norm in two stages, in f64.
//
// Launch: grid of at most 1024 blocks of 256 threads that stride over the vector, four elements an access where the host
// has found all places to be multiples of 4 (`fours`, how many accesses), then element by element to the end.
// Bytes per element: fill 4, scaled_add 12, gradient_descent 20, norm 4: the least possible.
//
// Versions: 1 as above, element by element. 2 16-byte accesses.
#include "common.cuh"

struct Vectors {
    u32 len, fours, target, source, divisor, unused;
    double factor;
};
static_assert(sizeof(Vectors) == 32);

// Neighbouring elements that one access moves.
template <u32 COUNT>
struct alignas(4 * COUNT) Run {
    float values[COUNT];
};

// The run at a place of the state memory.
template <class R>
__device__ inline R& run_at(const Memory& memory, u32 place) {
    return *reinterpret_cast<R*>(memory.state + place);
}

// Calls visit(run, i) for runs that cover the vector; only the run's type matters.
template <class Visit>
__device__ inline void stride_over(u32 len, u32 fours, Visit visit) {
    const u32 first = blockIdx.x * THREADS + threadIdx.x, step = gridDim.x * THREADS;
    for (u32 i = first; i < fours; i += step) visit(Run<4>(), 4 * i);
    for (u32 i = 4 * fours + first; i < len; i += step) visit(Run<1>(), i);
}

template <u32 COUNT, class Each>
__device__ inline void each(const Run<COUNT>&, Each each) {
#pragma unroll
    for (u32 k = 0; k < COUNT; ++k) each(k);
}

extern "C" __global__ void __launch_bounds__(256) fill(const __grid_constant__ Memory memory,
                                                       const __grid_constant__ Vectors op) {
    stride_over(op.len, op.fours, [&](auto run, u32 i) {
        each(run, [&](u32 k) { run.values[k] = float(op.factor); });
        run_at<decltype(run)>(memory, op.target + i) = run;
    });
}

extern "C" __global__ void __launch_bounds__(256) scaled_add(const __grid_constant__ Memory memory,
                                                             const __grid_constant__ Vectors op) {
    const double divisor = op.divisor == ABSENT ? 1.0 : double(memory.state[op.divisor]);
    const float factor = float(op.factor / divisor);
    stride_over(op.len, op.fours, [&](auto run, u32 i) {
        using R = decltype(run);
        const R source = run_at<R>(memory, op.source + i), target = run_at<R>(memory, op.target + i);
        each(run, [&](u32 k) { run.values[k] = fmaf(factor, source.values[k], target.values[k]); });
        run_at<R>(memory, op.target + i) = run;
    });
}

// The block's sum of `value` in a fixed order, in thread 0.
__device__ inline double block_sum(double value) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = value;
    for (u32 step = THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
    }
    return threadIdx.x == 0 ? sums[0] : 0.0;
}

extern "C" __global__ void __launch_bounds__(256) norm_partials(const __grid_constant__ Memory memory,
                                                                const __grid_constant__ Vectors op) {
    double sum = 0.0;
    stride_over(op.len, op.fours, [&](auto run, u32 i) {
        run = run_at<decltype(run)>(memory, op.source + i);
        each(run, [&](u32 k) { sum = fma(double(run.values[k]), double(run.values[k]), sum); });
    });
    sum = block_sum(sum);
    if (threadIdx.x == 0) reinterpret_cast<double*>(memory.scratch)[blockIdx.x] = sum;
}

// `len` is the number of blocks that left a partial sum.
extern "C" __global__ void __launch_bounds__(256) norm_result(const __grid_constant__ Memory memory,
                                                              const __grid_constant__ Vectors op) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < op.len; i += THREADS) sum += reinterpret_cast<const double*>(memory.scratch)[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) memory.state[op.target] = float(sqrt(sum));
}

struct GradientDescent {
    u32 len, fours, weights, gradient, momentum_buffer, norm;
    float rate, momentum, decay, unused;
    double limit;
};
static_assert(sizeof(GradientDescent) == 48);

extern "C" __global__ void __launch_bounds__(256) gradient_descent(const __grid_constant__ Memory memory,
                                                                   const __grid_constant__ GradientDescent op) {
    const double shrink = op.norm == ABSENT ? 1.0 : op.limit / (double(memory.state[op.norm]) + 1e-6);
    const float clip = shrink < 1.0 ? float(shrink) : 1.0f;
    stride_over(op.len, op.fours, [&](auto run, u32 i) {
        using R = decltype(run);
        R weights = run_at<R>(memory, op.weights + i), buffer = run_at<R>(memory, op.momentum_buffer + i);
        const R gradients = run_at<R>(memory, op.gradient + i);
        each(run, [&](u32 k) {
            const float gradient = fmaf(op.decay, weights.values[k], clip * gradients.values[k]);
            buffer.values[k] = fmaf(op.momentum, buffer.values[k], gradient);
            weights.values[k] = fmaf(-op.rate, buffer.values[k], weights.values[k]);
        });
        run_at<R>(memory, op.momentum_buffer + i) = buffer;
        run_at<R>(memory, op.weights + i) = weights;
    });
}
