//! `darts search`: its flags, and the search itself.

use std::path::Path;

use serde_json::json;

use super::output::{coloured, print, report, tell};
use super::plan::PlanFlags;
use super::run::{Followed, RunArguments, run_of_seed};
use crate::compare::agreement::{Agreement, Found};
use crate::draw::drawing::draw;
use crate::epochs::{Control, Observers, Position};
use crate::plan::PlanTable;
use crate::plan::search::Plan;
use crate::readable::shell_word;
use crate::report::advice::train_command;
use crate::report::page;
use crate::report::verdict::Verdict;
use crate::search::observer::SearchPhase;
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::store::genotype::load_genotype;
use crate::store::history::History;
use crate::store::place::PLAN;
use crate::store::run_directory::RUNS;
use crate::store::search_run;
use crate::terminal::{fitted, output_width};
use crate::{Error, Result, search};

/// Search an architecture: train weights on one half of the images and alphas on the other.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    /// Search so many times, one after another, with the seed and those that follow it, each in a directory of its own
    /// below --out; and say at the end how alike the outcomes are, beside what chance gives. The same command goes on
    /// with what is there.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000), requires = "out",
        conflicts_with_all = ["resume", "dry_run"])]
    seeds: Option<u16>,
    #[command(flatten)]
    flags: PlanFlags<Plan>,
}

const EXAMPLES: &str = "\
Precedence: a flag, then the plan file, then the preset. A plan file has the name of the method, the order and \
what else belongs to the method in a table [method]. Ctrl-C ends a search after its step, stores a \
checkpoint, the genotype so far and a report, and says how it goes on; a second one ends it at once.

Examples:
  darts search
  darts search --order second --epochs 30 --seed 7
  darts search --preset paper --data cifar10:DIR --out runs/paper
  darts search --preset paper --data cifar10:DIR --max-minutes 480
  darts search --data folder:pictures --image-size 64
  darts search --preset paper --data cifar10:DIR --dry-run
  darts search --data fashion-mnist --train-images 6000
  darts search --seeds 3 --out runs/three
  darts search --space s2
  darts search --space own.toml
  darts search --json | jq .valid_accuracy
  darts search --plan runs/2026-01-31-142500-digits-first/plan.toml --seed 8
  darts search --resume runs/2026-01-31-142500-digits-first";

impl Arguments {
    /// Searches once or several times.
    pub fn run(self) -> Result<()> {
        match self.seeds {
            None => self.search().map(drop),
            Some(count) => self.search_again_and_again(count),
        }
    }

    /// Several searches that differ in their seeds alone, and how alike they are.
    fn search_again_and_again(mut self, count: u16) -> Result<()> {
        let Some(below) = self.run.out.take() else { unreachable!("--seeds requires --out") };
        let (given, _) = self.run.begin::<Plan>(&self.flags, toml::Table::new())?;
        let seeds = i64::try_from(given.plan.seed)
            .ok()
            .and_then(|first| first.checked_add(i64::from(count) - 1).map(|last| first..=last));
        let Some(seeds) = seeds else {
            return Err(Error::Usage(format!(
                "--seeds is {count}; expected fewer after the seed {}",
                given.plan.seed
            )));
        };
        let mut searches = Vec::new();
        for seed in seeds.clone() {
            self.run.take_seed(seed, &below);
            let alphas = self.search().map_err(|error| {
                let plan = run_of_seed(&below, *seeds.start()).join(PLAN);
                let [plan, below] = [&plan, &below].map(|path| shell_word(&path.display().to_string()));
                error.and_goes_on(&format!(
                    "; `darts search --plan {plan} --seeds {count} --out {below}` goes on with all seeds"
                ))
            })?;
            searches.extend(alphas.map(|alphas| Found { genotype: derive(&alphas), alphas }));
        }
        let agreement = Agreement::of(&searches)?;
        if self.run.json {
            let runs: Vec<_> = seeds.clone().map(|seed| run_of_seed(&below, seed)).collect();
            let seeds: Vec<_> = seeds.collect();
            return print(&format!("{}\n", json!({ "seeds": seeds, "runs": runs, "agreement": agreement })));
        }
        let title = format!("{count} searches, of the seeds {} to {}", seeds.start(), seeds.end());
        if self.run.quiet {
            let [edges, tau] = agreed(&agreement);
            report(&format!("{title}: {edges}; {tau}"));
            return Ok(());
        }
        let [edges, tau] = agreed(&agreement);
        tell(&format!("\n{title}:\n  {edges}\n  {tau}\n"))
    }

