//! A cell drawn as text for a terminal.
//!
//! Each node has a row for each of its edges: the input, the operation, and the node that sums
//! them. A bus at the right collects the nodes that are concatenated.

use crate::space::genotype::{CellGenotype, ChosenEdge, Genotype};
use crate::space::layout::Notation;
use crate::space::{CellType, Space};

/// All cells with a legend.
pub fn draw(genotype: &Genotype) -> String {
    let space = &genotype.space;
    let mut text = String::new();
    for (kind, cell) in space.cells().iter().zip(&genotype.cells) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&heading(kind.title));
        if kind.reduces {
            text.push_str(&format!(" (operations on {} have stride 2)", input_names(space)));
        }
        text.push('\n');
        draw_cell(space, cell, &mut text);
    }
    for kind in genotype.dead_cells() {
        text.push_str(&format!("\n{}\n", dead(kind)));
    }
    if space.notation() == Notation::Edges {
        text.push_str(&format!("\n{}, node 0 of a text of edges.\n", inputs_explained(space)));
        return text;
    }
    let inputs = space.inputs();
    let numbers = (0..inputs).map(|state| state.to_string()).collect::<Vec<_>>().join(" and ");
    let (one, many) = (format!("input {numbers}"), format!("inputs {numbers}"));
    text.push_str(&format!(
        "\n{}, {} of a genotype;\nnode n is its input n + {inputs}.\n",
        inputs_explained(space),
        if inputs == 1 { one } else { many }
    ));
    text
}

/// What is said of a type of cell whose output depends on no input.
pub fn dead(CellType { title, .. }: &CellType) -> String {
    format!("Nothing reaches the output of the {title}: no path of operations other than none leads there.")
}

