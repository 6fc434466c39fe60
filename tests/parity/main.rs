//! The fast backend against the reference, on random geometry: odd sizes, images of one pixel, both
//! strides and dilations, channel counts that no vector width divides.

#[path = "../common/mod.rs"]
mod common;
mod comparison;
mod convolutions;
mod dropout;
mod gates;
mod norms;
mod partial;
mod pools;
mod separable;
mod vectors;

use common::{Call, Case};
use darts::backend::cpu::{Cpu, Instructions};
use darts::backend::gpu::Precision;

const CASES: u64 = 30;

/// Every instruction set of the machine on one and two threads.
fn backends() -> Vec<Cpu> {
    let sets = Instructions::ALL.into_iter().filter(|set| set.available());
    sets.flat_map(|set| [1, 2].map(|threads| Cpu::with_instructions(threads, set).unwrap())).collect()
}

/// Compares the calls that `build` makes of random cases, on all backends; and the widest vectors on one,
/// two and three threads with each other.
fn check(seed: u64, build: impl Fn(&mut Case) -> Call) {
    check_cases(seed, CASES, build);
}

/// The same of so many cases.
fn check_cases(seed: u64, cases: u64, build: impl Fn(&mut Case) -> Call) {
    let mut backends = backends();
    let mut teams: Vec<_> = [1, 2, 3].into_iter().map(|threads| Cpu::new(threads).unwrap()).collect();
    for index in 0..cases {
        let mut case = Case::new(seed, index);
        let call = build(&mut case);
        case.compare(&format!("case {index}"), &call, Precision::F32, &mut backends);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let outcomes: Vec<_> = teams
            .iter_mut()
            .map(|backend| {
                let outcome = case.outcome(backend, &call);
                (bits(&outcome.activations), bits(&outcome.state))
            })
            .collect();
        assert!(outcomes.windows(2).all(|pair| pair[0] == pair[1]), "case {index} depends on threads");
    }
}

/// How large a sum over this many terms of about 1 is.
fn size(terms: usize) -> f64 {
    (terms as f64).sqrt()
}
