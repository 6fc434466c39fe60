//! What the plans of a search and of a training share: keys of TOML that are also flags, values that are checked before
//! any work starts, and the device.

use std::ops::RangeInclusive;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backend::cuda;
use crate::backend::gpu::Precision;
use crate::data::Reading;
use crate::toml_text::located;
use crate::{Error, Result};

/// How many threads of the processor may be asked for; 0 for all cores.
pub const THREADS: RangeInclusive<usize> = 0..=1024;

/// The two commands that make a run: a search, and the training of the network that it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// `darts search`.
    Search,
    /// `darts train`.
    Train,
}

impl Command {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Command::Search => "search",
            Command::Train => "train",
        }
    }

    /// Its run, with an article.
    pub fn run(self) -> &'static str {
        match self {
            Command::Search => "a search",
            Command::Train => "a training",
        }
    }
}

/// Where a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The best device that this binary and this machine have.
    Auto,
}

impl Device {
    /// The device that a run with activations of this precision will use, or why it cannot.
    pub fn resolve(self, precision: Precision) -> Result<Device> {
        let device = match self {
            Device::Cpu => Device::Cpu,
            Device::Auto => cuda::first().map_or(Device::Cpu, |_| Device::Cuda),
            Device::Cuda => cuda::first().map(|_| Device::Cuda)?,
        };
        if device == Device::Cpu && precision != Precision::F32 {
            // A device that was left open: say why there is no GPU.
            return cuda::first().map(|_| device);
        }
        Ok(device)
    }
}

/// A value that a plan must not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The key.
    pub key: &'static str,
    /// The value found.
    pub value: String,
    /// What is allowed.
    pub expected: String,
}

impl Violation {
    /// A value and what is allowed instead.
    pub fn new(key: &'static str, value: impl ToString, expected: impl Into<String>) -> Self {
        Violation { key, value: value.to_string(), expected: expected.into() }
    }
}

impl From<Violation> for Error {
    fn from(Violation { key, value, expected }: Violation) -> Self {
        Error::Plan(format!("{key} is {value}; expected {expected}"))
    }
}

/// Everything that determines a run, as a table of TOML whose keys are the long flags with `_` for `-`.
pub trait PlanTable: Serialize + DeserializeOwned + Default {
    /// The command whose run it determines.
    const COMMAND: Command;

    /// The values of the paper. The data set is left empty: it must be given.
    fn paper() -> Self;

    /// The first value that the plan must not hold.
    fn violation(&self) -> Option<Violation>;

    /// The data set, as `--data` has it.
    fn data(&self) -> &str;

    /// How the pictures of a folder are read.
    fn reading(&self, strict: bool) -> Reading;

    /// The seed of all random numbers.
    fn seed(&self) -> u64;

    /// Threads of the processor; 0 for all cores.
    fn threads(&self) -> usize;

    /// The device that the run will use, or why it cannot.
    fn resolve_device(&self) -> Result<Device>;

    /// The learning rates of the first epoch and of the end.
    fn learning_rates(&self) -> [f64; 2];

    /// Reads a plan; keys that are absent keep the values of the small plan. The path is for messages.
    fn from_toml(text: &str, path: &Path) -> Result<Self> {
        let plan = Self::default().overlaid(text, path)?;
        plan.validate()?;
        Ok(plan)
    }

    /// This plan with the values of the keys that the text holds; not validated.
    fn overlaid(&self, text: &str, path: &Path) -> Result<Self> {
        // Read as a plan first: these errors know their line.
        toml::from_str::<Self>(text).map_err(|error| Error::Plan(located(&error, text, path)))?;
        self.with(table(text, path)?)
    }

    /// This plan with the values of a table; not validated.
    fn with(&self, values: toml::Table) -> Result<Self> {
        let mut table = self.to_table()?;
        table.extend(values);
        table.try_into().map_err(|error: toml::de::Error| Error::Plan(error.message().replace('\n', " ")))
    }

