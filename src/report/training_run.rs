//! The run directory of a training.
//!
//! ```text
//! runs/2026-01-31-142500-digits-train/
//!   plan.toml                     the plan; `darts train GENOTYPE --plan` repeats the run
//!   genotype.json, genotype.txt   the genotype that is trained
//!   metrics.jsonl                 one line for each epoch
//!   best.safetensors              the model of the epoch with the best accuracy on the test images
//!   last.safetensors              the model of the last finished epoch
//!   classes.json                  which classes the last model takes for which, written at the end
//!   report.html                   what `darts report` made of these, with
//!   cell_normal.svg, .dot, ...    the cells as drawings
//! ```

use std::path::Path;

use super::run_directory::{Beginning, PLAN, RunDirectory, data_name, genotype_files};
use crate::Result;
use crate::plan::PlanTable;
use crate::space::genotype::Genotype;
use crate::train::Model;
use crate::train::observer::{EpochRecord, Facts, Observer, StepRecord};
use crate::train::plan::Plan;

/// The file of the model with the best accuracy.
pub const BEST: &str = "best.safetensors";
/// The file of the latest model.
pub const LAST: &str = "last.safetensors";

/// A run directory that a training writes.
pub struct TrainingRun(RunDirectory);

impl TrainingRun {
    /// Creates `<parent>/<date and time>-<data set>-train`; a number is appended if that exists.
    pub fn create(plan: &Plan, genotype: &Genotype, parent: &Path) -> Result<Self> {
        RunDirectory::begin(beginning(plan, genotype)?, parent).map(TrainingRun)
    }

    /// Creates exactly this directory, or takes it if it is empty.
    pub fn create_at(plan: &Plan, genotype: &Genotype, path: &Path) -> Result<Self> {
        RunDirectory::begin_at(beginning(plan, genotype)?, path).map(TrainingRun)
    }

    /// The directory.
    pub fn directory(self) -> RunDirectory {
        self.0
    }
}

fn beginning(plan: &Plan, genotype: &Genotype) -> Result<Beginning> {
    let [json, literal] = genotype_files(genotype);
    Ok(Beginning {
        name: format!("{}-train", data_name(&plan.data)),
        files: vec![(PLAN, plan.to_toml()?), json, literal],
        directories: &[],
    })
}

impl Observer for TrainingRun {
    fn started(&mut self, _: &Facts) -> Result<()> {
        Ok(())
    }

    fn step(&mut self, _: &StepRecord) -> Result<()> {
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, model: &Model) -> Result<()> {
        if record.best {
            model.save(&self.0.path().join(BEST))?;
        }
        model.save(&self.0.path().join(LAST))?;
        self.0.append(record)
    }
}
