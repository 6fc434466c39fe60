//! A cell drawn as a graph: from top to bottom, one node below the other.
//!
//! The operations of a node stand in boxes above it, two in a row, so labels have places of their own and never meet. What a state
//! gives runs along a channel below the state, down a lane beside the boxes, and from there into the boxes that take it;
//! the boxes right below take it from the channel. No wire crosses a box.

use super::drawing::output_names;
use crate::space::genotype::{CellGenotype, ChosenEdge};
use crate::space::{Operation, Space};

/// Width and height of the box of an operation.
pub const BOX: (f64, f64) = (112.0, 28.0);
/// Width and height of a state.
pub const STATE: (f64, f64) = (72.0, 26.0);
/// From the middle of the drawing to the middle of a box.
const BESIDE: f64 = 74.0;
/// From the middle to the innermost lane.
const LANES: f64 = BESIDE + BOX.0 / 2.0 + 16.0;
/// From lane to lane.
const LANE: f64 = 12.0;
/// From the inputs to their channels, and from one of these to the next.
const CHANNEL: f64 = 12.0;
/// From a box to the node that sums it.
const SUM: f64 = 44.0;
/// From a row of boxes to the next one of the same node.
const ROW: f64 = BOX.1 + 16.0;
/// From a channel to the boxes below.
const BELOW: f64 = 34.0;
/// Around the drawing.
const MARGIN: f64 = 10.0;

/// A point of the drawing; y grows downwards.
pub type Point = (f64, f64);

/// Where everything in the drawing of a cell is.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The left edge and the width.
    pub horizontal: (f64, f64),
    /// The height; the top is 0.
    pub height: f64,
    /// The middle of each state, in the order of the genotype, and its name.
    pub states: Vec<(Point, String)>,
    /// The middle of the output and what it concatenates.
    pub output: (Point, String),
    /// The middle of each operation's box, edge after edge.
    pub operations: Vec<(Point, &'static Operation)>,
    /// What each state gives: corner points down to the boxes that take it, and to the output.
    pub wires: Vec<Vec<Wire>>,
    /// From each box to its node.
    pub sums: Vec<Vec<Point>>,
}

/// The corner points of a way from a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Wire {
    /// The corners, the first at the state.
    pub points: Vec<Point>,
    /// Whether it leads to the output of the cell.
    pub to_output: bool,
}

/// Left or right of the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Side {
    const BOTH: [Side; 2] = [Side::Left, Side::Right];

    fn sign(self) -> f64 {
        match self {
            Side::Left => -1.0,
            Side::Right => 1.0,
        }
    }

    fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// An edge with a place for its box: in which row above its node, and on which side.
#[derive(Clone, Copy)]
struct Placed {
    node: usize,
    row: usize,
    side: Side,
    edge: ChosenEdge,
}

/// A lane: what it carries, on which side, from which state's channel to which node's boxes.
struct Lane {
    source: usize,
    side: Side,
    first: usize,
    last: usize,
    /// How far out it is, counted from the innermost.
    rank: usize,
}

impl Lane {
    /// Whether both pass the same nodes on the same side; a lane begins right below its source.
    fn meets(&self, other: &Lane) -> bool {
        self.side == other.side && self.first <= other.last && other.first <= self.last
    }
}

/// Where everything of a cell has its place.
pub fn layout(space: &Space, cell: &CellGenotype) -> Layout {
    let mut sketch = Sketch { space, cell, edges: Vec::new(), lanes: Vec::new() };
    sketch.place_edges();
    sketch.place_lanes();
    sketch.layout()
}

/// A drawing on its way: the edges and lanes that have a place.
struct Sketch<'a> {
    space: &'a Space,
    cell: &'a CellGenotype,
    edges: Vec<Placed>,
    lanes: Vec<Lane>,
}

