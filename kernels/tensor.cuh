// Tensor cores: D[16][8] += A[16][16] * B[16][8] by one warp, A and B in the storage type, D in f32. For bf16 and f16
// storage from compute capability 8.0 on; elsewhere TENSOR_CORES is false and nothing here may be called.
//
// Who holds what (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type"), for lane = 4 g + t, g < 8,
// t < 4. A register holds two values, the one of lower index in its lower half:
//   a[0] = A[g    ][2t, 2t + 1]    a[2] = A[g    ][2t + 8, 2t + 9]    b[0] = B[2t, 2t + 1    ][g]
//   a[1] = A[g + 8][2t, 2t + 1]    a[3] = A[g + 8][2t + 8, 2t + 9]    b[1] = B[2t + 8, 2t + 9][g]
//   d[0], d[1] = D[g][2t, 2t + 1]  d[2], d[3] = D[g + 8][2t, 2t + 1]
// A sum does not depend on the order of its terms, so a kernel may let the indices of the depth stand for others, as
// long as A and B agree; and rows and columns for others, as long as D does.
#pragma once

#include "common.cuh"

#if (defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)) && __CUDA_ARCH__ >= 800
constexpr bool TENSOR_CORES = true;
#else
constexpr bool TENSOR_CORES = false;
#endif

// One of two types.
template <bool FIRST, class A, class B>
struct Choose {
    using Type = A;
};
template <class A, class B>
struct Choose<false, A, B> {
    using Type = B;
};

// d += a * b.
__device__ inline void multiply_accumulate(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(DARTS_STORAGE_BF16) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#elif defined(DARTS_STORAGE_F16) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

#if defined(DARTS_STORAGE_BF16) || defined(DARTS_STORAGE_F16)
// Two values as one register, rounded; `low` has the lower index.
__device__ inline u32 pair(float low, float high) {
    struct alignas(4) {
        Storage low, high;
    } both = {narrow(low), narrow(high)};
    return *reinterpret_cast<const u32*>(&both);
}

// Tiles in shared memory that ldmatrix reads: its eight rows of 16 bytes must lie in different banks, which they do where
// a tile's row is an odd number of 16-byte words long.
__device__ inline u32 shared_address(const Storage* pointer) { return u32(__cvta_generic_to_shared(pointer)); }

// A of a tile [row][depth] with `pitch` values a row: `tile` points at row 0, depth 0 of the 16 x 16. 16-byte
// aligned. All lanes of the warp must call, here and below.
__device__ inline void load_rows(u32 (&a)[4], const Storage* tile, u32 pitch) {
    const u32 lane = threadIdx.x % 32;
    const u32 address = shared_address(tile + lane % 16 * pitch + lane / 16 * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address)
                 : "memory");
}

// A of a tile that lies transposed, [depth][row]: a sum over pixels of a product of channels.
__device__ inline void load_rows_transposed(u32 (&a)[4], const Storage* tile, u32 pitch) {
    const u32 lane = threadIdx.x % 32;
    const u32 address = shared_address(tile + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(address)
                 : "memory");
}

// Two neighbouring Bs, columns 0 to 7 and 8 to 15, of a tile [depth][column].
__device__ inline void load_columns(u32 (&b)[2][2], const Storage* tile, u32 pitch) {
    const u32 lane = threadIdx.x % 32;
    const u32 address = shared_address(tile + lane % 16 * pitch + lane / 16 * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(b[0][0]), "=r"(b[0][1]), "=r"(b[1][0]), "=r"(b[1][1])
                 : "r"(address)
                 : "memory");
}
#endif
