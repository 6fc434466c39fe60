//! Compiles the CUDA kernels, where there is an nvcc, into the files that the crate embeds.
//!
//! For each kernel file and storage type of activations a fatbin (machine code for each architecture, and PTX), one of the
//! PTX alone, for those who force it, and `.ptxas`: what the assembler said of registers and shared memory. PTX is that of
//! the lowest architecture and, if it is among them, of the first whose tensor cores take bf16. Without nvcc the crate
//! builds for the CPU. Environment:
//! - `NVCC`: the compiler; else `$CUDA_HOME/bin/nvcc`, `$CUDA_PATH/bin/nvcc`, `nvcc` of the `PATH`;
//! - `DARTS_CUDA_ARCHS`: compute capabilities such as `80,90`;
//! - `DARTS_CUDA_LINEINFO=1`: profilers find the lines of `kernels/` that machine code comes from;
//! - `DARTS_CUDA=0`: a build for the CPU, whatever there is;
//! - `DARTS_REQUIRE_CUDA=1`: a build without nvcc is an error, and so is a warning of nvcc.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A module for each storage type; `src/backend/cuda/context.rs` lists what they hold.
const KERNELS: [&str; 16] = [
    "augment",
    "bypass",
    "channel_slice",
    "channel_sums",
    "convolution",
    "cross_entropy",
    "depthwise",
    "dropout",
    "global_pool",
    "linear",
    "mixed",
    "node_sum",
    "normalised_pools",
    "pointwise",
    "pool",
    "separable",
];
/// A single module each: they do not touch activations.
const STATE_KERNELS: [&str; 3] = ["combine", "gradient_descent", "vectors"];
/// What activations are stored as: part of a file's name, and what its compilation defines.
const STORAGES: [(&str, Option<&str>); 3] =
    [("f32", None), ("bf16", Some("DARTS_STORAGE_BF16")), ("f16", Some("DARTS_STORAGE_F16"))];
const HEADERS: [&str; 12] = [
    "bands",
    "combine",
    "common",
    "geometry",
    "matrix",
    "outer",
    "product",
    "readers",
    "separable_backward",
    "stream",
    "tensor",
    "vectors",
];
/// The first architecture whose tensor cores take bf16.
const TENSOR_CORES: u32 = 80;
/// From Turing to Hopper.
const ARCHITECTURES: &str = "75,80,86,89,90";
const VARIABLES: [&str; 8] = [
    "NVCC",
    "DARTS_CUDA",
    "CUDA_HOME",
    "CUDA_PATH",
    "PATH",
    "DARTS_CUDA_ARCHS",
    "DARTS_CUDA_LINEINFO",
    "DARTS_REQUIRE_CUDA",
];

