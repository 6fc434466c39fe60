//! A genotype: which operation each edge of each type of cell holds.
//!
//! A cell computes states. The first ones are its inputs, the outputs of the cells before it; each node computes the
//! next state as the sum of its edges, each an operation applied to an earlier state. The output of the cell is the
//! concatenation of some nodes' states.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::architecture;
use super::layout::Notation;
use super::operation::OPERATIONS;
use super::stored::Choice;
use super::wiring::{CELLS, ONE_CELL};
use super::{CellType, Keep, MAX_NODES, Operation, Space};
use crate::{Error, Result};

/// The longest text that is read as a genotype, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;

/// An edge of a derived cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChosenEdge {
    /// What it holds.
    pub operation: &'static Operation,
    /// The state that it leaves.
    pub from: usize,
}

/// One cell of a genotype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellGenotype {
    /// The edges that enter each node.
    pub nodes: Vec<Vec<ChosenEdge>>,
    /// The states whose concatenation is the output of the cell.
    pub concat: Vec<usize>,
}

impl CellGenotype {
    /// The edges, node after node, each with its node.
    pub fn edges(&self) -> impl Iterator<Item = (usize, ChosenEdge)> {
        self.nodes.iter().enumerate().flat_map(|(node, edges)| edges.iter().map(move |&edge| (node, edge)))
    }

    /// Whether the output depends on an input: whether a path of operations other than none leads there from one of so many
    /// inputs.
    pub fn reaches_output(&self, inputs: usize) -> bool {
        let mut reached = vec![true; inputs];
        for edges in &self.nodes {
            reached.push(edges.iter().any(|edge| reached[edge.from] && !edge.operation.is_zero()));
        }
        self.concat.iter().any(|&state| reached[state])
    }

    /// The number of edges for whose operation something holds.
    pub fn count(&self, wanted: impl Fn(&Operation) -> bool) -> usize {
        self.edges().filter(|(_, edge)| wanted(edge.operation)).count()
    }
}

/// The cells of a network, one of each type of its space. [`fmt::Display`] writes the official `Genotype` tuple.
#[derive(Clone, Debug, PartialEq)]
pub struct Genotype {
    /// The space that it is of.
    pub space: Arc<Space>,
    /// A cell for each type of the space, in its order.
    pub cells: Vec<CellGenotype>,
}

impl Genotype {
    /// The most states that a cell concatenates, or operations that read one state, those of the next cells included.
    pub fn most_operands(&self) -> usize {
        let inputs = self.space.inputs();
        let of_cell = |cell: &CellGenotype| {
            let readers = |state| cell.edges().filter(|(_, edge)| edge.from == state).count();
            let most = (0..inputs + cell.nodes.len()).map(readers).max().unwrap_or_default();
            cell.concat.len().max(most + inputs)
        };
        self.cells.iter().map(of_cell).max().unwrap_or_default()
    }

    /// Refuses a genotype that is too wide for a device that takes this many operands.
    pub fn check_operands(&self, most: usize) -> Result<()> {
        let operands = self.most_operands();
        if operands <= most {
            return Ok(());
        }
        Err(Error::Genotype(format!(
            "its cells join up to {operands} values at once, and the GPU's kernels take {most}; use --device cpu"
        )))
    }

