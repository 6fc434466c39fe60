//! Which command made a run, by the keys of its plan.

use std::cmp::Ordering;
use std::path::Path;

use super::place::{MAX_PLAN, PLAN, check_run};
use crate::files::read_text;
use crate::plan::keys::Keys;
use crate::plan::{Command, PlanTable, search, train};
use crate::{Error, Result};

/// The command that a plan is for: the one whose plans lack fewer of its keys. A plan of another version may have keys that
/// neither knows. `None` for keys that both know.
pub fn command_of(plan: &toml::Table) -> Option<Command> {
    let unknown = |keys: &Keys| keys.paths(plan).filter(|(path, _)| keys.at(path).is_none()).count();
    match unknown(search::Plan::keys()).cmp(&unknown(train::Plan::keys())) {
        Ordering::Less => Some(Command::Search),
        Ordering::Equal => None,
        Ordering::Greater => Some(Command::Train),
    }
}

/// The command that made a run.
///
/// # Errors
/// No run directory, or a plan that is damaged or of neither command.
pub fn command_of_run(run: &Path) -> Result<Command> {
    let plan = load_plan(run)?;
    command_of(&plan).ok_or_else(|| {
        let reason = "is the plan neither of a search nor of a training".to_owned();
        Error::Format { path: run.join(PLAN), reason }
    })
}

/// The keys of the plan of a run and their values, also those that this version does not know.
pub(super) fn load_plan(run: &Path) -> Result<toml::Table> {
    if !run.is_dir() {
        return Err(Error::Format { path: run.into(), reason: "no such run directory".to_owned() });
    }
    check_run(run)?;
    let path = run.join(PLAN);
    let text = read_text(&path, MAX_PLAN)?;
    text.parse()
        .map_err(|error: toml::de::Error| Error::Format { path, reason: error.message().replace('\n', " ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_tells_its_command() {
        let command = |text: &str| command_of(&text.parse().unwrap());
        let search = search::Plan::default().to_toml().unwrap();
        let train = train::Plan::paper().to_toml().unwrap();
        assert_eq!(command(&search), Some(Command::Search));
        assert_eq!(command(&train), Some(Command::Train));
        assert_eq!(command(&format!("later = 1\n{train}")), Some(Command::Train));
        assert_eq!(command("nodes = 3"), Some(Command::Search));
        assert_eq!(command("data = \"digits\"\nepochs = 2"), None);
    }
}
