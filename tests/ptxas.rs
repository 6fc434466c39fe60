//! What the kernels take of a multiprocessor, in each storage type: no spills, registers and shared memory within the table
//! of `ptxas.txt`, and at least half of its threads. `DARTS_PTXAS_WRITE=1` writes the table anew. Needs nvcc, in `NVCC`
//! or the `PATH`. No kernel asks for shared memory at its launch, of which ptxas could not know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Compute capability; threads, blocks and bytes of shared memory of a multiprocessor.
const ARCHITECTURES: [(u32, u32, u32, u32); 5] = [
    (75, 1024, 16, 64 << 10),
    (80, 2048, 32, 164 << 10),
    (86, 1536, 16, 100 << 10),
    (89, 1536, 24, 100 << 10),
    (90, 2048, 32, 228 << 10),
];
const REGISTERS: u32 = 64 << 10;
/// Storage types and what selects them. Files that know no storage type come as the first one only.
const STORAGES: [(&str, &str); 3] =
    [("f32", "DARTS_STORAGE_F32"), ("bf16", "DARTS_STORAGE_BF16"), ("f16", "DARTS_STORAGE_F16")];
/// Files that do not touch activations.
const STATE_FILES: [&str; 2] = ["combine", "optimizer"];
/// Kernels that fill less, and how much at least: the head of their file says why.
const EXEMPT: [(&str, f64); 4] = [
    ("pointwise_forward_16", 0.375),
    ("pointwise_forward_32", 0.375),
    ("pointwise_forward_64", 0.25),
    ("convolution_forward", 0.25),
];

/// Of each kernel, storage type and architecture the registers and bytes of shared memory.
type Table = BTreeMap<(String, &'static str, u32), (u32, u32)>;

/// Threads of a kernel's block.
fn threads(kernel: &str) -> u32 {
    const LARGE: [&str; 5] = [
        "depthwise_input_slices",
        "pointwise_input",
        "pointwise_weights_64",
        "pool_backward",
        "separable_gradients",
    ];
    match kernel {
        "softmax_forward" | "softmax_backward" => 64,
        _ if kernel.contains("_bands_") || LARGE.iter().any(|large| kernel.starts_with(large)) => 512,
        _ => 256,
    }
}

/// The number in front of a word.
fn before(text: &str, word: &str) -> u32 {
    let end = text.find(word).unwrap_or(0);
    text[..end].trim().rsplit([' ', ',']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What ptxas says of a file's kernels, none of which may spill: one compilation for all architectures.
fn measure(nvcc: &str, source: &Path, (storage, define): (&'static str, &str)) -> Table {
    let object = tempfile::NamedTempFile::new().unwrap();
    let targets = ARCHITECTURES.map(|(arch, ..)| format!("-gencode=arch=compute_{arch},code=sm_{arch}"));
    let output = Command::new(nvcc)
        .args(["-std=c++17", "-O3", "-Xptxas", "-v", "-fatbin"])
        .args(targets)
        .arg(format!("-D{define}"))
        .arg(source)
        .arg("-o")
        .arg(object.path())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}", source.display());
    let mut table = Table::new();
    let (mut kernel, mut arch) = (String::new(), 0);
    for line in said.lines() {
        let quoted: Vec<&str> = line.split('\'').collect();
        if let (true, [_, name, _, target, ..]) = (line.contains("Compiling entry function"), &quoted[..]) {
            (kernel, arch) = ((*name).to_owned(), target.trim_start_matches("sm_").parse().unwrap());
        }
        let spilled = before(line, "bytes spill stores");
        assert_eq!(spilled, 0, "{kernel} of {storage} spills on sm_{arch}");
        if line.contains("Used ") {
            let used = (before(line, " registers"), before(line, " bytes smem"));
            table.insert((kernel.clone(), storage, arch), used);
        }
    }
    table
}

/// What ptxas says of all kernels, by two compilers at once.
fn measure_all(nvcc: &str, directory: &Path) -> Table {
    let sources = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let tasks = sources.filter(|path| path.extension().is_some_and(|end| end == "cu")).flat_map(|path| {
        let state = STATE_FILES.iter().any(|stem| path.file_stem().is_some_and(|file| file == *stem));
        STORAGES.into_iter().take(if state { 1 } else { 3 }).map(move |storage| (path.clone(), storage))
    });
    let tasks = Mutex::new(tasks.collect::<Vec<_>>());
    let work = || {
        let mut table = Table::new();
        loop {
            let task = tasks.lock().unwrap().pop();
            let Some((source, storage)) = task else { return table };
            table.extend(measure(nvcc, &source, storage));
        }
    };
    std::thread::scope(|scope| {
        [scope.spawn(work), scope.spawn(work)].into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The share of a multiprocessor's threads that fit.
fn occupancy(kernel: &str, arch: u32, (registers, shared): (u32, u32)) -> f64 {
    let (_, most, blocks, memory) = ARCHITECTURES.into_iter().find(|entry| entry.0 == arch).unwrap();
    let threads = threads(kernel);
    // Registers are given to warps in lots of 256, and the system takes 1 KiB of shared memory for each block.
    let by_registers = REGISTERS / (registers.next_multiple_of(8) * threads);
    let fit = blocks.min(most / threads).min(by_registers).min(memory / (shared + 1024));
    f64::from(fit * threads) / f64::from(most)
}

#[test]
fn kernels_do_not_spill_and_fill_half_of_a_multiprocessor() {
    let nvcc = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".into());
    if !Command::new(&nvcc).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return println!("skipped: no nvcc in NVCC or the PATH");
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = measure_all(&nvcc, &root.join("kernels"));
    assert!(found.len() > 500, "ptxas told of {} kernels only", found.len());
    let path = root.join("tests/ptxas.txt");
    if std::env::var_os("DARTS_PTXAS_WRITE").is_some() {
        let line = |((kernel, storage, arch), (registers, shared)): (&(String, &str, u32), &(u32, u32))| {
            format!("{kernel} {storage} sm_{arch} {registers} registers {shared} bytes shared\n")
        };
        std::fs::write(&path, found.iter().map(line).collect::<String>()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let mut wrong = Vec::new();
    for ((kernel, storage, arch), used) in &found {
        let start = format!("{kernel} {storage} sm_{arch} ");
        let line = text.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
        let allowed = (before(line, " registers"), before(line, " bytes shared"));
        if used.0 > allowed.0 || used.1 > allowed.1 {
            wrong.push(format!("{start}takes {used:?}, more than the table's {allowed:?}"));
        }
        let least = EXEMPT.iter().find(|(name, _)| name == kernel).map_or(0.5, |(_, least)| *least);
        let share = occupancy(kernel, *arch, *used);
        if share < least {
            wrong.push(format!("{start}fills {share:.2}, less than {least}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
