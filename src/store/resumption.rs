//! A run directory whose run goes on.

use std::path::{Path, PathBuf};

use super::checkpoints::{self, CHECKPOINTS, lock, resume_command};
use super::command::command_of;
use super::genotype::{GENOTYPE, load_genotype};
use super::lines::count_lines;
use super::place::METRICS;
use super::place::{MAX_PLAN, PLAN, check_run};
use super::run_directory::RunDirectory;
use crate::epochs::{Checkpoint, Position};
use crate::files::read_text;
use crate::plan::file::table;
use crate::plan::{Command, Contradiction, PlanTable};
use crate::space::genotype::Genotype;
use crate::{Error, Result};

/// An interrupted run, opened to be resumed.
pub struct Resumption<P> {
    /// Its plan.
    pub plan: P,
    /// The genotype of a training.
    pub genotype: Option<Genotype>,
    /// The state to resume from; `None` if the run ended before it stored any, so it starts anew.
    pub checkpoint: Option<Checkpoint>,
    /// Its directory, unchanged until the run starts.
    pub directory: RunDirectory,
}

impl<P: PlanTable> Resumption<P> {
    /// Opens a run directory, or the one of a checkpoint, for the command of its plan.
    ///
    /// # Errors
    /// No such run or one of the other command, a run that another process is writing, a checkpoint that cannot be read, or
    /// a plan that was changed.
    pub fn open(from: &Path) -> Result<Self> {
        let (run, named) = run_and_checkpoint(from)?;
        let plan_file = run.join(PLAN);
        let text = read_text(&plan_file, MAX_PLAN)?;
        check_command::<P>(&run, &table(&text, &plan_file)?)?;
        let lock = lock(&run)?;
        let found = match named {
            Some(path) => Some((path.clone(), checkpoints::load(&run, &path, P::COMMAND)?)),
            None => checkpoints::newest(&run, P::COMMAND)?,
        };
        let plan = P::from_toml(&text, &plan_file)?;
        let genotype = if P::COMMAND == Command::Train { Some(load_genotype(&run)?) } else { None };
        match &found {
            Some((path, checkpoint)) => check(&run, path, checkpoint, &plan, genotype.as_ref())?,
            // An epoch is in the metrics just before its checkpoint is stored.
            None if count_lines(&run.join(METRICS))? > 1 => {
                let reason = format!("holds no checkpoint to go on from; they are in {CHECKPOINTS}");
                return Err(Error::Format { path: run, reason });
            }
            None => {}
        }
        let checkpoint = found.map(|(_, checkpoint)| checkpoint);
        let position = checkpoint.as_ref().map_or(Position::default(), |found| found.progress.position);
        let directory = RunDirectory::reopen(run, lock, position)?;
        Ok(Resumption { plan, genotype, checkpoint, directory })
    }
}

/// The run directory, and the checkpoint if one is named.
fn run_and_checkpoint(from: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let fail = |reason: &str| Err(Error::Format { path: from.into(), reason: reason.to_owned() });
    if from.is_dir() {
        check_run(from)?;
        return Ok((from.to_owned(), None));
    }
    if !from.exists() {
        return fail("no such run directory or checkpoint");
    }
    let directory = from.parent().filter(|parent| parent.ends_with(CHECKPOINTS));
    let Some(run) = directory.and_then(Path::parent) else {
        return fail("is not a checkpoint in the directory of its run, RUN/checkpoints");
    };
    let run = if run.as_os_str().is_empty() { Path::new(".") } else { run };
    Ok((run.to_owned(), Some(from.to_owned())))
}

/// Refuses the run of the other command.
fn check_command<P: PlanTable>(run: &Path, plan: &toml::Table) -> Result<()> {
    match command_of(plan) {
        Some(command) if command != P::COMMAND => {
            let (place, other) = (run.display(), command.run());
            let way_on = resume_command(command, run);
            Err(Error::Usage(format!("--resume: {place} is the run of {other}; `{way_on}` goes on with it")))
        }
        _ => Ok(()),
    }
}

/// Refuses a checkpoint that plan and genotype of its run do not fit any more.
fn check<P: PlanTable>(
    run: &Path,
    path: &Path,
    checkpoint: &Checkpoint,
    plan: &P,
    genotype: Option<&Genotype>,
) -> Result<()> {
    let identity = &checkpoint.identity;
    if identity.command != P::COMMAND {
        let (found, expected) = (identity.command.run(), P::COMMAND.run());
        let reason = format!("is a checkpoint of {found}, not of {expected}");
        return Err(Error::Format { path: path.into(), reason });
    }
    let path = path.display();
    if let Some(Contradiction { key, given, begun }) = identity.contradiction(plan)? {
        let file = run.join(PLAN);
        return Err(Error::Plan(format!(
            "{}: {key} is {given}, and {path} was saved with {begun}; put it back, or begin anew with --plan",
            file.display()
        )));
    }
    if identity.genotype.as_ref() != genotype {
        let file = run.join(GENOTYPE);
        let reason = format!("is not the genotype that {path} was saved with");
        return Err(Error::Format { path: file, reason });
    }
    Ok(())
}
