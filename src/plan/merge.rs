//! From flags, a plan file, the images of a run and a preset to one checked plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::{Table, Value};

use super::keys::Preset;
use super::{Contradiction, PlanTable, Violation};
use crate::space::Space;
use crate::space::stored::Choice;
use crate::{Error, Result};

/// What the user wrote of a plan. Values stand by the names of their keys.
pub struct Written {
    /// What neither flags nor the plan file say.
    pub preset: Preset,
    /// The plan file and its values.
    pub file: Option<(PathBuf, Table)>,
    /// The values of the flags.
    pub flags: Table,
}

/// A plan and what the user wrote of it.
pub struct Given<P> {
    /// The plan.
    pub plan: P,
    /// What the user wrote.
    pub written: Written,
}

impl Written {
    /// The same with another seed, whatever the user wrote.
    pub fn with_seed(mut self, seed: i64) -> Self {
        if let Some((_, values)) = &mut self.file {
            values.remove("seed");
        }
        self.flags.insert("seed".to_owned(), Value::Integer(seed));
        self
    }

    /// One checked plan out of the flags, the plan file, the images if neither names a data set, and the preset.
    ///
    /// # Errors
    /// A value that cannot be, in terms of where it was written.
    pub fn plan<P: PlanTable>(self, mut images: Table) -> Result<Given<P>> {
        let [file, flags] = self.resolved()?;
        let mut values = P::keys().preset(self.preset);
        // The space is that of the genotype, whatever the images.
        values.extend(images.remove("space").map(|space| ("space".to_owned(), space)));
        if !self.wrote("data") {
            values.extend(images);
        }
        values.extend(file);
        values.extend(flags);
        P::complete(&mut values, self.preset, &|key| self.wrote(key))?;
        self.check::<P>(&values)?;
        let given = Given { plan: P::from_table(values)?, written: self };
        match given.plan.conflict() {
            None => Ok(given),
            Some(violation) => Err(given.refusal(violation)),
        }
    }

    /// The plan of a run that goes on, which neither the flags nor the plan file may contradict.
    ///
    /// # Errors
    /// A value that cannot be, or is not that of the run, in terms of where it was written.
    pub fn plan_of_run<P: PlanTable>(self, run: &Path, begun: &P) -> Result<Given<P>> {
        let [file, flags] = self.resolved()?;
        let begun = begun.to_table()?;
        let mut values = begun.clone();
        let contradiction = |place: String, written: &Table, of: Contradiction| {
            let (run, Contradiction { key, given, begun }) = (run.display(), of);
            let given = file_of_space(&key, written).unwrap_or(given);
            format!("{place} is {given}, and {run} was begun with {begun}; a run goes on with its own plan")
        };
        if let Some((path, written)) = &self.file {
            values.extend(file);
            if let Some(of) = P::keys().contradiction(&values, &begun) {
                let place = format!("{}: {}", path.display(), P::keys().path(&of.key));
                return Err(Error::Plan(contradiction(place, written, of)));
            }
        }
        values.extend(flags);
        if let Some(of) = P::keys().contradiction(&values, &begun) {
            return Err(Error::Usage(contradiction(flag(&of.key), &self.flags, of)));
        }
        self.check::<P>(&values)?;
        Ok(Given { plan: P::from_table(values)?, written: self })
    }

    /// The values of the plan file and of the flags; where they name the file of a space, with the space itself.
    fn resolved(&self) -> Result<[Table; 2]> {
        let resolved = |values: &Table| {
            let mut values = values.clone();
            if let Some(Value::String(text)) = values.get_mut("space") {
                *text = text.parse().and_then(|choice: Choice| choice.resolved())?.to_string();
            }
            Ok(values)
        };
        let file = match &self.file {
            Some((path, values)) => resolved(values).map_err(|error| match error {
                Error::Space(reason) => Error::Plan(format!("{}: space: {reason}", path.display())),
                other => other,
            })?,
            None => Table::new(),
        };
        Ok([file, resolved(&self.flags)?])
    }

    /// The space that flags or plan file name.
    ///
    /// # Errors
    /// It is unknown, or its file is not one of a space.
    pub fn space(&self) -> Result<Option<Arc<Space>>> {
        let tables = [Some(&self.flags), self.file.as_ref().map(|(_, values)| values)];
        let text = tables.into_iter().flatten().find_map(|values| values.get("space")?.as_str());
        let space = |text: &str| text.parse().and_then(|choice: Choice| choice.resolved()?.space());
        text.map(space).transpose()
    }

    /// Refuses a value that its key cannot hold.
    fn check<P: PlanTable>(&self, values: &Table) -> Result<()> {
        P::keys().violation(values).map_or(Ok(()), |violation| Err(self.refusal::<P>(violation)))
    }

    /// Whether a flag gives the value of a key.
    pub fn in_flags(&self, key: &str) -> bool {
        self.flags.contains_key(key)
    }

    /// The plan file, if it gives the value of a key.
    pub fn in_file(&self, key: &str) -> Option<&Path> {
        let (path, values) = self.file.as_ref()?;
        values.contains_key(key).then_some(path)
    }

    fn wrote(&self, key: &str) -> bool {
        self.in_flags(key) || self.in_file(key).is_some()
    }

    /// The sentence about a value that cannot be, in terms of where it was written. Of two values that exclude each
    /// other, the one that the user wrote is to blame.
    fn refusal<P: PlanTable>(&self, violation: Violation) -> Error {
        let Violation { key, value, expected, other } = &violation;
        match other {
            Some(other) if !self.wrote(key) && self.wrote(other.key) => {
                return self.refusal::<P>((**other).clone());
            }
            _ => {}
        }
        if self.in_flags(key) {
            return Error::Usage(format!("{} is {value}; expected {expected}", flag(key)));
        }
        if let Some(path) = self.in_file(key) {
            let (path, key) = (path.display(), P::keys().path(key));
            return Error::Plan(format!("{path}: {key} is {value}; expected {expected}"));
        }
        if *key == "data" {
            return Error::Usage(format!(
                "--preset {} leaves the data set to you: add --data, such as --data cifar10:DIR",
                self.preset.name()
            ));
        }
        violation.into()
    }
}

impl<P: PlanTable> Given<P> {
    /// The sentence about a value that cannot be, in terms of where it was written.
    pub fn refusal(&self, violation: Violation) -> Error {
        self.written.refusal::<P>(violation)
    }
}

/// The file that the user named where a space is meant, as TOML writes it.
fn file_of_space(key: &str, written: &Table) -> Option<String> {
    let text = written.get(key).filter(|_| key == "space")?;
    matches!(text.as_str()?.parse(), Ok(Choice::Name(_))).then(|| text.to_string())
}

/// Why these flags, on the digits, make no plan of a search or a training.
#[cfg(test)]
pub(super) fn refusal<P: PlanTable>(flags: &str) -> String {
    let mut flags: Table = flags.parse().unwrap();
    flags.entry("data").or_insert("digits".into());
    let written = Written { preset: Preset::Small, file: None, flags };
    written.plan::<P>(Table::new()).err().unwrap().to_string()
}

/// The flag of a key.
fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}