    /// The types of cells whose output depends on no input, where none was chosen on every path: no network of them learns
    /// anything but how frequent classes are.
    pub fn dead_cells(&self) -> Vec<&'static CellType> {
        let inputs = self.space.inputs();
        let kinds = self.space.cells().iter().zip(&self.cells);
        kinds.filter(|(_, cell)| !cell.reaches_output(inputs)).map(|(kind, _)| kind).collect()
    }

    /// This genotype in another space, which must have all of its edges and their operations.
    ///
    /// # Errors
    /// It is of that other space only in part; the sentence names the first edge that is not.
    pub fn into_space(self, space: &Arc<Space>) -> Result<Self> {
        if self.cells.len() != space.cells().len() {
            let [found, expected] = [self.cells.len(), space.cells().len()];
            return Err(Error::Genotype(format!(
                "the number of its types of cells is {found}, and the space {space} has {expected}"
            )));
        }
        for (cell, own) in self.cells.iter().enumerate() {
            let wiring = space.wiring(cell, own.nodes.len());
            for (node, ChosenEdge { operation, from }) in own.edges() {
                let mut edges = wiring.entering(node);
                if edges.any(|edge| edge.from == from && edge.candidates.contains(&operation)) {
                    continue;
                }
                let title = space.cells()[cell].title;
                return Err(Error::Genotype(format!(
                    "node {node} of the {title} takes {operation} from state {from}, which is no candidate there in \
                     the space {space}"
                )));
            }
            for (node, edges) in own.nodes.iter().enumerate() {
                let (found, kept) = (edges.len(), space.keep().of(wiring.entering(node).count()));
                if found != kept {
                    let title = space.cells()[cell].title;
                    return Err(Error::Genotype(format!(
                        "node {node} of the {title} has {found} edges; the space {space} keeps {kept} of them"
                    )));
                }
            }
        }
        Ok(Genotype { space: Arc::clone(space), cells: self.cells })
    }

    /// Reads any form: JSON where the text begins with a brace, edges where it begins with a bar, the literal otherwise. A
    /// literal is of `space`, and so are edges if it writes its cells so, else they are of that of NAS-Bench-201.
    pub fn from_text(text: &str, space: &Arc<Space>) -> Result<Self> {
        let text = unfenced(text.trim_start_matches('\u{feff}'));
        if text.trim_start().starts_with('|') {
            return match space.notation() {
                Notation::Edges => Self::from_edges(text, space),
                Notation::Literal => Self::from_edges(text, &Space::nas_bench_201()),
            };
        }
        if text.trim_start().starts_with('{') {
            Self::from_json(text)
        } else {
            Self::from_literal(text, space)
        }
    }

    /// Reads a text such as `|none~0|+|none~0|skip_connect~1|`.
    fn from_edges(text: &str, space: &Arc<Space>) -> Result<Self> {
        check_length(text)?;
        let nodes = space.definition().nodes_fixed.then(|| space.nodes());
        let read = architecture::edges(text, nodes)
            .map_err(|reason| Error::Genotype(format!("as a cell of the space {space}, {reason}")))?;
        let concat = space.concat(read.len());
        let edges = read
            .into_iter()
            .flat_map(|names| names.into_iter().enumerate().map(|(from, name)| (name.to_owned(), from)));
        let cell = checked(space, 0, edges.collect(), concat)?;
        Genotype { space: Arc::clone(space), cells: vec![cell] }.into_space(space)
    }

    /// Reads the JSON form.
    pub fn from_json(text: &str) -> Result<Self> {
        check_length(text)?;
        serde_json::from_str(text).map_err(|error| {
            let sentence = error.to_string();
            // What a cell is refused for names its place already.
            match sentence.strip_prefix(CHECKED) {
                Some(reason) => {
                    Error::Genotype(reason.split(" at line ").next().unwrap_or(reason).to_owned())
                }
                None => Error::Genotype(format!(
                    "in its JSON form, {}",
                    sentence.replace("usize", "a whole number")
                )),
            }
        })
    }

    /// The JSON form, on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a refusal of [`checked`] begins with on its way through a reader of JSON.
const CHECKED: &str = "genotype: ";

/// The JSON in a Markdown fence, and any other text as it is.
fn unfenced(text: &str) -> &str {
    let body = text.trim_start().strip_prefix("```").and_then(|fenced| fenced.split_once('\n'));
    match body.map(|(_, body)| body.split("```").next().unwrap_or(body)) {
        Some(body) if body.trim_start().starts_with('{') => body,
        _ => text,
    }
}

/// Refuses a text too long to be a genotype before anything is made of it.
pub(super) fn check_length(text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    let length = text.len();
    Err(Error::Genotype(format!("the text is {length} bytes long; a genotype needs at most {MAX_TEXT}")))
}

/// The edges of a cell as written: names of operations, and states.
pub(super) type RawEdges = Vec<(String, usize)>;

