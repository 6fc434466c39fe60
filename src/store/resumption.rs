//! A run directory whose run goes on.

use std::path::{Path, PathBuf};

use super::checkpoints::{self, CHECKPOINTS, lock, resume_command};
use super::command::command_of;
use super::genotype::{GENOTYPE, load_genotype};
use super::lines::count_lines;
use super::place::{MAX_PLAN, PLAN, check_run};
use super::run_directory::{METRICS, RunDirectory};
use crate::epochs::{Checkpoint, Position};
use crate::files::read_text;
use crate::plan::file::table;
use crate::plan::{Command, Contradiction, PlanTable};
use crate::space::genotype::Genotype;
use crate::{Error, Result};

/// A run that is to go on.
pub struct Resumption<P> {
    /// The plan that it was begun with.
    pub plan: P,
    /// What a training trains.
    pub genotype: Option<Genotype>,
    /// Where it goes on; at its start, if it was ended before it stored anything.
    pub checkpoint: Option<Checkpoint>,
    /// Its directory. Nothing in it is changed before the run starts.
    pub directory: RunDirectory,
}

impl<P: PlanTable> Resumption<P> {
    /// Opens a run directory, or the one of a checkpoint, for the command of its plan.
    ///
    /// # Errors
    /// No such run or one of the other command, a run that another process is writing, a checkpoint that cannot be read, or
    /// a plan that was changed.
    pub fn open(given: &Path) -> Result<Self> {
        let (run, named) = place(given)?;
        let place = run.join(PLAN);
        let text = read_text(&place, MAX_PLAN)?;
        check_command::<P>(&run, &table(&text, &place)?)?;
        let lock = lock(&run)?;
        let found = match named {
            Some(path) => Some((path.clone(), checkpoints::load(&run, &path, P::COMMAND)?)),
            None => checkpoints::newest(&run, P::COMMAND)?,
        };
        let plan = P::from_toml(&text, &place)?;
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
fn place(given: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let fail = |reason: &str| Err(Error::Format { path: given.into(), reason: reason.to_owned() });
    if given.is_dir() {
        check_run(given)?;
        return Ok((given.to_owned(), None));
    }
    if !given.exists() {
        return fail("no such run directory or checkpoint");
    }
    let directory = given.parent().filter(|parent| parent.ends_with(CHECKPOINTS));
    let Some(run) = directory.and_then(Path::parent) else {
        return fail("is not a checkpoint in the directory of its run, RUN/checkpoints");
    };
    let run = if run.as_os_str().is_empty() { Path::new(".") } else { run };
    Ok((run.to_owned(), Some(given.to_owned())))
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
