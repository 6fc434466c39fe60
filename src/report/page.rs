//! The report of a run, and what that of a search says: one page without scripts, which asks nothing of the network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maud::{Markup, html};
use serde_json::json;

use super::advice::train_command;
use super::parts::{self, Chart, Metric, epochs, percent};
use super::verdict::{Judgement, Verdict};
use super::{beginning, sheet, survey, training_page, weights};
use crate::Result;
use crate::benchmark::nasbench201::{self, DATA_SETS, DataSet};
use crate::files::write_whole;
use crate::plan::Command;
use crate::search::observer::EpochRecord;
use crate::space::Space;
use crate::space::alphas::Alphas;
use crate::space::derivation::largest_entropies;
use crate::store::checkpoints::resume_command;
use crate::store::command::command_of_run;
use crate::store::history::{Beginning, History, TrainingHistory};

/// The file of what a table knows of the epochs' genotypes.
const TABULATED: &str = "nasbench201.jsonl";

/// Writes the report of a run, of a search or of a training, into its directory: `report.html`, and each cell as `.svg`
/// and `.dot`. Gives the place of the page.
pub fn write(run: &Path) -> Result<PathBuf> {
    let command = command_of_run(run)?;
    let (page, genotype) = match (Beginning::load(run, command)?, command) {
        (Some(beginning), _) => (beginning::page(&beginning), beginning.genotype),
        (None, Command::Search) => {
            let history = History::load(run)?;
            store_tabulated(run, &history)?;
            (page(&history), history.genotype)
        }
        (None, Command::Train) => {
            let history = TrainingHistory::load(run)?;
            (training_page::page(&history), history.genotype)
        }
    };
    parts::write_cells(run, &genotype)?;
    let path = run.join("report.html");
    write_whole(&path, page.as_bytes())?;
    Ok(path)
}

/// The page of a search.
pub fn page(history: &History) -> String {
    let data = history.planned("data").unwrap_or("unnamed images");
    let content = html! {
        (facts(history))
        @if let Some(standing) = history.standing { (parts::unfinished(standing)) }
        (outcome(&Verdict::of(history), history))
        (parts::next(&next(history)))
        (parts::cells(&history.genotype))
        (course(history))
        (weights::heat_maps(history.result_alphas(), &history.genotype, &after(history)))
        (weights::over_epochs(history))
        @if let Some(sheet) = &history.sheet { (sheet::section(sheet)) }
        @if let Some(survey) = &history.survey { (survey::section(survey)) }
        (parts::plan(&history.genotype, &history.plan))
    };
    parts::document(&format!("Search on {data}"), &history.name, &content)
}

fn facts(history: &History) -> Markup {
    let result = history.result();
    let mut facts = vec![
        (percent(result.valid_accuracy), "validation accuracy of the supernet"),
        (percent(result.train_accuracy), "training accuracy"),
        (epochs(history.last().epoch, history.planned("epochs")), "epochs"),
    ];
    facts.extend(parts::in_all(&history.timings, history.records.len()));
    facts.push((
        history.planned("method.order").unwrap_or("unknown").to_owned(),
        "order of the alpha gradient",
    ));
    parts::facts(&facts)
}

/// The next commands to type: what is left of the search, another search, where one is advised, and the training.
fn next(history: &History) -> Vec<String> {
    let rest = history.standing.map(|_| resume_command(Command::Search, &history.path));
    let advice = Verdict::of(history).advice;
    let again = advice.map(|advice| advice.command(&history.path));
    rest.into_iter().chain(again).chain([train_command(&history.path)]).collect()
}

/// Where the alphas of the result stand.
fn after(history: &History) -> String {
    match history.last().result() {
        epoch if epoch == history.last().epoch => "after the last epoch".to_owned(),
        epoch => format!("after epoch {epoch}"),
    }
}

fn outcome(verdict: &Verdict, history: &History) -> Markup {
    let class = match verdict.judgement {
        Judgement::Collapsed => "bad",
        Judgement::Stable if verdict.signs.iter().all(|sign| !sign.doubtful) => "good",
        _ => "doubt",
    };
    html! {
        section {
            h2 { "Outcome" }
            div class=(format!("verdict {class}")) {
                strong { (verdict.headline) }
                @if let Some(advice) = &verdict.advice { p { "Advice: " (advice) "." } }
            }
            @for record in &history.records {
                @for remark in &record.guards { p { "After epoch " (record.epoch) ", " (remark) "." } }
            }
            @for sentence in &verdict.decided { p { (sentence) } }
            ul.signs {
                @for sign in &verdict.signs {
                    li.doubtful[sign.doubtful] { (sign.observed) small { (sign.rule) } }
                }
            }
            @if !history.records.iter().any(measured) {
                p.quiet {
                    "Not measured: the largest eigenvalue of the Hessian of the validation loss with respect to the alphas, "
                    "by which RobustDARTS (Zela et al., 2020) stops a search; --guard-eigenvalue \"warn 1.3\" measures it."
                }
            }
        }
    }
}

