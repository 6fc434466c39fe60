//! What a run of a study leaves: a file that says what was found, or how well it did.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::{read_text, write_whole};
use crate::space::genotype::Genotype;
use crate::{Error, Result};

/// The longest outcome that is read, in bytes: one with a million queries.
const MAX_OUTCOME: usize = 32 << 20;

/// What a contender found with a seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The genotype; nothing, where the architecture of a table was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genotype: Option<Genotype>,
    /// The architecture by the name that other commands know it by in its space, such as `random:7` or a string of
    /// NAS-Bench-201.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Weights of its network.
    pub weights: usize,
    /// Networks that were trained to find it, that of a table's query among them; a supernet is one.
    pub networks: usize,
    /// Its accuracy on validation images as the search knew it, as a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_accuracy: Option<f64>,
    /// Its accuracy on test images, as a fraction, where a table has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// The same after each query, of the best so far, or after each epoch, of its genotype.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub course: Vec<f64>,
}

/// How well a genotype did after a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// The accuracy on the test images after the last epoch, as a fraction.
    pub test_accuracy: f64,
    /// Weights of the network.
    pub weights: usize,
    /// Products of convolutions and of the classifier for one image.
    pub multiply_adds: u64,
}

/// Stores an outcome; a run that has one is at its end.
pub fn save(path: &Path, outcome: &impl Serialize) -> Result<()> {
    let mut text =
        serde_json::to_string(outcome).map_err(|error| Error::io(path, std::io::Error::from(error)))?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}

/// Reads an outcome; nothing, where the run has none yet.
pub fn load<O: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<O>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(path, MAX_OUTCOME)?;
    let outcome = serde_json::from_str(&text);
    outcome.map(Some).map_err(|error| Error::Format {
        path: path.into(),
        reason: format!("is no outcome of a run: {error}"),
    })
}
