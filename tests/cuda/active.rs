//! Supernets of which a part is active, on the GPU, whose replays are recorded graphs.

use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;
use darts::backend::{Scalar, Shape};
use darts::random::{Stream, generator};
use darts::space::{EdgeShape, Space, SupernetShape};

use crate::backend;
use crate::supernets::{Trial, masked_equals_weighed, masks_in_turn};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

/// A supernet whose convolutions are computed in bands, under a mask of this kind.
fn in_bands(kind: u64) -> Trial {
    let images = Shape::new(2, 6, 5, 3);
    let space = Space::darts();
    let shape = SupernetShape {
        space,
        images,
        classes: 5,
        init_channels: 16,
        cells: 2,
        nodes: 2,
        edges: EdgeShape::default(),
    };
    Trial::of(shape, &mut generator(72, Stream::Test, kind), kind)
}

#[test]
fn branches_that_are_not_active_weigh_nothing() {
    for precision in PRECISIONS {
        if backend(precision).is_none() {
            return;
        }
        for trial in (0..4).map(Trial::new).chain([0, 2].map(in_bands)) {
            masked_equals_weighed(&trial, || backend(precision).unwrap());
        }
    }
}

#[test]
fn a_recorded_graph_serves_every_mask() {
    for precision in PRECISIONS {
        if backend(precision).is_none() {
            return;
        }
        masks_in_turn(&Trial::new(3), || backend(precision).unwrap());
    }
}

#[test]
fn the_gpu_follows_the_reference_under_a_mask() {
    for trial in [Trial::new(0), Trial::new(2), in_bands(0), in_bands(3)] {
        let Some(cuda) = backend(Precision::F32) else { return };
        let found = trial.device(cuda).step(&trial, &trial.mixing, &trial.active);
        let wanted = trial.device(Reference::<f64>::new()).step(&trial, &trial.mixing, &trial.active);
        for (found, wanted) in [(&found.slopes, &wanted.slopes), (&found.gradients, &wanted.gradients)] {
            let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
            let difference = square(&mut found.iter().zip(wanted).map(|(a, b)| a.wide() - b));
            let relative = (difference / square(&mut wanted.iter().copied())).sqrt();
            assert!(relative < 1e-4, "{relative:e}");
        }
    }
}
