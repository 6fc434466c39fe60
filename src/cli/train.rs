//! `darts train`: its flags, and the training itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::genotype::find;
use super::output::print;
use super::plan::{PlanArguments, number, seed, whole_number};
use crate::Result;
use crate::data::Images;
use crate::report::classes::Classes;
use crate::report::page;
use crate::report::progress::{Form, Progress};
use crate::report::run_directory::{RUNS, RunDirectory};
use crate::report::training_run::{LAST, TrainingRun};
use crate::space::genotype::Genotype;
use crate::train::classifier::open;
use crate::train::model::Description;
use crate::train::observer::{EpochRecord, Facts, Observer, StepRecord};
use crate::train::plan::Plan;
use crate::train::run::Outcome;
use crate::train::{Model, run};

/// Train the network of a genotype from scratch, and keep it as a model.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A published name, a run directory, a file with a genotype as JSON or as a Python literal, or such
    /// a text itself.
    #[arg(allow_hyphen_values = false)]
    genotype: String,
    #[command(flatten)]
    plan: PlanArguments,
    /// The run directory; new or empty [default: runs/DATE-TIME-DATA-train].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Stop at the first picture of a folder that cannot be read, instead of leaving it out.
    #[arg(long)]
    strict: bool,
    /// Print nothing but the accuracy at the end.
    #[arg(long)]
    quiet: bool,
    /// Print JSON instead: a line for each epoch, as in metrics.jsonl, and one with the outcome at the end.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: PlanFlags,
}

const EXAMPLES: &str = "\
Precedence: a flag, then the plan file, then the preset.

Examples:
  darts train runs/2026-01-31-142500-digits-first
  darts train darts-v2 --epochs 5 --seed 7
  darts train darts-v2 --preset paper --data cifar10:DIR --out runs/model
  darts train genotype.json --plan runs/2026-01-31-150000-digits-train/plan.toml";

/// The flags that are keys of a plan.
#[derive(clap::Args, Serialize)]
#[command(next_help_heading = "Plan")]
struct PlanFlags {
    #[arg(long, value_name = "DATA", help = help("data",
        "Data set: digits (built in), cifar10:DIR, cifar100:DIR, mnist:DIR, fashion-mnist[:DIR], or folder:DIR for \
         pictures of your own in DIR/train/CLASS/ and, if there, DIR/test/CLASS/"))]
    data: Option<String>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("image_size", "Side in pixels that the pictures of a folder are cut and resized to"))]
    image_size: Option<usize>,
    #[arg(long, value_name = "COLOUR", value_parser = ["rgb", "grey"], hide_possible_values = true,
        help = help("colour", "What is read of the pictures of a folder: rgb or grey"))]
    colour: Option<String>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("epochs", "Passes over the training images"))]
    epochs: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("batch_size", "Images in a step"))]
    batch_size: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("init_channels", "Channels of a node in the first cells; each reduction doubles them"))]
    init_channels: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("cells", "Cells of the network; those at 1/3 and 2/3 of the depth reduce"))]
    cells: Option<usize>,
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true,
        help = help("seed", "Seed of all random numbers; the same seed gives the same result"))]
    seed: Option<u64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("weight_lr", "Learning rate in the first epoch"))]
    weight_lr: Option<f64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("weight_lr_min", "Learning rate that the cosine schedule ends at"))]
    weight_lr_min: Option<f64>,
    #[arg(long, value_name = "FACTOR", value_parser = number, allow_negative_numbers = true,
        help = help("weight_momentum", "Momentum of the weights, below 1"))]
    weight_momentum: Option<f64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("weight_decay", "Weight decay"))]
    weight_decay: Option<f64>,
    #[arg(long, value_name = "NORM", value_parser = number, allow_negative_numbers = true,
        help = help("gradient_clip", "Largest norm of a gradient; a longer one is shortened to it"))]
    gradient_clip: Option<f64>,
    #[arg(long, value_name = "FACTOR", value_parser = number, allow_negative_numbers = true,
        help = help("auxiliary_weight", "Share of the auxiliary head's loss; 0 for no such head"))]
    auxiliary_weight: Option<f64>,
    #[arg(long, value_name = "SHARE", value_parser = number, allow_negative_numbers = true,
        help = help("drop_path", "Probability of drop path, to which it rises epoch by epoch"))]
    drop_path: Option<f64>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("crop_padding", "Black pixels around an image before its size is cut out at random"))]
    crop_padding: Option<usize>,
    #[arg(long, value_name = "BOOL", hide_possible_values = true,
        help = help("flip", "Whether half of the images are mirrored: true or false"))]
    flip: Option<bool>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("cutout", "Side of a square that is set to the mean; 0 for none"))]
    cutout: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("threads", "Threads of the CPU; 0 for all cores; the result does not depend on it"))]
    threads: Option<usize>,
    #[arg(long, value_name = "DEVICE", value_parser = ["cpu", "cuda", "auto"], hide_possible_values = true,
        help = help("device", "Where to train: cpu, cuda, or auto for the best that is there"))]
    device: Option<String>,
    #[arg(long, value_name = "TYPE", value_parser = ["f32", "bf16", "f16"], hide_possible_values = true,
        help = help("precision", "What a GPU stores feature maps as: f32, bf16 or f16; sums stay f32"))]
    precision: Option<String>,
}

