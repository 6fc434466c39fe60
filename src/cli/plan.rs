//! From flags, a plan file and a preset to one checked plan, for every command that has a plan.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::{Dataset, Source};
use crate::plan::{Contradiction, PlanTable, Violation, contradiction, table};
use crate::store::command::command_of;
use crate::store::place::MAX_PLAN;
use crate::{Error, Result, files};

/// Where the values come from that no flag gives.
#[derive(clap::Args)]
pub struct PlanArguments {
    /// Begin from these values: small suits the digits and a laptop, paper is what the paper does.
    #[arg(long, value_name = "NAME", value_parser = ["small", "paper"], default_value = "small", conflicts_with = "resume")]
    preset: String,
    /// Take values from this TOML file, such as the plan.toml of a run; its keys are the flags below with
    /// _ for -.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

/// A plan and what the user wrote of it.
pub struct Given<P> {
    /// The plan.
    pub plan: P,
    preset: String,
    path: Option<PathBuf>,
    flags: toml::Table,
    /// The keys of the plan file.
    table: toml::Table,
}

impl PlanArguments {
    /// One checked plan out of the flags, the plan file, the images if neither names a data set, and the preset; or, of a
    /// run that goes on, the plan in its directory, which the flags and the plan file must not contradict.
    pub fn with<P: PlanTable>(
        &self,
        flags: &impl Serialize,
        images: toml::Table,
        begun: Option<(&Path, &P)>,
    ) -> Result<Given<P>> {
        let file = match &self.plan {
            Some(path) => files::read_text(path, MAX_PLAN)?,
            None => String::new(),
        };
        let flags = toml::Table::try_from(flags).map_err(|error| Error::Usage(error.to_string()))?;
        let path = self.plan.as_deref().unwrap_or(Path::new("plan"));
        let written = table(&file, path)?;
        let mut base = if self.preset == "paper" { P::paper() } else { P::default() };
        if !flags.contains_key("data") && !written.contains_key("data") {
            base = base.with(images)?;
        }
        let base = begun.map_or(&base, |(_, plan)| plan);
        let from_file = base
            .overlaid(&file, path)
            .map_err(|error| of_another_command::<P>(&written, path).unwrap_or(error))?;
        let plan = from_file.with(flags.clone())?;
        if let Some((run, begun)) = begun {
            let begun = begun.to_table()?;
            let sentence = |place: String, of: Contradiction| {
                let (run, Contradiction { given, begun, .. }) = (run.display(), of);
                format!(
                    "{place} is {given}, and {run} was begun with {begun}; a run goes on with its own plan"
                )
            };
            if let (Some(path), Some(of)) = (&self.plan, contradiction(&from_file.to_table()?, &begun)) {
                return Err(Error::Plan(sentence(format!("{}: {}", path.display(), of.key), of)));
            }
            if let Some(of) = contradiction(&plan.to_table()?, &begun) {
                return Err(Error::Usage(sentence(format!("--{}", of.key.replace('_', "-")), of)));
            }
        }
        let (preset, path) = (self.preset.clone(), self.plan.clone());
        let given = Given { plan, preset, path, flags, table: written };
        match given.plan.violation() {
            None => Ok(given),
            Some(violation) => Err(given.refusal(violation)),
        }
    }
}

/// The sentence about a plan file of the other command.
fn of_another_command<P: PlanTable>(plan: &toml::Table, path: &Path) -> Option<Error> {
    let command = command_of(plan).ok()?.filter(|&command| command != P::COMMAND)?;
    let (path, run, name) = (path.display(), command.run(), command.name());
    Some(Error::Plan(format!("{path}: is the plan of {run}, which `darts {name}` takes")))
}

impl<P: PlanTable> Given<P> {
    /// Loads the data set.
    pub fn dataset(&self, strict: bool, quiet: bool) -> Result<Dataset> {
        let source = self.source()?;
        let given = ["image_size", "colour"].into_iter().find(|key| self.flags.contains_key(*key));
        super::data::refuse_for_own_images(&source, given.or(strict.then_some("strict")))?;
        let plan = &self.plan;
        super::data::load(&source, plan.seed(), &plan.reading(strict), plan.threads(), quiet)
    }

    fn source(&self) -> Result<Source> {
        self.plan.data().parse().map_err(|error| match (error, &self.path) {
            (Error::Usage(text), Some(path)) if !self.flags.contains_key("data") => {
                Error::Plan(format!("{}: {}", path.display(), text.replace("--data", "data")))
            }
            (error, _) => error,
        })
    }

    /// The sentence about a value that cannot be, in terms of where it was given.
    pub fn refusal(&self, mut violation: Violation) -> Error {
        let wrote = |key: &str| self.flags.contains_key(key) || self.table.contains_key(key);
        // Of two values that contradict each other, the one that the user wrote is to blame.
        if violation.key == "weight_lr_min" && !wrote("weight_lr_min") && wrote("weight_lr") {
            let [first, last] = self.plan.learning_rates();
            violation =
                Violation::new("weight_lr", first, format!("at least weight_lr_min, which is {last}"));
        }
        let Violation { key, value, expected } = &violation;
        match &self.path {
            _ if self.flags.contains_key(*key) => {
                Error::Usage(format!("--{} is {value}; expected {expected}", key.replace('_', "-")))
            }
            Some(path) if self.table.contains_key(*key) => {
                Error::Plan(format!("{}: {key} is {value}; expected {expected}", path.display()))
            }
            _ if *key == "data" => Error::Usage(format!(
                "--preset {} leaves the data set to you: add --data, such as --data cifar10:DIR",
                self.preset
            )),
            _ => violation.into(),
        }
    }
}

/// The help of a flag with its value in each preset, which only the plan knows.
pub fn help<P: PlanTable>(key: &str, meaning: &str) -> String {
    let value =
        |plan: P| plan.to_table().ok().and_then(|table| Some(table.get(key)?.to_string().replace('"', "")));
    match (value(P::default()), value(P::paper())) {
        (Some(small), Some(paper)) if paper.is_empty() => format!("{meaning} [small: {small}]"),
        (Some(small), Some(paper)) if small == paper => format!("{meaning} [default: {small}]"),
        (Some(small), Some(paper)) => format!("{meaning} [small: {small}, paper: {paper}]"),
        _ => meaning.to_owned(),
    }
}

/// Reads a count.
pub fn whole_number(text: &str) -> std::result::Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// Reads a seed; TOML has no whole numbers above 2^63 - 1.
pub fn seed(text: &str) -> std::result::Result<u64, String> {
    match text.parse() {
        Ok(seed) if i64::try_from(seed).is_ok() => Ok(seed),
        _ => Err(format!("expected a whole number from 0 to {}", i64::MAX)),
    }
}

/// Reads a number.
pub fn number(text: &str) -> std::result::Result<f64, String> {
    text.parse().map_err(|_| "expected a number".to_owned())
}
