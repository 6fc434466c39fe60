//! What the driver refuses becomes an error at the next call that can return one.

use darts::backend::gpu::Precision;
use darts::backend::{Device, Mixed, MixedKernels, Shape, Slot, Span, VectorKernels};

use crate::backend;

#[test]
fn a_launch_that_fails_is_told_and_leaves_no_results() {
    let Some(mut device) = backend(Precision::F32) else { return };
    // More tiles of channels than a grid may have in its second dimension.
    let shape = Shape::new(1, 1, 1, 32 << 16);
    let output = Slot { offset: 0, len: shape.len() };
    device.reserve(output.len, 64).unwrap();
    let span = Span { offset: 0, len: 16 };
    device.fill(span, 3.0);
    let mut values = [0.0; 16];
    device.read(span, &mut values);
    assert_eq!((values, device.status().is_ok()), ([3.0; 16], true));

    device.mixed_forward(&Mixed { branches: Vec::new(), output, shape, workspace: Span::default() });
    let told = device.status().unwrap_err().to_string();
    assert!(told.starts_with("device: the GPU cannot run mixed_forward on "), "{told}");
    // Nothing after it counts, and the first failure stays.
    device.fill(span, 4.0);
    device.read(span, &mut values);
    assert!(values.iter().all(|value| value.is_nan()), "{values:?}");
    let mut stored = vec![0.0; 8];
    device.read_activations(Slot { offset: 0, len: 8 }, &mut stored);
    assert!(stored.iter().all(|value| value.is_nan()), "{stored:?}");
    assert_eq!(device.status().unwrap_err().to_string(), told);
    assert_eq!(device.reserve(16, 16).unwrap_err().to_string(), told);
}
