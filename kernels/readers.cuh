// Reading and writing runs of neighbouring channels, and what the matrix products of 1x1 convolutions read: activations
// of concatenated inputs, and output gradients.
//
// A reader computes what is multiplied while it reads: the activated value, or the gradient in front of a batch norm.
// Where every slot and every number of channels is a multiple of PACK (`packed`, which the host finds), one access
// brings a run of four channels of a pixel or more, and the coefficients of the channels come from shared memory, into
// which stage() copies them once a block; else each channel is read alone, with its coefficients.
#pragma once

#include "stream.cuh"

// RUN activations side by side that are aligned, in one access.
template <u32 RUN>
__device__ inline void load_run(const Memory& memory, u32 index, float (&values)[RUN]) {
    load_run(memory, index, true, 0, RUN, values);
}

// Keeps the compiler from beginning what follows before what precedes is done: an unrolled loop would start all of its
// reads at once, and has no registers for them.
__device__ inline void in_turn() { asm volatile("" ::: "memory"); }

// A number of which the compiler knows nothing, so that what follows from it is computed where it is used, not kept.
__device__ inline u32 anew(u32 number) {
    asm volatile("" : "+r"(number));
    return number;
}

// values[j] = value(j), in a loop that stays one: what is rare should not take the registers of what is not.
template <u32 RUN, class Value>
__device__ inline void one_by_one(float (&values)[RUN], Value value) {
#pragma unroll 1
    for (u32 j = 0; j < RUN; ++j) {
        const float found = value(j);
#pragma unroll
        for (u32 i = 0; i < RUN; ++i) values[i] = i == j ? found : values[i];
    }
}

// Concatenated inputs: first[i] is the first channel of input i, first[count] the number of all.
struct Concatenation {
    u32 count;
    Reader readers[MAX_INPUTS];
    u32 first[MAX_INPUTS + 1];
};
static_assert(sizeof(Concatenation) == 4 + 204 + 72);

// The input that a concatenated channel belongs to.
__device__ inline u32 input_of(const Concatenation& inputs, u32 channel) {
    u32 i = 0;
    while (channel >= inputs.first[i + 1]) ++i;
    return i;
}

// What of CHANNELS neighbouring channels is known before pixels are: coefficients, and for each four of them where
// the input begins and how many channels it has.
template <u32 CHANNELS>
struct ChannelTable {
    float scale[CHANNELS], shift[CHANNELS];
    u32 place[CHANNELS / 4], pitch[CHANNELS / 4];
};

// relu(scale x + shift) of concatenated inputs by (pixel, channel).
template <u32 CHANNELS>
struct Activations {
    const Memory& memory;
    const Concatenation& inputs;
    bool packed;
    ChannelTable<CHANNELS>& table;
    u32 begin = 0;

    // The channels from `from` on come next. All threads call, between barriers.
    __device__ void stage(u32 from) {
        begin = from;
        const u32 depth = inputs.first[inputs.count];
        for (u32 i = threadIdx.x; packed && i < CHANNELS && from + i < depth; i += blockDim.x) {
            const u32 input = input_of(inputs, from + i), c = from + i - inputs.first[input];
            const Reader& reader = inputs.readers[input];
            const bool plain = reader.scale == ABSENT;
            table.scale[i] = plain ? 1.0f : memory.state[reader.scale + c];
            table.shift[i] = plain ? 0.0f : memory.state[reader.shift + c];
            if (i % 4 == 0) {
                table.place[i / 4] = reader.data + c;
                table.pitch[i / 4] = inputs.first[input + 1] - inputs.first[input];
            }
        }
    }

    // The values of RUN channels before the ReLU; zero beyond the last one.
    template <u32 RUN>
    __device__ void values(u32 pixel, u32 channel, float (&values)[RUN]) const {
        if (packed) {
            const u32 i = channel - begin;
            load_run(memory, table.place[i / 4] + pixel * table.pitch[i / 4], values);
#pragma unroll
            for (u32 j = 0; j < RUN; ++j) values[j] = fmaf(table.scale[i + j], values[j], table.shift[i + j]);
            return;
        }
        one_by_one(values, [&](u32 j) {
            if (channel + j >= inputs.first[inputs.count]) return 0.0f;
            const u32 input = input_of(inputs, channel + j), c = channel + j - inputs.first[input];
            const u32 channels = inputs.first[input + 1] - inputs.first[input];
            return value_of(memory, inputs.readers[input], pixel * channels + c, c);
        });
    }

    template <u32 RUN>
    __device__ void load(u32 pixel, u32 channel, float (&loaded)[RUN]) const {
        values(pixel, channel, loaded);
#pragma unroll
        for (u32 j = 0; j < RUN; ++j) loaded[j] = fmaxf(loaded[j], 0.0f);
    }
};

// Coefficients of an output gradient: raw factor, constant, then the factor of each term.
template <u32 CHANNELS>
struct CoefficientTable {
    float rows[MAX_TERMS + 2][CHANNELS];
};

// The gradient of a raw value with `pitch` channels by (pixel, channel), of `columns` channels from `first` on.
template <u32 CHANNELS>
struct OutputGradients {
    const Memory& memory;
    const UnstoredGradient& output_gradient;
    u32 pitch, first, columns;
    bool packed;
    CoefficientTable<CHANNELS>& table;
    u32 begin = 0;

    __device__ void stage(u32 from) {
        begin = from;
        const u32 count = min(CHANNELS, columns - from);
        for (u32 i = threadIdx.x; packed && i < (output_gradient.count + 2) * CHANNELS; i += blockDim.x) {
            const u32 row = i / CHANNELS, c = i % CHANNELS;
            const u32 place = row == 0 ? output_gradient.raw_factor : row == 1 ? output_gradient.constant : output_gradient.factor[row - 2];
            if (c >= count) continue;
            table.rows[row][c] = place == ABSENT ? float(row == 0) : memory.state[place + first + from + c];
        }
    }

    template <u32 RUN>
    __device__ void load(u32 pixel, u32 channel, float (&loaded)[RUN]) const {
        const u32 index = pixel * pitch + first + channel;
        if (packed) {
            const u32 i = channel - begin;
            load_run(memory, output_gradient.raw + index, loaded);
#pragma unroll
            for (u32 j = 0; j < RUN; ++j) loaded[j] = fmaf(table.rows[0][i + j], loaded[j], table.rows[1][i + j]);
#pragma unroll 1
            for (u32 t = 0; t < output_gradient.count; ++t) {
                float gradient[RUN];
                load_run(memory, output_gradient.gradient[t] + index, gradient);
#pragma unroll
                for (u32 j = 0; j < RUN; ++j) loaded[j] = fmaf(table.rows[t + 2][i + j], gradient[j], loaded[j]);
            }
            return;
        }
        one_by_one(loaded, [&](u32 j) {
            return channel + j < columns ? unstored_gradient_of(memory, output_gradient, index + j, first + channel + j) : 0.0f;
        });
    }
};
