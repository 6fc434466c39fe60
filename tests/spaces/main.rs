//! Every space of the program and every operation that can be computed, in small networks: gradients against central
//! differences in f64, and the CPU against the reference at one and two threads. A new space or a new operation is
//! held by these tests without a word about it here; `tests/cuda` compares the same networks on the GPU.

mod gradients;
mod networks;
#[path = "../active/supernets.rs"]
mod supernets;

use darts::backend::cpu::Cpu;
use darts::backend::reference::Reference;
use darts::random::{Stream, generator};
use supernets::{Step, mask, masked_equals_weighed};

/// The CPU's results at one and two threads must be the same, and those of the reference up to the rounding of f32.
fn compare(name: &str, wanted: &Step<f64>, cpu: impl Fn(usize) -> Step<f32>) {
    let [one, two] = [1, 2].map(cpu);
    assert_eq!(one, two, "{name} depends on the number of threads");
    for (part, distance) in one.distances(wanted) {
        assert!(distance < 1e-4, "{name}, {part}: {distance:e}");
    }
}

#[test]
fn the_cpu_follows_the_reference_in_the_supernet_of_every_space() {
    for (name, trial) in networks::supernets(false) {
        let wanted = trial.device(Reference::<f64>::new()).step(&trial, &trial.mixing, &trial.active);
        compare(&name, &wanted, |threads| {
            trial.device(Cpu::new(threads).unwrap()).step(&trial, &trial.mixing, &trial.active)
        });
    }
}

#[test]
fn the_cpu_follows_the_reference_in_a_network_of_every_operation() {
    for (name, derived) in networks::derived(false) {
        let (.., wanted) = derived.step(Reference::<f64>::new());
        compare(&name, &wanted, |threads| derived.step(Cpu::new(threads).unwrap()).2);
    }
}

#[test]
fn branches_that_are_not_active_weigh_nothing_in_any_space() {
    for (index, (_, mut trial)) in networks::supernets(false).enumerate() {
        trial.active = mask(&mut generator(93, Stream::Test, index as u64), 2, &trial.rows);
        masked_equals_weighed(&trial, Reference::<f64>::new);
        masked_equals_weighed(&trial, || Cpu::new(2).unwrap());
    }
}