/// The fields of a genotype as written, for each type of cell: its edges, and the states of its output.
#[derive(Default)]
pub(super) struct RawGenotype {
    pub edges: Vec<Option<RawEdges>>,
    pub concat: Vec<Option<Vec<usize>>>,
}

/// A field of a written genotype: a cell's edges, or its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Edges(usize),
    Concat(usize),
}

impl Field {
    /// The field of a name.
    pub fn find(space: &Space, name: &str) -> Option<Field> {
        let (cell, concat) = match name.strip_suffix("_concat") {
            Some(cell) => (cell, true),
            None => (name, false),
        };
        let cell = space.cells().iter().position(|kind| kind.name == cell)?;
        Some(if concat { Field::Concat(cell) } else { Field::Edges(cell) })
    }

    /// The names of all fields, as a list in a sentence.
    pub fn names(space: &Space) -> String {
        let names: Vec<_> = space
            .cells()
            .iter()
            .flat_map(|kind| [kind.name.to_owned(), format!("{}_concat", kind.name)])
            .collect();
        let (last, others) = names.split_last().expect("a space has types of cells");
        format!("{} or {last}", others.join(", "))
    }
}

impl RawGenotype {
    pub fn new(space: &Space) -> Self {
        let cells = space.cells().len();
        RawGenotype { edges: vec![None; cells], concat: vec![None; cells] }
    }

    /// The first field that was not given.
    fn missing(&self, space: &Space) -> Option<String> {
        space.cells().iter().zip(&self.edges).zip(&self.concat).find_map(|((kind, edges), concat)| {
            let suffix = [edges.is_none().then_some(""), concat.is_none().then_some("_concat")];
            suffix.into_iter().flatten().next().map(|suffix| format!("{}{suffix}", kind.name))
        })
    }

    /// The genotype, checked.
    pub fn checked(self, space: &Arc<Space>) -> Result<Genotype> {
        if let Some(missing) = self.missing(space) {
            return Err(Error::Genotype(format!("the field {missing} is missing")));
        }
        let fields = self.edges.into_iter().flatten().zip(self.concat.into_iter().flatten());
        let cells = fields.enumerate().map(|(cell, (edges, concat))| checked(space, cell, edges, concat));
        Ok(Genotype { space: Arc::clone(space), cells: cells.collect::<Result<_>>()? })
    }
}

/// A whole genotype is a map: `normal`, `normal_concat` and so on; and `space`, where it is not that of the paper.
impl Serialize for Genotype {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (kind, cell) in self.space.cells().iter().zip(&self.cells) {
            let edges: Vec<_> = cell.edges().map(|(_, edge)| (edge.operation.name, edge.from)).collect();
            map.serialize_entry(kind.name, &edges)?;
            map.serialize_entry(&format!("{}_concat", kind.name), &cell.concat)?;
        }
        if *self.space != *Space::darts() {
            map.serialize_entry("space", &Choice::of(&self.space))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Genotype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

/// Reads the map of a genotype.
struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Genotype;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the cells of a genotype")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Genotype, A::Error> {
        // The space, which says what the fields are, may come last.
        let (mut space, mut edges, mut concats) = (None, BTreeMap::new(), BTreeMap::new());
        let unknown = |key: &str, space: &Space| {
            let key: String = key.chars().take(40).collect();
            A::Error::custom(format!("unknown field `{key}`, expected {}", Field::names(space)))
        };
        while let Some(key) = map.next_key::<String>()? {
            let given_before = match key.strip_suffix("_concat") {
                _ if key == "space" => space.replace(map.next_value::<Choice>()?).is_some(),
                Some(cell) if is_cell(cell) => concats.insert(key.clone(), map.next_value()?).is_some(),
                None if is_cell(&key) => edges.insert(key.clone(), map.next_value()?).is_some(),
                _ => return Err(unknown(&key, &Space::darts())),
            };
            if given_before {
                return Err(A::Error::custom(format!("duplicate field `{key}`")));
            }
        }
        let space = space.map_or(Ok(Space::darts()), |choice| choice.space()).map_err(A::Error::custom)?;
        let mut raw = RawGenotype::new(&space);
        for (key, value) in edges {
            let Some(Field::Edges(cell)) = Field::find(&space, &key) else {
                return Err(unknown(&key, &space));
            };
            raw.edges[cell] = Some(value);
        }
        for (key, value) in concats {
            let Some(Field::Concat(cell)) = Field::find(&space, &key) else {
                return Err(unknown(&key, &space));
            };
            raw.concat[cell] = Some(value);
        }
        if let Some(missing) = raw.missing(&space) {
            return Err(A::Error::custom(format!("missing field `{missing}`")));
        }
        raw.checked(&space).map_err(A::Error::custom)
    }
}

