//! A cell drawn as a graph: from top to bottom, one node below the other.
//!
//! The operations of a node stand in two boxes above it, so labels have places of their own and never meet. What a state
//! gives runs along a channel below the state, down a lane beside the boxes, and from there into the boxes that take it;
//! the boxes right below take it from the channel. No wire crosses a box.

use super::drawing::state_name;
use crate::space::genotype::{CellGenotype, EDGES_PER_NODE, INPUTS, Operation};

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
    pub operations: Vec<(Point, Operation)>,
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

/// A lane: what it carries, on which side, from which state's channel to which node's boxes.
struct Lane {
    source: usize,
    side: Side,
    last: usize,
    /// How far out it is, counted from the innermost.
    rank: usize,
}

impl Lane {
    /// The nodes that it passes; a lane begins right below its source.
    fn meets(&self, other: &Lane) -> bool {
        self.side == other.side
            && first_below(self.source) <= other.last
            && first_below(other.source) <= self.last
    }
}

/// The node whose boxes are right below a state.
fn first_below(state: usize) -> usize {
    (state + 1).saturating_sub(INPUTS)
}

/// Where everything of a cell has its place.
pub fn layout(cell: &CellGenotype) -> Layout {
    let sides = sides(cell);
    let lanes = lanes(cell, &sides);
    let outermost =
        |side| lanes.iter().filter(|lane| lane.side == side).map(|lane| lane.rank + 1).max().unwrap_or(0);
    let (left, right) = (outermost(Side::Left), outermost(Side::Right));
    let bus = LANES + right as f64 * LANE + 4.0;
    let mut states = vec![((-BESIDE, MARGIN + STATE.1 / 2.0), state_name(0))];
    states.push(((BESIDE, MARGIN + STATE.1 / 2.0), state_name(1)));
    states.extend((0..cell.nodes()).map(|node| ((0.0, box_row(node) + SUM), state_name(node + INPUTS))));
    let output = (0.0, channel(cell.nodes() + INPUTS - 1) + BELOW - 4.0);
    let wires = (0..states.len()).map(|state| {
        let mut wires: Vec<Wire> = Vec::new();
        for (edge, &(_, source)) in cell.edges.iter().enumerate() {
            if source == state {
                let points = to_box(state, edge / EDGES_PER_NODE, sides[edge], &lanes);
                wires.push(Wire { points, to_output: false });
            }
        }
        if cell.concat.contains(&state) {
            wires.push(Wire { points: to_output(state, cell, bus, output), to_output: true });
        }
        wires
    });
    let operations = cell.edges.iter().enumerate().map(|(edge, &(operation, _))| {
        ((sides[edge].sign() * BESIDE, box_row(edge / EDGES_PER_NODE)), operation)
    });
    let sums = (0..cell.edges.len()).map(|edge| {
        let (sign, row) = (sides[edge].sign(), box_row(edge / EDGES_PER_NODE));
        vec![
            (sign * BESIDE, row + BOX.1 / 2.0),
            (sign * BESIDE, row + SUM),
            (sign * STATE.0 / 2.0, row + SUM),
        ]
    });
    let (left, right) = (LANES + left as f64 * LANE + MARGIN, bus + MARGIN);
    Layout {
        horizontal: (-left, left + right),
        height: output.1 + STATE.1 / 2.0 + 16.0 + MARGIN,
        output: (output, concatenated(cell)),
        operations: operations.collect(),
        wires: wires.collect(),
        sums: sums.collect(),
        states,
    }
}

/// The middle of the boxes of a node.
fn box_row(node: usize) -> f64 {
    let inputs = MARGIN + STATE.1 + CHANNEL * INPUTS as f64;
    let pitch = SUM + STATE.1 / 2.0 + CHANNEL + BELOW;
    inputs + BELOW + pitch * node as f64
}

/// Where what a state gives runs to the sides.
fn channel(state: usize) -> f64 {
    match state.checked_sub(INPUTS) {
        None => MARGIN + STATE.1 + CHANNEL * (state + 1) as f64,
        Some(node) => box_row(node) + SUM + STATE.1 / 2.0 + CHANNEL,
    }
}

/// The middle of a state.
fn column(state: usize) -> f64 {
    match state {
        0 => -BESIDE,
        1 => BESIDE,
        _ => 0.0,
    }
}

/// The bottom of a state.
fn bottom(state: usize) -> f64 {
    channel(state) - if state == 1 { 2.0 * CHANNEL } else { CHANNEL }
}

/// Which of the two edges of a node is on the left: the one for which more of its way is there already.
fn sides(cell: &CellGenotype) -> Vec<Side> {
    let mut ends: Vec<(usize, Side, usize)> = Vec::new();
    let mut sides = Vec::new();
    for (node, edges) in cell.edges.chunks(EDGES_PER_NODE).enumerate() {
        let cost = |first: Side| -> usize {
            let pairs = edges.iter().zip([first, first.other()]);
            pairs.map(|(&(_, source), side)| cost(source, side, node, &ends)).sum()
        };
        let first = if cost(Side::Right) < cost(Side::Left) { Side::Right } else { Side::Left };
        for (&(_, source), side) in edges.iter().zip([first, first.other()]) {
            ends.push((source, side, node));
            sides.push(side);
        }
    }
    sides
}

