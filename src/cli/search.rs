//! `darts search`: from flags, a plan file and a preset to one checked plan, and the search itself.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::output::{painted, print};
use crate::data::{Dataset, Source};
use crate::report::drawing::draw;
use crate::report::page;
use crate::report::progress::{Form, Progress};
use crate::report::run_directory::{RUNS, RunDirectory};
use crate::report::tensorboard::EventFile;
use crate::search::observer::{EpochRecord, Facts, Observer, StepRecord};
use crate::search::plan::{Plan, Violation};
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::{Error, Result, files, search};

/// The longest plan file that is read, in bytes.
const MAX_PLAN: usize = 64 * 1024;

/// Search an architecture: train weights on one half of the images and alphas on the other.
#[derive(clap::Args)]
#[command(
    after_help = EXAMPLES,
)]
pub struct Arguments {
    /// Begin from these values: small searches the digits in half a minute, paper is the search of the paper.
    #[arg(long, value_name = "NAME", value_parser = ["small", "paper"], default_value = "small")]
    preset: String,
    /// Take values from this TOML file, such as the plan.toml of a run; its keys are the flags below with
    /// _ for -.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
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

/// The help of a flag with its value in each preset, which only the plan knows.
fn help(key: &str, meaning: &str) -> String {
    let value = |plan: Plan| {
        plan.to_table().ok().and_then(|table| Some(table.get(key)?.to_string().replace('"', "")))
    };
    match (value(Plan::default()), value(Plan::paper())) {
        (Some(small), Some(paper)) if paper.is_empty() => format!("{meaning} [small: {small}]"),
        (Some(small), Some(paper)) if small == paper => format!("{meaning} [default: {small}]"),
        (Some(small), Some(paper)) => format!("{meaning} [small: {small}, paper: {paper}]"),
        _ => meaning.to_owned(),
    }
}

/// Reads a count.
pub(super) fn whole_number(text: &str) -> std::result::Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// Reads a seed; TOML has no whole numbers above 2^63 - 1.
fn seed(text: &str) -> std::result::Result<u64, String> {
    match text.parse() {
        Ok(seed) if i64::try_from(seed).is_ok() => Ok(seed),
        _ => Err(format!("expected a whole number from 0 to {}", i64::MAX)),
    }
}

fn number(text: &str) -> std::result::Result<f64, String> {
    text.parse().map_err(|_| "expected a number".to_owned())
}

impl Arguments {
    /// Searches, stores the run and shows its outcome.
    pub fn run(self) -> Result<()> {
        let given = self.given()?;
        let plan = self.plan(&given)?;
        plan.resolve_device()?;
        let dataset = self.dataset(&given, &plan)?;
        if let Some(violation) = plan.violation_by_data(dataset.train.count() / 2) {
            return Err(self.refusal(violation, &given, &plan));
        }
        let mut store = Store { arguments: &self, plan: &plan, directory: None, events: None };
        let form = if self.json { Form::Json } else { Form::Text };
        let mut progress = (!self.quiet).then(|| Progress::new(plan.epochs, form));
        // Stored before it is shown: whatever was seen can be found again.
        let mut observers = Observers(vec![&mut store]);
        observers.0.extend(progress.as_mut().map(|progress| progress as &mut (dyn Observer + Send)));
        let searched = search::run::run(&plan, dataset, &mut observers);
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

    /// What the user wrote, in flags and in the plan file.
    fn given(&self) -> Result<Given> {
        let file = match &self.plan {
            Some(path) => files::read_text(path, MAX_PLAN)?,
            None => String::new(),
        };
        let flags = toml::Table::try_from(&self.flags).map_err(|error| Error::Usage(error.to_string()))?;
        Ok(Given { flags, table: file.parse().unwrap_or_default(), file })
    }

    /// One plan out of the flags, the plan file and the preset.
    fn plan(&self, given: &Given) -> Result<Plan> {
        let preset = if self.preset == "paper" { Plan::paper() } else { Plan::default() };
        let from_file = preset.overlaid(&given.file, self.plan.as_deref().unwrap_or(Path::new("plan")))?;
        let plan = from_file.with(given.flags.clone())?;
        match plan.violation() {
            None => Ok(plan),
            Some(violation) => Err(self.refusal(violation, given, &plan)),
        }
    }

    fn source(&self, given: &Given, plan: &Plan) -> Result<Source> {
        plan.data.parse().map_err(|error| match (error, &self.plan) {
            (Error::Usage(text), Some(path)) if !given.flags.contains_key("data") => {
                Error::Plan(format!("{}: {}", path.display(), text.replace("--data", "data")))
            }
            (error, _) => error,
        })
    }

    fn dataset(&self, given: &Given, plan: &Plan) -> Result<Dataset> {
        let source = self.source(given, plan)?;
        if !matches!(source, Source::Folder(_)) {
            let useless = ["image_size", "colour"].into_iter().find(|key| given.flags.contains_key(*key));
            let useless = useless.or(self.strict.then_some("strict"));
            if let Some(key) = useless {
                let flag = key.replace('_', "-");
                return Err(Error::Usage(format!(
                    "--{flag} is for --data folder:DIR; {source} has its own images"
                )));
            }
        }
        super::data::load(&source, plan.seed, &plan.reading(self.strict), plan.threads, self.quiet)
    }

    /// The sentence about a value that cannot be, in terms of where it was given.
    fn refusal(&self, mut violation: Violation, given: &Given, plan: &Plan) -> Error {
        let wrote = |key: &str| given.flags.contains_key(key) || given.table.contains_key(key);
        // Of two values that contradict each other, the one that the user wrote is to blame.
        if violation.key == "weight_lr_min" && !wrote("weight_lr_min") && wrote("weight_lr") {
            violation = Violation {
                key: "weight_lr",
                value: plan.weight_lr.to_string(),
                expected: format!("at least weight_lr_min, which is {}", plan.weight_lr_min),
            };
        }
        let Violation { key, value, expected } = &violation;
        match &self.plan {
            _ if given.flags.contains_key(*key) => {
                Error::Usage(format!("--{} is {value}; expected {expected}", key.replace('_', "-")))
            }
            Some(path) if given.table.contains_key(*key) => {
                Error::Plan(format!("{}: {key} is {value}; expected {expected}", path.display()))
            }
            _ if *key == "data" => Error::Usage(format!(
                "--preset {} leaves the data set to you: add --data, such as --data cifar10:DIR",
                self.preset
            )),
            _ => violation.into(),
        }
    }
}

/// What the user wrote.
struct Given {
    flags: toml::Table,
    /// The text of the plan file.
    file: String,
    /// Its keys, as far as it can be read.
    table: toml::Table,
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