impl Sketch<'_> {
    fn layout(&self) -> Layout {
        let (cell, inputs) = (self.cell, self.inputs());
        let outermost = |side| {
            self.lanes.iter().filter(|lane| lane.side == side).map(|lane| lane.rank + 1).max().unwrap_or(0)
        };
        let (left, right) = (outermost(Side::Left), outermost(Side::Right));
        let bus = LANES + right as f64 * LANE + 4.0;
        let states: Vec<(Point, String)> = (0..inputs + cell.nodes.len())
            .map(|state| {
                let middle = match state.checked_sub(inputs) {
                    None => MARGIN + STATE.1 / 2.0,
                    Some(node) => self.node_row(node),
                };
                ((self.column(state), middle), self.space.state_name(state))
            })
            .collect();
        let output = (0.0, self.channel(cell.nodes.len() + inputs - 1) + BELOW - 4.0);
        let wires = (0..states.len()).map(|state| {
            let mut wires: Vec<Wire> = Vec::new();
            for edge in self.edges.iter().filter(|placed| placed.edge.from == state) {
                wires.push(Wire { points: self.to_box(edge), to_output: false });
            }
            if cell.concat.contains(&state) {
                wires.push(Wire { points: self.to_output(state, bus, output), to_output: true });
            }
            wires
        });
        let operations = self.edges.iter().map(|placed| {
            let middle = (placed.side.sign() * BESIDE, self.box_row(placed.node, placed.row));
            (middle, placed.edge.operation)
        });
        let (left, right) = (LANES + left as f64 * LANE + MARGIN, bus + MARGIN);
        Layout {
            horizontal: (-left, left + right),
            height: output.1 + STATE.1 / 2.0 + 16.0 + MARGIN,
            output: (output, concatenated(self.space, cell)),
            operations: operations.collect(),
            wires: wires.collect(),
            sums: self.edges.iter().map(|placed| self.to_node(placed)).collect(),
            states,
        }
    }

    fn inputs(&self) -> usize {
        self.space.inputs()
    }

    /// Rows of boxes above a node: two boxes in each.
    fn rows(&self, node: usize) -> usize {
        self.cell.nodes[node].len().div_ceil(2).max(1)
    }

    /// The middle of a row of boxes of a node.
    fn box_row(&self, node: usize, row: usize) -> f64 {
        let inputs = MARGIN + STATE.1 + CHANNEL * self.inputs() as f64;
        let pitch = SUM + STATE.1 / 2.0 + CHANNEL + BELOW;
        let rows: usize = (0..node).map(|node| self.rows(node) - 1).sum::<usize>() + row;
        inputs + BELOW + pitch * node as f64 + ROW * rows as f64
    }

    /// The middle of a node.
    fn node_row(&self, node: usize) -> f64 {
        self.box_row(node, self.rows(node) - 1) + SUM
    }

    /// The node whose boxes are right below a state.
    fn first_below(&self, state: usize) -> usize {
        (state + 1).saturating_sub(self.inputs())
    }

    /// Where what a state gives runs to the sides.
    fn channel(&self, state: usize) -> f64 {
        match state.checked_sub(self.inputs()) {
            None => MARGIN + STATE.1 + CHANNEL * (state + 1) as f64,
            Some(node) => self.node_row(node) + STATE.1 / 2.0 + CHANNEL,
        }
    }

    /// The middle of a state: inputs stand side by side, nodes below each other.
    fn column(&self, state: usize) -> f64 {
        match state < self.inputs() {
            true => BESIDE * (2.0 * state as f64 + 1.0 - self.inputs() as f64),
            false => 0.0,
        }
    }

    /// The bottom of a state.
    fn bottom(&self, state: usize) -> f64 {
        let above = if state < self.inputs() { (state + 1) as f64 } else { 1.0 };
        self.channel(state) - above * CHANNEL
    }

    /// Whether a state is wired to a box without a lane: straight down from its channel.
    fn is_below(&self, state: usize, node: usize, row: usize) -> bool {
        row == 0 && node == self.first_below(state)
    }

    /// Which of two edges is on the left: the one for which more of its way is there already.
    fn place_edges(&mut self) {
        for (node, edges) in self.cell.nodes.iter().enumerate() {
            for (row, pair) in edges.chunks(2).enumerate() {
                let cost = |first: Side| -> usize {
                    let pairs = pair.iter().zip([first, first.other()]);
                    pairs.map(|(edge, side)| self.cost(edge.from, side, node, row)).sum()
                };
                let first = if cost(Side::Right) < cost(Side::Left) { Side::Right } else { Side::Left };
                let placed = pair.iter().zip([first, first.other()]);
                let placed: Vec<_> = placed.map(|(&edge, side)| Placed { node, row, side, edge }).collect();
                self.edges.extend(placed);
            }
        }
    }

    /// What it takes to bring a state to a side of a node, in rows of lanes; a crossing counts as one.
    fn cost(&self, source: usize, side: Side, node: usize, row: usize) -> usize {
        let across = usize::from(self.column(source) * side.sign() < 0.0);
        if self.is_below(source, node, row) {
            return across;
        }
        let below = self.first_below(source);
        let same = self.edges.iter().filter(|placed| (placed.edge.from, placed.side) == (source, side));
        let reached = same.map(|placed| placed.node).filter(|&reached| reached > below).max();
        match reached {
            Some(end) => node - end,
            None => 2 + across + (node - below),
        }
    }

    /// The lanes that are needed, the short ones inside.
    fn place_lanes(&mut self) {
        let mut needed: Vec<Lane> = Vec::new();
        for source in 0..self.cell.nodes.len() + self.inputs() {
            for side in Side::BOTH {
                let takers =
                    self.edges.iter().filter(|placed| (placed.edge.from, placed.side) == (source, side));
                let by_lane = takers.filter(|placed| !self.is_below(source, placed.node, placed.row));
                let (first, last) = (self.first_below(source), by_lane.map(|placed| placed.node).max());
                needed.extend(last.map(|last| Lane { source, side, first, last, rank: 0 }));
            }
        }
        needed.sort_by_key(|lane| (lane.last - lane.first, lane.source));
        for mut lane in needed {
            let meeting = self.lanes.iter().filter(|other| other.meets(&lane));
            let taken: Vec<usize> = meeting.map(|other| other.rank).collect();
            lane.rank = (0..).find(|rank| !taken.contains(rank)).unwrap_or_default();
            self.lanes.push(lane);
        }
    }

    /// The way from a state to a box of a node.
    fn to_box(&self, &Placed { node, row, side, edge }: &Placed) -> Vec<Point> {
        let state = edge.from;
        let (start, channel) = ((self.column(state), self.bottom(state)), self.channel(state));
        let middle = self.box_row(node, row);
        if self.is_below(state, node, row) {
            // Beside the middle, where the other input comes straight down.
            let across = state < self.inputs() && self.column(state) != side.sign() * BESIDE;
            let x = side.sign() * (BESIDE - if across { 18.0 } else { 0.0 });
            return vec![start, (start.0, channel), (x, channel), (x, middle - BOX.1 / 2.0)];
        }
        let lane = self.lanes.iter().find(|lane| (lane.source, lane.side) == (state, side));
        let x = side.sign() * (LANES + lane.map_or(0, |lane| lane.rank) as f64 * LANE);
        let edge = side.sign() * (BESIDE + BOX.0 / 2.0);
        vec![start, (start.0, channel), (x, channel), (x, middle), (edge, middle)]
    }

    /// The way from a box to its node: around the rows below, or between their boxes.
    fn to_node(&self, &Placed { node, row, side, .. }: &Placed) -> Vec<Point> {
        let (sign, middle, end) = (side.sign(), self.box_row(node, row), self.node_row(node));
        if row + 1 == self.rows(node) {
            let bottom = (sign * BESIDE, middle + BOX.1 / 2.0);
            return vec![bottom, (sign * BESIDE, end), (sign * STATE.0 / 2.0, end)];
        }
        let (inner, between) = (BESIDE - BOX.0 / 2.0, (BESIDE - BOX.0 / 2.0) / 2.0);
        vec![(sign * inner, middle), (sign * between, middle), (sign * between, end - STATE.1 / 2.0)]
    }

    /// The way from a state to the output: down where nothing is between, otherwise along the outermost lane.
    fn to_output(&self, state: usize, bus: f64, output: Point) -> Vec<Point> {
        let (start, channel) = ((self.column(state), self.bottom(state)), self.channel(state));
        if state == self.cell.nodes.len() + self.inputs() - 1 {
            return vec![start, (output.0, output.1 - STATE.1 / 2.0)];
        }
        vec![start, (start.0, channel), (bus, channel), (bus, output.1), (output.0 + STATE.0 / 2.0, output.1)]
    }
}

