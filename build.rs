//! Compiles the CUDA kernels, where there is an nvcc, into the files that the crate embeds.
//!
//! For each kernel file a fatbin (machine code for each architecture, PTX of the lowest) and the PTX alone, for those
//! who force it. Without nvcc the crate builds for the CPU. Environment:
//! - `NVCC`: the compiler; else `$CUDA_HOME/bin/nvcc`, `$CUDA_PATH/bin/nvcc`, `nvcc` of the `PATH`;
//! - `DARTS_CUDA_ARCHS`: compute capabilities such as `80,90`;
//! - `DARTS_REQUIRE_CUDA=1`: a build without nvcc is an error.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One module each; `src/backend/cuda/context.rs` lists what they hold.
const KERNELS: [&str; 10] = [
    "batch_norm",
    "combine",
    "convolution",
    "depthwise",
    "loss",
    "mixed",
    "optimizer",
    "pointwise",
    "pool",
    "separable",
];
const HEADERS: [&str; 3] = ["common", "geometry", "product"];
/// From Turing to Hopper.
const ARCHITECTURES: &str = "75,80,86,89,90";
const VARIABLES: [&str; 6] =
    ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "DARTS_CUDA_ARCHS", "DARTS_REQUIRE_CUDA"];

fn main() -> ExitCode {
    println!("cargo:rustc-check-cfg=cfg(darts_cuda)");
    println!("cargo:rerun-if-changed=build.rs");
    VARIABLES.iter().for_each(|variable| println!("cargo:rerun-if-env-changed={variable}"));
    KERNELS.iter().for_each(|stem| println!("cargo:rerun-if-changed=kernels/{stem}.cu"));
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
    let Some(nvcc) = find_nvcc()? else {
        let advice = "no nvcc found, so this build computes on the CPU only; for the GPU install the CUDA toolkit \
                      12.8 or newer, or set NVCC to its nvcc, and build again";
        if variable("DARTS_REQUIRE_CUDA").is_some_and(|value| value != "0") {
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

/// Runs up to NUM_JOBS compilers at once and gives what the failed ones said.
fn compile_all(nvcc: &Path, architectures: &[u32], out: &Path) -> Result<(), String> {
    let jobs = variable("NUM_JOBS").and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let tasks: Vec<(&str, bool)> = KERNELS.iter().flat_map(|stem| [(*stem, true), (*stem, false)]).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(&(stem, fatbin)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(compile(nvcc, stem, fatbin, architectures, out).err());
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

fn compile(nvcc: &Path, stem: &str, fatbin: bool, architectures: &[u32], out: &Path) -> Result<(), String> {
    let source = format!("kernels/{stem}.cu");
    let lowest = architectures[0];
    let mut command = Command::new(nvcc);
    command.args(["-std=c++17", "-O3", "--Werror", "all-warnings"]).arg(&source).arg("-o");
    if fatbin {
        // Uncompressed, so that whoever reads only PTX finds it.
        command.arg(out.join(format!("{stem}.fatbin"))).args(["-fatbin", "--no-compress"]);
        for arch in architectures {
            command.arg(format!("-gencode=arch=compute_{arch},code=sm_{arch}"));
        }
        command.arg(format!("-gencode=arch=compute_{lowest},code=compute_{lowest}"));
    } else {
        command.arg(out.join(format!("{stem}.ptx"))).arg("-ptx").arg(format!("-arch=compute_{lowest}"));
    }
    let output = command.output().map_err(|error| format!("{}: {error}", nvcc.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Err(format!("nvcc cannot compile {source}:\n{}{}", said(&output.stdout), said(&output.stderr)))
}
