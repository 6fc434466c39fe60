//! A cell drawn as text for a terminal.
//!
//! Each node has a row for each of its two edges: the input, the operation, and the node that sums
//! them. A bus at the right collects the nodes that are concatenated.

use crate::space::genotype::{CellGenotype, EDGES_PER_NODE, Genotype, INPUTS, Operation};

/// Rows of a node: its two edges and the gap to the next node.
const ROWS: usize = EDGES_PER_NODE + 1;

/// Both cells with a legend.
pub fn draw(genotype: &Genotype) -> String {
    let mut text = String::from("Normal cell\n");
    draw_cell(&genotype.normal, &mut text);
    text.push_str("\nReduction cell (operations on k-2 and k-1 have stride 2)\n");
    draw_cell(&genotype.reduce, &mut text);
    text.push_str("\nk-2 and k-1 are the outputs of the two cells before, inputs 0 and 1 of a genotype;\n");
    text.push_str("node n is its input n + 2.\n");
    text
}

/// One cell, each line indented by two columns.
pub fn draw_cell(cell: &CellGenotype, text: &mut String) {
    let Some(bus) = Bus::of(cell) else { return };
    let states = cell.edges.iter().map(|&(_, input)| state_name(input).len());
    let state_width = states.max().unwrap_or_default();
    let operations = cell.edges.iter().map(|(operation, _)| operation.name().len());
    let operation_width = operations.max().unwrap_or_default();
    let node_width = state_name(cell.nodes() + INPUTS - 1).len();
    for row in 0..cell.nodes() * ROWS - 1 {
        let (node, line) = (row / ROWS, row % ROWS);
        let left = match cell.edges.get(node * EDGES_PER_NODE + line).filter(|_| line < EDGES_PER_NODE) {
            Some(&edge) => edge_text(edge, state_width, operation_width),
            None => " ".repeat(state_width + operation_width + 7),
        };
        let joint = match line {
            0 => format!("┬─▶ {:node_width$}", state_name(node + INPUTS)),
            1 => format!("┘   {:node_width$}", ""),
            _ => " ".repeat(node_width + 4),
        };
        let drawn = format!("  {left}{joint}{}", bus.at(row));
        text.push_str(drawn.trim_end());
        text.push('\n');
    }
}

fn edge_text((operation, input): (Operation, usize), state_width: usize, operation_width: usize) -> String {
    let dashes = "─".repeat(operation_width - operation.name().len());
    format!("{:>state_width$} ── {operation} ──{dashes}", state_name(input))
}

/// The name of a state of a cell: an input or a node.
pub fn state_name(state: usize) -> String {
    match state {
        0 => "k-2".to_owned(),
        1 => "k-1".to_owned(),
        _ => format!("node {}", state - INPUTS),
    }
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
    fn of(cell: &CellGenotype) -> Option<Self> {
        let mut nodes: Vec<usize> = cell.concat.iter().map(|state| (state - INPUTS) * ROWS).collect();
        nodes.sort_unstable();
        let (first, last) = (*nodes.first()?, *nodes.last()?);
        let names: Vec<_> = cell.concat.iter().map(|state| (state - INPUTS).to_string()).collect();
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
        draw_cell(&published::find("darts-v2").unwrap().genotype.normal, &mut text);
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
            let edges = entry.genotype.normal.edges.len() + entry.genotype.reduce.edges.len();
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