fn concatenated(space: &Space, cell: &CellGenotype) -> String {
    let names = output_names(space, cell);
    match names.as_slice() {
        [only] => format!("node {only}"),
        many if many.len() <= 8 => format!("nodes {} concatenated", many.join(" ")),
        many => format!("{} nodes concatenated", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::space::genotype::Genotype;
    use crate::space::{published, sampled};

    /// Whether a piece of a way touches the inside of a rectangle.
    fn crosses(from: Point, to: Point, middle: Point, size: (f64, f64)) -> bool {
        let inside = |low: f64, high: f64, middle: f64, size: f64| {
            low.max(middle - size / 2.0 + 0.1) < high.min(middle + size / 2.0 - 0.1) + 0.2
                && high > middle - size / 2.0 + 0.1
                && low < middle + size / 2.0 - 0.1
        };
        inside(from.0.min(to.0), from.0.max(to.0), middle.0, size.0)
            && inside(from.1.min(to.1), from.1.max(to.1), middle.1, size.1)
    }

    /// The published cells, and cells of spaces that keep one, three and all edges of a node.
    fn cells() -> Vec<(String, Arc<Space>, CellGenotype)> {
        let mut genotypes: Vec<(String, Genotype)> =
            published::all().unwrap().into_iter().map(|entry| (entry.name, entry.genotype)).collect();
        for (name, kept, nodes) in [("one", "1", 4), ("all", "\"all\"", 4), ("all of six", "\"all\"", 6)] {
            let text = format!(
                "candidates = [\"skip_connect\", \"sep_conv_7x7\"]\nedges_kept = {kept}\nnodes = {nodes}"
            );
            let space = Space::from_toml(&text, Path::new("own")).unwrap();
            genotypes.extend((0..3).map(|seed| (format!("{name}, {seed}"), sampled::draw(seed, &space))));
        }
        let cells = genotypes.into_iter().flat_map(|(name, genotype)| {
            genotype.cells.into_iter().map(move |cell| (name.clone(), Arc::clone(&genotype.space), cell))
        });
        cells.collect()
    }

    #[test]
    fn nothing_covers_a_label() {
        for (name, space, cell) in cells() {
            let layout = layout(&space, &cell);
            let boxes = layout.operations.iter().map(|(middle, _)| (*middle, BOX));
            let states = layout.states.iter().map(|(middle, _)| (*middle, STATE));
            let places: Vec<_> = boxes.chain(states).chain([(layout.output.0, STATE)]).collect();
            for (index, &(one, one_size)) in places.iter().enumerate() {
                let corners = [(one.0 - one_size.0 / 2.0, one.1), (one.0 + one_size.0 / 2.0, one.1)];
                assert!(corners.iter().all(|&(x, _)| x > layout.horizontal.0));
                for &(other, size) in &places[index + 1..] {
                    let apart = (one.0 - other.0).abs() >= (one_size.0 + size.0) / 2.0
                        || (one.1 - other.1).abs() >= (one_size.1 + size.1) / 2.0;
                    assert!(apart, "{name}: {one:?} and {other:?}");
                }
            }
            let wires = layout.wires.iter().flatten().map(|wire| &wire.points);
            for points in wires.chain(&layout.sums) {
                for piece in points.windows(2) {
                    let (from, to) = (piece[0], piece[1]);
                    assert!(
                        from.0 == to.0 || from.1 == to.1,
                        "{name}: {from:?} to {to:?} is neither down nor across"
                    );
                    let covered = places.iter().find(|&&(middle, size)| crosses(from, to, middle, size));
                    assert!(covered.is_none(), "{name}: {from:?} to {to:?} crosses {covered:?}");
                }
            }
        }
    }

    #[test]
    fn ways_of_different_states_only_cross() {
        for (name, space, cell) in cells() {
            let layout = layout(&space, &cell);
            for (one, wires) in layout.wires.iter().enumerate() {
                for others in &layout.wires[one + 1..] {
                    let pieces = |wires: &[Wire]| -> Vec<(Point, Point)> {
                        let without_bus = wires.iter().filter(|wire| !wire.to_output);
                        without_bus.flat_map(|wire| wire.points.windows(2).map(|p| (p[0], p[1]))).collect()
                    };
                    for (a, b) in pieces(wires) {
                        for (c, d) in pieces(others) {
                            let same = |one: f64, other: f64| (one - other).abs() < 1.0;
                            let meet = |a: f64, b: f64, c: f64, d: f64| {
                                a.max(b).min(c.max(d)) > a.min(b).max(c.min(d))
                            };
                            let down = same(a.0, b.0)
                                && same(c.0, d.0)
                                && same(a.0, c.0)
                                && meet(a.1, b.1, c.1, d.1);
                            let across = same(a.1, b.1)
                                && same(c.1, d.1)
                                && same(a.1, c.1)
                                && meet(a.0, b.0, c.0, d.0);
                            assert!(!down && !across, "{name}: {a:?} {b:?} lies on {c:?} {d:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_edge_ends_at_its_box() {
        for (_, space, cell) in cells() {
            let layout = layout(&space, &cell);
            let ends = layout.wires.iter().flatten().filter(|wire| !wire.to_output).count();
            assert_eq!(
                (ends, layout.operations.len(), layout.sums.len()),
                (cell.edges().count(), cell.edges().count(), cell.edges().count())
            );
            let outputs = layout.wires.iter().flatten().filter(|wire| wire.to_output).count();
            assert_eq!(outputs, cell.concat.len());
        }
    }
}