    /// Searches, stores the run and shows its outcome; gives the alphas, unless the run was dry.
    fn search(&self) -> Result<Option<Alphas>> {
        let options = &self.run;
        let (given, resumed) = options.begin::<Plan>(&self.flags, toml::Table::new())?;
        let plan = &given.plan;
        plan.resolve_device()?;
        let dataset = options.dataset(&given, resumed.as_ref())?;
        if let Some(violation) = plan.violation_by_data(&dataset) {
            return Err(given.refusal(violation));
        }
        if options.dry_run {
            options.print_estimate(&search::session::estimate(plan, dataset)?)?;
            return Ok(None);
        }
        let (directory, checkpoint) = match (resumed, &options.out) {
            (Some(resumed), _) => (resumed.directory, resumed.checkpoint),
            (None, Some(path)) => (search_run::create_at(plan, Some(&dataset), path)?, None),
            (None, None) => (search_run::create(plan, Some(&dataset), Path::new(RUNS))?, None),
        };
        let search = |control: &Control, observers: &mut Observers<SearchPhase>| {
            search::session::run(plan, dataset, control, observers)
        };
        match options.follow(plan.epochs_in_all()?, directory, checkpoint.as_ref(), search)? {
            Followed::Finished(alphas, run) => self.finish(&alphas, &run).map(|()| Some(alphas)),
            Followed::Stopped { run, position, why } => {
                if let Err(error) = self.stop(&run, position) {
                    report(&error.to_string());
                }
                Err(why)
            }
        }
    }

    /// Writes the report of a search that was stopped, and prints the genotype that it has so far.
    fn stop(&self, run: &Path, position: Position) -> Result<()> {
        let report = page::write(run);
        let genotype = load_genotype(run)?;
        let (Position { epochs, .. }, place) = (position, run.display());
        match (self.run.json, self.run.quiet) {
            (true, _) => {
                print(&format!("{}\n", json!({ "genotype": genotype, "run": run, "position": position })))?;
            }
            (false, true) => print(&format!("{genotype}\n"))?,
            (false, false) => {
                print(&format!("\n{genotype}\n\n"))?;
                let after = if epochs == 0 { position } else { Position { epochs, steps: 0 } };
                tell(&format!(
                    "That is the genotype {after}; it is stored in {place}; look at {place}/report.html.\n"
                ))?;
            }
        }
        report.map(|_| ())
    }

    /// Writes the report and shows the outcome. The genotype does not depend on the report.
    fn finish(&self, alphas: &Alphas, run: &Path) -> Result<()> {
        let history = page::write(run).and_then(|_| History::load(run));
        let remarks: Vec<_> = match &history {
            Ok(history) => {
                history.last().guards.iter().filter(|remark| remark.result.is_some()).cloned().collect()
            }
            Err(_) => Vec::new(),
        };
        let verdict = history.map(|history| Verdict::of(&history));
        let genotype = derive(alphas);
        let told = verdict.as_ref().ok();
        match (self.run.json, self.run.quiet) {
            (true, _) => print(&format!("{}\n", outcome_as_json(&genotype, told, run)))?,
            (false, true) => print(&format!("{genotype}\n"))?,
            (false, false) => {
                print(&cells(&genotype))?;
                tell(&outcome(told, run))?;
            }
        }
        remarks.iter().for_each(|remark| report(&remark.to_string()));
        let verdict = verdict?;
        if self.run.quiet && !self.run.json {
            report(&in_a_line(&verdict));
        }
        Ok(())
    }
}

/// How alike searches are, in two clauses.
fn agreed(agreement: &Agreement) -> [String; 2] {
    let Agreement { equal_edges, equal_edges_by_chance, kendall_tau, kendall_tau_by_chance, .. } = agreement;
    let deviation = agreement.kendall_tau_deviation_by_chance;
    let (edges, by_chance) = (100.0 * equal_edges, 100.0 * equal_edges_by_chance);
    [
        format!("equal edges {edges:.1} %, by chance {by_chance:.1} %"),
        format!(
            "Kendall's tau between the alphas of an edge {kendall_tau:.3}, by chance {kendall_tau_by_chance:.3} ± \
             {deviation:.3}"
        ),
    ]
}

/// The outcome for a program.
fn outcome_as_json(genotype: &Genotype, verdict: Option<&Verdict>, run: &Path) -> serde_json::Value {
    json!({
        "genotype": genotype,
        "run": run,
        "verdict": verdict.map(|verdict| verdict.judgement),
        "headline": verdict.map(|verdict| &verdict.headline),
        "advice": verdict.and_then(|verdict| verdict.advice.as_ref()),
    })
}

/// The cells as a drawing, and the genotype in both of its forms, each of which is a line that can be copied.
fn cells(genotype: &Genotype) -> String {
    format!(
        "\n{}\n{genotype}\n\n{}\n\n",
        coloured(genotype, &fitted(&draw(genotype), output_width())),
        genotype.to_json()
    )
}

/// The outcome for a reader.
fn outcome(verdict: Option<&Verdict>, run: &Path) -> String {
    let place = run.display();
    format!(
        "The run is stored in {place}: plan.toml, metrics.jsonl, genotype.json, genotype.txt and alphas/; look at \
         {place}/report.html.\n{}",
        verdict.map(|verdict| judged(verdict, run)).unwrap_or_default(),
    )
}

/// The verdict, its advice, and the next commands to type.
fn judged(verdict: &Verdict, run: &Path) -> String {
    let mut text = format!("{}\n", verdict.headline);
    if let Some(advice) = &verdict.advice {
        text += &format!("Advice: {advice}.\n  {}\n", advice.command(run));
    }
    text + &format!("Next:\n  {}\n", train_command(run))
}

/// The verdict and its advice in a line.
fn in_a_line(verdict: &Verdict) -> String {
    match &verdict.advice {
        Some(advice) => format!("{} Advice: {advice}.", verdict.headline),
        None => verdict.headline.clone(),
    }
}
