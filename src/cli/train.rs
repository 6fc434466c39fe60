//! `darts train`: its flags, and the training itself.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use toml::Value;

use super::genotype::find;
use super::output::{plain, print, report, tell};
use super::pictures::compare_with_search;
use super::plan::PlanFlags;
use super::run::{Followed, RunArguments};
use crate::data::balance::{balanced_accuracy_of, uneven};
use crate::data::{Dataset, Images};
use crate::epochs::{Control, Observers, Position};
use crate::plan::PlanTable;
use crate::plan::train::{ClassWeights, Plan};
use crate::readable::grouped;
use crate::report::page;
use crate::store::classes::Classes;
use crate::store::run_directory::RUNS;
use crate::store::training_run::{self, LAST};
use crate::train::classifier::open;
use crate::train::model::Description;
use crate::train::observer::TrainingPhase;
use crate::train::{Model, session};
use crate::{Error, Result};

/// Train the network of a genotype from scratch, and keep it as a model.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A published name, random:SEED for one drawn at random, a run directory, a file with a genotype as JSON
    /// or as a Python literal, or such a text itself.
    #[arg(allow_hyphen_values = false, required_unless_present = "resume")]
    genotype: Option<String>,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    flags: PlanFlags<Plan>,
}

const EXAMPLES: &str = "\
Precedence: a flag, then the plan file, then the preset. Without --data, the network of a run is trained on \
the images of that run: data, image size, colour and seed are those of its plan. Without --space, the space is \
that of the genotype. Ctrl-C ends a training after \
its step, stores a checkpoint and a report, and says how it goes on; a second one ends it at once.

Examples:
  darts train runs/2026-01-31-142500-digits-first
  darts train runs/search --data folder:more-pictures --image-size 32
  darts train darts-v2 --epochs 5 --seed 7
  darts train random:7 --epochs 5
  darts train random:7 --space s2
  darts train darts-v2 --preset paper --data cifar10:DIR --out runs/model
  darts train genotype.json --plan runs/2026-01-31-150000-digits-train/plan.toml
  darts train --resume runs/2026-01-31-150000-digits-train";

impl Arguments {
    /// Trains, stores the run and prints its outcome.
    pub fn run(self) -> Result<()> {
        let options = &self.run;
        let space = options.space(&self.flags)?;
        let found = self.genotype.as_deref().map(|given| find(given, space.as_ref())).transpose()?;
        let (wanted, images) = found.map(|found| (found.genotype, found.images)).unzip();
        let (given, resumed) = options.begin::<Plan>(&self.flags, images.clone().unwrap_or_default())?;
        let begun = resumed.as_ref().and_then(|resumed| resumed.genotype.clone());
        let genotype = match (wanted, begun) {
            (Some(wanted), Some(begun)) if wanted != begun => {
                return Err(Error::Genotype("it is another than the one of the run in --resume".into()));
            }
            (Some(genotype), _) | (None, Some(genotype)) => genotype,
            (None, None) => unreachable!("one of both is required"),
        };
        let plan = &given.plan;
        plan.resolve_device()?;
        let dataset = options.dataset(&given, resumed.as_ref())?;
        if let Some(violation) = plan.violation_by_data(&dataset) {
            return Err(given.refusal(violation));
        }
        if options.dry_run {
            return options.print_estimate(&session::estimate(plan, &genotype, dataset)?);
        }
        if let (None, Some((run, planned))) = (&resumed, self.run_of_genotype().zip(images)) {
            let is_planned = |key, value: Value| planned.get(key) == Some(&value);
            if is_planned("data", plan.data.clone().into()) {
                let searched = planned.get("seed").and_then(|seed| u64::try_from(seed.as_integer()?).ok());
                compare_with_search(run, &dataset, searched.filter(|&seed| seed != plan.seed))?;
            }
        }
        if resumed.is_none() && plan.class_weights == ClassWeights::None && !options.quiet {
            advise_on_classes(&dataset);
        }
        // The training takes the images.
        let test = Arc::new(dataset.test.clone());
        let images = Some(&dataset);
        let (directory, checkpoint) = match (resumed, &options.out) {
            (Some(resumed), _) => (resumed.directory, resumed.checkpoint),
            (None, Some(path)) => (training_run::create_at(plan, &genotype, images, path)?, None),
            (None, None) => (training_run::create(plan, &genotype, images, Path::new(RUNS))?, None),
        };
        let train = |control: &Control, observers: &mut Observers<TrainingPhase>| {
            session::run(plan, &genotype, dataset, control, observers)
        };
        match options.follow(plan.epochs, directory, checkpoint.as_ref(), train)? {
            Followed::Finished(outcome, run) => {
                let measured = measure_classes(plan, test, &run);
                self.finish(&outcome, &run, measured)
            }
            Followed::Stopped { run, position, why } => {
                if let Err(error) = self.stop(&run, position) {
                    report(&error.to_string());
                }
                Err(why)
            }
        }
    }

