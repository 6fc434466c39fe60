//! A whole small search on the GPU, or under an emulator of its driver, against the same search on the CPU.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use darts::space::alphas::Alphas;
use darts::store::alphas::load_alphas;
use darts::store::genotype::load_genotype;
use gpu::{driver, skip, text, under, write_images};

#[path = "common/gpu.rs"]
mod gpu;

fn command(library: &str, directory: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_darts"));
    command.arg("search").args(arguments.split(' '));
    under(&mut command, library).current_dir(directory);
    command
}

fn search(library: &str, directory: &Path, arguments: &str, variables: &[(&str, &str)]) -> Output {
    command(library, directory, arguments).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_search_on_the_gpu_ends_as_on_the_cpu() {
    let (library, _) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    for order in ["first", "second"] {
        let directory = tempfile::tempdir().unwrap();
        write_images(directory.path());
        let runs = ["cpu", "cuda"].map(|device| {
            // Two steps, and an evaluation whose last batch is filled up.
            let size = "--init-channels 2 --cells 3 --nodes 2 --batch-size 3 --epochs 1";
            let run = format!("--device {device} --order {order} --seed 3 --out {device}");
            let output = search(&library, directory.path(), &format!("--data cifar10:. {run} {size}"), &[]);
            assert!(output.status.success(), "{device}: {}", text(&output.stderr));
            (text(&output.stdout), directory.path().join(device))
        });
        let (cpu, gpu) = (&runs[0].0, &runs[1].0);
        assert!(cpu.contains("CPU, ") && !cpu.contains("kernels"), "{cpu}");
        assert!(gpu.contains("compute capability") && gpu.contains("kernels a step in "), "{gpu}");
        let [cpu, gpu] = [&runs[0].1, &runs[1].1].map(|run| load_alphas(run, None).unwrap().0);
        let largest = all(&cpu).iter().fold(0.0f64, |largest, alpha| largest.max(alpha.abs()));
        assert!(largest > 0.01, "{order} order: the alphas have hardly moved, to at most {largest}");
        for (ours, wanted) in all(&gpu).iter().zip(all(&cpu)) {
            assert!(
                (ours - wanted).abs() < 1e-3,
                "{order} order: alpha {ours} on the GPU, {wanted} on the CPU"
            );
        }
        let [cpu, gpu] = [&runs[0].1, &runs[1].1].map(|run| load_genotype(run).unwrap());
        assert_eq!(cpu, gpu, "{order} order");
    }
}

/// Rounded activations turn the sign of small gradients, and with it the first steps of Adam, so alphas agree on the whole
/// only.
#[test]
fn a_search_in_16_bits_goes_the_way_of_one_in_32() {
    let (library, _) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    let directory = tempfile::tempdir().unwrap();
    write_images(directory.path());
    let alphas = ["f32", "bf16", "f16"].map(|precision| {
        let size = "--init-channels 8 --cells 3 --nodes 2 --batch-size 3 --epochs 1 --order first";
        let run = format!("--device cuda --precision {precision} --seed 3 --out {precision}");
        let output = search(&library, directory.path(), &format!("--data cifar10:. {run} {size}"), &[]);
        assert!(output.status.success(), "{precision}: {}", text(&output.stderr));
        all(&load_alphas(&directory.path().join(precision), None).unwrap().0)
    });
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = |a: &[f64]| dot(a, a).sqrt();
    for (name, found) in [("bf16", &alphas[1]), ("f16", &alphas[2])] {
        let cosine = dot(found, &alphas[0]) / (norm(found) * norm(&alphas[0]));
        println!("{name}: the alphas' cosine with those of f32 is {cosine:.3}");
        assert!(found != &alphas[0], "{name} gives the bytes of f32");
        assert!(cosine > 0.95, "{name}: the alphas' cosine with those of f32 is {cosine:.3}");
    }
}

fn all(alphas: &Alphas) -> Vec<f64> {
    alphas.tables.concat()
}

#[test]
fn a_data_set_that_does_not_fit_is_copied_batch_by_batch() {
    let (library, emulated) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    if !emulated {
        return println!("skipped: only the emulator can be given little memory");
    }
    let directory = tempfile::tempdir().unwrap();
    // 29 MiB of images.
    let record: Vec<u8> = (0..3073).map(|i| (i % 7) as u8).collect();
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        std::fs::write(directory.path().join(name), record.repeat(9_990)).unwrap();
    }
    // Of 64 MiB the driver may have need.
    for (gibibytes, launches) in [("0.085", 5), ("1", 7)] {
        let arguments =
            "--data cifar10:. --device cuda --init-channels 2 --cells 3 --nodes 2 --batch-size 4 --out";
        let mut child = command(&library, directory.path(), &format!("{arguments} {launches}"))
            .env("CUDA_EMU_MEM_GIB", gibibytes)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let device = lines.map_while(Result::ok).find(|line| line.starts_with("device"));
        child.kill().unwrap();
        child.wait().unwrap();
        let device = device.expect("a search says what it runs on");
        assert!(device.ends_with(&format!(" kernels a step in {launches} launches")), "{device}");
    }
}

/// Whatever is refused ends before the run directory appears, with one sentence.
fn refused(output: &Output, directory: &Path) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!directory.join("run").exists() && said.trim().lines().count() == 1, "{said}");
    said
}

#[test]
fn a_search_that_does_not_fit_is_told_the_largest_batch_that_does() {
    let (library, emulated) = match driver() {
        Ok(driver) => driver,
        Err(reason) => return skip(reason),
    };
    if !emulated {
        return println!("skipped: only the emulator can be given little memory");
    }
    let directory = tempfile::tempdir().unwrap();
    let little = [("CUDA_EMU_MEM_GIB", "0.1")];
    let try_on = |batch: usize, channels: usize| {
        let size = format!("--batch-size {batch} --init-channels {channels} --cells 8");
        search(&library, directory.path(), &format!("--device cuda --out run {size}"), &little)
    };
    let said = refused(&try_on(512, 8), directory.path());
    let number = said.split("largest --batch-size that fits is ").nth(1).map(str::trim);
    let largest: usize = number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!((2..512).contains(&largest) && said.contains("GiB"), "{said}");
    let said = refused(&try_on(largest + 1, 8), directory.path());
    assert!(said.ends_with(&format!("fits is {largest}\n")), "{said}");
    let said = refused(&try_on(1, 512), directory.path());
    assert!(said.contains("not even one image a batch fits"), "{said}");
}