/// The title of a type of cell as a heading.
pub fn heading(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The numbers of the nodes that the output of a cell concatenates.
pub fn output_names(space: &Space, cell: &CellGenotype) -> Vec<String> {
    let number = |state: &usize| space.state_name(*state).trim_start_matches("node ").to_owned();
    cell.concat.iter().map(number).collect()
}

/// The inputs of a cell as a list in a sentence.
pub fn input_names(space: &Space) -> String {
    (0..space.inputs()).map(|state| space.state_name(state)).collect::<Vec<_>>().join(" and ")
}

/// What the inputs of a cell are, as a sentence without its end.
pub fn inputs_explained(space: &Space) -> String {
    let names = input_names(space);
    match space.inputs() {
        1 => format!("{names} is the output of the cell before"),
        2 => format!("{names} are the outputs of the two cells before"),
        inputs => format!("{names} are the outputs of the {inputs} cells before"),
    }
}

/// One cell, each line indented by two columns.
pub fn draw_cell(space: &Space, cell: &CellGenotype, text: &mut String) {
    let inputs = space.inputs();
    // The rows of a node are those of its edges and a gap before the next node.
    let mut starts = vec![0];
    for edges in &cell.nodes {
        starts.push(starts[starts.len() - 1] + edges.len().max(1) + 1);
    }
    let Some(bus) = Bus::of(space, cell, &starts) else { return };
    let states = cell.edges().map(|(_, edge)| space.state_name(edge.from).len());
    let state_width = states.max().unwrap_or_default();
    let operations = cell.edges().map(|(_, edge)| edge.operation.name.len());
    let operation_width = operations.max().unwrap_or_default();
    let node_width = space.state_name(cell.nodes.len() + inputs - 1).len();
    for (node, edges) in cell.nodes.iter().enumerate() {
        for row in starts[node]..starts[node + 1] {
            let line = row - starts[node];
            if line == edges.len().max(1) && node + 1 == cell.nodes.len() {
                break;
            }
            let left = match edges.get(line) {
                Some(&edge) => edge_text(space, edge, state_width, operation_width),
                None => " ".repeat(state_width + operation_width + 7),
            };
            let joint = match (line, edges.len()) {
                (0, 0 | 1) => format!("──▶ {:node_width$}", space.state_name(node + inputs)),
                (0, _) => format!("┬─▶ {:node_width$}", space.state_name(node + inputs)),
                (line, count) if line + 1 == count => format!("┘   {:node_width$}", ""),
                (line, count) if line < count => format!("┤   {:node_width$}", ""),
                _ => " ".repeat(node_width + 4),
            };
            let drawn = format!("  {left}{joint}{}", bus.at(row));
            text.push_str(drawn.trim_end());
            text.push('\n');
        }
    }
}

fn edge_text(space: &Space, edge: ChosenEdge, state_width: usize, operation_width: usize) -> String {
    let ChosenEdge { operation, from } = edge;
    let dashes = "─".repeat(operation_width - operation.name.len());
    format!("{:>state_width$} ── {operation} ──{dashes}", space.state_name(from))
}

/// The vertical line that collects the concatenated nodes.
struct Bus {
    /// The rows of the nodes that it collects, ascending.
    nodes: Vec<usize>,
    /// The row where it leaves the drawing.
    exit: usize,
    /// What stands at the exit.
    label: String,
}

impl Bus {
    fn of(space: &Space, cell: &CellGenotype, starts: &[usize]) -> Option<Self> {
        let nodes = cell.concat.iter().map(|state| starts[state - space.inputs()]);
        let mut nodes: Vec<usize> = nodes.collect();
        nodes.sort_unstable();
        let (first, last) = (*nodes.first()?, *nodes.last()?);
        let names = output_names(space, cell);
        let label = match names.as_slice() {
            [only] => format!("output: node {only}"),
            many if many.len() <= 8 => format!("output: nodes {} concatenated", many.join(" ")),
            many => format!("output: {} nodes concatenated", many.len()),
        };
        Some(Bus { nodes, exit: (first + last) / 2, label })
    }

    /// What the bus shows in a row: its box character with the line that leads to it, and its label.
    fn at(&self, row: usize) -> String {
        let (first, last) = (self.nodes[0], self.nodes[self.nodes.len() - 1]);
        let left = self.nodes.contains(&row);
        let (up, down) = (first < row && row <= last, first <= row && row < last);
        let corner = match (left, up, down, row == self.exit) {
            (false, false, false, _) => return String::new(),
            (false, _, _, false) => '│',
            (false, _, _, true) => '├',
            (true, false, false, _) => '─',
            (true, false, true, false) => '┐',
            (true, true, false, false) => '┘',
            (true, true, true, false) => '┤',
            (true, false, true, true) => '┬',
            (true, true, false, true) => '┴',
            (true, true, true, true) => '┼',
        };
        let lead = if left { " ──" } else { "   " };
        let tail = if row == self.exit { format!("─▶ {}", self.label) } else { String::new() };
        format!("{lead}{corner}{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::published;

    #[test]
    fn the_drawing_of_darts_v2() {
        let mut text = String::new();
        let genotype = published::find("darts-v2").unwrap().genotype;
        draw_cell(&genotype.space, &genotype.cells[0], &mut text);
        let expected = [
            "     k-2 ── sep_conv_3x3 ──┬─▶ node 0 ──┐",
            "     k-1 ── sep_conv_3x3 ──┘            │",
            "                                        │",
            "     k-2 ── sep_conv_3x3 ──┬─▶ node 1 ──┤",
            "     k-1 ── sep_conv_3x3 ──┘            ├─▶ output: nodes 0 1 2 3 concatenated",
            "                                        │",
            "     k-1 ── sep_conv_3x3 ──┬─▶ node 2 ──┤",
            "     k-2 ── skip_connect ──┘            │",
            "                                        │",
            "     k-2 ── skip_connect ──┬─▶ node 3 ──┘",
            "  node 0 ── dil_conv_3x3 ──┘",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_drawing_fits_and_shows_every_edge() {
        for entry in published::all().unwrap() {
            let text = draw(&entry.genotype);
            let width = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(width <= 100, "{} is {width} wide:\n{text}", entry.name);
            let edges: usize = entry.genotype.cells.iter().map(|cell| cell.edges().count()).sum();
            assert_eq!(
                text.matches("_3x3 ─").count()
                    + text.matches("connect ─").count()
                    + text.matches("_5x5 ─").count()
                    + text.matches("x7 ─").count(),
                edges
            );
        }
    }
}