fn main() -> ExitCode {
    println!("cargo:rustc-check-cfg=cfg(darts_cuda)");
    println!("cargo:rerun-if-changed=build.rs");
    VARIABLES.iter().for_each(|variable| println!("cargo:rerun-if-env-changed={variable}"));
    let stems = KERNELS.iter().chain(&STATE_KERNELS);
    stems.for_each(|stem| println!("cargo:rerun-if-changed=kernels/{stem}.cu"));
    HEADERS.iter().for_each(|stem| println!("cargo:rerun-if-changed=kernels/{stem}.cuh"));
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    if variable("DARTS_CUDA").is_some_and(|value| value == "0") {
        return Ok(());
    }
    let Some(nvcc) = find_nvcc()? else {
        let advice = "no nvcc found, so this build computes on the CPU only; for the GPU install the CUDA toolkit \
                      12.8 or newer, or set NVCC to its nvcc, and build again";
        if switched_on("DARTS_REQUIRE_CUDA") {
            return Err(format!("DARTS_REQUIRE_CUDA is set, but there is {advice}"));
        }
        println!("cargo:warning={advice}");
        return Ok(());
    };
    let architectures = architectures()?;
    let out =
        PathBuf::from(variable("OUT_DIR").ok_or("OUT_DIR is not set; cargo sets it for build scripts")?);
    compile_all(&nvcc, &architectures, &out)?;
    let list: Vec<String> = architectures.iter().map(u32::to_string).collect();
    println!("cargo:rustc-env=DARTS_CUDA_ARCHITECTURES={}", list.join(","));
    println!("cargo:rustc-cfg=darts_cuda");
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn switched_on(name: &str) -> bool {
    variable(name).is_some_and(|value| value != "0")
}

/// The compiler, if there is one. One that was named must be there.
fn find_nvcc() -> Result<Option<PathBuf>, String> {
    let runs = |path: &Path| Command::new(path).arg("--version").output().is_ok_and(|o| o.status.success());
    if let Some(named) = variable("NVCC") {
        let path = PathBuf::from(&named);
        return match runs(&path) {
            true => Ok(Some(path)),
            false => Err(format!("NVCC is {named}, which cannot be run; unset it or name an nvcc")),
        };
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable);
    let places = homes.map(|home| Path::new(&home).join("bin/nvcc")).chain([PathBuf::from("nvcc")]);
    Ok(places.into_iter().find(|path| runs(path)))
}

/// Compute capabilities times ten, ascending.
fn architectures() -> Result<Vec<u32>, String> {
    let text = variable("DARTS_CUDA_ARCHS").unwrap_or_else(|| ARCHITECTURES.to_owned());
    let parsed = text.split(',').map(|part| part.trim().parse::<u32>().ok().filter(|arch| *arch >= 75));
    let mut list = parsed.collect::<Option<Vec<_>>>().ok_or_else(|| {
        format!("DARTS_CUDA_ARCHS is {text}; expected compute capabilities from 75, such as {ARCHITECTURES}")
    })?;
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

/// One run of the compiler.
struct Task {
    stem: &'static str,
    output: PathBuf,
    arguments: Vec<String>,
}

/// All that is to be compiled for these architectures.
fn tasks(architectures: &[u32], out: &Path) -> Vec<Task> {
    let machine = architectures.iter().map(|arch| format!("-gencode=arch=compute_{arch},code=sm_{arch}"));
    let lowest = architectures[0];
    let portable = architectures.iter().filter(|&&arch| arch == lowest || arch == TENSOR_CORES);
    let ptx: Vec<_> =
        portable.map(|arch| format!("-gencode=arch=compute_{arch},code=compute_{arch}")).collect();
    let all: Vec<_> = machine.chain(ptx.iter().cloned()).collect();
    let mut tasks = Vec::new();
    let mut add = |stem: &'static str, name: String, define: Option<&str>| {
        for (targets, end) in [(&all, "fatbin"), (&ptx, "ptx.fatbin")] {
            let mut arguments: Vec<_> = define.iter().map(|name| format!("-D{name}")).collect();
            arguments.extend_from_slice(targets);
            tasks.push(Task { stem, output: out.join(format!("{name}.{end}")), arguments });
        }
    };
    for stem in KERNELS {
        STORAGES.iter().for_each(|(storage, define)| add(stem, format!("{stem}.{storage}"), *define));
    }
    STATE_KERNELS.into_iter().for_each(|stem| add(stem, stem.to_owned(), None));
    tasks
}

/// Runs up to NUM_JOBS compilers at once and gives what the failed ones said.
fn compile_all(nvcc: &Path, architectures: &[u32], out: &Path) -> Result<(), String> {
    let jobs = variable("NUM_JOBS").and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let tasks = tasks(architectures, out);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(compile(nvcc, task).err());
        }
        failures
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let died = |_| vec!["a thread of the build script died".to_owned()];
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(died)).collect()
    });
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Compiles one file, unless its last compilation had the same arguments and nothing has changed since.
fn compile(nvcc: &Path, task: &Task) -> Result<(), String> {
    let source = format!("kernels/{}.cu", task.stem);
    let mut command = Command::new(nvcc);
    // Uncompressed, for readers of PTX that decompress nothing.
    command.args([
        "-std=c++17",
        "-O3",
        "--Werror",
        "all-warnings",
        "-fatbin",
        "--no-compress",
        "-Xptxas",
        "-v",
    ]);
    if switched_on("DARTS_CUDA_LINEINFO") {
        command.arg("-lineinfo");
    }
    command.args(&task.arguments).arg(&source).arg("-o").arg(&task.output);
    let (said, stamp) = (format!("{command:?}"), task.output.with_extension("arguments"));
    if std::fs::read_to_string(&stamp).is_ok_and(|last| last == said) && is_newer(&stamp, &source) {
        return Ok(());
    }
    let output = command.output().map_err(|error| format!("{}: {error}", nvcc.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let answer = text(&output.stdout) + &text(&output.stderr);
    if !output.status.success() {
        return Err(format!("nvcc cannot compile {source}:\n{answer}"));
    }
    let resources = task.output.with_extension("ptxas");
    std::fs::write(&resources, answer).map_err(|error| format!("{}: {error}", resources.display()))?;
    std::fs::write(&stamp, said).map_err(|error| format!("{}: {error}", stamp.display()))
}

/// Whether a file was written after a source and all headers.
fn is_newer(file: &Path, source: &str) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified());
    let headers = HEADERS.iter().map(|stem| format!("kernels/{stem}.cuh"));
    let mut sources = headers.chain([source.to_owned()]);
    time(file).is_ok_and(|file| sources.all(|path| time(Path::new(&path)).is_ok_and(|time| time < file)))
}
