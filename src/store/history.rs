//! A run directory read back: the finished epochs of a search or of a training, and how far the run is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::alphas::{alphas_file, epochs, load_alphas};
use super::checkpoints;
use super::classes::Classes;
use super::command::load_plan;
use super::genotype::load_genotype;
use super::lines::{MAX_LINES, count_lines, whole_lines};
use super::pictures::{load_sheet, load_survey};
use super::place::{METRICS, TIMINGS};
use super::training_run::LAST;
use crate::data::Survey;
use crate::data::sheet::Sheet;
use crate::epochs::Position;
use crate::files::read_bounded;
use crate::method::stages::transitions;
use crate::plan::keys::Keys;
use crate::plan::{Command, PlanTable, search, train};
use crate::search::observer::{EpochRecord, Timing};
use crate::space::alphas::Alphas;
use crate::space::cost::Cost;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::train::Model;
use crate::train::model::Description;
use crate::train::observer::EpochRecord as TrainingRecord;
use crate::{Error, Result};

/// A search in its epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The run directory.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The keys of the plan and their values, as they are written.
    pub plan: Vec<(String, String)>,
    /// Where the newest checkpoint was stored, if the run is not at its end.
    pub standing: Option<Position>,
    /// What was measured in each epoch; never empty.
    pub records: Vec<EpochRecord>,
    /// How long the epochs took, as far as that is stored.
    pub timings: Vec<Timing>,
    /// The epochs whose alphas are stored, ascending, and the alphas; never empty.
    pub alphas: Vec<(usize, Alphas)>,
    /// The genotype of the result.
    pub genotype: Genotype,
    /// What is known of the pictures, where they are files of their own.
    pub survey: Option<Survey>,
    /// Images to look at, if the run stored them.
    pub sheet: Option<Sheet>,
}

impl History {
    /// Reads the run directory of a search.
    ///
    /// # Errors
    /// A file is missing or damaged, or no epoch was finished.
    pub fn load(run: &Path) -> Result<Self> {
        let (plan, name) = (plan(search::Plan::keys(), run)?, name(run));
        let records: Vec<EpochRecord> = records(&run.join(METRICS))?;
        let timings = timings(run, records.iter().map(|record| record.epoch));
        let stored = epochs(run)?;
        let load = |&epoch: &usize| Alphas::load(&alphas_file(run, epoch)).map(|(alphas, _)| (epoch, alphas));
        let alphas = stored.iter().map(load).collect::<Result<Vec<_>>>()?;
        let genotype = load_genotype(run)?;
        if alphas.is_empty() {
            let reason = "holds no alphas: no epoch of this run was finished".to_owned();
            return Err(Error::Format { path: run.join("alphas"), reason });
        }
        let nodes = genotype.cells[0].nodes.len();
        if let Some((epoch, _)) = alphas.iter().find(|(_, alphas)| alphas.nodes != nodes) {
            let reason = format!("holds other cells than genotype.json, which has {nodes} nodes");
            return Err(Error::Format { path: alphas_file(run, *epoch), reason });
        }
        if let Some((epoch, other)) = alphas.iter().find(|(_, alphas)| alphas.space != genotype.space) {
            let (found, expected) = (&other.space, &genotype.space);
            let reason = format!("is of the space {found}, and genotype.json is of the space {expected}");
            return Err(Error::Format { path: alphas_file(run, *epoch), reason });
        }
        let (path, survey, standing) = (run.to_owned(), load_survey(run)?, standing(run, &plan)?);
        let sheet = load_sheet(run)?;
        Ok(History { path, name, plan, standing, records, timings, alphas, genotype, survey, sheet })
    }

    /// The value of a key of the plan, without quotes.
    pub fn planned(&self, key: &str) -> Option<&str> {
        planned(&self.plan, key)
    }

    /// The last epoch.
    pub fn last(&self) -> &EpochRecord {
        &self.records[self.records.len() - 1]
    }

