//! What the kernels take of a multiprocessor: no spills, registers and shared memory within the table of `ptxas.txt`, and
//! at least half of its threads. `DARTS_PTXAS_WRITE=1` writes the table anew. Needs nvcc, in `NVCC` or the `PATH`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compute capability; threads, blocks and bytes of shared memory of a multiprocessor.
const ARCHITECTURES: [(u32, u32, u32, u32); 5] = [
    (75, 1024, 16, 64 << 10),
    (80, 2048, 32, 164 << 10),
    (86, 1536, 16, 100 << 10),
    (89, 1536, 24, 100 << 10),
    (90, 2048, 32, 228 << 10),
];
const REGISTERS: u32 = 64 << 10;

/// Registers and bytes of shared memory.
type Table = BTreeMap<(String, u32), (u32, u32)>;

/// Threads of a kernel's block.
fn threads(kernel: &str) -> u32 {
    match kernel {
        "softmax_forward" | "softmax_backward" => 64,
        "pool_backward" => 512,
        _ => 256,
    }
}

/// The number in front of a word.
fn before(text: &str, word: &str) -> u32 {
    let end = text.find(word).unwrap_or(0);
    text[..end].trim().rsplit([' ', ',']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Adds what ptxas says of a file's kernels, none of which may spill.
fn measure(nvcc: &str, source: &Path, arch: u32, table: &mut Table) {
    let object = tempfile::NamedTempFile::new().unwrap();
    let arguments = ["-std=c++17", "-O3", "-Xptxas", "-v", "-cubin"];
    let output = Command::new(nvcc)
        .args(arguments)
        .arg(format!("-arch=sm_{arch}"))
        .arg(source)
        .arg("-o")
        .arg(object.path())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}", source.display());
    let mut kernel = String::new();
    for line in said.lines() {
        if let Some(name) = line.split('\'').nth(1).filter(|_| line.contains("Compiling entry function")) {
            kernel = name.to_owned();
        }
        assert_eq!(before(line, "bytes spill stores"), 0, "{kernel} spills on sm_{arch}");
        if line.contains("Used ") {
            let used = (before(line, " registers"), before(line, " bytes smem"));
            table.insert((kernel.clone(), arch), used);
        }
    }
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
    let entries = std::fs::read_dir(root.join("kernels")).unwrap().map(|entry| entry.unwrap().path());
    let sources: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "cu")).collect();
    let mut found = Table::new();
    for (arch, ..) in ARCHITECTURES {
        sources.iter().for_each(|source| measure(&nvcc, source, arch, &mut found));
    }
    assert!(found.len() > 150, "ptxas told of {} kernels only", found.len());
    let path = root.join("tests/ptxas.txt");
    if std::env::var_os("DARTS_PTXAS_WRITE").is_some() {
        let line = |((kernel, arch), (registers, shared)): (&(String, u32), &(u32, u32))| {
            format!("{kernel} sm_{arch} {registers} registers {shared} bytes shared\n")
        };
        std::fs::write(&path, found.iter().map(line).collect::<String>()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    for ((kernel, arch), used) in &found {
        let start = format!("{kernel} sm_{arch} ");
        let line = text.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("{kernel} on sm_{arch} is not in ptxas.txt"));
        let allowed = (before(line, " registers"), before(line, " bytes shared"));
        assert!(used.0 <= allowed.0 && used.1 <= allowed.1, "{start}takes {used:?}, more than {line}");
        let share = occupancy(kernel, *arch, *used);
        assert!(share >= 0.5, "{start}fills {share:.2}");
    }
}
