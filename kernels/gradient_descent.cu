// Gradient descent with momentum, decay and clipping, one launch over all weights:
//   g' = clip * g + decay * w, m = momentum * m + g', w -= rate * m, where clip = min(1, limit / (norm + 1e-6)); in place.
//   With Nesterov's momentum w -= rate * (g' + momentum * m).
//
// Launch: as in vectors.cu.
// Bytes per element: 20, the least possible.
//
// Versions: 1 as above, element by element. 2 16-byte accesses.
#include "vectors.cuh"

struct GradientDescent {
    u32 len, fours, weights, gradient, momentum_buffer, norm;
    float rate, momentum, decay;
    u32 nesterov;
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
            const float along = op.nesterov ? fmaf(op.momentum, buffer.values[k], gradient) : buffer.values[k];
            weights.values[k] = fmaf(-op.rate, along, weights.values[k]);
        });
        run_at<R>(memory, op.momentum_buffer + i) = buffer;
        run_at<R>(memory, op.weights + i) = weights;
    });
}
