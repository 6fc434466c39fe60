//! Branches that are not active cost nothing and change nothing: the reference in f64, and the CPU at one and two threads.

mod supernets;

use darts::backend::cpu::Cpu;
use darts::backend::reference::Reference;
use darts::backend::{Device, Mode, Span};
use supernets::{Trial, masked_equals_weighed, masks_in_turn};

const TRIALS: u64 = 20;

#[test]
fn branches_that_are_not_active_weigh_nothing_on_the_reference() {
    (0..TRIALS).for_each(|index| masked_equals_weighed(&Trial::new(index), Reference::<f64>::new));
}

#[test]
fn branches_that_are_not_active_weigh_nothing_on_the_cpu() {
    for index in 0..TRIALS {
        for threads in [1, 2] {
            masked_equals_weighed(&Trial::new(index), || Cpu::new(threads).unwrap());
        }
    }
}

#[test]
fn a_tape_serves_every_mask() {
    for index in 0..3 {
        masks_in_turn(&Trial::new(index), Reference::<f64>::new);
        masks_in_turn(&Trial::new(index), || Cpu::new(2).unwrap());
    }
}

#[test]
fn the_cpu_follows_the_reference_at_any_number_of_threads() {
    for index in 0..TRIALS {
        let trial = Trial::new(index);
        let wanted = trial.device(Reference::<f64>::new()).step(&trial, &trial.mixing, &trial.active);
        let [one, two] = [1, 2].map(|threads| {
            trial.device(Cpu::new(threads).unwrap()).step(&trial, &trial.mixing, &trial.active)
        });
        assert_eq!(one, two, "trial {index} depends on the number of threads");
        for (part, distance) in one.distances(&wanted) {
            assert!(distance < 1e-4, "trial {index}, {part}: {distance:e}");
        }
    }
}

/// The slopes of mixing weights under a mask, against central differences.
#[test]
fn slopes_of_active_branches_are_those_of_the_loss() {
    let trial = Trial::new(2);
    let mut device = trial.device(Reference::<f64>::new());
    let step = device.step(&trial, &trial.mixing, &trial.active);
    let mixing = device.supernet.mixing.value;
    let mut loss = |at: Span, value: f64| {
        device.tape.backend().write(at, &[value]);
        device.tape.forward(Mode::TrainKeepRunning);
        device.tape.read(device.supernet.loss.result)[0]
    };
    let mut largest: f64 = 0.0;
    for (branch, &m) in trial.mixing.iter().enumerate() {
        let (at, m) = (mixing.part(branch, 1), f64::from(m));
        let numeric = (loss(at, m + 1e-5) - loss(at, m - 1e-5)) / 2e-5;
        loss(at, m);
        assert!((step.slopes[branch] - numeric).abs() < 1e-6, "branch {branch}: {numeric}");
        assert!(trial.active[branch] || numeric == 0.0, "branch {branch} has an influence of {numeric}");
        largest = largest.max(numeric.abs());
    }
    assert!(largest > 1e-3, "nothing to compare");
}

#[test]
fn a_mask_of_another_length_is_refused() {
    let trial = Trial::new(0);
    let mut device = trial.device(Reference::<f64>::new());
    let refused = device.tape.set_active(&[true, false]).unwrap_err().to_string();
    assert!(refused.contains('2') && refused.contains(&trial.active.len().to_string()), "{refused}");
}
