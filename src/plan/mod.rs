//! The plans of a search and of a training: everything that determines a run, checked before any work starts.
//!
//! Read [`keys`] for what a key is, then [`search`] and [`train`] for the keys of each plan, `method`, `partial`,
//! `sampled` and `skips` for those of a search method, `shared` for those of both plans and `spaces` for what a space decides,
//! [`mod@file`] for how a plan file is read, and [`merge`] for how flags, a plan file and a preset become one plan.

pub mod file;
pub mod guards;
pub mod keys;
pub mod merge;
mod method;
mod partial;
mod sampled;
pub mod search;
mod shared;
mod skips;
mod spaces;
pub mod train;
mod violation;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::Reading;
use crate::{Error, Result};
use keys::{Keys, Preset};
pub use shared::{Command, DeviceChoice, THREADS};
pub use violation::{Contradiction, Violation};

/// A plan, whose fields are its keys.
pub trait PlanTable: Serialize + DeserializeOwned {
    /// The command whose run it determines.
    const COMMAND: Command;

    /// Its keys.
    fn keys() -> &'static Keys;

    /// Fills in what other values decide where the user wrote nothing, by the names of keys.
    ///
    /// # Errors
    /// A value that decides is none.
    fn complete(values: &mut toml::Table, preset: Preset, wrote: &dyn Fn(&str) -> bool) -> Result<()> {
        let _ = (values, preset, wrote);
        Ok(())
    }

    /// The first two values that exclude each other.
    fn conflict(&self) -> Option<Violation>;

    /// The data set, as `--data` has it.
    fn data(&self) -> &str;

    /// How the pictures of a folder are read.
    fn reading(&self) -> Reading;

    /// The seed of all random numbers.
    fn seed(&self) -> u64;

    /// Threads of the processor; 0 for all cores.
    fn threads(&self) -> usize;

    /// The device that the run will use, or why it cannot.
    fn resolve_device(&self) -> Result<DeviceChoice>;

    /// The plan of a preset.
    fn preset(preset: Preset) -> Self {
        Self::from_table(Self::keys().preset(preset)).expect("each key is a field that its values suit")
    }

    /// The plan of these values, by the names of their keys; not validated.
    fn from_table(values: toml::Table) -> Result<Self> {
        values.try_into().map_err(|error: toml::de::Error| Error::Plan(error.message().replace('\n', " ")))
    }

    /// The values of the plan by the names of their keys.
    fn to_table(&self) -> Result<toml::Table> {
        toml::Table::try_from(self).map_err(|error| Error::Plan(error.to_string()))
    }

    /// Reads a plan file; keys that are absent have the values that those in the file decide, such as the name of a method,
    /// else those of the small plan. The path is for messages.
    fn from_toml(text: &str, path: &Path) -> Result<Self> {
        let mut values = Self::keys().preset(Preset::Small);
        let written = file::read(Self::keys(), text, path)?;
        values.extend(written.clone());
        if let Some(violation) = Self::keys().violation(&values) {
            return Err(violation.into());
        }
        Self::complete(&mut values, Preset::Small, &|key| written.contains_key(key))?;
        let plan = Self::from_table(values)?;
        plan.validate()?;
        Ok(plan)
    }

    /// The plan as a file; [`PlanTable::from_toml`] gives back the same plan, bit for bit.
    fn to_toml(&self) -> Result<String> {
        Ok(Self::keys().to_toml(&self.to_table()?))
    }

    /// The first value that the plan must not hold.
    ///
    /// # Errors
    /// A whole number that TOML has not.
    fn violation(&self) -> Result<Option<Violation>> {
        Ok(Self::keys().violation(&self.to_table()?).or_else(|| self.conflict()))
    }

    /// Refuses a plan that cannot be run, naming the key, its value and what is allowed.
    fn validate(&self) -> Result<()> {
        self.violation()?.map_or(Ok(()), |violation| Err(violation.into()))
    }
}
