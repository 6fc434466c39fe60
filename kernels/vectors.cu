// Arithmetic over flat vectors of the state memory, each one launch over the whole vector:
//   fill, scaled_add: target += factor * source, or factor / divisor; euclidean_norm_partials and euclidean_norm_result:
//   the norm in two stages, in f64.
//
// Launch: grid of at most 1024 blocks of 256 threads that stride over the vector, four elements an access where the host
// has found all places to be multiples of 4 (`fours`, how many accesses), then element by element to the end.
// Bytes per element: fill 4, scaled_add 12, norm 4: the least possible.
//
// Versions: 1 as above, element by element. 2 16-byte accesses.
#include "vectors.cuh"

struct Vectors {
    u32 len, fours, target, source, divisor, unused;
    double factor;
};
static_assert(sizeof(Vectors) == 32);

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

extern "C" __global__ void __launch_bounds__(256) euclidean_norm_partials(const __grid_constant__ Memory memory,
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
extern "C" __global__ void __launch_bounds__(256) euclidean_norm_result(const __grid_constant__ Memory memory,
                                                                        const __grid_constant__ Vectors op) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < op.len; i += THREADS) sum += reinterpret_cast<const double*>(memory.scratch)[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) memory.state[op.target] = float(sqrt(sum));
}
