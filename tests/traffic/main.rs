//! What the CUDA kernels move against what they must move, in a first-order iteration of the paper's search.
//!
//! `cargo test --release --test traffic -- --nocapture` prints a table. The iteration runs in a process of its own under
//! an emulator of the driver (see `tests/common/emulator.rs`), which counts each warp's requests to global memory;
//! [`counter`] computes from the operators' descriptors what must move. No time is measured: the last columns are what a
//! roofline allows at the paper's batch. Where there is no nvcc or no emulator, only what must be is printed.
//!
//! `DARTS_TRAFFIC_BATCH` (default 2) sets the batch of the counted iteration, `DARTS_TRAFFIC_PRECISION` (f32, bf16 or f16;
//! default f32) what activations are stored as.

mod call;
mod counter;
#[path = "../common/emulated.rs"]
mod emulated;
#[path = "../common/emulator.rs"]
mod emulator;
mod notes;
mod operators;
#[path = "../common/skip.rs"]
mod skip;
mod statistics;
mod table;
mod window;

use std::collections::BTreeMap;
use std::process::Command;

use call::Work;
use counter::Counter;
use darts::backend::gpu::Precision;
use darts::backend::{Backend, Device, Scalar, Shape, cuda};
use darts::epochs::BatchView;
use darts::plan::search::{Order, Plan};
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{EdgeShape, Space, SupernetShape};
use statistics::Traffic;
use table::Row;

/// The batch of the counted iteration: emulation is slow, and the ratios hardly depend on it.
const BATCH: usize = 2;
/// The paper's batch.
const PAPER: usize = 64;
/// Set in the process that runs the iteration.
const ITERATION: &str = "DARTS_TRAFFIC_ITERATION";

/// Most that a kernel may move for each byte that it must move, and most sectors for each that would do.
const MOVED: f64 = 1.25;
const SPREAD: f64 = 1.1;
/// Kernels below this share of all bytes, moved and that must move, are not held to it.
const SHARE: f64 = 0.02;
/// Kernels that exceed a bar, with both ratios as they are: at the default batch and in f32 they may not become worse,
/// and one that keeps within the bars leaves the list.
const OFFENDERS: [(&str, f64, f64); 0] = [];
/// Ratios are listed with two decimals.
const ROUNDING: f64 = 0.01;

/// Builds the supernet of the paper and takes one step of the alphas and one of the weights.
fn iterate<B: Backend>(backend: B, batch: usize) -> Bilevel<B> {
    let images = Shape::new(batch, 32, 32, 3);
    let shape = SupernetShape {
        space: Space::darts(),
        images,
        classes: 10,
        init_channels: 16,
        cells: 8,
        nodes: 4,
        edges: EdgeShape::default(),
    };
    let settings = BilevelSettings::from(&Plan { order: Order::First, ..Plan::paper() });
    let mut bilevel = Bilevel::new(backend, shape, settings, 1).unwrap();
    let pixels: Vec<B::Scalar> =
        (0..images.len()).map(|i| B::Scalar::of((i * 37 % 101) as f64 / 50.0 - 1.0)).collect();
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
    let batch = BatchView { images: &pixels, labels: &labels };
    bilevel.step(batch, batch, 0.025).unwrap();
    bilevel
}

/// What each kernel must do, call by call.
fn works(batch: usize, precision: Precision) -> BTreeMap<&'static str, Vec<Work>> {
    std::mem::take(&mut iterate(Counter::new(precision.bytes()), batch).tape.backend().works)
}

/// Images of the counted iteration.
fn batch() -> usize {
    let Ok(text) = std::env::var("DARTS_TRAFFIC_BATCH") else { return BATCH };
    text.parse()
        .ok()
        .filter(|&batch| batch > 0)
        .unwrap_or_else(|| panic!("DARTS_TRAFFIC_BATCH is {text:?}; expected a number of images, at least 1"))
}

/// What activations are stored as.
fn precision() -> Precision {
    let Ok(text) = std::env::var("DARTS_TRAFFIC_PRECISION") else { return Precision::F32 };
    let named = Precision::ALL.into_iter().find(|precision| precision.to_string() == text);
    named.unwrap_or_else(|| panic!("DARTS_TRAFFIC_PRECISION is {text:?}; expected f32, bf16 or f16"))
}

