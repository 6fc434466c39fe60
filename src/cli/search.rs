//! `darts search`: its flags, and the search itself.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::output::{painted, print};
use super::plan::{PlanArguments, number, seed, whole_number};
use crate::report::drawing::draw;
use crate::report::page;
use crate::report::progress::{Form, Progress};
use crate::report::run_directory::{RUNS, RunDirectory};
use crate::report::tensorboard::EventFile;
use crate::search::observer::{EpochRecord, Facts, Observer, StepRecord};
use crate::search::plan::Plan;
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::{Result, search};

/// Search an architecture: train weights on one half of the images and alphas on the other.
#[derive(clap::Args)]
#[command(
    after_help = EXAMPLES,
)]
pub struct Arguments {
    #[command(flatten)]
    plan: PlanArguments,
    /// The run directory; new or empty [default: runs/DATE-TIME-DATA-ORDER].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Stop at the first picture of a folder that cannot be read, instead of leaving it out.
    #[arg(long)]
    strict: bool,
    /// Print nothing but the genotype at the end.
    #[arg(long)]
    quiet: bool,
    /// Print JSON instead: a line for each epoch, as in metrics.jsonl, and one with the genotype at the end.
    #[arg(long)]
    json: bool,
    /// Also write an event file for TensorBoard into the run directory.
    #[arg(long)]
    tensorboard: bool,
    #[command(flatten)]
    flags: PlanFlags,
}

const EXAMPLES: &str = "\
Precedence: a flag, then the plan file, then the preset.

Examples:
  darts search
  darts search --order second --epochs 30 --seed 7
  darts search --preset paper --data cifar10:DIR --out runs/paper
  darts search --data folder:pictures --image-size 64
  darts search --json | jq .valid_accuracy
  darts search --plan runs/2026-01-31-142500-digits-first/plan.toml --seed 8";

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
    #[arg(long, value_name = "ORDER", value_parser = ["first", "second"], hide_possible_values = true,
        help = help("order",
        "Alpha gradient: first takes the weights as they are, second after one virtual step at about \
         three times the cost"))]
    order: Option<String>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("epochs", "Passes over the half that trains the weights"))]
    epochs: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("batch_size", "Images in a step, from each half"))]
    batch_size: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("init_channels", "Channels of a node in the first cells; each reduction doubles them"))]
    init_channels: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("cells", "Cells of the supernet; those at 1/3 and 2/3 of the depth reduce"))]
    cells: Option<usize>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("nodes", "Nodes of a cell"))]
    nodes: Option<usize>,
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true,
        help = help("seed", "Seed of all random numbers; the same seed gives the same result"))]
    seed: Option<u64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("weight_lr", "Learning rate of the weights in the first epoch"))]
    weight_lr: Option<f64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("weight_lr_min", "Learning rate that the cosine schedule of the weights ends at"))]
    weight_lr_min: Option<f64>,
    #[arg(long, value_name = "FACTOR", value_parser = number, allow_negative_numbers = true,
        help = help("weight_momentum", "Momentum of the weights, below 1"))]
    weight_momentum: Option<f64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("weight_decay", "Weight decay of the weights"))]
    weight_decay: Option<f64>,
    #[arg(long, value_name = "NORM", value_parser = number, allow_negative_numbers = true,
        help = help("gradient_clip", "Largest norm of a weight gradient; a longer one is shortened to it"))]
    gradient_clip: Option<f64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("alpha_lr", "Learning rate of the alphas"))]
    alpha_lr: Option<f64>,
    #[arg(long, value_name = "FACTOR", value_parser = number, allow_negative_numbers = true,
        help = help("alpha_beta1", "Decay of Adam's mean gradient of the alphas, below 1"))]
    alpha_beta1: Option<f64>,
    #[arg(long, value_name = "FACTOR", value_parser = number, allow_negative_numbers = true,
        help = help("alpha_beta2", "Decay of Adam's mean squared gradient of the alphas, below 1"))]
    alpha_beta2: Option<f64>,
    #[arg(long, value_name = "RATE", value_parser = number, allow_negative_numbers = true,
        help = help("alpha_weight_decay", "Weight decay of the alphas"))]
    alpha_weight_decay: Option<f64>,
    #[arg(long, value_name = "N", value_parser = whole_number, allow_negative_numbers = true,
        help = help("threads", "Threads of the CPU; 0 for all cores; the result does not depend on it"))]
    threads: Option<usize>,
    #[arg(long, value_name = "DEVICE", value_parser = ["cpu", "cuda", "auto"], hide_possible_values = true,
        help = help("device", "Where to search: cpu, cuda, or auto for the best that is there"))]
    device: Option<String>,
    #[arg(long, value_name = "TYPE", value_parser = ["f32", "bf16", "f16"], hide_possible_values = true,
        help = help("precision", "What a GPU stores feature maps as: f32, bf16 or f16; sums stay f32"))]
    precision: Option<String>,
}