    /// The plan as a table of its keys.
    fn to_table(&self) -> Result<toml::Table> {
        toml::Table::try_from(self).map_err(|error| Error::Plan(error.to_string()))
    }

    /// The plan as TOML; [`PlanTable::from_toml`] gives back the same plan, bit for bit.
    fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Plan(error.to_string()))
    }

    /// Refuses a plan that cannot be run, naming the key, its value and what is allowed.
    fn validate(&self) -> Result<()> {
        self.violation().map_or(Ok(()), |violation| Err(violation.into()))
    }
}

/// The keys of a plan file and their values, whatever they are. The path is for messages.
pub fn table(text: &str, path: &Path) -> Result<toml::Table> {
    text.parse().map_err(|error| Error::Plan(located(&error, text, path)))
}

/// A key for which a plan holds another value than the one that a run was begun with.
#[derive(Clone, Debug, PartialEq)]
pub struct Contradiction {
    /// The key.
    pub key: String,
    /// The value found, as TOML writes it.
    pub given: String,
    /// The value that the run was begun with.
    pub begun: String,
}

/// The first key for which a plan differs from that of a run's beginning. The number of threads may differ: the result
/// does not depend on it.
pub fn contradiction(given: &toml::Table, begun: &toml::Table) -> Option<Contradiction> {
    let keys = begun.keys().chain(given.keys()).filter(|key| *key != "threads");
    let value = |table: &toml::Table, key: &str| table.get(key).map(ToString::to_string);
    let mut different = keys.filter(|key| value(given, key) != value(begun, key));
    let text = |table, key| value(table, key).unwrap_or_else(|| "absent".to_owned());
    different.next().map(|key| Contradiction {
        key: key.clone(),
        given: text(given, key),
        begun: text(begun, key),
    })
}

/// The first count outside its range.
pub fn count_violation(counts: &[(&'static str, usize, RangeInclusive<usize>)]) -> Option<Violation> {
    let (key, value, range) = counts.iter().find(|(_, value, range)| !range.contains(value))?;
    Some(Violation::new(key, value, format!("a whole number from {} to {}", range.start(), range.end())))
}

/// The first rate that is no number or not between 0 and what is surely a slip.
pub fn rate_violation(rates: &[(&'static str, f64)]) -> Option<Violation> {
    const LARGEST: f64 = 1e6;
    let (key, value) = rates.iter().find(|(_, value)| !(0.0..=LARGEST).contains(value))?;
    Some(Violation::new(key, value, format!("a number from 0 to {LARGEST}")))
}

/// The first value that is not a number from 0 to below 1.
pub fn fraction_violation(fractions: &[(&'static str, f64)]) -> Option<Violation> {
    let (key, value) = fractions.iter().find(|(_, value)| !(0.0..1.0).contains(value))?;
    Some(Violation::new(key, value, "a number from 0 to below 1"))
}

/// A data set without a name, a seed that TOML has no number for, or a precision that the device has not.
pub fn run_violation(data: &str, seed: u64, device: Device, precision: Precision) -> Option<Violation> {
    if data.trim().is_empty() {
        return Some(Violation::new("data", "empty", "the name of a data set, such as digits"));
    }
    if i64::try_from(seed).is_err() {
        return Some(Violation::new("seed", seed, format!("a whole number from 0 to {}", i64::MAX)));
    }
    (device == Device::Cpu && precision != Precision::F32)
        .then(|| Violation::new("precision", precision.name(), "f32, the only one of device cpu"))
}

/// A schedule that rises, or a clip under which nothing is learnt.
pub fn descent_violation([first, last]: [f64; 2], gradient_clip: f64) -> Option<Violation> {
    if gradient_clip == 0.0 {
        return Some(Violation::new("gradient_clip", 0, "a number above 0: at 0 nothing is learnt"));
    }
    (last > first)
        .then(|| Violation::new("weight_lr_min", last, format!("at most weight_lr, which is {first}")))
}