fn help(key: &str, meaning: &str) -> String {
    super::plan::help::<Plan>(key, meaning)
}

impl Arguments {
    /// Trains, stores the run and tells its outcome.
    pub fn run(self) -> Result<()> {
        let genotype = find(&self.genotype)?.genotype;
        let given = self.plan.with::<Plan>(&self.flags)?;
        let plan = &given.plan;
        plan.resolve_device()?;
        let dataset = given.dataset(self.strict, self.quiet)?;
        if let Some(violation) = plan.violation_by_data(&dataset) {
            return Err(given.refusal(violation));
        }
        // The training takes the images.
        let test = Arc::new(dataset.test.clone());
        let mut store = Store { plan, genotype: &genotype, out: self.out.as_deref(), run: None };
        let form = if self.json { Form::Json } else { Form::Text };
        let mut progress = (!self.quiet).then(|| Progress::new(plan.epochs, form));
        // Stored before it is shown: whatever was seen can be found again.
        let mut observers = Observers(vec![&mut store]);
        observers.0.extend(progress.as_mut().map(|progress| progress as &mut (dyn Observer + Send)));
        let trained = run::run(plan, &genotype, dataset, &mut observers);
        drop(progress);
        let directory = store.run.map(TrainingRun::directory);
        match (trained, directory) {
            (Ok(outcome), Some(directory)) => {
                let measured = measure_classes(plan, test, directory.path());
                self.finish(&outcome, directory.path(), measured)
            }
            (Ok(_), None) => Ok(()),
            (Err(error), Some(directory)) => {
                if !self.quiet && !self.json {
                    tell_failure(&directory);
                }
                directory.abandon();
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl Arguments {
    /// Writes the report and tells the outcome, which depends neither on the report nor on what was measured for it.
    fn finish(&self, outcome: &Outcome, run: &Path, measured: Result<()>) -> Result<()> {
        let report = measured.and_then(|()| page::write(run));
        let ((best, epoch), last) = (outcome.best, outcome.last);
        print(&match (self.json, self.quiet) {
            (true, _) => {
                let best = json!({ "test_accuracy": best, "epoch": epoch });
                format!("{}\n", json!({ "test_accuracy": last, "best": best, "run": run }))
            }
            (false, true) => format!("{:.2} %\n", 100.0 * last),
            (false, false) => format!(
                "\nAccuracy on the test images: {:.2} % after the last epoch, at best {:.2} % after epoch {epoch}.\n\
                 The run is stored in {run}: plan.toml, metrics.jsonl, genotype.json, genotype.txt, best.safetensors and \
                 last.safetensors; look at {run}/report.html.\n",
                100.0 * last,
                100.0 * best,
                run = run.display(),
            ),
        })?;
        report.map(|_| ())
    }
}

/// Stores which classes the last model takes for which.
fn measure_classes(plan: &Plan, test: Arc<Images>, run: &Path) -> Result<()> {
    let model = Model::load(&run.join(LAST))?;
    let mut classifier = open(&model, plan.device, plan.threads, plan.batch_size)?;
    let confusion = classifier.evaluate(test, &model)?.confusion;
    let Description { epoch, class_names, .. } = model.description;
    Classes { epoch, names: class_names, confusion }.save(run)
}

/// Creates the run directory when the training starts: what fails before leaves nothing behind.
struct Store<'a> {
    plan: &'a Plan,
    genotype: &'a Genotype,
    out: Option<&'a Path>,
    run: Option<TrainingRun>,
}

impl Observer for Store<'_> {
    fn started(&mut self, facts: &Facts) -> Result<()> {
        let mut run = match self.out {
            Some(path) => TrainingRun::create_at(self.plan, self.genotype, path)?,
            None => TrainingRun::create(self.plan, self.genotype, Path::new(RUNS))?,
        };
        run.started(facts)?;
        self.run = Some(run);
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.run.as_mut().map_or(Ok(()), |run| run.step(record))
    }

    fn epoch(&mut self, record: &EpochRecord, model: &Model) -> Result<()> {
        self.run.as_mut().map_or(Ok(()), |run| run.epoch(record, model))
    }
}

fn tell_failure(directory: &RunDirectory) {
    if directory.epochs() > 0 {
        let (epochs, run) = (directory.epochs(), directory.path().display());
        // Why the training failed matters more than a failure to print this.
        let _ = print(&format!("The training failed; epochs 1 to {epochs} are stored in {run}.\n"));
    }
}

/// Several observers, told in order.
struct Observers<'a>(Vec<&'a mut (dyn Observer + Send)>);

impl Observer for Observers<'_> {
    fn started(&mut self, facts: &Facts) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.started(facts))
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.step(record))
    }

    fn epoch(&mut self, record: &EpochRecord, model: &Model) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.epoch(record, model))
    }
}
