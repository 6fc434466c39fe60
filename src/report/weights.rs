//! The mixing weights of a supernet, edge by edge.

use maud::{Markup, PreEscaped, html};

use super::parts::{legend_entry, thinned};
use crate::draw::cell_svg::variable;
use crate::draw::drawing::heading;
use crate::draw::plot::{Curve, Frame};
use crate::space::alphas::Alphas;
use crate::space::genotype::{CellGenotype, Genotype};
use crate::space::weighing::Weighing;
use crate::space::{Edge, Operation, Space, Wiring};
use crate::store::history::History;

/// The types of cells of the supernet: heading, edges and the derived cell.
fn supernet_cells<'a>(alphas: &Alphas, genotype: &'a Genotype) -> Vec<(String, Wiring, &'a CellGenotype)> {
    let cells = alphas.space.cells().iter().zip(&genotype.cells).enumerate();
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

/// The mixing weights of alphas as a table for each type of cell, and what the genotype keeps; `after` says when the alphas
/// were these.
pub fn heat_maps(alphas: &Alphas, genotype: &Genotype, after: &str) -> Markup {
    let candidates = alphas.space.candidates();
    let cells = supernet_cells(alphas, genotype);
    let shared =
        cells.iter().all(|(_, wiring, _)| wiring.edges.iter().all(|edge| edge.candidates == candidates));
    html! {
        section {
            h2 { "Mixing weights " (after) }
            p.quiet {
                "In percent, edge by edge of the supernet's cells"
                @if shared && alphas.weighing == Weighing::Softmax { "; equal weights would be " (format!("{:.1}", 100.0 / candidates.len() as f64)) }
                ". Framed: what the derived cells keep"
                @if !alphas.betas.is_empty() { ", by the product of its weight and that of its edge" }
                "."
            }
            @for (index, (name, wiring, cell)) in cells.into_iter().enumerate() {
                h3 { (name) }
                div.wide tabindex="0" { (heat_map(alphas, index, &wiring, cell)) }
            }
        }
    }
}

fn heat_map(alphas: &Alphas, index: usize, wiring: &Wiring, cell: &CellGenotype) -> Markup {
    let table = &alphas.tables[index];
    let (space, candidates) = (&alphas.space, alphas.space.candidates());
    let row = |edge: &Edge| alphas.weighing.weights(&table[edge.row.clone()]);
    let edge_weights = alphas.edge_weights(index);
    let all = wiring.edges.iter().flat_map(row);
    let (low, high) = all.fold((1f64, 0f64), |(low, high), weight| (low.min(weight), high.max(weight)));
    let heat = |weight: f64| 4.0 + 64.0 * (weight - low) / (high - low).max(f64::MIN_POSITIVE);
    let weight = |edge: &Edge, operation: &Operation| {
        let place = edge.candidates.iter().position(|candidate| *candidate == operation)?;
        Some(row(edge)[place])
    };
    html! {
        table.heat {
            thead {
                tr {
                    th { "edge" }
                    @if edge_weights.is_some() { th { "weight of the edge" } }
                    @for operation in &candidates { th { (operation) } }
                }
            }
            tbody {
                @for (place, edge) in wiring.edges.iter().enumerate() {
                    tr.first[edge.from == 0] {
                        th { (edge_name(space, edge)) }
                        @if let Some(weights) = &edge_weights { td { (format!("{:.1}", 100.0 * weights[place])) } }
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

/// The mixing weights of each edge over the epochs.
pub fn over_epochs(history: &History) -> Markup {
    let cells = supernet_cells(history.result_alphas(), &history.genotype);
    html! {
        section {
            h2 { "Mixing weights over the epochs" }
            p.quiet { "In percent; one drawing for each edge, with the same scale in a cell. In bold what is kept." }
            ul.legend.over {
                @for operation in history.result_alphas().space.candidates() {
                    (legend_entry(operation.name, &variable(operation)))
                }
            }
            @for (index, (name, wiring, cell)) in cells.into_iter().enumerate() {
                h3 { (name) }
                div.edges { (small_multiples(history, index, &wiring, cell)) }
            }
        }
    }
}

fn small_multiples(history: &History, index: usize, wiring: &Wiring, cell: &CellGenotype) -> Markup {
    let space = &history.result_alphas().space;
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
