//! What the kernels take of a multiprocessor, in each storage type: no spills, registers and shared memory within the table
//! of `ptxas.txt`, and at least half of its threads. The build has left what the assembler said; a build for few
//! architectures is held to their lines, and for one that the table does not know only to that nothing spills. `DARTS_PTXAS_WRITE=1` writes the table anew. No kernel asks for shared memory at
//! its launch, of which the assembler could not know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use darts::backend::cuda;

#[path = "common/skip.rs"]
mod skip;

/// Compute capability; threads, blocks and bytes of shared memory of a multiprocessor.
const ARCHITECTURES: [(u32, u32, u32, u32); 5] = [
    (75, 1024, 16, 64 << 10),
    (80, 2048, 32, 164 << 10),
    (86, 1536, 16, 100 << 10),
    (89, 1536, 24, 100 << 10),
    (90, 2048, 32, 228 << 10),
];
const REGISTERS: u32 = 64 << 10;
/// Kernels that fill less with two-byte storage, and how much at least: the head of their file says why.
const EXEMPT: [(&str, f64); 9] = [
    ("pointwise_forward_16", 0.375),
    ("pointwise_forward_32", 0.375),
    ("pointwise_forward_64", 0.25),
    ("convolution_forward_16", 0.375),
    ("convolution_forward_32", 0.375),
    ("convolution_forward_64", 0.25),
    ("convolution_input_16", 0.25),
    ("convolution_input_32", 0.25),
    ("convolution_input_64", 0.25),
];

/// The share that a kernel fills at least.
fn least(kernel: &str, storage: &str) -> f64 {
    let exempt = EXEMPT.iter().find(|(name, _)| *name == kernel && storage != "f32");
    exempt.map_or(0.5, |(_, least)| *least)
}

/// Of each kernel, storage type and architecture the registers and bytes of shared memory.
type Table = BTreeMap<(String, String, u32), (u32, u32)>;

/// Threads of a kernel's block.
fn threads(kernel: &str) -> u32 {
    const LARGE: [&str; 5] = [
        "depthwise_input_slices",
        "pointwise_input",
        "pointwise_weights_64",
        "normalised_pools_backward",
        "separable_gradients",
    ];
    match kernel {
        _ if kernel.contains("_bands_") || LARGE.iter().any(|large| kernel.starts_with(large)) => 512,
        _ => 256,
    }
}

/// The number in front of a word.
fn before(text: &str, word: &str) -> u32 {
    let end = text.find(word).unwrap_or(0);
    text[..end].trim().rsplit([' ', ',']).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What the assembler said of a file's kernels, none of which may spill.
fn measure(said: &str, storage: &str) -> Table {
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
            table.insert((kernel.clone(), storage.to_owned(), arch), used);
        }
    }
    table
}

/// What it said of all: files `<kernels>.<storage type>.ptxas`, and `<kernels>.ptxas` where none is known.
fn measure_all(directory: &Path) -> Table {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            [_, "ptxas"] => measure(&std::fs::read_to_string(path).unwrap(), "f32"),
            [_, storage, "ptxas"] if storage != "ptx" => {
                measure(&std::fs::read_to_string(path).unwrap(), storage)
            }
            _ => Table::new(),
        }
    };
    files.flat_map(|path| read(&path)).collect()
}

/// The share of a multiprocessor's threads that fit; none where its sizes are not known here.
fn occupancy(kernel: &str, arch: u32, (registers, shared): (u32, u32)) -> Option<f64> {
    let (_, most, blocks, memory) = ARCHITECTURES.into_iter().find(|entry| entry.0 == arch)?;
    let threads = threads(kernel);
    // Registers are given to warps in lots of 256, and the system takes 1 KiB of shared memory for each block.
    let by_registers = REGISTERS / (registers.next_multiple_of(8) * threads);
    let fit = blocks.min(most / threads).min(by_registers).min(memory / (shared + 1024));
    Some(f64::from(fit * threads) / f64::from(most))
}

/// Kernel and storage type of a line of the table, or of what was measured.
type Form = (String, String);

