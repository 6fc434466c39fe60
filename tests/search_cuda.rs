//! A whole small search on the GPU, or under an emulator of its driver, against the same search on the CPU.

use std::path::Path;
use std::process::Command;

use darts::backend::cuda;
use darts::report::run_directory::{load_alphas, load_genotype};

#[path = "common/emulator.rs"]
mod emulator;

/// Where the driver lies that the GPU's search shall load; empty for the system's own.
fn driver() -> Result<String, String> {
    if !cuda::BUILT {
        return Err("this build has no nvcc".into());
    }
    if cuda::first().is_ok() {
        return Ok(std::env::var("LD_LIBRARY_PATH").unwrap_or_default());
    }
    emulator::library()
}

fn search(library: &str, directory: &Path, device: &str, order: &str) -> String {
    let size =
        ["--init-channels", "2", "--cells", "3", "--nodes", "2", "--batch-size", "128", "--epochs", "2"];
    let output = Command::new(env!("CARGO_BIN_EXE_darts"))
        .args(["search", "--seed", "3", "--device", device, "--order", order, "--out", device])
        .args(size)
        .env("LD_LIBRARY_PATH", library)
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{device}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_search_on_the_gpu_ends_as_on_the_cpu() {
    let library = match driver() {
        Ok(library) => library,
        Err(reason) => return println!("skipped: {reason}"),
    };
    for order in ["first", "second"] {
        let directory = tempfile::tempdir().unwrap();
        let runs = ["cpu", "cuda"].map(|device| {
            let printed = search(&library, directory.path(), device, order);
            (printed, directory.path().join(device))
        });
        assert!(runs[0].0.contains("CPU, ") && runs[1].0.contains("compute capability"), "{}", runs[1].0);
        let [cpu, gpu] = [&runs[0].1, &runs[1].1].map(|run| load_alphas(run, None).unwrap().0);
        for (ours, wanted) in gpu.normal.iter().chain(&gpu.reduce).zip(cpu.normal.iter().chain(&cpu.reduce)) {
            assert!(
                (ours - wanted).abs() < 2e-3,
                "{order} order: alpha {ours} on the GPU, {wanted} on the CPU"
            );
        }
        let [cpu, gpu] = [&runs[0].1, &runs[1].1].map(|run| load_genotype(run).unwrap());
        assert_eq!(cpu, gpu, "{order} order");
    }
}
