//! The run directory of a search.
//!
//! ```text
//! runs/2026-01-31-142500-digits-first/
//!   plan.toml                     the plan; `darts search --plan` repeats the run
//!   pictures.json                 the names and checksums of the pictures, where they are files of their own
//!   survey.json                   how many and how large these are
//!   sheet.json                    an image of each class as the network reads it, and as the run varies it
//!   metrics.jsonl                 one line for each epoch, the same at every repetition
//!   timings.jsonl                 how long each epoch took
//!   checkpoints/                  the last two states to go on from, such as
//!     epoch-0003-step-00120.safetensors    after 3 epochs and 120 steps
//!   genotype.json, genotype.txt   the genotype derived after the last finished epoch, or after the one with which a guard
//!                                 ended the search; before the first one ends, from
//!                                 the alphas of the newest checkpoint
//!   alphas/epoch-0001.safetensors the alphas after each epoch
//!   report.html                   what `darts report` made of these, with
//!   cell_normal.svg, .dot, ...    the cells as drawings
//!   nasbench201.jsonl             in that space, the accuracy and rank of each epoch's genotype as the table has it
//! ```

use std::path::Path;

use super::alphas::{ALPHAS, alphas_file, epochs, load_alphas, result};
use super::checkpoints::stored;
use super::genotype::{remove_genotype, write_genotype};
use super::pictures::pictures_files;
use super::run_directory::{NewRun, RunDirectory, data_name};
use crate::data::Dataset;
use crate::epochs::Checkpoint;
use crate::plan::PlanTable;
use crate::plan::search::Plan;
use crate::search::observer::{EpochRecord, Observer, SearchPhase, Summary, Timing};
use crate::search::session::alphas_of;
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::{Error, Result};

/// Creates `<parent>/<date and time>-<data set>-<order>`; a number is appended if that exists.
pub fn create(plan: &Plan, dataset: Option<&Dataset>, parent: &Path) -> Result<RunDirectory> {
    RunDirectory::create(new_run(plan, dataset)?, parent)
}

/// Creates exactly this directory, or takes it if it is empty.
pub fn create_at(plan: &Plan, dataset: Option<&Dataset>, path: &Path) -> Result<RunDirectory> {
    RunDirectory::create_at(new_run(plan, dataset)?, path)
}

fn new_run(plan: &Plan, dataset: Option<&Dataset>) -> Result<NewRun> {
    Ok(NewRun {
        name: format!("{}-{}", data_name(&plan.data), plan.order),
        plan: plan.to_toml()?,
        files: pictures_files(dataset, |dataset| plan.augmentation(dataset.augmentation), plan.seed)?,
        directories: &[ALPHAS],
    })
}

