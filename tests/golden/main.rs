//! Comparison with traces of the official PyTorch implementation (quark0/darts at f276dd3, PyTorch 2.15, float64).
//!
//! In f64 the reference backend must agree to 1e-9 (1e-5 where the finite difference of the second order enters,
//! whose quotient amplifies rounding). In f32 a backend may be off by four times what PyTorch's own float32 is
//! off from its float64 (`noise.json`).
//!
//! `DARTS_GOLDEN_DIR` names a further directory of sets in the same format; every `base_*`, `iters_*` and `eval_*` file in
//! it is checked in the same way.

mod base;
mod comparison;
mod curvature;
#[path = "../common/driver.rs"]
mod driver;
mod edges;
mod evaluation;
mod iterations;
mod methods;
mod nb201;
mod network;
mod operators;
mod set;
mod stages;
mod steps;
mod stops;

use crate::driver::emulator::beside;
use comparison::{Bar, Comparisons, from_some_neighbour};
use darts::backend::Backend;
use darts::backend::cpu::{Cpu, Instructions};
use darts::backend::cuda::Cuda;
use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;
use set::{OWN_DIRECTORY, Set};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// The sets of operators alone.
const OPERATORS: [&str; 2] = ["ops", "pcdarts_edge"];

/// The sets of the repository, then those of `DARTS_GOLDEN_DIR`, whose names begin with `kind`. Those of the evaluation
/// phase are too large for the repository: without `DARTS_GOLDEN_DIR` they are looked for beside it.
fn sets(kind: &str) -> Vec<Set> {
    let further = match kind {
        "eval" => beside::folder("DARTS_GOLDEN_DIR", "golden"),
        _ => std::env::var_os("DARTS_GOLDEN_DIR").map(PathBuf::from),
    };
    let directories = std::iter::once(PathBuf::from(OWN_DIRECTORY)).chain(further);
    let sets: Vec<Set> = directories.flat_map(|directory| Set::all(&directory, kind)).collect();
    if kind == "eval" && sets.is_empty() {
        println!(
            "skipped: no set of the evaluation phase; DARTS_GOLDEN_DIR names the directory that holds them"
        );
    } else {
        assert!(!sets.is_empty(), "no set of kind {kind}");
    }
    sets
}