    /// The records of the last stage without a selection behind it: of epochs that trained the same network.
    pub fn last_stage(&self) -> &[EpochRecord] {
        let planned = self.planned("epochs").and_then(|epochs| epochs.parse::<usize>().ok());
        let (Some(epochs), Some(text)) = (planned, self.planned("method.stages")) else {
            return &self.records;
        };
        let stages = 1 + transitions(text).map_or(0, |transitions| transitions.len());
        let each = (epochs / stages).max(1);
        let last = self.records.len().min(epochs);
        let first = (last - 1) / each * each;
        &self.records[first..last]
    }

    /// The epoch whose genotype is the result: the last one, unless a guard has ended the search with another.
    pub fn result(&self) -> &EpochRecord {
        let (last, epoch) = (self.last(), self.last().result());
        self.records.iter().find(|record| record.epoch == epoch).unwrap_or(last)
    }

    /// The alphas of the result.
    pub fn result_alphas(&self) -> &Alphas {
        let epoch = self.last().result();
        let (_, last) = &self.alphas[self.alphas.len() - 1];
        self.alphas.iter().find(|(of, _)| *of == epoch).map_or(last, |(_, alphas)| alphas)
    }
}

/// A training in its epochs.
#[derive(Clone, Debug)]
pub struct TrainingHistory {
    /// The run directory.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// The keys of the plan and their values, as they are written.
    pub plan: Vec<(String, String)>,
    /// Where the newest checkpoint was stored, if the run is not at its end.
    pub standing: Option<Position>,
    /// What was measured in each epoch; never empty.
    pub records: Vec<TrainingRecord>,
    /// How long the epochs took, as far as that is stored.
    pub timings: Vec<Timing>,
    /// The genotype that is trained.
    pub genotype: Genotype,
    /// What the network of the last epoch costs.
    pub cost: Cost,
    /// What that network was made for.
    pub model: Description,
    /// How it does class by class, if the training is at its end.
    pub classes: Option<Classes>,
    /// What is known of the pictures, where they are files of their own.
    pub survey: Option<Survey>,
    /// Images to look at, if the run stored them.
    pub sheet: Option<Sheet>,
}

impl TrainingHistory {
    /// Reads the run directory of a training.
    ///
    /// # Errors
    /// A file is missing or damaged, or no epoch was finished.
    pub fn load(run: &Path) -> Result<Self> {
        let (plan, name) = (plan(train::Plan::keys(), run)?, name(run));
        let records: Vec<TrainingRecord> = records(&run.join(METRICS))?;
        let timings = timings(run, records.iter().map(|record| record.epoch));
        let genotype = load_genotype(run)?;
        let model = Model::load(&run.join(LAST))?.description;
        let cost = Cost::of(&model.genotype, &model.shape(1, false))?;
        let classes = Classes::load(run)?;
        let (path, survey, standing) = (run.to_owned(), load_survey(run)?, standing(run, &plan)?);
        let sheet = load_sheet(run)?;
        Ok(TrainingHistory {
            path,
            name,
            plan,
            standing,
            records,
            timings,
            genotype,
            cost,
            model,
            classes,
            survey,
            sheet,
        })
    }

    /// The value of a key of the plan, without quotes.
    pub fn planned(&self, key: &str) -> Option<&str> {
        planned(&self.plan, key)
    }

    /// The last epoch.
    pub fn last(&self) -> &TrainingRecord {
        &self.records[self.records.len() - 1]
    }

    /// The epoch whose accuracy on the test images was the best; of several the first.
    pub fn best(&self) -> &TrainingRecord {
        let better =
            |best: &'_ TrainingRecord, next: &TrainingRecord| next.test_accuracy > best.test_accuracy;
        self.records.iter().fold(&self.records[0], |best, next| if better(best, next) { next } else { best })
    }
}

/// A run in its first epoch.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The run directory.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its command.
    pub command: Command,
    /// The keys of the plan and their values, as they are written.
    pub plan: Vec<(String, String)>,
    /// Where the newest checkpoint was stored.
    pub standing: Position,
    /// The genotype that is trained, or that the alphas of the checkpoint give.
    pub genotype: Genotype,
    /// These alphas, of a search.
    pub alphas: Option<Alphas>,
    /// What is known of the pictures, where they are files of their own.
    pub survey: Option<Survey>,
    /// Images to look at, if the run stored them.
    pub sheet: Option<Sheet>,
}

