// How threads stride over a flat vector of the state memory.
#pragma once

#include "common.cuh"

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
