// A batch of inputs from the bytes of a data set (NHWC): pixel (y, x) of a place of the batch is that of its image at
// (y + down, x' + right), x' counted from the right where it is mirrored, black outside the image; then
// (value - mean) / deviation; zero in the cutout. Assigned; so are the labels.
//
// Launch: a thread PACK values, which it stores at once, 256 threads.
// Bytes per value: its byte once, its stored value once, the least possible.
//
// Versions: 1 as above.
#include "common.cuh"

struct PlacedImage {
    u32 image, label;
    int down, right;
    u32 flip;
    // First row, last row (exclusive), first column and last column (exclusive).
    u32 cutout[4];
};
static_assert(sizeof(PlacedImage) == 36);

struct Images {
    const unsigned char* pixels;
    // [2][channels]: mean and deviation.
    const float* constants;
    const PlacedImage* placements;
    // Of the whole data set.
    Shape shape;
};
static_assert(sizeof(Images) == 40);

struct Augment {
    Images images;
    u32* labels;
    u32 output, count;
};
static_assert(sizeof(Augment) == 56);

__device__ inline float augmented(const Images& images, u32 index) {
    const Shape& shape = images.shape;
    const u32 c = index % shape.c, pixel = index / shape.c, x = pixel % shape.w, line = pixel / shape.w;
    const u32 y = line % shape.h;
    const PlacedImage& place = images.placements[line / shape.h];
    const u32* cutout = place.cutout;
    if (y >= cutout[0] && y < cutout[1] && x >= cutout[2] && x < cutout[3]) return 0.0f;
    // Beyond the image they are at least its side, as unsigned numbers wrap.
    const u32 row = y + u32(place.down), column = (place.flip ? shape.w - 1 - x : x) + u32(place.right);
    float value = 0.0f;
    if (row < shape.h && column < shape.w)
        value = images.pixels[((size_t(place.image) * shape.h + row) * shape.w + column) * shape.c + c];
    return (value - images.constants[c]) / images.constants[shape.c + c];
}

extern "C" __global__ void __launch_bounds__(256) augment(const __grid_constant__ Memory memory,
                                                        const __grid_constant__ Augment op) {
    const u32 thread = blockIdx.x * THREADS + threadIdx.x, first = thread * PACK;
    if (thread < op.count) op.labels[thread] = op.images.placements[thread].label;
    const u32 len = op.count * op.images.shape.h * op.images.shape.w * op.images.shape.c;
    if (first >= len) return;
    float values[PACK];
#pragma unroll
    for (u32 i = 0; i < PACK; ++i) values[i] = first + i < len ? augmented(op.images, first + i) : 0.0f;
    if (first + PACK <= len && op.output % PACK == 0) return store_pack(memory, op.output + first, values);
#pragma unroll
    for (u32 i = 0; i < PACK; ++i)
        if (first + i < len) store(memory, op.output + first + i, values[i]);
}
