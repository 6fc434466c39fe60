//! Small networks that hold every space and every operation, on the GPU.

use darts::backend::cuda::Cuda;
use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;

use crate::supernets::Step;
use crate::{Digest, backend, networks, tell_launches};

/// How far results of the forward and of the backward pass may be from those of the reference in each storage type: 1.4e-6
/// and 9.6e-6, 0.005 and 0.21, 0.04 and 0.45 are measured. In 16 bits rounding moves maxima and the edges of ReLUs, which
/// weigh much in images of so few pixels; what each kernel makes of its operands, the other tests compare.
const MOST: [(Precision, f64, f64); 3] =
    [(Precision::F32, 1e-5, 5e-5), (Precision::F16, 0.01, 0.3), (Precision::Bf16, 0.08, 0.65)];

/// Makes the steps of networks one after another in every storage type, and compares them with the reference.
fn compare<N>(
    test: &str,
    networks: &[(String, N)],
    step: impl Fn(&N, Cuda) -> (Cuda, Step<f32>),
    reference: impl Fn(&N) -> Step<f64>,
) {
    let mut digest = Digest::new();
    let wanted: Vec<_> = networks.iter().map(|(_, network)| reference(network)).collect();
    for (precision, forward, backward) in MOST {
        let Some(mut cuda) = backend(precision) else { return };
        let mut furthest: f64 = 0.0;
        for ((name, network), wanted) in networks.iter().zip(&wanted) {
            let found;
            (cuda, found) = step(network, cuda);
            for (part, distance) in found.distances(wanted) {
                let most = if matches!(part, "slopes" | "gradients") { backward } else { forward };
                assert!(distance < most, "{precision:?}, {name}, {part}: {distance:e}");
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
