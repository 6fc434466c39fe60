//! `darts search`: its flags, and the search itself.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::output::{coloured, print};
use super::plan::{number, seed, whole_number};
use super::run::RunArguments;
use crate::data::format;
use crate::draw::drawing::draw;
use crate::epochs::{Control, Observers};
use crate::plan::PlanTable;
use crate::report::page;
use crate::search::observer::SearchPhase;
use crate::search::plan::Plan;
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::store::run_directory::RUNS;
use crate::store::search_run;
use crate::{Result, search};

/// Search an architecture: train weights on one half of the images and alphas on the other.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    flags: PlanFlags,
}

const EXAMPLES: &str = "\
Precedence: a flag, then the plan file, then the preset. Ctrl-C ends a search after its step, stores a \
checkpoint, and says how it goes on; a second one ends it at once.

Examples:
  darts search
  darts search --order second --epochs 30 --seed 7
  darts search --preset paper --data cifar10:DIR --out runs/paper
  darts search --data folder:pictures --image-size 64
  darts search --json | jq .valid_accuracy
  darts search --plan runs/2026-01-31-142500-digits-first/plan.toml --seed 8
  darts search --resume runs/2026-01-31-142500-digits-first";

/// The flags that are keys of a plan.
#[derive(clap::Args, Serialize)]
#[command(next_help_heading = "Plan")]
struct PlanFlags {
    #[arg(long, value_name = "DATA", help = help("data", &format::help()))]
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
        let own = &self.run;
        let (given, resumed) = own.begin::<Plan>(&self.flags, toml::Table::new())?;
        let plan = &given.plan;
        plan.resolve_device()?;
        let dataset = given.dataset(own.strict, own.quiet)?;
        if let Some(violation) = plan.violation_by_data(dataset.train.count() / 2) {
            return Err(given.refusal(violation));
        }
        let (directory, checkpoint) = match (resumed, &own.out) {
            (Some(resumed), _) => (resumed.directory, resumed.checkpoint),
            (None, Some(path)) => (search_run::create_at(plan, path)?, None),
            (None, None) => (search_run::create(plan, Path::new(RUNS))?, None),
        };
        let search = |control: &Control, observers: &mut Observers<SearchPhase>| {
            search::session::run(plan, dataset, control, observers)
        };
        let (alphas, run) = own.follow(plan.epochs, directory, checkpoint.as_ref(), search)?;
        self.finish(&alphas, &run)
    }

    /// Writes the report and shows the outcome, which does not depend on the report.
    fn finish(&self, alphas: &Alphas, run: &Path) -> Result<()> {
        let report = page::write(run);
        let genotype = derive(alphas);
        let text = match (self.run.json, self.run.quiet) {
            (true, _) => format!("{}\n", json!({ "genotype": genotype, "run": run })),
            (false, true) => format!("{genotype}\n"),
            (false, false) => told(&genotype, run),
        };
        print(&text)?;
        report.map(|_| ())
    }
}

/// The outcome for a reader.
fn told(genotype: &Genotype, run: &Path) -> String {
    let run = run.display();
    format!(
        "\n{}\n{genotype}\n\n{}\n\nThe run is stored in {run}: plan.toml, metrics.jsonl, genotype.json, \
         genotype.txt and alphas/; look at {run}/report.html.\n",
        coloured(&draw(genotype)),
        genotype.to_json(),
    )
}