/// What it takes to bring a state to a side of a node, in rows of lanes; a crossing counts as one.
fn cost(source: usize, side: Side, node: usize, ends: &[(usize, Side, usize)]) -> usize {
    let across = usize::from((source, side) == (0, Side::Right) || (source, side) == (1, Side::Left));
    let below = first_below(source);
    if node == below {
        return across;
    }
    let reached =
        ends.iter().filter(|end| (end.0, end.1) == (source, side) && end.2 > below).map(|end| end.2).max();
    match reached {
        Some(end) => node - end,
        None => 2 + across + (node - below),
    }
}

/// The lanes that are needed, the short ones inside.
fn lanes(cell: &CellGenotype, sides: &[Side]) -> Vec<Lane> {
    let mut needed: Vec<Lane> = Vec::new();
    for source in 0..cell.nodes() + INPUTS {
        for side in Side::BOTH {
            let takers =
                (0..cell.edges.len()).filter(|&edge| (cell.edges[edge].1, sides[edge]) == (source, side));
            let last =
                takers.map(|edge| edge / EDGES_PER_NODE).filter(|&node| node > first_below(source)).max();
            needed.extend(last.map(|last| Lane { source, side, last, rank: 0 }));
        }
    }
    needed.sort_by_key(|lane| (lane.last - first_below(lane.source), lane.source));
    let mut placed: Vec<Lane> = Vec::new();
    for mut lane in needed {
        let taken: Vec<usize> =
            placed.iter().filter(|other| other.meets(&lane)).map(|other| other.rank).collect();
        lane.rank = (0..).find(|rank| !taken.contains(rank)).unwrap_or_default();
        placed.push(lane);
    }
    placed
}

/// The way from a state to a box of a node.
fn to_box(state: usize, node: usize, side: Side, lanes: &[Lane]) -> Vec<Point> {
    let (start, channel, row) = ((column(state), bottom(state)), channel(state), box_row(node));
    if node == first_below(state) {
        // Beside the middle, where the other input comes straight down.
        let shift = if state < INPUTS && column(state) != side.sign() * BESIDE { 18.0 } else { 0.0 };
        let x = side.sign() * (BESIDE - shift);
        return vec![start, (start.0, channel), (x, channel), (x, row - BOX.1 / 2.0)];
    }
    let lane = lanes.iter().find(|lane| (lane.source, lane.side) == (state, side));
    let x = side.sign() * (LANES + lane.map_or(0, |lane| lane.rank) as f64 * LANE);
    let edge = side.sign() * (BESIDE + BOX.0 / 2.0);
    vec![start, (start.0, channel), (x, channel), (x, row), (edge, row)]
}

/// The way from a state to the output: down where nothing is between, otherwise along the outermost lane.
fn to_output(state: usize, cell: &CellGenotype, bus: f64, output: Point) -> Vec<Point> {
    let (start, channel) = ((column(state), bottom(state)), channel(state));
    if state == cell.nodes() + INPUTS - 1 {
        return vec![start, (output.0, output.1 - STATE.1 / 2.0)];
    }
    vec![start, (start.0, channel), (bus, channel), (bus, output.1), (output.0 + STATE.0 / 2.0, output.1)]
}

fn concatenated(cell: &CellGenotype) -> String {
    let names: Vec<_> = cell.concat.iter().map(|state| (state - INPUTS).to_string()).collect();
    match names.as_slice() {
        [only] => format!("node {only}"),
        many if many.len() <= 8 => format!("nodes {} concatenated", many.join(" ")),
        many => format!("{} nodes concatenated", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::published;

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

    fn cells() -> Vec<(String, CellGenotype)> {
        let published = published::all().unwrap().into_iter();
        published
            .flat_map(|entry| {
                [
                    (entry.name.to_string(), entry.genotype.normal),
                    (entry.name.to_string(), entry.genotype.reduce),
                ]
            })
            .collect()
    }

    #[test]
    fn nothing_covers_a_label() {
        for (name, cell) in cells() {
            let layout = layout(&cell);
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
        for (name, cell) in cells() {
            let layout = layout(&cell);
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
        for (_, cell) in cells() {
            let layout = layout(&cell);
            let ends = layout.wires.iter().flatten().filter(|wire| !wire.to_output).count();
            assert_eq!(
                (ends, layout.operations.len(), layout.sums.len()),
                (cell.edges.len(), cell.edges.len(), cell.edges.len())
            );
            let outputs = layout.wires.iter().flatten().filter(|wire| wire.to_output).count();
            assert_eq!(outputs, cell.concat.len());
        }
    }
}