/// Whether a type of cell of some space has this name.
fn is_cell(name: &str) -> bool {
    CELLS.iter().chain(&ONE_CELL).any(|kind| kind.name == name)
}

/// The one place where a cell is checked, whatever form it was written in.
fn checked(space: &Space, cell: usize, raw: RawEdges, concat: Vec<usize>) -> Result<CellGenotype> {
    let name = space.cells()[cell].name;
    let refuse = |reason: String| Err(Error::Genotype(reason));
    let Some(entering) = edges_of_nodes(space, cell, raw.len()) else {
        let found = raw.len();
        return match space.keep() {
            Keep::Strongest(2) => refuse(format!(
                "the {name} cell has {found} edges; expected two for each node, so an even number from 2 to {}",
                MAX_NODES * 2
            )),
            Keep::Strongest(kept) => refuse(format!(
                "the {name} cell has {found} edges; expected {kept} for each of 1 to {MAX_NODES} nodes"
            )),
            Keep::All => refuse(format!(
                "the {name} cell has {found} edges; expected all that enter 1 to {MAX_NODES} nodes"
            )),
        };
    };
    let (mut nodes, mut raw) = (Vec::with_capacity(entering.len()), raw.into_iter());
    for (node, count) in entering.into_iter().enumerate() {
        let edges = raw.by_ref().take(count).map(|edge| checked_edge(space, name, node, edge));
        nodes.push(edges.collect::<Result<Vec<_>>>()?);
    }
    check_concat(name, space.inputs(), nodes.len(), &concat)?;
    let given = space.concat(nodes.len());
    if let ([last], true) = (&given[..], given.len() < nodes.len() && concat != given) {
        return refuse(format!(
            "{name}_concat is {concat:?}; expected [{last}], as the output is the last node in the space {space}"
        ));
    }
    Ok(CellGenotype { nodes, concat })
}

/// How many edges enter each node of a cell with so many; none where no cell has so many.
pub(super) fn edges_of_nodes(space: &Space, cell: usize, edges: usize) -> Option<Vec<usize>> {
    match space.keep() {
        Keep::Strongest(kept) => {
            let nodes = edges / kept;
            (edges == nodes * kept && (1..=MAX_NODES).contains(&nodes)).then(|| vec![kept; nodes])
        }
        Keep::All => {
            let fits = |nodes: &usize| space.check_nodes(*nodes).is_ok();
            let entering = |nodes: usize| -> Vec<usize> {
                let wiring = space.wiring(cell, nodes);
                (0..nodes).map(|node| wiring.entering(node).count()).collect()
            };
            (1..=MAX_NODES).filter(fits).map(entering).find(|counts| counts.iter().sum::<usize>() == edges)
        }
    }
}

fn checked_edge(space: &Space, cell: &str, node: usize, (name, from): (String, usize)) -> Result<ChosenEdge> {
    let refuse = |reason: String| Err(Error::Genotype(reason));
    let known: fn(&Operation) -> bool = match space.may_choose(&OPERATIONS[0]) {
        true => |_| true,
        false => |operation| !operation.is_zero(),
    };
    let operation = Operation::find(&name, known)
        .map_err(|reason| Error::Genotype(format!("node {node} of the {cell} cell: {reason}")))?;
    if !space.may_choose(operation) {
        return refuse(format!(
            "node {node} of the {cell} cell holds the operation none, which stands for no edge; a genotype lists only the edges that are there"
        ));
    }
    let last = node + space.inputs() - 1;
    if from > last {
        return refuse(format!(
            "node {node} of the {cell} cell takes input {from}, but only states 0 to {last} exist before it"
        ));
    }
    Ok(ChosenEdge { operation, from })
}

