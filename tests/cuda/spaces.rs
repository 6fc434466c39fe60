//! Small networks that hold every space and every operation, on the GPU.

use darts::backend::cuda::Cuda;
use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;

use crate::supernets::Step;
use crate::{Digest, backend, networks, tell_launches};

/// How far results in each storage type may be from those of the reference. In 16 bits rounding moves maxima and the
/// edges of ReLUs, so that the distance is far above the storage type's epsilon.
const MOST: [(Precision, f64); 3] = [(Precision::F32, 1e-4), (Precision::F16, 0.1), (Precision::Bf16, 0.4)];

/// Makes the steps of networks one after another in every storage type, and compares them with the reference.
fn compare<N>(
    test: &str,
    networks: &[(String, N)],
    step: impl Fn(&N, Cuda) -> (Cuda, Step<f32>),
    reference: impl Fn(&N) -> Step<f64>,
) {
    let mut digest = Digest::new();
    let wanted: Vec<_> = networks.iter().map(|(_, network)| reference(network)).collect();
    for (precision, most) in MOST {
        let Some(mut cuda) = backend(precision) else { return };
        let mut furthest: f64 = 0.0;
        for ((name, network), wanted) in networks.iter().zip(&wanted) {
            let found;
            (cuda, found) = step(network, cuda);
            for (part, distance) in found.distances(wanted) {
                println!("TMP {precision:?}, {name}, {part}: {distance:.1e}");
                furthest = furthest.max(distance);
            }
            for values in [&found.loss, &found.logits, &found.slopes, &found.gradients, &found.running] {
                digest.add(values);
            }
        }
        println!("{precision:?}, {test}: {furthest:.1e} of the reference at most");
        tell_launches(precision, &cuda);
    }
    println!("digest {test} {digest}");
}

#[test]
fn the_gpu_follows_the_reference_in_the_supernet_of_every_space() {
    let trials: Vec<_> = networks::supernets(false).collect();
    compare(
        "supernets",
        &trials,
        |trial, cuda| {
            let mut device = trial.device(cuda);
            let step = device.step(trial, &trial.mixing, &trial.active);
            (device.tape.into_backend(), step)
        },
        |trial| trial.device(Reference::<f64>::new()).step(trial, &trial.mixing, &trial.active),
    );
}

#[test]
fn the_gpu_follows_the_reference_in_a_network_of_every_operation() {
    let networks: Vec<_> = networks::derived(false).collect();
    compare(
        "networks",
        &networks,
        |network, cuda| {
            let (tape, _, step) = network.step(cuda);
            (tape.into_backend(), step)
        },
        |network| network.step(Reference::<f64>::new()).2,
    );
}
