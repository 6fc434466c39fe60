//! Partial sums wait until a call reads their results.

use darts::backend::gpu::Precision;
use darts::backend::{
    BatchNormKernels, BatchNormReduce, Device, Norm, Operand, Shape, Slot, Span, Sums, VectorKernels,
};

use crate::backend;

const CHANNELS: usize = 8;
/// Each leaves two sums, of which 64 can wait at once.
const REDUCES: usize = 40;

/// Sums over few pixels until one finds no room, then over many, whose parts would reach those of that one.
fn reduces() -> Vec<BatchNormReduce> {
    let span = |index: usize| Span { offset: index * CHANNELS, len: CHANNELS };
    let norm = Norm {
        mean: span(0),
        inverse_deviation: span(1),
        scale: span(2),
        shift: span(3),
        gamma: None,
        beta: None,
    };
    let of = |index: usize| {
        let shape = Shape::new(1, if index <= 32 { 1 } else { 200 }, 64, CHANNELS);
        let data = Slot { offset: 0, len: shape.len() };
        let sums = Sums { total: span(4 + 2 * index), products: span(5 + 2 * index) };
        BatchNormReduce { gradient: data, input: Operand { data, shape, norm: Some(norm) }, sums, gate: None }
    };
    (0..REDUCES).map(of).collect()
}

#[test]
fn sums_that_find_no_room_keep_their_parts() {
    let Some(mut backend) = backend(Precision::F32) else { return };
    let reduces = reduces();
    let values = reduces[REDUCES - 1].gradient.len;
    backend.reserve(values, (4 + 2 * REDUCES) * CHANNELS).unwrap();
    let pixels: Vec<f32> = (0..values).map(|i| (i * 31 % 97) as f32 / 32.0 - 1.5).collect();
    backend.write_activations(Slot { offset: 0, len: values }, &pixels);
    backend.write(Span { offset: 0, len: 4 * CHANNELS }, &[0.5; 4 * CHANNELS]);
    let results = Span { offset: 4 * CHANNELS, len: 2 * REDUCES * CHANNELS };
    let bits = |backend: &darts::backend::cuda::Cuda| -> Vec<u32> {
        let mut values = vec![0.0; results.len];
        backend.read(results, &mut values);
        values.into_iter().map(f32::to_bits).collect()
    };
    for reduce in &reduces {
        backend.batch_norm_reduce(reduce);
        backend.read(reduce.sums.total, &mut [0.0; CHANNELS]);
    }
    let one_by_one = bits(&backend);
    backend.fill(results, f64::NAN);
    reduces.iter().for_each(|reduce| backend.batch_norm_reduce(reduce));
    assert_eq!(bits(&backend), one_by_one);
}
