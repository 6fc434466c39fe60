// Arithmetic over flat vectors of the state memory, each one launch over the whole vector:
//   fill, scaled_add (target += factor * source, or factor / divisor), gradient_descent (momentum, decay, clipping),
//   adam; norm_partials and norm_result: the Euclidean norm in two stages, in f64.
//
// Launch: grid of at most 1024 blocks of 256 threads that stride over the vector, coalesced.
// Bytes per element: fill 4, scaled_add 12, gradient_descent 20, adam 28, norm 4: the least possible.
//
// Versions: 1 as above.
#include "common.cuh"

struct Vectors {
    u32 len, target, source, divisor;
    double factor;
};
static_assert(sizeof(Vectors) == 24);

__device__ inline u32 first_of_thread() { return blockIdx.x * THREADS + threadIdx.x; }
__device__ inline u32 step_of_grid() { return gridDim.x * THREADS; }

extern "C" __global__ void __launch_bounds__(256) fill(const __grid_constant__ Memory memory,
                                                       const __grid_constant__ Vectors op) {
    for (u32 i = first_of_thread(); i < op.len; i += step_of_grid()) memory.state[op.target + i] = float(op.factor);
}

extern "C" __global__ void __launch_bounds__(256) scaled_add(const __grid_constant__ Memory memory,
                                                             const __grid_constant__ Vectors op) {
    const double divisor = op.divisor == ABSENT ? 1.0 : double(memory.state[op.divisor]);
    const float factor = float(op.factor / divisor);
    for (u32 i = first_of_thread(); i < op.len; i += step_of_grid())
        memory.state[op.target + i] = fmaf(factor, memory.state[op.source + i], memory.state[op.target + i]);
}

// The block's sum of `value` in a fixed order, in thread 0.
__device__ inline double block_sum(double value) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = value;
    for (u32 step = THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
    }
    return sums[0];
}

extern "C" __global__ void __launch_bounds__(256) norm_partials(const __grid_constant__ Memory memory,
                                                                const __grid_constant__ Vectors op) {
    double sum = 0.0;
    for (u32 i = first_of_thread(); i < op.len; i += step_of_grid()) {
        const double x = memory.state[op.source + i];
        sum = fma(x, x, sum);
    }
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
    u32 len, weights, gradient, momentum_buffer, norm;
    float rate, momentum, decay;
    double limit;
};
static_assert(sizeof(GradientDescent) == 40);

extern "C" __global__ void __launch_bounds__(256) gradient_descent(const __grid_constant__ Memory memory,
                                                                   const __grid_constant__ GradientDescent op) {
    float* state = memory.state;
    const double shrink = op.norm == ABSENT ? 1.0 : op.limit / (double(state[op.norm]) + 1e-6);
    const float clip = shrink < 1.0 ? float(shrink) : 1.0f;
    for (u32 i = first_of_thread(); i < op.len; i += step_of_grid()) {
        const float weight = state[op.weights + i];
        const float gradient = fmaf(op.decay, weight, clip * state[op.gradient + i]);
        const float buffer = fmaf(op.momentum, state[op.momentum_buffer + i], gradient);
        state[op.momentum_buffer + i] = buffer;
        state[op.weights + i] = fmaf(-op.rate, buffer, weight);
    }
}

struct Adam {
    u32 len, parameters, gradient, first, second;
    // Shares that stay and their complements, each rounded once from f64.
    float beta1, beta2, rest1, rest2, decay, epsilon, rate, root;
};
static_assert(sizeof(Adam) == 52);

extern "C" __global__ void __launch_bounds__(256) adam(const __grid_constant__ Memory memory,
                                                       const __grid_constant__ Adam op) {
    float* state = memory.state;
    for (u32 i = first_of_thread(); i < op.len; i += step_of_grid()) {
        const float parameter = state[op.parameters + i];
        const float gradient = fmaf(op.decay, parameter, state[op.gradient + i]);
        const float first = fmaf(op.beta1, state[op.first + i], op.rest1 * gradient);
        const float second = fmaf(op.beta2, state[op.second + i], op.rest2 * gradient * gradient);
        state[op.first + i] = first;
        state[op.second + i] = second;
        state[op.parameters + i] = parameter - op.rate * first / (sqrtf(second) / op.root + op.epsilon);
    }
}
