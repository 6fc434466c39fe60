//! What the emulated driver counts: for each kernel its launches and the memory traffic of its warps.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// Bytes of a sector, the smallest piece of memory that moves.
const SECTOR: u64 = 32;

/// What a kernel did in all of its launches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Launches.
    pub launches: u64,
    /// Sectors that requests touched; lanes of a warp that touch the same one share it, nothing else is cached.
    pub sectors: u64,
    /// Sectors that would have done for the same bytes.
    pub fewest: u64,
}

impl Traffic {
    /// Bytes that moved.
    pub fn bytes(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// The sum of both.
    pub fn plus(self, other: Traffic) -> Traffic {
        Traffic {
            launches: self.launches + other.launches,
            sectors: self.sectors + other.sectors,
            fewest: self.fewest + other.fewest,
        }
    }
}

/// The kernels of a file that the emulated driver wrote, under the longest of `stems` that begins their name.
pub fn read(file: &Path, stems: &[&'static str]) -> Result<BTreeMap<&'static str, Traffic>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let root: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let kernels = root["kernels"].as_object().ok_or_else(|| format!("{}: no kernels", file.display()))?;
    let mut found: BTreeMap<&'static str, Traffic> = BTreeMap::new();
    for (name, kernel) in kernels {
        let stem = stem_of(name, stems).ok_or_else(|| {
            format!("{name} was launched, but tests/traffic/counter.rs does not say what it must move")
        })?;
        let number = |key: &str| {
            kernel[key].as_u64().ok_or_else(|| format!("{}: {name} has no {key}", file.display()))
        };
        let traffic = Traffic {
            launches: number("launches")?,
            sectors: number("load_sectors")? + number("store_sectors")?,
            fewest: number("load_min_sectors")? + number("store_min_sectors")?,
        };
        let entry = found.entry(stem).or_default();
        *entry = entry.plus(traffic);
    }
    let absent: Vec<_> = stems.iter().filter(|stem| !found.contains_key(*stem)).collect();
    if absent.is_empty() {
        return Ok(found);
    }
    Err(format!("tests/traffic/counter.rs says what {absent:?} must move, but they were not launched"))
}

/// The row of the kernels of `combine.cu`: which of them adds what partial sums is theirs to decide.
pub const COMBINE: &str = "combine";

fn stem_of(name: &str, stems: &[&'static str]) -> Option<&'static str> {
    if name.starts_with("batch_norm_") {
        return stems.contains(&COMBINE).then_some(COMBINE);
    }
    let begins = |stem: &&&'static str| {
        name.strip_prefix(**stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    stems.iter().filter(begins).max_by_key(|stem| stem.len()).copied()
}

#[test]
fn kernels_go_by_the_longest_stem() {
    let stems = ["pool", "pool_input"];
    assert_eq!(stem_of("pool_input_16", &stems), Some("pool_input"));
    assert_eq!(stem_of("pool_16", &stems), Some("pool"));
    assert_eq!(stem_of("pooling", &stems), None);
    assert_eq!(stem_of("batch_norm_forward", &[COMBINE]), Some(COMBINE));
}