fn help(key: &str, meaning: &str) -> String {
    super::plan::help::<Plan>(key, meaning)
}

impl Arguments {
    /// Searches, stores the run and shows its outcome.
    pub fn run(self) -> Result<()> {
        let given = self.plan.with::<Plan>(&self.flags)?;
        let plan = &given.plan;
        plan.resolve_device()?;
        let dataset = given.dataset(self.strict, self.quiet)?;
        if let Some(violation) = plan.violation_by_data(dataset.train.count() / 2) {
            return Err(given.refusal(violation));
        }
        let mut store = Store { arguments: &self, plan, directory: None, events: None };
        let form = if self.json { Form::Json } else { Form::Text };
        let mut progress = (!self.quiet).then(|| Progress::new(plan.epochs, form));
        // Stored before it is shown: whatever was seen can be found again.
        let mut observers = Observers(vec![&mut store]);
        observers.0.extend(progress.as_mut().map(|progress| progress as &mut (dyn Observer + Send)));
        let searched = search::run::run(plan, dataset, &mut observers);
        drop(progress);
        match (searched, store.directory) {
            (Ok(alphas), Some(directory)) => self.finish(&alphas, directory.path()),
            (Ok(_), None) => Ok(()),
            (Err(error), Some(directory)) => {
                if directory.epochs() > 0 && !self.quiet && !self.json {
                    let (epochs, run) = (directory.epochs(), directory.path().display());
                    // Why the search failed matters more than a failure to print this.
                    let _ = print(&format!("The search failed; epochs 1 to {epochs} are stored in {run}.\n"));
                }
                directory.abandon();
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Writes the report and shows the outcome, which does not depend on the report.
    fn finish(&self, alphas: &Alphas, run: &Path) -> Result<()> {
        let report = page::write(run);
        let genotype = derive(alphas);
        let text = match (self.json, self.quiet) {
            (true, _) => format!("{}\n", json!({ "genotype": genotype, "run": run })),
            (false, true) => format!("{genotype}\n"),
            (false, false) => told(&genotype, run),
        };
        print(&text)?;
        report.map(|_| ())
    }
}

/// Creates the run directory when the search starts: what fails before leaves nothing behind.
struct Store<'a> {
    arguments: &'a Arguments,
    plan: &'a Plan,
    directory: Option<RunDirectory>,
    events: Option<EventFile>,
}

impl Observer for Store<'_> {
    fn started(&mut self, facts: &Facts) -> Result<()> {
        let mut directory = match &self.arguments.out {
            Some(path) => RunDirectory::create_at(self.plan, path)?,
            None => RunDirectory::create(self.plan, Path::new(RUNS))?,
        };
        directory.started(facts)?;
        let place = directory.path().to_owned();
        self.directory = Some(directory);
        if self.arguments.tensorboard {
            self.events = Some(EventFile::create(&place)?);
        }
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.directory.as_mut().map_or(Ok(()), |directory| directory.step(record))
    }

    fn epoch(&mut self, record: &EpochRecord, alphas: &Alphas) -> Result<()> {
        self.directory.as_mut().map_or(Ok(()), |directory| directory.epoch(record, alphas))?;
        self.events.as_mut().map_or(Ok(()), |events| events.epoch(record, alphas))
    }
}

/// The outcome for a reader.
fn told(genotype: &Genotype, run: &Path) -> String {
    let run = run.display();
    format!(
        "\n{}\n{genotype}\n\n{}\n\nThe run is stored in {run}: plan.toml, metrics.jsonl, genotype.json, \
         genotype.txt and alphas/; look at {run}/report.html.\n",
        painted(&draw(genotype)),
        genotype.to_json(),
    )
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

    fn epoch(&mut self, record: &EpochRecord, alphas: &Alphas) -> Result<()> {
        self.0.iter_mut().try_for_each(|observer| observer.epoch(record, alphas))
    }
}
