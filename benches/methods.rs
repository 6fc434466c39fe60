//! Every search method on the digits, with the small plan: what a search takes, and what it comes to.
//!
//! `cargo bench --bench methods` runs three seeds of each and prints a table in Markdown; `-- NAME...` takes some of them
//! alone, and `-- --test` one seed of one epoch a stage, to see that all of them run.

use std::time::Instant;

use darts::data::{Reading, Source};
use darts::epochs::{Control, Ended, Observer, Phase, Timing};
use darts::method::published::{Published, all};
use darts::plan::keys::Preset;
use darts::plan::merge::Written;
use darts::plan::search::Plan;
use darts::search::observer::{EpochRecord, SearchPhase, Summary};
use darts::search::session;
use darts::space::alphas::Alphas;
use darts::space::derivation::{derive, largest_entropies, mean_entropies};
use toml::Table;

/// Searches of each method.
const SEEDS: u64 = 3;

/// What a search says of itself.
#[derive(Default)]
struct Notes {
    bytes: usize,
    last: Option<EpochRecord>,
}

impl Observer<SearchPhase> for Notes {
    fn started(&mut self, summary: &Summary) -> darts::Result<()> {
        self.bytes = summary.peak_bytes;
        Ok(())
    }

    fn epoch(
        &mut self,
        record: &EpochRecord,
        _: &Timing,
        _: &<SearchPhase as Phase>::Artifact,
    ) -> darts::Result<()> {
        self.last = Some(record.clone());
        Ok(())
    }
}

/// What a search took and came to.
struct Outcome {
    seconds: f64,
    megabytes: f64,
    epochs: f64,
    /// In percent of that of equal weights.
    entropy: f64,
    skips: f64,
    /// In percent.
    accuracy: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (test, names): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument == "--test");
    let chosen = |method: &&Published| names.is_empty() || names.contains(&method.name);
    let seeds = if test.is_empty() { SEEDS } else { 1 };
    println!("| method | seconds | MB | epochs | entropy, % | skips | validation accuracy, % |");
    println!("|---|---|---|---|---|---|---|");
    for method in all().iter().filter(chosen) {
        let outcomes: Vec<Outcome> = (0..seeds).map(|seed| outcome(method, seed, !test.is_empty())).collect();
        let cell = |value: fn(&Outcome) -> f64, digits: usize| {
            let mut values: Vec<f64> = outcomes.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let (median, least, most) = (values[values.len() / 2], values[0], values[values.len() - 1]);
            match format!("{least:.digits$}") == format!("{most:.digits$}") {
                true => format!("{median:.digits$}"),
                false => format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"),
            }
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            method.name,
            cell(|outcome| outcome.seconds, 1),
            cell(|outcome| outcome.megabytes, 1),
            cell(|outcome| outcome.epochs, 0),
            cell(|outcome| outcome.entropy, 1),
            cell(|outcome| outcome.skips, 0),
            cell(|outcome| outcome.accuracy, 2),
        );
    }
}

/// Searches with a method and a seed.
fn outcome(method: &Published, seed: u64, short: bool) -> Outcome {
    let mut flags = Table::new();
    flags.insert("data".to_owned(), "digits".into());
    flags.insert("method".to_owned(), method.name.as_str().into());
    flags.insert("seed".to_owned(), (seed as i64).into());
    if short {
        flags.insert("guard_eigenvalue".to_owned(), "off".into());
        flags.insert("frozen_epochs".to_owned(), 0.into());
        flags.insert("epochs".to_owned(), 3.into());
    }
    let written = Written { preset: Preset::Small, file: None, flags };
    let plan = written.plan::<Plan>(Table::new()).expect("a published method is a plan").plan;
    let digits = plan.data.parse::<Source>().and_then(|source| source.load(seed, &Reading::default(), &()));
    let mut notes = Notes::default();
    let start = Instant::now();
    let ended = session::run(&plan, digits.expect("the digits"), &Control::default(), &mut notes);
    let seconds = start.elapsed().as_secs_f64();
    let Ended::Finished(alphas) = ended.expect("a search that does not fail") else {
        unreachable!("nothing interrupts it")
    };
    let last = notes.last.expect("a search has an epoch");
    Outcome {
        seconds,
        megabytes: notes.bytes as f64 / 1e6,
        epochs: last.epoch as f64,
        entropy: 100.0 * entropy_share(&alphas),
        skips: derive(&alphas).cells[0].count(darts::space::Operation::is_skip) as f64,
        accuracy: 100.0 * last.valid_accuracy,
    }
}

/// The mean entropy of the normal cell's mixing weights as a share of that of equal weights.
fn entropy_share(alphas: &Alphas) -> f64 {
    mean_entropies(alphas)[0] / largest_entropies(alphas)[0]
}
