//! A cell's graph as a drawing in SVG and as a text for Graphviz.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use super::cell_graph::{BOX, Layout, Point, STATE, layout};
use crate::space::genotype::CellGenotype;
use crate::space::operation::OPERATIONS;
use crate::space::{Operation, Space};

/// The colours of everything but operations, on light and dark backgrounds.
const PALETTE: &str = include_str!("palette.css");
/// What the parts of the drawing look like.
pub const STYLE: &str = include_str!("cell.css");

/// The radius of a corner.
const CORNER: f64 = 6.0;
/// The length of an arrow head, and half its width.
const ARROW: (f64, f64) = (6.0, 3.5);

/// The colours on light and dark backgrounds, as a style sheet.
pub fn palette() -> String {
    let variables = |colour: fn(&Operation) -> &'static str| -> String {
        OPERATIONS.iter().map(|row| format!(" {}: {};", variable(row), colour(row))).collect()
    };
    let (light, dark) = (variables(|row| row.colour.light), variables(|row| row.colour.dark));
    format!("{PALETTE}:root {{{light} }}\n@media (prefers-color-scheme: dark) {{ :root {{{dark} }} }}\n")
}

/// The variable of the style sheet that holds an operation's colour.
pub fn variable(operation: &Operation) -> String {
    format!("--operation-{}", operation.name)
}

/// A drawing for a page that has [`palette`] and [`STYLE`].
pub fn inline(space: &Space, cell: &CellGenotype, title: &str) -> Markup {
    let layout = layout(space, cell);
    html! {
        svg role="img" aria-label=(title) class="cell" viewBox=(view_box(&layout)) {
            title { (title) }
            (parts(&layout))
        }
    }
}

/// A drawing as a file of its own.
pub fn standalone(space: &Space, cell: &CellGenotype, title: &str) -> String {
    let layout = layout(space, cell);
    let (left, width) = layout.horizontal;
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" class="cell" viewBox=(view_box(&layout))
            width=(width) height=(layout.height) {
            title { (title) }
            style { (PreEscaped(palette())) (PreEscaped(STYLE)) }
            rect class="paper" x=(left) y="0" width=(width) height=(layout.height) {}
            (parts(&layout))
        }
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", svg.into_string())
}

/// A cell in the language of Graphviz.
pub fn dot(space: &Space, cell: &CellGenotype, name: &str) -> String {
    let mut text = format!("digraph {name} {{\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    for (node, edge) in cell.edges() {
        let (from, to) = (space.state_name(edge.from), space.state_name(node + space.inputs()));
        let _ = writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{}\"];", edge.operation);
    }
    for state in &cell.concat {
        let _ = writeln!(text, "  \"{}\" -> \"output\";", space.state_name(*state));
    }
    text.push_str("}\n");
    text
}

fn view_box(layout: &Layout) -> String {
    format!("{} 0 {} {}", layout.horizontal.0, layout.horizontal.1, layout.height)
}

fn parts(layout: &Layout) -> Markup {
    let ((x, y), concatenated) = &layout.output;
    html! {
        // A way is kept clear of the ways below it, but not of those from the same state.
        @for wires in &layout.wires {
            @for wire in wires { path class="clear" d=(path(&wire.points)) {} }
            @for wire in wires {
                path class=(if wire.to_output { "wire output" } else { "wire" }) d=(path(&wire.points)) {}
                path class=(if wire.to_output { "head output" } else { "head" }) d=(head(&wire.points)) {}
            }
        }
        @for (sum, (_, operation)) in layout.sums.iter().zip(&layout.operations) {
            g style=(format!("--colour:var({})", variable(operation))) {
                path class="wire sum" d=(path(sum)) {}
                path class="head sum" d=(head(sum)) {}
            }
        }
        @for ((x, y), operation) in &layout.operations {
            g style=(format!("--colour:var({})", variable(operation))) {
                rect class="operation" x=(x - BOX.0 / 2.0) y=(y - BOX.1 / 2.0) width=(BOX.0) height=(BOX.1) rx="5" {}
                text x=(x) y=(y) { (operation) }
            }
        }
        @for (middle, name) in &layout.states { (state(*middle, name)) }
        (state((*x, *y), "output"))
        text class="note" x=(x) y=(y + STATE.1 / 2.0 + 12.0) { (concatenated) }
    }
}