/// The lines of kernels that are no more, or no more in that storage type.
fn outdated(text: &str, found: &BTreeSet<Form>) -> Vec<String> {
    let form = |line: &str| -> Option<Form> {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    let gone = |line: &&str| form(line).is_none_or(|form| !found.contains(&form));
    text.lines().filter(gone).map(|line| format!("the table's line of no kernel: {line}")).collect()
}

/// What is wrong with a kernel that takes this, by the line of the table that begins with `start`.
fn verdicts(text: &str, (kernel, storage, arch): &(String, String, u32), used: (u32, u32)) -> Vec<String> {
    let Some(share) = occupancy(kernel, *arch, used) else { return Vec::new() };
    let start = format!("{kernel} {storage} sm_{arch} ");
    let line = text.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
    let allowed = (before(line, " registers"), before(line, " bytes shared"));
    let least = least(kernel, storage);
    let mut wrong = Vec::new();
    if used.0 > allowed.0 || used.1 > allowed.1 {
        wrong.push(format!("{start}takes {used:?}, more than the table's {allowed:?}"));
    }
    if share < least {
        wrong.push(format!("{start}fills {share:.2}, less than {least}"));
    }
    wrong
}

#[test]
fn kernels_do_not_spill_and_fill_half_of_a_multiprocessor() {
    if !cuda::BUILT {
        return skip::skip("this build has no nvcc");
    }
    let found = measure_all(Path::new(env!("OUT_DIR")));
    assert!(found.len() > 100, "the assembler told of {} kernels only", found.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ptxas.txt");
    if std::env::var_os("DARTS_PTXAS_WRITE").is_some() {
        let architectures: BTreeSet<u32> = found.keys().map(|key| key.2).collect();
        assert_eq!(
            architectures.len(),
            ARCHITECTURES.len(),
            "the table is written by a build for all of them"
        );
        let line = |((kernel, storage, arch), (registers, shared)): (&(String, String, u32), &(u32, u32))| {
            format!("{kernel} {storage} sm_{arch} {registers} registers {shared} bytes shared\n")
        };
        std::fs::write(&path, found.iter().map(line).collect::<String>()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let architectures: BTreeSet<u32> = found.keys().map(|key| key.2).collect();
    for arch in architectures.into_iter().filter(|&arch| ARCHITECTURES.iter().all(|entry| entry.0 != arch)) {
        println!(
            "sm_{arch}: nothing spills; registers and shared memory are held to no bar, as its sizes are not known here"
        );
    }
    let forms = found.keys().map(|(kernel, storage, _)| (kernel.clone(), storage.clone())).collect();
    let mut wrong = outdated(&text, &forms);
    wrong.extend(found.iter().flat_map(|(key, used)| verdicts(&text, key, *used)));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_bars_are_held() {
    let key = |kernel: &str, storage: &str, arch| (kernel.to_owned(), storage.to_owned(), arch);
    let text = "pool f32 sm_80 40 registers 1024 bytes shared\npointwise_forward_64 f32 sm_80 90 registers 0 bytes shared\n\
                pointwise_forward_64 bf16 sm_80 90 registers 0 bytes shared\n";
    let count = |key, used| verdicts(text, &key, used).len();
    assert_eq!(count(key("pool", "f32", 80), (40, 1024)), 0);
    assert_eq!(count(key("pool", "f32", 80), (41, 1024)), 1);
    assert_eq!(count(key("pool", "f32", 80), (40, 1025)), 1);
    assert_eq!(count(key("pool", "bf16", 80), (40, 1024)), 1);
    assert_eq!(count(key("pool", "f32", 120), (255, 1024)), 0);
    assert_eq!(count(key("pointwise_forward_64", "f32", 80), (90, 0)), 1);
    assert_eq!(count(key("pointwise_forward_64", "bf16", 80), (90, 0)), 0);
    let found = BTreeSet::from(
        [("pool", "f32"), ("pointwise_forward_64", "f32")].map(|(a, b)| (a.to_owned(), b.to_owned())),
    );
    assert_eq!(outdated(text, &found).len(), 1);
}
