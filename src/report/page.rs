//! The report of a search: one page without scripts, which asks nothing of the network.

use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::cell_svg::{self, colour};
use super::drawing::state_name;
use super::history::History;
use super::plot::{Curve, Frame};
use super::progress::duration;
use super::verdict::Verdict;
use crate::Result;
use crate::files::write_whole;
use crate::search::observer::EpochRecord;
use crate::space::alphas::{CANDIDATES, edge};
use crate::space::derivation::softmax;
use crate::space::genotype::{CellGenotype, EDGES_PER_NODE, INPUTS, Operation};

/// The most points of a curve; more cannot be told apart.
const MOST_POINTS: usize = 240;

/// Writes the report of a run into its directory: `report.html`, and each cell as `.svg` and `.dot`. Gives the place of
/// the page.
pub fn write(run: &Path) -> Result<PathBuf> {
    let history = History::load(run)?;
    for (name, title, cell) in [
        ("normal", "Normal cell", &history.genotype.normal),
        ("reduce", "Reduction cell", &history.genotype.reduce),
    ] {
        write_whole(&run.join(format!("cell_{name}.svg")), cell_svg::standalone(cell, title).as_bytes())?;
        write_whole(&run.join(format!("cell_{name}.dot")), cell_svg::dot(cell, name).as_bytes())?;
    }
    let path = run.join("report.html");
    write_whole(&path, page(&history).as_bytes())?;
    Ok(path)
}

/// The page.
pub fn page(history: &History) -> String {
    let data = history.planned("data").unwrap_or("unnamed images");
    let title = format!("Search on {data}");
    let verdict = Verdict::of(history);
    let style = [cell_svg::PALETTE, cell_svg::STYLE, include_str!("page.css")].concat();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – " (history.name) }
                style { (PreEscaped(style)) }
            }
            body {
                main {
                    h1 { (title) }
                    p.quiet { (history.name) }
                    (facts(history))
                    (outcome(&verdict))
                    (cells(history))
                    (course(history))
                    (heat_maps(history))
                    (weights(history))
                    (plan(history))
                }
            }
        }
    };
    page.into_string()
}

fn facts(history: &History) -> Markup {
    let last = history.last();
    let seconds: f64 = history.records.iter().map(|record| record.seconds).sum();
    let percent = |fraction: f64| format!("{:.2}\u{a0}%", 100.0 * fraction);
    let epochs = match history.planned("epochs").and_then(|planned| planned.parse::<usize>().ok()) {
        Some(planned) if planned != last.epoch => format!("{} of {planned}", last.epoch),
        _ => last.epoch.to_string(),
    };
    let facts = [
        (percent(last.valid_accuracy), "validation accuracy of the supernet"),
        (percent(last.train_accuracy), "training accuracy"),
        (epochs, "epochs"),
        (duration(seconds), "in all"),
        (history.planned("order").unwrap_or("unknown").to_owned(), "order of the alpha gradient"),
    ];
    html! {
        ul.facts { @for (value, meaning) in facts { li { strong { (value) } span { (meaning) } } } }
    }
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

fn cells(history: &History) -> Markup {
    let cells = [
        (&history.genotype.normal, "Normal cell"),
        (&history.genotype.reduce, "Reduction cell; operations on k-2 and k-1 have stride 2"),
    ];
    html! {
        section {
            h2 { "Cells" }
            p.quiet { "k-2 and k-1 are the outputs of the two cells before. A node adds up what its two operations give." }
            div.cells {
                @for (cell, title) in cells {
                    figure { figcaption { (title) } (cell_svg::inline(cell, title)) }
                }
            }
        }
    }
}

/// A curve of the metrics: its name, its colour and its values.
struct Metric {
    name: &'static str,
    colour: usize,
    value: fn(&EpochRecord) -> f64,
}

const fn training(value: fn(&EpochRecord) -> f64) -> Metric {
    Metric { name: "training", colour: 2, value }
}

const fn validation(value: fn(&EpochRecord) -> f64) -> Metric {
    Metric { name: "validation", colour: 7, value }
}

const fn normal(value: fn(&EpochRecord) -> f64) -> Metric {
    Metric { name: "normal cell", colour: 4, value }
}

const fn reduction(value: fn(&EpochRecord) -> f64) -> Metric {
    Metric { name: "reduction cell", colour: 5, value }
}

fn course(history: &History) -> Markup {
    let throughput = Metric { name: "throughput", colour: 0, value: |record| record.images_per_second };
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
        ("Training images per second", vec![throughput]),
    ];
    html! {
        section {
            h2 { "Course" }
            div.charts { @for (title, metrics) in &charts { (chart(history, title, metrics)) } }
        }
    }
}

fn chart(history: &History, title: &str, metrics: &[Metric]) -> Markup {
    let curves: Vec<Curve> = metrics
        .iter()
        .map(|metric| {
            let points = thinned(&history.records).map(|record| (record.epoch, (metric.value)(record)));
            Curve { colour: metric.colour, points: points.collect() }
        })
        .collect();
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    // From nothing, unless that would flatten the curve.
    let low = if low < 0.6 * high { 0.0 } else { low };
    let frame = Frame { label: title, size: (360, 210), values: (low, high) };
    html! {
        figure {
            figcaption { (title) }
            (PreEscaped(frame.draw(&curves)))
            ul.legend { @for metric in metrics { (legend_entry(metric.name, metric.colour)) } }
        }
    }
}

fn legend_entry(name: &str, colour: usize) -> Markup {
    html! { li { i style=(format!("--colour:var(--operation-{colour})")) {} (name) } }
}

/// All of some values, or evenly spread ones with the first and the last.
fn thinned<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let (count, last) = (values.len().min(MOST_POINTS), values.len().saturating_sub(1));
    (0..count).map(move |index| &values[index * last / count.saturating_sub(1).max(1)])
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

fn plan(history: &History) -> Markup {
    html! {
        section {
            h2 { "Genotype" }
            pre { (history.genotype) }
            pre { (history.genotype.to_json()) }
            h2 { "Plan" }
            div.wide {
                table.plan {
                    tbody {
                        @for (key, value) in &history.plan { tr { th { (key) } td { (value) } } }
                    }
                }
            }
        }
    }
}