impl Beginning {
    /// Reads the run directory of a command, if its run has a checkpoint and no finished epoch.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn load(run: &Path, command: Command) -> Result<Option<Self>> {
        let newest = checkpoints::stored(run)?.pop();
        let Some((standing, _)) = newest.filter(|(position, _)| position.epochs == 0) else {
            return Ok(None);
        };
        if count_lines(&run.join(METRICS))? > 0 {
            return Ok(None);
        }
        let (alphas, keys) = match command {
            Command::Search => (Some(load_alphas(run, None)?.0), search::Plan::keys()),
            Command::Train => (None, train::Plan::keys()),
        };
        let genotype = alphas.as_ref().map_or_else(|| load_genotype(run), |alphas| Ok(derive(alphas)))?;
        let (path, survey, sheet) = (run.to_owned(), load_survey(run)?, load_sheet(run)?);
        let (plan, name) = (plan(keys, run)?, name(run));
        Ok(Some(Beginning { path, name, command, plan, standing, genotype, alphas, survey, sheet }))
    }

    /// The value of a key of the plan, without quotes.
    pub fn planned(&self, key: &str) -> Option<&str> {
        planned(&self.plan, key)
    }
}

/// Where the newest checkpoint of a run was stored, if the run is not at its end. That of a search with a guard may be the
/// end of any epoch.
fn standing(run: &Path, plan: &[(String, String)]) -> Result<Option<Position>> {
    let newest = checkpoints::stored(run)?.pop().map(|(position, _)| position);
    let epochs = planned(plan, "epochs").and_then(|epochs| epochs.parse().ok());
    let guarded = planned(plan, "method.guard").is_some_and(|guard| guard != "none");
    let under_way = |position: &Position| match position.steps {
        0 => !guarded && epochs.is_some_and(|epochs: usize| position.epochs < epochs),
        _ => true,
    };
    Ok(newest.filter(under_way))
}

/// The name of a run directory.
fn name(run: &Path) -> String {
    // The last part of `.` or `..` is not a name.
    let path = run.canonicalize().ok();
    let name = path.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "run".to_owned())
}

fn planned<'a>(plan: &'a [(String, String)], key: &str) -> Option<&'a str> {
    plan.iter().find(|(name, _)| name == key).map(|(_, value)| value.trim_matches('"'))
}

/// The keys of the plan of a run and their values, as they are written.
fn plan(keys: &Keys, run: &Path) -> Result<Vec<(String, String)>> {
    let plan = load_plan(run)?;
    Ok(keys.paths(&plan).map(|(path, value)| (path, value.to_string())).collect())
}

/// The lines of the metrics. A last line without an end is one that a run is about to write.
fn records<R: DeserializeOwned>(path: &Path) -> Result<Vec<R>> {
    let bytes = read_bounded(path, MAX_LINES)?;
    let lines = whole_lines(&bytes).filter(|line| !line.is_empty());
    let fail = |reason: String| Error::Format { path: path.into(), reason };
    let records = lines.enumerate().map(|(index, line)| {
        serde_json::from_slice(line).map_err(|error| fail(format!("line {}: {error}", index + 1)))
    });
    let records = records.collect::<Result<Vec<R>>>()?;
    if records.is_empty() {
        return Err(fail("holds no epoch: none of this run was finished".to_owned()));
    }
    Ok(records)
}

/// The timings of these epochs: a report can do without any of them.
fn timings(run: &Path, epochs: impl Iterator<Item = usize>) -> Vec<Timing> {
    let bytes = read_bounded(&run.join(TIMINGS), MAX_LINES).unwrap_or_default();
    let timings = whole_lines(&bytes).filter_map(|line| serde_json::from_slice::<Timing>(line).ok());
    let timings: BTreeMap<usize, Timing> = timings.map(|timing| (timing.epoch, timing)).collect();
    epochs.filter_map(|epoch| timings.get(&epoch).copied()).collect()
}