/// Runs this test under the emulated driver and reads what it counted; the reason, where that cannot be.
fn count(stems: &[&'static str]) -> Result<BTreeMap<&'static str, Traffic>, String> {
    if !cuda::BUILT {
        return Err("this build has no nvcc".into());
    }
    let library = emulator::library()?;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("statistics.json");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kernels_move_little_more_than_they_must", "--nocapture"])
        .env(ITERATION, "1")
        .env("CUDA_EMU_COUNT", "1")
        .env("CUDA_EMU_STATS", &file);
    let output = emulated::under(&mut command, &library).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(statistics::read(&file, stems).unwrap_or_else(|error| panic!("{error}")))
}

/// What is wrong with a row that takes `share` of all bytes, by what was counted at `batch`.
fn verdict(row: &Row, share: f64, listed: Option<&(&str, f64, f64)>, exact: bool) -> Option<String> {
    let (ratio, spread) = (row.ratio()?, row.spread()?);
    let within = ratio <= MOVED && spread <= SPREAD;
    let what =
        format!("{} moves {ratio:.2} of what it must, in {spread:.2} of the fewest sectors", row.kernel);
    if ratio < 1.0 {
        return Some(format!("{what}: tests/traffic/counter.rs asks too much of it"));
    }
    match listed {
        None if within || share <= SHARE => None,
        None => Some(format!("{what}; allowed are {MOVED} and {SPREAD}")),
        Some(_) if !exact => None,
        Some(_) if within => Some(format!("{what}: within the bars, so it leaves the list of offenders")),
        Some((_, moved, sectors)) if ratio > moved + ROUNDING || spread > sectors + ROUNDING => {
            Some(format!("{what}; it was {moved} and {sectors}"))
        }
        Some(_) => None,
    }
}

/// All verdicts. A kernel's share is the larger of those of what it moves and of what it must move.
fn judge(rows: &[Row], exact: bool) -> Vec<String> {
    let moved = |row: &Row| row.traffic.map_or(0, |traffic| traffic.bytes());
    let all: (u64, u64) = (rows.iter().map(|row| row.must).sum(), rows.iter().map(moved).sum());
    let share = |row: &Row| (row.must as f64 / all.0 as f64).max(moved(row) as f64 / all.1 as f64);
    let listed = |row: &Row| OFFENDERS.iter().find(|(name, ..)| *name == row.kernel);
    rows.iter().filter_map(|row| verdict(row, share(row), listed(row), exact)).collect()
}

#[test]
fn kernels_move_little_more_than_they_must() {
    let (batch, precision) = (batch(), precision());
    if std::env::var_os(ITERATION).is_some() {
        let mut bilevel = iterate(cuda::open(precision).unwrap(), batch);
        return assert_eq!(bilevel.tape.backend().activation_bytes(), precision.bytes());
    }
    let (small, large) = (works(batch, precision), works(PAPER, precision));
    let stems: Vec<&'static str> = small.keys().copied().collect();
    let counted = count(&stems);
    let rows = table::rows(&small, &large, counted.as_ref().ok());
    println!("{}", table::markdown(&rows, precision, [batch, PAPER]));
    if let Err(reason) = counted {
        return skip::skip(format!("what the kernels do move cannot be counted: {reason}"));
    }
    let verdicts = judge(&rows, batch == BATCH && precision == Precision::F32);
    assert!(verdicts.is_empty(), "\n{}", verdicts.join("\n"));
}

#[test]
fn bars_and_the_list_of_offenders_are_held() {
    let sectors = |sectors, fewest| Some(Traffic { launches: 1, sectors, fewest });
    let row = |must, traffic| Row { kernel: "kernel", must, traffic, calls: &[] };
    let says = |row: &Row, listed, words: &str| {
        let said = verdict(row, 0.5, listed, true).unwrap_or_default();
        assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{said:?} instead of {words:?}");
    };
    let (good, bad) = (row(320, sectors(11, 10)), row(320, sectors(20, 20)));
    says(&good, None, "");
    says(&bad, None, "allowed are 1.25");
    says(&row(320, sectors(12, 10)), None, "1.20 of the fewest");
    says(&row(320, sectors(9, 9)), None, "asks too much");
    assert_eq!(verdict(&bad, SHARE, None, true), None);
    says(&bad, Some(&("kernel", 2.0, 1.0)), "");
    says(&bad, Some(&("kernel", 1.9, 1.0)), "it was 1.9");
    says(&good, Some(&("kernel", 2.0, 1.2)), "leaves the list");
    assert_eq!(verdict(&bad, 0.5, Some(&("kernel", 1.9, 1.0)), false), None);
}