    /// Writes the report of a training that was stopped, and says what there is of it.
    fn stop(&self, run: &Path, position: Position) -> Result<()> {
        let report = page::write(run);
        let place = run.display();
        let model = match position.epochs {
            0 => "No epoch is finished, so there is no model yet".to_owned(),
            epochs => format!("The model after epoch {epochs} is {place}/{LAST}"),
        };
        match (self.run.json, self.run.quiet) {
            (true, _) => print(&format!("{}\n", json!({ "run": run, "position": position })))?,
            (false, true) => {}
            (false, false) => tell(&format!("\n{model}; look at {place}/report.html.\n"))?,
        }
        report.map(|_| ())
    }

    /// The run directory that the genotype is named by, if it is.
    fn run_of_genotype(&self) -> Option<&Path> {
        self.genotype.as_deref().map(Path::new).filter(|given| given.is_dir())
    }

    /// Writes the report and prints the outcome, also where the report or its measurements fail.
    fn finish(&self, outcome: &session::Outcome, run: &Path, measured: Result<Classes>) -> Result<()> {
        let balanced = measured.as_ref().ok().and_then(|classes| balanced_accuracy_of(&classes.confusion));
        let report = measured.and_then(|_| page::write(run));
        let ((best, epoch), last) = (outcome.best, outcome.last);
        let write = if self.run.json || self.run.quiet { print } else { tell };
        write(&match (self.run.json, self.run.quiet) {
            (true, _) => {
                let best = json!({ "test_accuracy": best, "epoch": epoch });
                let mut result = json!({ "test_accuracy": last });
                if let Some(balanced) = balanced {
                    result["test_balanced_accuracy"] = json!(balanced);
                }
                (result["best"], result["run"]) = (best, json!(run));
                format!("{result}\n")
            }
            (false, true) => format!("{:.2} %\n", 100.0 * last),
            (false, false) => format!(
                "\nAccuracy on the test images: {:.2} % after the last epoch, at best {:.2} % after epoch {epoch}.\n{}\
                 The run is stored in {run}: plan.toml, metrics.jsonl, genotype.json, genotype.txt, best.safetensors and \
                 last.safetensors; look at {run}/report.html.\n",
                100.0 * last,
                100.0 * best,
                balanced.map_or(String::new(), balanced_sentence),
                run = run.display(),
            ),
        })?;
        report.map(|_| ())
    }
}

/// Stores which classes the last model takes for which.
fn measure_classes(plan: &Plan, test: Arc<Images>, run: &Path) -> Result<Classes> {
    let model = Model::load(&run.join(LAST))?;
    let mut classifier = open(&model, plan.device, plan.threads, plan.batch_size)?;
    let confusion = classifier.evaluate(test, &model)?.confusion;
    let Description { epoch, class_names, .. } = model.description;
    let classes = Classes { epoch, names: class_names, confusion };
    classes.save(run).map(|()| classes)
}

fn balanced_sentence(balanced: f64) -> String {
    format!(
        "The mean of the classes, which have unlike numbers of test images, is {:.2} %.\n",
        100.0 * balanced
    )
}

/// Says when one class has so many images that the loss forgets another.
fn advise_on_classes(dataset: &Dataset) {
    let counts = dataset.train.class_counts(dataset.class_names.len());
    let Some([fewest, most]) = uneven(&counts) else { return };
    let class = |class: usize| (plain(&dataset.class_names[class]), grouped(counts[class]));
    let ((fewest, few), (most, many)) = (class(fewest), class(most));
    report(&format!(
        "class {most} has {many} training images and {fewest} {few}: --class-weights balanced makes all classes count \
         alike in the loss"
    ));
}
