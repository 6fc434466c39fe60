//! What a file in TOML says of a search space. The spaces of this program are such files, and users write their own:
//!
//! ```toml
//! candidates = ["none", "skip_connect", "sep_conv_3x3"]  # of every edge that has no list of its own
//! nodes = 3                                              # of a cell; --nodes takes precedence [default: 4]
//! edges_kept = 2                                         # of each node, or "all" [default: 2]
//! fewest_cells = 1                                       # that a network may have [default: 3]
//!
//! inputs = 2                                             # of a cell: the outputs of so many cells before, 1 or 2 [default: 2]
//! preprocessed = true                                    # whether these are behind a 1x1 convolution [default: true]
//! output = "concatenation"                               # of a cell's nodes, or "last" for that of its last node
//! stack = "thirds"                                       # or "residual" or "plain", see Stacking
//! none_chosen = false                                    # whether a derivation may choose none [default: false]
//! pools_normalised = true                                # whether pools of a supernet have a batch norm [default: true]
//! nodes_fixed = false                                    # whether no plan may say other nodes [default: false]
//! notation = "literal"                                   # or "edges", see Notation
//!
//! [edges.all]                                            # or of one type of cell: edges.normal, edges.reduce
//! "2<-0" = ["skip_connect", "sep_conv_5x5"]              # states 0 and 1 are the inputs, node n is state n + 2
//! ```
//!
//! Without `candidates` a cell has the listed edges only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::{Notation, Output, Stacking};
use super::operation::Operation;
use super::wiring::{CellType, MAX_NODES};
use crate::toml_text::located;
use crate::{Error, Result};

/// The longest text that is read as a space, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// The table of edges that stands for every type of cell.
const ALL: &str = "all";
/// The longest name.
const MAX_NAME: usize = 64;

/// The keys of such a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definition {
    /// What the space is called; the name of its file, where the file does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The candidates of every edge that has no list of its own, in the order of an alpha row.
    pub candidates: Vec<String>,
    /// Nodes of a cell, where a plan does not say.
    pub nodes: usize,
    /// How many edges of a node a derivation keeps.
    pub edges_kept: Keep,
    /// The fewest cells that a network may have.
    pub fewest_cells: usize,
    /// States that a cell begins with: the outputs of so many cells before it.
    #[serde(skip_serializing_if = "is_two")]
    pub inputs: usize,
    /// Whether these are behind a ReLU, a 1x1 convolution and a batch norm.
    #[serde(skip_serializing_if = "is_true")]
    pub preprocessed: bool,
    /// What a cell gives.
    #[serde(skip_serializing_if = "Output::is_default")]
    pub output: Output,
    /// How cells are stacked to a network.
    #[serde(skip_serializing_if = "Stacking::is_default")]
    pub stack: Stacking,
    /// Whether a derivation may choose none.
    #[serde(skip_serializing_if = "is_false")]
    pub none_chosen: bool,
    /// Whether pools of a supernet have a batch norm.
    #[serde(skip_serializing_if = "is_true")]
    pub pools_normalised: bool,
    /// Whether cells have as many nodes as the space says, whatever a plan says.
    #[serde(skip_serializing_if = "is_false")]
    pub nodes_fixed: bool,
    /// How cells and their parameters are written.
    #[serde(skip_serializing_if = "Notation::is_default")]
    pub notation: Notation,
    /// The candidates of single edges, by the type of cell (or `all`) and the edge, such as `3<-0`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub edges: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

// What is the default is not written, so that definitions stay as earlier versions have stored them.
fn is_two(inputs: &usize) -> bool {
    *inputs == 2
}

fn is_true(switch: &bool) -> bool {
    *switch
}

fn is_false(switch: &bool) -> bool {
    !*switch
}

/// How many edges of a node a derivation keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawKeep", into = "RawKeep")]
pub enum Keep {
    /// So many, those with the strongest operations.
    Strongest(usize),
    /// All of them.
    All,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or \"all\"")]
enum RawKeep {
    Number(usize),
    Word(String),
}

impl Keep {
    /// How many edges are kept of a node that so many enter.
    pub fn of(self, entering: usize) -> usize {
        match self {
            Keep::Strongest(kept) => kept,
            Keep::All => entering,
        }
    }
}

impl TryFrom<RawKeep> for Keep {
    type Error = String;

    fn try_from(raw: RawKeep) -> std::result::Result<Self, String> {
        match raw {
            RawKeep::Number(number) => Ok(Keep::Strongest(number)),
            RawKeep::Word(word) if word == "all" => Ok(Keep::All),
            RawKeep::Word(word) => Err(format!("expected a whole number or \"all\", found {word:?}")),
        }
    }
}

impl From<Keep> for RawKeep {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::Strongest(number) => RawKeep::Number(number),
            Keep::All => RawKeep::Word("all".to_owned()),
        }
    }
}

impl Default for Definition {
    fn default() -> Self {
        Definition {
            name: String::new(),
            candidates: Vec::new(),
            nodes: 4,
            edges_kept: Keep::Strongest(2),
            // With one or two cells both reductions fall together and no cell is a normal one.
            fewest_cells: 3,
            inputs: 2,
            preprocessed: true,
            output: Output::default(),
            stack: Stacking::default(),
            none_chosen: false,
            pools_normalised: true,
            nodes_fixed: false,
            notation: Notation::default(),
            edges: BTreeMap::new(),
        }
    }
}

/// The edge `to<-from`, as states.
type Place = (usize, usize);

/// The candidates of each edge that a file gives a list of its own, for one type of cell.
pub type Lists = BTreeMap<Place, Vec<&'static Operation>>;

