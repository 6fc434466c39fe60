//! The report of a run, and what that of a search says: one page without scripts, which asks nothing of the network.

use std::path::{Path, PathBuf};

use maud::{Markup, PreEscaped, html};

use super::advice::train_command;
use super::parts::{self, Chart, Metric, epochs, legend_entry, percent, thinned};
use super::verdict::{Judgement, Verdict};
use super::{survey, training_page};
use crate::Result;
use crate::draw::cell_svg::variable;
use crate::draw::drawing::heading;
use crate::draw::plot::{Curve, Frame};
use crate::files::write_whole;
use crate::plan::Command;
use crate::search::observer::EpochRecord;
use crate::space::alphas::Alphas;
use crate::space::derivation::largest_entropies;
use crate::space::genotype::CellGenotype;
use crate::space::weighing::Weighing;
use crate::space::{Edge, Operation, Space, Wiring};
use crate::store::command::command_of_run;
use crate::store::history::{History, TrainingHistory};

/// Writes the report of a run, of a search or of a training, into its directory: `report.html`, and each cell as `.svg`
/// and `.dot`. Gives the place of the page.
pub fn write(run: &Path) -> Result<PathBuf> {
    let (page, genotype) = match command_of_run(run)? {
        Command::Search => {
            let history = History::load(run)?;
            (page(&history), history.genotype)
        }
        Command::Train => {
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
        (outcome(&Verdict::of(history)))
        (parts::next(&next(history)))
        (parts::cells(&history.genotype))
        (course(history))
        (heat_maps(history))
        (weights(history))
        @if let Some(survey) = &history.survey { (survey::section(survey)) }
        (parts::plan(&history.genotype, &history.plan))
    };
    parts::document(&format!("Search on {data}"), &history.name, &content)
}

fn facts(history: &History) -> Markup {
    let last = history.last();
    let mut facts = vec![
        (percent(last.valid_accuracy), "validation accuracy of the supernet"),
        (percent(last.train_accuracy), "training accuracy"),
        (epochs(last.epoch, history.planned("epochs")), "epochs"),
    ];
    facts.extend(parts::in_all(&history.timings, history.records.len()));
    facts.push((
        history.planned("method.order").unwrap_or("unknown").to_owned(),
        "order of the alpha gradient",
    ));
    parts::facts(&facts)
}

/// The next commands to type: another search, where one is advised, and the training.
fn next(history: &History) -> Vec<String> {
    let advice = Verdict::of(history).advice;
    let again = advice.map(|advice| advice.command(&history.path));
    again.into_iter().chain([train_command(&history.path)]).collect()
}

fn outcome(verdict: &Verdict) -> Markup {
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
            @for sentence in &verdict.decided { p { (sentence) } }
            ul.signs {
                @for sign in &verdict.signs {
                    li.doubtful[sign.doubtful] { (sign.observed) small { (sign.rule) } }
                }
            }
            p.quiet {
                "Not measured: the largest eigenvalue of the Hessian of the validation loss with respect to the alphas, by "
                "which RobustDARTS (Zela et al., 2020) stops a search."
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

fn course(history: &History) -> Markup {
    let space = &history.genotype.space;
    let largest = largest_entropies(history.last_alphas());
    let charts = [
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
            of_cells(space, move |record, cell| 100.0 * record.entropy[cell] / largest[cell]),
        )
        .in_percent(),
        Chart::new(
            "Skip connections in the derived cells",
            of_cells(space, |record, cell| record.skip_connections[cell] as f64),
        ),
    ];
    parts::course(&history.records, |record| record.epoch, &charts, &history.timings)
}

/// The types of cells of the supernet: heading, edges and the derived cell.
fn supernet_cells(history: &History) -> Vec<(String, Wiring, &CellGenotype)> {
    let alphas = history.last_alphas();
    let cells = alphas.space.cells().iter().zip(&history.genotype.cells).enumerate();
    cells.map(|(cell, (kind, derived))| (heading(kind.title), alphas.wiring(cell), derived)).collect()
}

/// The operation that the derived cell keeps on an edge.
fn kept(cell: &CellGenotype, edge: &Edge) -> Option<&'static Operation> {
    let edges = cell.nodes.get(edge.node)?;
    edges.iter().find(|chosen| chosen.from == edge.from).map(|chosen| chosen.operation)
}

fn edge_name(space: &Space, edge: &Edge) -> String {
    format!("{} → {}", space.state_name(edge.from), space.state_name(edge.node + space.inputs()))
}

fn heat_maps(history: &History) -> Markup {
    let alphas = history.last_alphas();
    let candidates = alphas.space.candidates();
    let shared = supernet_cells(history)
        .iter()
        .all(|(_, wiring, _)| wiring.edges.iter().all(|edge| edge.candidates == candidates));
    html! {
        section {
            h2 { "Mixing weights after the last epoch" }
            p.quiet {
                "In percent, edge by edge of the supernet's cells"
                @if shared && alphas.weighing == Weighing::Softmax { "; equal weights would be " (format!("{:.1}", 100.0 / candidates.len() as f64)) }
                ". Framed: what the derived cells keep."
            }
            @for ((name, wiring, cell), table) in supernet_cells(history).into_iter().zip(&alphas.tables) {
                h3 { (name) }
                div.wide tabindex="0" { (heat_map(alphas, &wiring, cell, table)) }
            }
        }
    }
}

fn heat_map(alphas: &Alphas, wiring: &Wiring, cell: &CellGenotype, table: &[f64]) -> Markup {
    let (space, candidates) = (&alphas.space, alphas.space.candidates());
    let row = |edge: &Edge| alphas.weighing.weights(&table[edge.row.clone()]);
    let all = wiring.edges.iter().flat_map(row);
    let (low, high) = all.fold((1f64, 0f64), |(low, high), weight| (low.min(weight), high.max(weight)));
    let heat = |weight: f64| 4.0 + 64.0 * (weight - low) / (high - low).max(f64::MIN_POSITIVE);
    let weight = |edge: &Edge, operation: &Operation| {
        let place = edge.candidates.iter().position(|candidate| *candidate == operation)?;
        Some(row(edge)[place])
    };
    html! {
        table.heat {
            thead { tr { th { "edge" } @for operation in &candidates { th { (operation) } } } }
            tbody {
                @for edge in &wiring.edges {
                    tr.first[edge.from == 0] {
                        th { (edge_name(space, edge)) }
                        @for operation in &candidates {
                            @if let Some(weight) = weight(edge, operation) {
                                td.kept[kept(cell, edge) == Some(operation)]
                                    style=(format!("--heat:{:.0}", heat(weight))) {
                                    (format!("{:.1}", 100.0 * weight))
                                }
                            } @else {
                                td.absent {}
                            }
                        }
                    }
                }
            }
        }
    }
}

fn weights(history: &History) -> Markup {
    html! {
        section {
            h2 { "Mixing weights over the epochs" }
            p.quiet { "In percent; one drawing for each edge, with the same scale in a cell. In bold what is kept." }
            ul.legend.over {
                @for operation in history.last_alphas().space.candidates() {
                    (legend_entry(operation.name, &variable(operation)))
                }
            }
            @for (index, (name, wiring, cell)) in supernet_cells(history).into_iter().enumerate() {
                h3 { (name) }
                div.edges { (small_multiples(history, index, &wiring, cell)) }
            }
        }
    }
}

fn small_multiples(history: &History, index: usize, wiring: &Wiring, cell: &CellGenotype) -> Markup {
    let space = &history.last_alphas().space;
    let course = |edge: &Edge| -> Vec<(usize, Vec<f64>)> {
        let weights = |alphas: &Alphas| alphas.weighing.weights(&alphas.tables[index][edge.row.clone()]);
        thinned(&history.alphas).map(|(epoch, alphas)| (*epoch, weights(alphas))).collect()
    };
    let courses: Vec<_> = wiring.edges.iter().map(|edge| (edge, course(edge))).collect();
    let all = courses.iter().flat_map(|(_, course)| course.iter().flat_map(|(_, weights)| weights));
    let (low, high) = all.fold((1f64, 0f64), |(low, high), weight| (low.min(*weight), high.max(*weight)));
    let values = (100.0 * low, 100.0 * high);
    html! {
        @for (edge, course) in courses {
            @let curves = edge.candidates.iter().enumerate().map(|(place, operation)| Curve {
                colour: variable(operation),
                points: course.iter().map(|(epoch, weights)| (*epoch, 100.0 * weights[place])).collect(),
            });
            @let name = edge_name(space, edge);
            @let label = format!("Mixing weights from {name}");
            @let frame = Frame { label: &label, size: (240, 150), values };
            figure {
                figcaption {
                    span { (name) }
                    @if let Some(operation) = kept(cell, edge) {
                        span.kept style=(format!("--colour:var({})", variable(operation))) {
                            i {} (operation)
                        }
                    }
                }
                (PreEscaped(frame.draw(&curves.collect::<Vec<_>>())))
            }
        }
    }
}
