//! The report of a run, and what that of a search says: one page without scripts, which asks nothing of the network.

use std::path::{Path, PathBuf};

use maud::{Markup, PreEscaped, html};

use super::parts::{self, Metric, epochs, legend_entry, percent, thinned};
use super::training_page;
use super::verdict::Verdict;
use crate::Result;
use crate::draw::cell_svg::colour;
use crate::draw::drawing::state_name;
use crate::draw::plot::{Curve, Frame};
use crate::files::write_whole;
use crate::plan::Command;
use crate::search::observer::EpochRecord;
use crate::space::alphas::{CANDIDATES, edge};
use crate::space::derivation::softmax;
use crate::space::genotype::{CellGenotype, EDGES_PER_NODE, INPUTS, Operation};
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
        (parts::cells(&history.genotype))
        (course(history))
        (heat_maps(history))
        (weights(history))
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

fn outcome(verdict: &Verdict) -> Markup {
    let class = match verdict.collapsed {
        true => "bad",
        false if verdict.signs.iter().any(|sign| sign.doubtful) => "doubt",
        false => "good",
    };
    html! {
        section {
            h2 { "Outcome" }
            div class=(format!("verdict {class}")) { strong { (verdict.headline) } }
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

const fn training(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric { name: "training", colour: 2, value }
}

const fn validation(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric { name: "validation", colour: 7, value }
}

const fn normal(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric { name: "normal cell", colour: 4, value }
}

const fn reduction(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric { name: "reduction cell", colour: 5, value }
}

fn course(history: &History) -> Markup {
    let charts = [
        ("Loss", vec![training(|record| record.train_loss), validation(|record| record.valid_loss)]),
        (
            "Accuracy in percent",
            vec![
                training(|record| 100.0 * record.train_accuracy),
                validation(|record| 100.0 * record.valid_accuracy),
            ],
        ),
        (
            "Mean entropy of the mixing weights in nats",
            vec![normal(|record| record.entropy_normal), reduction(|record| record.entropy_reduce)],
        ),
        (
            "Skip connections in the derived cells",
            vec![
                normal(|record| record.skip_connections as f64),
                reduction(|record| record.skip_connections_reduce as f64),
            ],
        ),
    ];
    parts::course(&history.records, |record| record.epoch, &charts, &history.timings)
}

/// Both supernet cells with the rows of their alphas after an epoch, for whoever goes over all edges.
fn supernet_cells(history: &History) -> [(&'static str, &CellGenotype, bool); 2] {
    [("Normal cell", &history.genotype.normal, true), ("Reduction cell", &history.genotype.reduce, false)]
}

/// The edges of a supernet cell: input state and node, in the order of the rows.
fn edges(nodes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..nodes).flat_map(|node| (0..node + INPUTS).map(move |state| (state, node)))
}

/// The operation that the derived cell keeps on an edge.
fn kept(cell: &CellGenotype, (state, node): (usize, usize)) -> Option<Operation> {
    let mut edges = cell.edges.iter().skip(node * EDGES_PER_NODE).take(EDGES_PER_NODE);
    edges.find(|(_, input)| *input == state).map(|(operation, _)| *operation)
}

fn edge_name((state, node): (usize, usize)) -> String {
    format!("{} → {}", state_name(state), state_name(node + INPUTS))
}

/// The mixing weights of an edge.
fn row(rows: &[f32], (state, node): (usize, usize)) -> Vec<f32> {
    let start = edge(node, state) * CANDIDATES;
    softmax(&rows[start..start + CANDIDATES])
}

fn heat_maps(history: &History) -> Markup {
    let alphas = history.last_alphas();
    html! {
        section {
            h2 { "Mixing weights after the last epoch" }
            p.quiet {
                "In percent, edge by edge of the supernet's cells; equal weights would be 12.5. Framed: what the derived "
                "cells keep."
            }
            @for (name, cell, is_normal) in supernet_cells(history) {
                h3 { (name) }
                div.wide { (heat_map(cell, alphas.nodes, if is_normal { &alphas.normal } else { &alphas.reduce })) }
            }
        }
    }
}

fn heat_map(cell: &CellGenotype, nodes: usize, rows: &[f32]) -> Markup {
    let all = edges(nodes).flat_map(|edge| row(rows, edge));
    let (low, high) = all.fold((1f32, 0f32), |(low, high), weight| (low.min(weight), high.max(weight)));
    let heat = |weight: f32| 4.0 + 64.0 * (weight - low) / (high - low).max(f32::MIN_POSITIVE);
    html! {
        table.heat {
            thead { tr { th { "edge" } @for operation in Operation::ALL { th { (operation) } } } }
            tbody {
                @for edge in edges(nodes) {
                    tr.first[edge.0 == 0] {
                        th { (edge_name(edge)) }
                        @for (operation, weight) in Operation::ALL.into_iter().zip(row(rows, edge)) {
                            td.kept[kept(cell, edge) == Some(operation)]
                                style=(format!("--heat:{:.0}", heat(weight))) {
                                (format!("{:.1}", 100.0 * weight))
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
            ul.legend.over { @for operation in Operation::ALL { (legend_entry(operation.name(), colour(operation))) } }
            @for (name, cell, is_normal) in supernet_cells(history) {
                h3 { (name) }
                div.edges { (small_multiples(history, cell, is_normal)) }
            }
        }
    }
}

fn small_multiples(history: &History, cell: &CellGenotype, is_normal: bool) -> Markup {
    let nodes = history.last_alphas().nodes;
    let course = |edge: (usize, usize)| -> Vec<(usize, Vec<f32>)> {
        thinned(&history.alphas)
            .map(|(epoch, alphas)| {
                (*epoch, row(if is_normal { &alphas.normal } else { &alphas.reduce }, edge))
            })
            .collect()
    };
    let courses: Vec<_> = edges(nodes).map(|edge| (edge, course(edge))).collect();
    let all = courses.iter().flat_map(|(_, course)| course.iter().flat_map(|(_, weights)| weights));
    let (low, high) = all.fold((1f32, 0f32), |(low, high), weight| (low.min(*weight), high.max(*weight)));
    let values = (100.0 * f64::from(low), 100.0 * f64::from(high));
    html! {
        @for (edge, course) in courses {
            @let curves = Operation::ALL.into_iter().enumerate().map(|(place, operation)| Curve {
                colour: colour(operation),
                points: course.iter().map(|(epoch, weights)| (*epoch, 100.0 * f64::from(weights[place]))).collect(),
            });
            @let name = edge_name(edge);
            @let label = format!("Mixing weights from {name}");
            @let frame = Frame { label: &label, size: (240, 150), values };
            figure {
                figcaption {
                    span { (name) }
                    @if let Some(operation) = kept(cell, edge) {
                        span.kept style=(format!("--colour:var(--operation-{})", colour(operation))) {
                            i {} (operation)
                        }
                    }
                }
                (PreEscaped(frame.draw(&curves.collect::<Vec<_>>())))
            }
        }
    }
}