impl Definition {
    /// Reads a file's text. The path is for messages, and names a space that has no name of its own.
    ///
    /// # Errors
    /// Text that is no TOML or has unknown keys; what makes no space, with its key.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self> {
        if text.len() > MAX_TEXT {
            let length = text.len();
            return Err(Error::Space(format!(
                "{}: is {length} bytes long; a space needs at most {MAX_TEXT}",
                path.display()
            )));
        }
        let mut definition: Definition =
            toml::from_str(text).map_err(|error| Error::Space(located(&error, text, path)))?;
        if definition.name.is_empty() {
            definition.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        definition.check().map_err(|reason| Error::Space(format!("{}: {reason}", path.display())))?;
        Ok(definition)
    }

    /// Refuses what makes no space, naming the key.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let letter = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
        if self.name.is_empty() || self.name.len() > MAX_NAME || !self.name.chars().all(letter) {
            let name: String = self.name.chars().take(MAX_NAME).collect();
            return Err(format!(
                "name is {name:?}; expected 1 to {MAX_NAME} letters, digits, hyphens, underscores and points"
            ));
        }
        if !(1..=MAX_NODES).contains(&self.nodes) {
            return Err(format!("nodes is {}; expected a whole number from 1 to {MAX_NODES}", self.nodes));
        }
        if !(1..=100).contains(&self.fewest_cells) {
            let found = self.fewest_cells;
            return Err(format!("fewest_cells is {found}; expected a whole number from 1 to 100"));
        }
        if self.edges_kept == Keep::Strongest(0) {
            return Err("edges_kept is 0; expected a whole number above 0, or \"all\"".to_owned());
        }
        if self.candidates.is_empty() && self.edges.is_empty() {
            return Err("candidates is missing; expected the operations that an edge may hold".to_owned());
        }
        self.check_layout()?;
        self.default_candidates()?;
        let cells = self.cells();
        let known = |table: &String| table == ALL || cells.iter().any(|cell| cell.name == table);
        if let Some(table) = self.edges.keys().find(|table| !known(table)) {
            let all = std::iter::once(ALL).chain(cells.iter().map(|cell| cell.name));
            let names: Vec<_> = all.map(|name| format!("edges.{name}")).collect();
            let (last, others) = names.split_last().expect("all is a table");
            return Err(format!("unknown key edges.{table}; expected {} or {last}", others.join(", ")));
        }
        (0..cells.len()).try_for_each(|cell| self.lists(cell).map(drop))
    }

    /// Refuses parts that make no network together.
    fn check_layout(&self) -> std::result::Result<(), String> {
        let Definition { inputs, stack, output, .. } = *self;
        if !(1..=2).contains(&inputs) {
            return Err(format!("inputs is {inputs}; expected 1 or 2"));
        }
        if stack == Stacking::Residual && inputs != 1 {
            return Err(format!(
                "inputs is {inputs}; expected 1 with the stack {stack}, whose blocks halve the \
                                resolution between cells"
            ));
        }
        if stack != Stacking::Thirds && output != Output::Last {
            return Err(format!(
                "output is {output}; expected last with the stack {stack}, whose layers read one value"
            ));
        }
        if stack == Stacking::Thirds && !self.preprocessed {
            return Err("preprocessed is false; expected true with the stack thirds, whose cells are of other widths \
                        than what they read"
                .to_owned());
        }
        if self.notation == Notation::Edges
            && (stack == Stacking::Thirds || inputs != 1 || self.edges_kept != Keep::All)
        {
            return Err("notation is edges; expected literal: a text of edges has one input, one type of cell, so another \
                        stack than thirds, and edges_kept = \"all\""
                .to_owned());
        }
        Ok(())
    }

    /// The types of cells, in the order of their tables of alphas.
    pub fn cells(&self) -> &'static [CellType] {
        self.stack.cells()
    }

    /// The candidates of every edge that has no list of its own; none where the file gives none.
    pub(super) fn default_candidates(&self) -> std::result::Result<Vec<&'static Operation>, String> {
        if self.candidates.is_empty() {
            return Ok(Vec::new());
        }
        candidates("candidates", &self.candidates)
    }

    /// The lists of single edges that hold for a type of cell: its own before those of all.
    pub(super) fn lists(&self, cell: usize) -> std::result::Result<Lists, String> {
        let mut lists = Lists::new();
        for table in [ALL, self.cells()[cell].name] {
            for (edge, names) in self.edges.get(table).into_iter().flatten() {
                let key = format!("edges.{table}.\"{edge}\"");
                let place = place(edge, self.inputs).ok_or_else(|| {
                    format!("{key}: expected an edge such as \"3<-0\": a node's state and an earlier state")
                })?;
                lists.insert(place, candidates(&key, names)?);
            }
        }
        Ok(lists)
    }
}

/// The states of an edge such as `3<-0`, of a cell with so many inputs.
fn place(edge: &str, inputs: usize) -> Option<Place> {
    let (to, from) = edge.split_once("<-")?;
    let (to, from): Place = (to.parse().ok()?, from.parse().ok()?);
    (format!("{to}<-{from}") == edge && to >= inputs && from < to).then_some((to, from))
}

/// The operations of a list: at least two, each once.
fn candidates(key: &str, names: &[String]) -> std::result::Result<Vec<&'static Operation>, String> {
    let mut operations = Vec::with_capacity(names.len());
    let mut seen = BTreeSet::new();
    for name in names {
        let operation = Operation::find(name, |_| true).map_err(|reason| format!("{key}: {reason}"))?;
        if !seen.insert(name) {
            return Err(format!("{key}: names {name} twice"));
        }
        operations.push(operation);
    }
    match operations.len() {
        0 | 1 => Err(format!("{key}: has {} candidates; a search chooses among at least two", names.len())),
        _ => Ok(operations),
    }
}
