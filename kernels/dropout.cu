// Dropout of elements (NHWC):
//   forward:  y = factor * (scale * x + shift) where the mask keeps the element, else 0; assigned.
//   backward: factor * g where the mask keeps the element, else 0; assigned or added, as the target says.
// No mask is stored: both compute it from the key, the number of the mask and the index of the element, as `Keeper` of
// src/backend/dropout.rs does. A given mask is read instead.
//
// Launch: a thread an element, channels fastest.
// Bytes per element of forward: x read once, y written once; of backward, the gradient read once and its target written
// once (and read once where it is added to): the least possible.
//
// Versions: 1 as above.
#include "common.cuh"

struct Dropout {
    Reader input;
    // The result, or its gradient.
    u32 result;
    u32 elements, channels;
    // How many numbers of 24 bits keep an element, the factor, two words.
    u32 key;
    u32 number, given;
    Target target;
};
static_assert(sizeof(Dropout) == 44);

__device__ inline u32 mixed_bits(u32 number) {
    number = (number ^ (number >> 16)) * 0x85ebca6bu;
    number = (number ^ (number >> 13)) * 0xc2b2ae35u;
    return number ^ (number >> 16);
}

// What an element is multiplied by.
__device__ inline float kept(const Memory& memory, const Dropout& op, u32 index) {
    const float* key = memory.state + op.key;
    if (op.given != ABSENT) return key[1] * memory.state[op.given + index];
    const u32 first = u32(key[2]), second = u32(key[3]) ^ op.number * 0x9e3779b9u;
    return mixed_bits(mixed_bits(index ^ first) ^ second) >> 8 < u32(key[0]) ? key[1] : 0.0f;
}

extern "C" __global__ void __launch_bounds__(256) dropout_forward(const __grid_constant__ Memory memory,
                                                                  const __grid_constant__ Dropout op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.elements) return;
    store(memory, op.result + index, kept(memory, op, index) * value_of(memory, op.input, index, index % op.channels));
}

extern "C" __global__ void __launch_bounds__(256) dropout_backward(const __grid_constant__ Memory memory,
                                                                   const __grid_constant__ Dropout op) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= op.elements) return;
    deliver(memory, op.target, index, kept(memory, op, index) * load(memory, op.result + index));
}
