//! The run directory of a training.
//!
//! ```text
//! runs/2026-01-31-142500-digits-train/
//!   plan.toml                     the plan; `darts train GENOTYPE --plan` repeats the run
//!   genotype.json, genotype.txt   the genotype that is trained
//!   pictures.json                 the names and checksums of the pictures, where they are files of their own
//!   survey.json                   how many and how large these are
//!   sheet.json                    an image of each class as the network reads it, and as the run varies it
//!   metrics.jsonl                 one line for each epoch, the same at every repetition
//!   timings.jsonl                 how long each epoch took
//!   checkpoints/                  the last two states to go on from
//!   best.safetensors              the model of the epoch with the best accuracy on the test images
//!   last.safetensors              the model of the last finished epoch
//!   classes.json                  which classes the last model takes for which, written at the end
//!   report.html                   what `darts report` made of these, with
//!   cell_normal.svg, .dot, ...    the cells as drawings
//! ```

use std::path::Path;

use super::classes::Classes;
use super::genotype::genotype_files;
use super::pictures::pictures_files;
use super::run_directory::{NewRun, RunDirectory, data_name};
use crate::Result;
use crate::data::Dataset;
use crate::epochs::Checkpoint;
use crate::plan::PlanTable;
use crate::plan::train::Plan;
use crate::space::genotype::Genotype;
use crate::train::Model;
use crate::train::observer::{EpochRecord, Observer, Summary, Timing, TrainingPhase};

/// The file of the model with the best accuracy.
pub const BEST: &str = "best.safetensors";
/// The file of the latest model.
pub const LAST: &str = "last.safetensors";

/// Creates `<parent>/<date and time>-<data set>-train`; a number is appended if that exists.
pub fn create(
    plan: &Plan,
    genotype: &Genotype,
    dataset: Option<&Dataset>,
    parent: &Path,
) -> Result<RunDirectory> {
    RunDirectory::create(new_run(plan, genotype, dataset)?, parent)
}

/// Creates exactly this directory, or takes it if it is empty.
pub fn create_at(
    plan: &Plan,
    genotype: &Genotype,
    dataset: Option<&Dataset>,
    path: &Path,
) -> Result<RunDirectory> {
    RunDirectory::create_at(new_run(plan, genotype, dataset)?, path)
}

fn new_run(plan: &Plan, genotype: &Genotype, dataset: Option<&Dataset>) -> Result<NewRun> {
    let [json, literal] = genotype_files(genotype);
    Ok(NewRun {
        name: format!("{}-train", data_name(&plan.data)),
        plan: plan.to_toml()?,
        files: [json, literal]
            .into_iter()
            .chain(pictures_files(dataset, |_| plan.augmentation(), plan.seed)?)
            .collect(),
        directories: &[],
    })
}

impl Observer<TrainingPhase> for RunDirectory {
    fn started(&mut self, _: &Summary) -> Result<()> {
        // Models beyond the position come again as they are; what the end adds, at the end.
        if let Some(last) = self.rewind()? {
            Classes::remove(self.path())?;
            self.count_stored(last);
        }
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, model: &Model) -> Result<()> {
        if record.best {
            model.save(&self.path().join(BEST))?;
        }
        model.save(&self.path().join(LAST))?;
        self.append(record, timing)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.save(checkpoint)
    }
}