fn training(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric::new("training", 1, value)
}

fn validation(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric::new("validation", 2, value)
}

/// A curve for each type of cell.
fn of_cells(
    space: &Space,
    value: impl Fn(&EpochRecord, usize) -> f64 + Clone + 'static,
) -> Vec<Metric<EpochRecord>> {
    let cells = space.cells().iter().enumerate().map(|(cell, kind)| {
        let value = value.clone();
        Metric::new(kind.title, 3 + cell, move |record| value(record, cell))
    });
    cells.collect()
}

/// What the table knows of the genotype of each epoch.
fn tabulated() -> [Chart<EpochRecord>; 2] {
    let metric = |place: usize, value: fn((&DataSet, f64, usize)) -> f64| {
        let of_record = move |record: &EpochRecord| {
            nasbench201::entry_of(&record.genotype)
                .map_or(f64::NAN, |entry| value(nasbench201::judged(entry)[place]))
        };
        Metric::new(DATA_SETS[place].title, 1 + place, of_record)
    };
    let all = |value| (0..DATA_SETS.len()).map(|place| metric(place, value)).collect();
    [
        Chart::new(
            "Test accuracy of the genotype in percent, as NAS-Bench-201 has it",
            all(|(_, accuracy, _)| accuracy),
        ),
        Chart::new("Rank of the genotype among those of NAS-Bench-201", all(|(.., rank)| rank as f64)),
    ]
}

/// Stores what the table knows of the genotype of each epoch, a line each; nothing, where it knows none.
fn store_tabulated(run: &Path, history: &History) -> Result<()> {
    let line = |record: &EpochRecord| {
        let entry = nasbench201::entry_of(&record.genotype)?;
        let mut line = json!({ "epoch": record.epoch, "architecture": entry.architecture.to_string() });
        for (data, accuracy, rank) in nasbench201::judged(entry) {
            line[data.name] = json!({ "test_accuracy": accuracy, "rank": rank });
        }
        Some(format!("{line}\n"))
    };
    let lines: String = history.records.iter().filter_map(line).collect();
    if lines.is_empty() { Ok(()) } else { write_whole(&run.join(TABULATED), lines.as_bytes()) }
}

/// Whether the eigenvalue was measured after an epoch.
fn measured(record: &EpochRecord) -> bool {
    record.eigenvalue.is_some()
}

fn course(history: &History) -> Markup {
    let space = &history.genotype.space;
    let largest = |(epoch, alphas): &(usize, Alphas)| (*epoch, largest_entropies(alphas));
    let largest: BTreeMap<usize, Vec<f64>> = history.alphas.iter().map(largest).collect();
    let mut charts = vec![
        Chart::new(
            "Loss",
            vec![training(|record| record.train_loss), validation(|record| record.valid_loss)],
        ),
        Chart::new(
            "Accuracy in percent",
            vec![
                training(|record| 100.0 * record.train_accuracy),
                validation(|record| 100.0 * record.valid_accuracy),
            ],
        ),
        Chart::new(
            "Mean entropy of the mixing weights in percent of that of equal weights",
            of_cells(space, move |record, cell| {
                largest
                    .get(&record.epoch)
                    .map_or(f64::NAN, |largest| 100.0 * record.entropy[cell] / largest[cell])
            }),
        )
        .in_percent(),
        Chart::new(
            "Skip connections in the derived cells",
            of_cells(space, |record, cell| record.skip_connections[cell] as f64),
        ),
    ];
    if nasbench201::entry_of(&history.genotype).is_some() {
        charts.extend(tabulated());
    }
    if history.records.iter().any(measured) {
        let eigenvalue =
            |record: &EpochRecord| record.eigenvalue.map_or(f64::NAN, |eigenvalue| eigenvalue.value);
        let title = "Largest eigenvalue of the validation loss's Hessian by the alphas";
        charts.insert(1, Chart::new(title, vec![Metric::new("eigenvalue", 0, eigenvalue)]));
    }
    parts::course(&history.records, |record| record.epoch, &charts, &history.timings)
}
