//! The flags of a plan: one for each key, a preset, and a plan file.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use clap::builder::{BoolValueParser, PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgMatches, Command, FromArgMatches};
use toml::{Table, Value};

use super::data::Tolerance;
use crate::data::{Dataset, Reading, Source};
use crate::plan::keys::{Domain, Key, Preset};
use crate::plan::merge::{Given, Written};
use crate::plan::{PlanTable, file};
use crate::store::command::command_of;
use crate::store::place::MAX_PLAN;
use crate::{Error, Result, files};

/// Where the values come from that no flag gives.
#[derive(clap::Args)]
pub struct PlanArguments {
    /// Begin from these values: small suits the digits and a laptop, paper is what the paper does.
    #[arg(long, value_name = "NAME", value_parser = Preset::NAMES, default_value = "small", conflicts_with = "resume")]
    preset: String,
    /// Take values from this TOML file, such as the plan.toml of a run; its keys are the flags below with
    /// _ for -.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

/// A flag for each key of a plan; the values of those that the user wrote, by the names of their keys.
pub struct PlanFlags<P> {
    values: Table,
    plan: PhantomData<P>,
}

impl<P: PlanTable> clap::Args for PlanFlags<P> {
    fn augment_args(command: Command) -> Command {
        command.args(P::keys().0.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<P: PlanTable> FromArgMatches for PlanFlags<P> {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let value = |key: &Key| Some((key.name.to_owned(), matches.get_one::<Value>(key.name)?.clone()));
        Ok(PlanFlags { values: P::keys().0.iter().filter_map(value).collect(), plan: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        self.values.extend(Self::from_arg_matches(matches)?.values);
        Ok(())
    }
}

/// The flag of a key.
fn flag(key: &'static Key) -> Arg {
    let parser: ValueParser = match &key.domain {
        Domain::Word(words) => {
            PossibleValuesParser::new(words.iter().map(String::as_str)).map(Value::String).into()
        }
        Domain::Switch => BoolValueParser::new().map(Value::Boolean).into(),
        domain => ValueParser::new(|text: &str| domain.parse(text)),
    };
    let negative = matches!(key.domain, Domain::Count(_) | Domain::Number(..));
    Arg::new(key.name)
        .long(key.flag.as_str())
        .value_name(key.placeholder)
        .value_parser(parser)
        .hide_possible_values(true)
        .allow_negative_numbers(negative)
        .help_heading("Plan")
        .help(key.help())
}

impl PlanArguments {
    /// One checked plan out of the flags, the plan file, the images if neither names a data set, and the preset; or, of a
    /// run that goes on, the plan in its directory, which the flags and the plan file must not contradict. A seed replaces
    /// what was written of it.
    pub fn with<P: PlanTable>(
        &self,
        flags: &PlanFlags<P>,
        images: Table,
        begun: Option<(&Path, &P)>,
        seed: Option<i64>,
    ) -> Result<Given<P>> {
        let mut written = self.written(flags)?;
        if let Some(seed) = seed {
            written = written.with_seed(seed);
        }
        match begun {
            Some((run, begun)) => written.plan_of_run(run, begun),
            None => written.plan(images),
        }
    }

    /// What the user wrote.
    pub fn written<P: PlanTable>(&self, flags: &PlanFlags<P>) -> Result<Written> {
        Ok(Written {
            preset: if self.preset == Preset::Paper.name() { Preset::Paper } else { Preset::Small },
            file: self.plan.clone().map(read::<P>).transpose()?,
            flags: flags.values.clone(),
        })
    }
}

/// Reads a plan file.
fn read<P: PlanTable>(path: PathBuf) -> Result<(PathBuf, Table)> {
    let text = files::read_text(&path, MAX_PLAN)?;
    let values = file::read(P::keys(), &text, &path);
    let values = values.map_err(|error| of_another_command::<P>(&text, &path).unwrap_or(error))?;
    Ok((path, values))
}

/// The sentence about a plan file of the other command.
fn of_another_command<P: PlanTable>(text: &str, path: &Path) -> Option<Error> {
    let command = command_of(&text.parse().ok()?).filter(|&command| command != P::COMMAND)?;
    let (path, run, name) = (path.display(), command.run(), command.name());
    Some(Error::Plan(format!("{path}: is the plan of {run}, which `darts {name}` takes")))
}

impl<P: PlanTable> Given<P> {
    /// Loads the data set.
    pub fn dataset(&self, reading: &Reading, tolerance: &Tolerance, quiet: bool) -> Result<Dataset> {
        let source = self.source()?;
        let given =
            ["image_size", "colour", "background", "fit"].into_iter().find(|key| self.written.in_flags(key));
        super::data::refuse_for_own_images(&source, given.or(tolerance.flag()))?;
        let plan = &self.plan;
        super::data::load(&source, plan.seed(), reading, plan.threads(), quiet)
    }

    fn source(&self) -> Result<Source> {
        self.plan.data().parse().map_err(|error| match (error, &self.written.file) {
            (Error::Usage(text), Some((path, _))) if !self.written.in_flags("data") => {
                Error::Plan(format!("{}: {}", path.display(), text.replace("--data", "data")))
            }
            (error, _) => error,
        })
    }
}

/// Reads a count.
pub fn whole_number(text: &str) -> std::result::Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// Reads a number.
pub fn number(text: &str) -> std::result::Result<f64, String> {
    text.parse().map_err(|_| "expected a number".to_owned())
}