fn state((x, y): Point, name: &str) -> Markup {
    html! {
        rect class="state" x=(x - STATE.0 / 2.0) y=(y - STATE.1 / 2.0) width=(STATE.0) height=(STATE.1)
            rx=(STATE.1 / 2.0) {}
        text x=(x) y=(y) { (name) }
    }
}

/// A way with round corners.
fn path(points: &[Point]) -> String {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let neighbours =
            index.checked_sub(1).and_then(|before| points.get(before)).zip(points.get(index + 1));
        let _ = match neighbours {
            None if index == 0 => write!(path, "M{x} {y}"),
            None => write!(path, "L{x} {y}"),
            Some((&before, &after)) => {
                let ((ax, ay), (bx, by)) = (towards((x, y), before), towards((x, y), after));
                write!(path, "L{ax} {ay}Q{x} {y} {bx} {by}")
            }
        };
    }
    path
}

/// The point on the way to another one where the round corner begins.
fn towards((x, y): Point, (to_x, to_y): Point) -> Point {
    let length = (to_x - x).hypot(to_y - y);
    if length == 0.0 {
        return (x, y);
    }
    let part = CORNER.min(length / 2.0) / length;
    (x + part * (to_x - x), y + part * (to_y - y))
}

/// The arrow head at the end of a way.
fn head(points: &[Point]) -> String {
    let [.., (from_x, from_y), (x, y)] = *points else { return String::new() };
    let length = (x - from_x).hypot(y - from_y).max(1.0);
    let (right, down) = ((x - from_x) / length, (y - from_y) / length);
    let (back_x, back_y) = (x - ARROW.0 * right, y - ARROW.0 * down);
    let (side_x, side_y) = (ARROW.1 * down, ARROW.1 * right);
    let (one_x, one_y, other_x, other_y) =
        (back_x + side_x, back_y - side_y, back_x - side_x, back_y + side_y);
    format!("M{x} {y}L{one_x} {one_y}L{other_x} {other_y}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::genotype::ChosenEdge;
    use crate::space::published;

    #[test]
    fn drawings_are_well_formed_and_whole() {
        for entry in published::all().unwrap() {
            for cell in &entry.genotype.cells {
                let svg = standalone(&entry.genotype.space, cell, "A cell & its <nodes>");
                let document = roxmltree::Document::parse(&svg).unwrap();
                let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
                // Operations, states, the output and its note.
                assert_eq!(texts.len(), cell.edges().count() + cell.nodes.len() + 2 + 2);
                for (_, edge) in cell.edges() {
                    assert!(texts.iter().any(|text| text.text() == Some(edge.operation.name)));
                }
                assert!(!svg.contains("NaN") && !svg.contains("url("));
            }
        }
    }

    #[test]
    fn every_operation_is_drawn_with_its_name_and_its_colours() {
        for operation in &OPERATIONS {
            let edges = [0, 1].map(|from| ChosenEdge { operation, from }).to_vec();
            let cell = CellGenotype { nodes: vec![edges], concat: vec![2] };
            let svg = standalone(&Space::darts(), &cell, "A cell");
            let document = roxmltree::Document::parse(&svg).unwrap();
            let texts = document.descendants().filter(|node| node.has_tag_name("text"));
            assert_eq!(texts.filter(|text| text.text() == Some(operation.name)).count(), 2);
            // Each of two edges: its box, and its way to the sum.
            let coloured = format!("--colour:var({})", variable(operation));
            let groups = document.descendants().filter(|node| node.attribute("style") == Some(&coloured));
            assert_eq!(groups.count(), 4, "{operation}");
            let style = document.descendants().find(|node| node.has_tag_name("style")).unwrap();
            let colours = [operation.colour.light, operation.colour.dark];
            let held = colours.map(|colour| format!(" {}: {colour};", variable(operation)));
            let places = held.map(|held| style.text().unwrap().find(&held).unwrap());
            assert!(places[0] < places[1], "{operation}");
        }
    }

    #[test]
    fn a_cell_for_graphviz_names_every_edge() {
        let genotype = published::find("darts-v2").unwrap().genotype;
        let cell = &genotype.cells[0];
        let text = dot(&genotype.space, cell, "normal");
        assert!(text.starts_with("digraph normal {") && text.ends_with("}\n"));
        assert!(text.contains("  \"k-2\" -> \"node 0\" [label=\"sep_conv_3x3\"];\n"), "{text}");
        assert_eq!(text.matches(" -> ").count(), cell.edges().count() + cell.concat.len());
    }
}
