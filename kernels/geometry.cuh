// What the host tells a kernel, by value. src/backend/cuda/ mirrors it, and tests/mirrors.rs compares both field by
// field. Every place is an index into one of the device's flat memories, so a table of many operands is small
// and a launch needs no pointer from the heap.
#pragma once

using u32 = unsigned int;

// Activations are stored in the type that a file is compiled for; sums, weights and coefficients are f32 throughout.
#if defined(DARTS_STORAGE_BF16)
#include <cuda_bf16.h>
using Storage = __nv_bfloat16;
#elif defined(DARTS_STORAGE_F16)
#include <cuda_fp16.h>
using Storage = __half;
#else
using Storage = float;
#endif

// The index of what is not there.
constexpr u32 ABSENT = 0xffffffffu;
// The highest bit of a gate, which is free for another truth. A gate is 0 where there is none, else one more than its place.
constexpr u32 MARK = 0x80000000u;
// Terms of an output gradient: a state of a cell of 16 nodes flows into all of them, and once directly.
constexpr u32 MAX_TERMS = 17;
// Inputs of a 1x1 convolution: the nodes of a cell.
constexpr u32 MAX_INPUTS = 17;
// Matrix products of one launch.
constexpr u32 MAX_FACTORS = 18;
// Branches of a node.
constexpr u32 MAX_BRANCHES = 128;
// Branches of a derived cell's node.
constexpr u32 MAX_SUMMED = 24;
// Width and height of the largest window.
constexpr u32 MAX_WINDOW = 7;

// The device's memories.
struct Memory {
    Storage* activations;
    float* state;
    float* scratch;
    const u32* labels;
};
static_assert(sizeof(Memory) == 32);

// Images, rows, columns, channels: NHWC, contiguous.
struct Shape {
    u32 n, h, w, c;
};
static_assert(sizeof(Shape) == 16);

// An activation as its readers see it: scale[c] * x + shift[c], or x where scale is absent.
struct Reader {
    u32 data, scale, shift;
};
static_assert(sizeof(Reader) == 12);

// The gradient of a raw value in front of a batch norm: sum_t factor_t[c] * gradient_t + raw_factor[c] * raw + constant[c].
// Of a value without a batch norm it is stored: raw is the gradient, count 0, and the coefficients are absent.
struct UnstoredGradient {
    u32 count, raw, raw_factor, constant;
    u32 gradient[MAX_TERMS], factor[MAX_TERMS];
};
static_assert(sizeof(UnstoredGradient) == 152);

// Where an input gradient goes, and the gate of its value, with a mark where the gradient is added to what is there.
struct Target {
    u32 data, gate;
};
static_assert(sizeof(Target) == 8);

// One matrix product of a launch: a branch of a separable convolution or a weight matrix of a 1x1 convolution.
struct Factor {
    Reader input;
    u32 kernel, dilation, depthwise;
    // Matrix [depth][columns]; its results begin at column `first`.
    u32 weights, columns, first;
    // Pixels that the input is shifted by.
    u32 shift;
    // The result in the activations.
    u32 output;
    // Partial sums, or gradients of the depthwise result, in the scratch memory.
    u32 partial;
    u32 gate;
};
static_assert(sizeof(Factor) == 52);
