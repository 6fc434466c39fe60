//! What the driver refuses becomes an error at the next call that can return one.

use std::path::Path;

use darts::autograd::Recorder;
use darts::backend::cpu::Cpu;
use darts::backend::cuda::{self, Cuda};
use darts::backend::gpu::Precision;
use darts::backend::{Device, Mixed, MixedKernels, Shape, Slot, Span, VectorKernels};
use darts::space::{EdgeShape, Space, Supernet, SupernetShape};

use crate::backend;
use crate::driver::skip::skip;

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

/// Eight candidates that compute something.
const WIDE: &str = r#"
name = "wide"
candidates = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7",
              "dil_conv_3x3", "dil_conv_5x5"]
"#;

#[test]
fn what_is_wider_than_the_kernels_is_refused_while_it_is_recorded() {
    if !cuda::BUILT {
        return skip("this build has no nvcc");
    }
    let images = Shape::new(2, 8, 8, 3);
    let shape = |nodes| SupernetShape {
        space: Space::from_toml(WIDE, Path::new("wide.toml")).unwrap(),
        images,
        classes: 3,
        init_channels: 2,
        cells: 1,
        nodes,
        edges: EdgeShape::default(),
    };
    // The last of 15 nodes has 16 edges, that of 16 has 17.
    assert!(Supernet::record(&mut Recorder::<Cuda>::new(), shape(15)).is_ok());
    let refusal = Supernet::record(&mut Recorder::<Cuda>::new(), shape(16)).err().unwrap().to_string();
    assert!(refusal.contains("a node of 136 branches is more than the 128"), "{refusal}");
    assert!(Supernet::record(&mut Recorder::<Cpu>::new(), shape(16)).is_ok());

    let mut recorder = Recorder::<Cuda>::new();
    let value = recorder.input(images);
    assert!(recorder.node_sum(&[(value, None); 24]).is_ok());
    let refusal = recorder.node_sum(&[(value, None); 25]).err().unwrap().to_string();
    assert!(refusal.contains("a node of 25 edges is more than the 24"), "{refusal}");
}