/// The output of a cell concatenates nodes: its inputs may have another resolution.
fn check_concat(cell: &str, inputs: usize, nodes: usize, concat: &[usize]) -> Result<()> {
    let refuse = |reason: String| Err(Error::Genotype(reason));
    let last = nodes + inputs - 1;
    if concat.is_empty() {
        return refuse(format!("{cell}_concat is empty; expected some of the states {inputs} to {last}"));
    }
    let mut seen = BTreeSet::new();
    for &state in concat {
        if !(inputs..=last).contains(&state) {
            return refuse(format!(
                "{cell}_concat names state {state}, but the nodes of the {cell} cell are states {inputs} to {last}"
            ));
        }
        if !seen.insert(state) {
            return refuse(format!("{cell}_concat names state {state} twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(edges: &[(&str, usize)], concat: &[usize]) -> Result<CellGenotype> {
        let edges = edges.iter().map(|&(name, input)| (name.to_owned(), input)).collect();
        checked(&Space::darts(), 0, edges, concat.to_vec())
    }

    fn refusal(edges: &[(&str, usize)], concat: &[usize]) -> String {
        cell(edges, concat).unwrap_err().to_string()
    }

    #[test]
    fn each_refusal_names_the_place() {
        let good = [("sep_conv_3x3", 0), ("skip_connect", 1)];
        assert!(cell(&good, &[2]).is_ok());
        assert!(refusal(&[], &[2]).contains("has 0 edges"));
        assert!(refusal(&good[..1], &[2]).contains("has 1 edges"));
        assert!(refusal(&[good[0]; 66], &[2]).contains("from 2 to 64"));
        assert!(refusal(&[good[0], ("sep", 1)], &[2]).contains("node 0 of the normal cell: unknown"));
        assert!(refusal(&[good[0], ("none", 1)], &[2]).contains("operation none"));
        let later = [good[0], good[1], good[0], ("skip_connect", 5)];
        assert!(
            refusal(&later, &[2, 3])
                .ends_with("node 1 of the normal cell takes input 5, but only states 0 to 2 exist before it")
        );
        assert!(refusal(&good, &[]).contains("normal_concat is empty"));
        assert!(refusal(&good, &[3]).contains("names state 3"));
        assert!(refusal(&good, &[1]).contains("names state 1"));
        assert!(refusal(&good, &[2, 2]).contains("twice"));
    }

    #[test]
    fn a_space_that_keeps_another_number_of_edges_refuses_the_genotype() {
        let text = format!("edges_kept = 1\ncandidates = {:?}", Space::darts().definition().candidates);
        let own = Space::from_toml(&text, std::path::Path::new("own.toml")).unwrap();
        let genotype = crate::space::published::find("darts-v2").unwrap().genotype;
        assert_eq!(
            genotype.into_space(&own).unwrap_err().to_string(),
            "genotype: node 0 of the normal cell has 2 edges; the space own keeps 1 of them"
        );
    }

    #[test]
    fn json_round_trip_and_refusals() {
        let text = r#"{"normal":[["sep_conv_3x3",0],["skip_connect",1]],"normal_concat":[2],"reduce":[["max_pool_3x3",0],["max_pool_3x3",1]],"reduce_concat":[2]}"#;
        let genotype = Genotype::from_json(text).unwrap();
        assert_eq!(genotype.to_json(), text);
        let refused = |text: &str| Genotype::from_json(text).unwrap_err().to_string();
        assert!(refused(&text.replace("reduce_concat", "extra")).contains("unknown field"));
        assert!(refused(&text.replace("skip_connect", "skip")).starts_with("genotype: node 0"));
        assert!(refused(&"[".repeat(MAX_TEXT + 1)).contains("bytes long"));
        assert!(refused(&"[".repeat(MAX_TEXT)).starts_with("genotype: "));
    }
}