/// Runs `check` on every set of a kind and holds the results against a bar. A set that cannot be checked does not
/// keep the others from being checked.
fn run(kind: &str, bar: Bar, check: impl Fn(&Set) -> Comparisons) {
    let mut failures = Vec::new();
    for set in sets(kind) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let comparisons = check(&set);
            println!("{}: {}", set.name, comparisons.summary(bar, &set));
            comparisons.failures(bar, &set)
        }));
        failures.extend(
            outcome.unwrap_or_else(|_| vec![format!("{}: could not be checked, see above", set.name)]),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs `check` on the CPU backend with each instruction set that the machine has.
fn run_on_cpu(kind: &str, check: impl Fn(&Set, &dyn Fn() -> Cpu) -> Comparisons) {
    for instructions in Instructions::ALL.into_iter().filter(|instructions| instructions.available()) {
        println!("{}", instructions.name());
        run(kind, Bar::Noise, |set| check(set, &|| Cpu::with_instructions(0, instructions).unwrap()));
    }
}

/// The GPU, on which a test runs where there is one.
fn gpu() -> Option<Cuda> {
    driver::open(Precision::F32, ".ci/cuda runs this under the emulator")
}

#[test]
fn base_in_f64() {
    run("base", Bar::Exact, |set| base::check(set, Reference::<f64>::new(), 0));
}

#[test]
fn exact_product_in_f64() {
    run("base", Bar::Exact, |set| base::check_exact_product(set, Reference::<f64>::new()));
}

/// Holds the errors of the product in the order `extrapolated` against those of the official distance, of which they may be
/// this share.
fn check_extrapolated<B: Backend>(share: f64, backend: impl Fn() -> B) {
    for set in sets("base") {
        let errors = base::product_errors(&set, &backend);
        assert!(!errors.is_empty(), "{}: no exact product", set.name);
        for [official, ours] in errors {
            println!("{}: off by {official:.2} officially, by {ours:.1e} extrapolated", set.name);
            assert!(ours < share * official, "{}: {ours:.1e} against {official:.1e}", set.name);
        }
    }
}

/// Measured: 4e-11 to 2.4e-10. No kink lies within the short distance here, and rounding is that of f64.
#[test]
fn extrapolated_product_in_f64() {
    check_extrapolated(1e-8, Reference::<f64>::new);
}

/// Measured: 0.006 to 0.016. The rounding of f32 in the two gradients, 1e-7 of them, is divided by the distance.
#[test]
fn extrapolated_product_in_f32() {
    for instructions in Instructions::ALL.into_iter().filter(|instructions| instructions.available()) {
        check_extrapolated(0.03, || Cpu::with_instructions(0, instructions).unwrap());
    }
}

#[test]
fn base_in_f32() {
    run_on_cpu("base", |set: &Set, cpu: &dyn Fn() -> Cpu| {
        from_some_neighbour(set, |neighbour| base::check(set, cpu(), neighbour))
    });
}

#[test]
fn iterations_in_f64() {
    run("iters", Bar::Exact, |set| iterations::check(set, Reference::<f64>::new()));
}

#[test]
fn adam_in_f64() {
    run("iters", Bar::Exact, iterations::check_adam);
}

#[test]
fn iterations_in_f32() {
    run_on_cpu("iters", |set: &Set, cpu: &dyn Fn() -> Cpu| iterations::check_each(set, cpu()));
}

/// Operators of DARTS, or those of NAS-Bench-201.
fn check_operators<B: Backend>(set: &Set, backend: &dyn Fn() -> B) -> Comparisons {
    match set.name.as_str() {
        "ops_nb201" => nb201::operators(set, backend),
        _ => operators::check(set, backend),
    }
}

#[test]
fn operators_in_f64() {
    for kind in OPERATORS {
        run(kind, Bar::Exact, |set| check_operators(set, &Reference::<f64>::new));
    }
}

#[test]
fn operators_in_f32() {
    for kind in OPERATORS {
        run_on_cpu(kind, |set: &Set, cpu: &dyn Fn() -> Cpu| check_operators(set, cpu));
    }
}

#[test]
fn parts_of_methods_in_f64() {
    run("fairdarts", Bar::Exact, methods::fair_darts);
    run("betadarts", Bar::Exact, methods::beta_darts);
    run("snas", Bar::Exact, methods::snas);
    run_steps("drnas", Bar::Exact, |set, _| methods::drnas(set));
    run("gdas", Bar::Exact, methods::gdas);
    run("sdarts", Bar::Exact, methods::sdarts);
}

/// Says why a set is not checked.
fn left_out(set: &Set, reason: &str) -> Comparisons {
    println!("{}: left out, as {reason}", set.name);
    Comparisons::default()
}

/// Runs `check` as [`run`] does on those sets of a method whose space the program has.
fn run_steps(kind: &str, bar: Bar, check: impl Fn(&Set, u64) -> Comparisons) {
    run(kind, bar, |set| match (steps::left_out(set), bar) {
        (Some(reason), _) => left_out(set, reason),
        (None, Bar::Exact) => check(set, 0),
        (None, Bar::Noise) => from_some_neighbour(set, |neighbour| check(set, neighbour)),
    });
}

/// Runs all methods whose traces hold whole passes or steps.
fn check_steps<B: Backend>(bar: Bar, backend: &dyn Fn() -> B) {
    run_steps("fairdarts", bar, |set, neighbour| steps::fair_darts(set, backend(), neighbour));
    run_steps("sdarts", bar, |set, neighbour| steps::random_smoothing(set, backend(), neighbour));
    run_steps("sdarts", bar, |set, neighbour| steps::attack(set, backend(), neighbour));
    run_steps("drnas", bar, |set, neighbour| steps::drnas(set, backend(), neighbour));
    run_steps("randomnas", bar, |set, neighbour| steps::shared_weights(set, backend(), neighbour));
    run_steps("gdas", bar, |set, neighbour| steps::gdas(set, backend, neighbour));
    run_steps("dartsminus", bar, |set, neighbour| edges::auxiliary_skip(set, backend, neighbour));
    run_steps("snas", bar, |set, neighbour| nb201::snas(set, backend, neighbour));
    run_steps("gdas_nb201", bar, |set, neighbour| nb201::gdas_iteration(set, backend(), neighbour));
    run_steps("betadarts", bar, |set, neighbour| nb201::beta_darts(set, backend(), neighbour));
    run_steps("nb201_search_nats", bar, |set, neighbour| nb201::search(set, backend(), neighbour));
    run_steps("nb201_search_bn", bar, |set, neighbour| nb201::statistics(set, backend(), neighbour));
    run_steps("dartspt", bar, |set, neighbour| nb201::selection(set, backend(), neighbour));
    run_steps("nb201_eval", bar, |set, neighbour| nb201::evaluation(set, backend, neighbour));
    run_steps("pdarts", bar, |set, neighbour| edges::skip_dropout(set, backend(), neighbour));
    run_steps("droppath", bar, |set, neighbour| edges::drop_path(set, backend(), neighbour));
    run_steps("pcdarts_n4", bar, |set, neighbour| edges::pc_darts(set, backend, neighbour));
}

#[test]
fn steps_of_methods_in_f64() {
    check_steps(Bar::Exact, &Reference::<f64>::new);
}

#[test]
fn steps_of_methods_in_f32() {
    for instructions in Instructions::ALL.into_iter().filter(|instructions| instructions.available()) {
        println!("{}", instructions.name());
        check_steps(Bar::Noise, &|| Cpu::with_instructions(0, instructions).unwrap());
    }
}

#[test]
fn steps_of_methods_on_the_gpu() {
    if gpu().is_some() {
        check_steps(Bar::Noise, &|| gpu().unwrap());
    }
}

#[test]
fn curvature_in_f64() {
    run("hessian", Bar::Exact, |set| curvature::check(set, Reference::<f64>::new()));
}

#[test]
fn genotypes_of_nas_bench_201() {
    nb201::genotypes();
}

#[test]
fn stages_of_p_darts() {
    stages::check();
}

#[test]
fn weights_of_auxiliary_skips() {
    edges::auxiliary_weights();
}

#[test]
fn rates_of_skip_dropout() {
    edges::rates_of_skip_dropout();
}

#[test]
fn stops_by_the_eigenvalue() {
    stops::check();
}

#[test]
fn curvature_in_f32() {
    for instructions in Instructions::ALL.into_iter().filter(|instructions| instructions.available()) {
        sets("hessian").iter().for_each(|set| {
            curvature::check_roughly(set, Cpu::with_instructions(0, instructions).unwrap());
        });
    }
}

#[test]
fn evaluation_in_f64() {
    run("eval", Bar::Exact, |set| evaluation::check(set, Reference::<f64>::new, 0));
}

#[test]
fn model_files_hold_what_the_official_network_loads() {
    sets("eval").iter().for_each(evaluation::check_model_file);
}

#[test]
fn evaluation_in_f32() {
    run_on_cpu("eval", |set: &Set, cpu: &dyn Fn() -> Cpu| {
        from_some_neighbour(set, |neighbour| evaluation::check(set, cpu, neighbour))
    });
}

#[test]
fn base_on_the_gpu() {
    if gpu().is_some() {
        run("base", Bar::Noise, |set| {
            from_some_neighbour(set, |neighbour| base::check(set, gpu().unwrap(), neighbour))
        });
    }
}

#[test]
fn iterations_on_the_gpu() {
    if gpu().is_some() {
        run("iters", Bar::Noise, |set| iterations::check_each(set, gpu().unwrap()));
    }
}

#[test]
fn operators_on_the_gpu() {
    if gpu().is_some() {
        for kind in OPERATORS {
            run(kind, Bar::Noise, |set| check_operators(set, &|| gpu().unwrap()));
        }
    }
}

#[test]
fn evaluation_on_the_gpu() {
    if gpu().is_some() {
        run("eval", Bar::Noise, |set| {
            from_some_neighbour(set, |neighbour| evaluation::check(set, || gpu().unwrap(), neighbour))
        });
    }
}