impl Observer<SearchPhase> for RunDirectory {
    fn started(&mut self, _: &Summary) -> Result<()> {
        let Some(last) = self.rewind()? else { return Ok(()) };
        for epoch in epochs(self.path())?.into_iter().filter(|&epoch| epoch > last) {
            let path = alphas_file(self.path(), epoch);
            std::fs::remove_file(&path).map_err(|source| Error::io(path, source))?;
        }
        if last > 0 || !stored(self.path())?.is_empty() {
            let alphas = match last {
                0 => load_alphas(self.path(), None)?.0,
                last => Alphas::load(&alphas_file(self.path(), result(self.path(), last)))?.0,
            };
            write_genotype(self.path(), &derive(&alphas))?;
        } else {
            remove_genotype(self.path())?;
        }
        self.count_stored(last);
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, alphas: &Alphas) -> Result<()> {
        alphas.save(&alphas_file(self.path(), record.epoch), record.epoch)?;
        match record.result() {
            epoch if epoch == record.epoch => write_genotype(self.path(), &record.genotype)?,
            epoch => write_genotype(self.path(), &derive(&load_alphas(self.path(), Some(epoch))?.0))?,
        }
        self.append(record, timing)
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.save(checkpoint)?;
        match checkpoint.progress.position.epochs {
            0 => write_genotype(self.path(), &derive(&alphas_of(checkpoint)?)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epochs::Position;
    use crate::method::guard::{Answer, Remark};
    use crate::search::observer::example::{record, timing};
    use crate::space::alphas::ramp;
    use crate::store::genotype::load_genotype;
    use crate::store::history::History;

    #[test]
    fn a_run_is_stored_and_read_back() {
        let parent = tempfile::tempdir().unwrap();
        let runs = parent.path().join("runs");
        let mut run = create(&Plan::default(), None, &runs).unwrap();
        let name = run.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.len() == 30 && name.ends_with("-digits-first"), "{name}");
        let alphas = ramp(4);
        let genotype = derive(&alphas);
        let observer: &mut dyn Observer<SearchPhase> = &mut run;
        observer.epoch(&record(1, genotype.clone()), &timing(1), &alphas).unwrap();
        observer.epoch(&record(2, genotype.clone()), &timing(2), &alphas).unwrap();
        assert_eq!(epochs(run.path()).unwrap(), [1, 2]);
        assert_eq!(load_alphas(run.path(), None).unwrap(), (alphas, Position { epochs: 2, steps: 0 }));
        assert_eq!(load_genotype(run.path()).unwrap(), genotype);
        let metrics = std::fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
        let records: Vec<EpochRecord> =
            metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records[1], record(2, genotype));
        let plan = std::fs::read_to_string(run.path().join("plan.toml")).unwrap();
        assert_eq!(Plan::from_toml(&plan, Path::new("plan.toml")).unwrap(), Plan::default());
    }

    #[test]
    fn the_result_of_a_run_is_that_of_the_epoch_that_a_guard_names() {
        let parent = tempfile::tempdir().unwrap();
        let mut run = create(&Plan::default(), None, parent.path()).unwrap();
        let alphas = [ramp(4), Alphas::zeros(ramp(4).space, 4)];
        let [first, second] = alphas.each_ref().map(derive);
        assert_ne!(first, second);
        let observer: &mut dyn Observer<SearchPhase> = &mut run;
        observer.epoch(&record(1, first.clone()), &timing(1), &alphas[0]).unwrap();
        let (guard, observed) = ("eigenvalue".to_owned(), "it grew".to_owned());
        let guards = vec![Remark { guard, answer: Answer::Stop, observed, result: Some(1) }];
        let last = EpochRecord { guards, ..record(2, second) };
        observer.epoch(&last, &timing(2), &alphas[1]).unwrap();
        assert_eq!(load_genotype(run.path()).unwrap(), first);
        assert_eq!(load_alphas(run.path(), None).unwrap().0, alphas[0]);
        assert_eq!(load_alphas(run.path(), Some(2)).unwrap().0, alphas[1]);
        let history = History::load(run.path()).unwrap();
        assert_eq!((history.last(), history.result().epoch), (&last, 1));
        assert_eq!(history.result_alphas(), &alphas[0]);
    }

    #[test]
    fn runs_of_the_same_second_have_places_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let one = create(&Plan::default(), None, parent.path()).unwrap();
        let other = create(&Plan::default(), None, parent.path()).unwrap();
        assert_ne!(one.path(), other.path());
    }

    #[test]
    fn a_place_that_is_taken_is_refused_and_left_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        for place in [file.clone(), file.join("below"), file.join("far/below"), parent.path().to_owned()] {
            let refused = create_at(&Plan::default(), None, &place).err().unwrap().to_string();
            assert!(refused.starts_with(&format!("{}: cannot create", place.display())), "{refused}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_run_without_an_epoch_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        create(&Plan::default(), None, &parent.path().join("runs")).unwrap().abandon();
        create_at(&Plan::default(), None, parent.path()).unwrap().abandon();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_directory_is_taken() {
        let parent = tempfile::tempdir().unwrap();
        assert!(create_at(&Plan::default(), None, parent.path()).is_ok());
        let below = parent.path().join("new/er");
        assert!(create_at(&Plan::default(), None, &below).is_ok());
    }
}
