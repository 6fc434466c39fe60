//! Search spaces as values, from what an edge may hold to the network that a search ends in.
//!
//! Read in this order:
//!
//! 1. [`operation`]: the operations, a row each; [`wiring`]: types of cells and their edges; [`layout`]: what a cell gives,
//!    and how cells are stacked and written; [`definition`]: what a file says of a space, and this module: the space that
//!    it makes.
//! 2. [`stored`]: a space as files hold it; [`genotype`]: cells as lists of edges, and what makes one valid; [`literal`]
//!    is its textual form.
//! 3. [`alphas`]: the architecture parameters, one row for each edge of a cell; [`weighing`]: what they weigh, and
//!    [`pruning`]: which of them are left.
//! 4. [`contents`]: every candidate on every edge of a cell, or one operation on each; `declared_edge`: an edge with its
//!    weights; [`cell`]: the cell; [`residual`]: a block that halves
//!    the resolution between cells; [`auxiliary`]: a second classifier; [`stack`]: a network of cells.
//! 5. [`edge_shape`] and [`supernet`]: the network of a search; [`network`]: that of a genotype; [`cost`]: its size.
//! 6. [`derivation`]: from alphas to a genotype, by the rule of DARTS or by that of P-DARTS.
//! 7. [`published`]: genotypes from the literature, by name; [`sampled`]: genotypes drawn at random;
//!    [`architecture`]: cells of NAS-Bench-201 by their strings.

pub mod alphas;
pub mod architecture;
pub mod auxiliary;
pub mod cell;
pub mod contents;
pub mod cost;
mod declared_edge;
pub mod definition;
pub mod derivation;
pub mod edge_shape;
pub mod excerpt;
pub mod genotype;
pub mod layout;
pub mod literal;
pub mod network;
pub mod operation;
pub mod pruning;
pub mod published;
pub mod residual;
mod restriction;
pub mod sampled;
pub mod stack;
pub mod stored;
pub mod supernet;
pub mod weighing;
pub mod wiring;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

pub use definition::{Definition, Keep};
pub use edge_shape::EdgeShape;
pub use network::{Network, NetworkShape};
pub use operation::Operation;
pub use supernet::{Supernet, SupernetShape};
pub use wiring::{CellType, Edge, MAX_NODES, Wiring};

use layout::{Layer, Notation, Output, Stacking};

use crate::{Error, Result};

/// The name of the space of NAS-Bench-201.
const NAS_BENCH_201: &str = "nas-bench-201";

/// The spaces of this program: name and definition.
const SPACES: [(&str, &str); 6] = [
    ("darts", include_str!("spaces/darts.toml")),
    ("s1", include_str!("spaces/s1.toml")),
    ("s2", include_str!("spaces/s2.toml")),
    ("s3", include_str!("spaces/s3.toml")),
    ("s5", include_str!("spaces/s5.toml")),
    (NAS_BENCH_201, include_str!("spaces/nas-bench-201.toml")),
];

static KNOWN: LazyLock<Vec<Arc<Space>>> = LazyLock::new(|| {
    let space = |(name, text): (&str, &str)| {
        let definition = Definition::from_toml(text, Path::new(name)).and_then(Space::new);
        Arc::new(definition.unwrap_or_else(|error| panic!("a space of this program: {error}")))
    };
    SPACES.into_iter().map(space).collect()
});

/// What a search chooses from: the types of cells, their edges, and the candidates of each edge.
#[derive(Debug)]
pub struct Space {
    definition: Definition,
    candidates: Vec<&'static Operation>,
    lists: Vec<definition::Lists>,
}

impl PartialEq for Space {
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition
    }
}

impl fmt::Display for Space {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Space {
    /// The space of a definition.
    ///
    /// # Errors
    /// A definition that makes no space of the number of nodes that it names.
    pub fn new(definition: Definition) -> Result<Self> {
        let refused = |reason: String| match definition.name.as_str() {
            "" => Error::Space(reason),
            name => Error::Space(format!("{name}: {reason}")),
        };
        definition.check().map_err(refused)?;
        let candidates = definition.default_candidates().map_err(refused)?;
        let cells = 0..definition.cells().len();
        let lists = cells.map(|cell| definition.lists(cell)).collect::<std::result::Result<_, _>>();
        let lists = lists.map_err(refused)?;
        let space = Space { definition, candidates, lists };
        space.check_nodes(space.nodes())?;
        Ok(space)
    }

    /// The space of a file.
    pub fn from_toml(text: &str, path: &Path) -> Result<Arc<Space>> {
        let definition = Definition::from_toml(text, path)?;
        let path = path.display();
        if let Some(known) = Self::named(&definition.name) {
            if known.definition == definition {
                return Ok(known);
            }
            let name = &definition.name;
            return Err(Error::Space(format!(
                "{path}: name is {name:?}, which is another space of this program; expected a name of its own"
            )));
        }
        // The path stands for the name.
        let own = format!("{}: ", definition.name);
        Self::new(definition).map(Arc::new).map_err(|error| match error {
            Error::Space(reason) => {
                Error::Space(format!("{path}: {}", reason.strip_prefix(&own).unwrap_or(&reason)))
            }
            other => other,
        })
    }

    /// The space of the paper.
    pub fn darts() -> Arc<Space> {
        Arc::clone(&KNOWN[0])
    }

    /// That of NAS-Bench-201 (Dong and Yang, ICLR 2020).
    pub fn nas_bench_201() -> Arc<Space> {
        Self::named(NAS_BENCH_201).expect("a space of this program")
    }

    /// The spaces of this program.
    pub fn known() -> &'static [Arc<Space>] {
        &KNOWN
    }

    /// A space of this program.
    pub fn named(name: &str) -> Option<Arc<Space>> {
        KNOWN.iter().find(|space| space.name() == name).cloned()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// What makes it.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Nodes of a cell, where a plan does not say.
    pub fn nodes(&self) -> usize {
        self.definition.nodes
    }

    /// The fewest cells that a network may have.
    pub fn fewest_cells(&self) -> usize {
        self.definition.fewest_cells
    }

    /// How many edges of a node a derivation keeps.
    pub fn keep(&self) -> Keep {
        self.definition.edges_kept
    }

    /// The types of cells, in the order of their tables.
    pub fn cells(&self) -> &'static [CellType] {
        self.definition.cells()
    }

    /// States that a cell begins with.
    pub fn inputs(&self) -> usize {
        self.definition.inputs
    }

    /// Whether these are behind a 1x1 convolution.
    pub fn preprocessed(&self) -> bool {
        self.definition.preprocessed
    }

    /// How cells are stacked to a network.
    pub fn stacking(&self) -> Stacking {
        self.definition.stack
    }

    /// How cells and their parameters are written.
    pub fn notation(&self) -> Notation {
        self.definition.notation
    }

    /// Whether pools of a supernet have a batch norm.
    pub fn pools_normalised(&self) -> bool {
        self.definition.pools_normalised
    }

    /// Whether a derivation may choose an operation where it is a candidate.
    pub fn may_choose(&self, operation: &Operation) -> bool {
        self.definition.none_chosen || !operation.is_zero()
    }

    /// The layers of a network of so many cells.
    pub fn layers(&self, cells: usize) -> Vec<Layer> {
        self.stacking().layers(cells)
    }

    /// The type of cell `index` of a network of so many.
    pub fn cell_at(&self, index: usize, cells: usize) -> usize {
        self.stacking().cell_at(index, cells)
    }

    /// The states whose concatenation is the output of a cell with so many nodes.
    pub fn concat(&self, nodes: usize) -> Vec<usize> {
        let states = self.inputs()..self.inputs() + nodes;
        match self.definition.output {
            Output::Concatenation => states.collect(),
            Output::Last => states.last().into_iter().collect(),
        }
    }

    /// What is expected instead of a number of cells that a network cannot have.
    pub fn cells_refusal(&self, cells: usize) -> Option<String> {
        let (fewest, step) = (self.fewest_cells(), self.stacking().cells_step());
        let refused = cells < fewest || !cells.is_multiple_of(step);
        refused.then(|| match step {
            1 => format!("a whole number from {fewest} to 100 in the space {self}"),
            step => format!(
                "a multiple of {step} from {} to {}: in the space {self} cells stand in {step} stages",
                fewest.next_multiple_of(step),
                100 / step * step
            ),
        })
    }

    /// A state as people call it.
    pub fn state_name(&self, state: usize) -> String {
        let inputs = self.inputs();
        match (state.checked_sub(inputs), self.notation()) {
            (None, Notation::Edges) => "input".to_owned(),
            (Some(_), Notation::Edges) => format!("node {state}"),
            (None, Notation::Literal) => format!("k-{}", inputs - state),
            (Some(node), Notation::Literal) => format!("node {node}"),
        }
    }

    /// Every operation that is a candidate of some edge, each once: first those of all edges in their order.
    pub fn candidates(&self) -> Vec<&'static Operation> {
        let mut all = self.candidates.clone();
        for operation in self.lists.iter().flat_map(|lists| lists.values().flatten()) {
            if !all.contains(operation) {
                all.push(operation);
            }
        }
        all
    }

    /// The edges of a type of cell with so many nodes.
    pub fn wiring(&self, cell: usize, nodes: usize) -> Wiring {
        let (mut edges, mut start) = (Vec::new(), 0);
        for node in 0..nodes {
            for from in 0..self.inputs() + node {
                let own = self.lists[cell].get(&(node + self.inputs(), from));
                let candidates = own.unwrap_or(&self.candidates);
                if !candidates.is_empty() {
                    let row = start..start + candidates.len();
                    start = row.end;
                    edges.push(Edge { node, from, candidates: candidates.clone(), row });
                }
            }
        }
        Wiring { nodes, edges }
    }

    /// The edges of every type of cell.
    pub fn wirings(&self, nodes: usize) -> Vec<Wiring> {
        (0..self.cells().len()).map(|cell| self.wiring(cell, nodes)).collect()
    }

    /// Refuses a number of nodes that the space has no cells of.
    pub fn check_nodes(&self, nodes: usize) -> Result<()> {
        self.nodes_refusal(nodes).map_or(Ok(()), |reason| Err(Error::Space(format!("{self}: {reason}"))))
    }

    /// Why the space has no cells of so many nodes.
    pub fn nodes_refusal(&self, nodes: usize) -> Option<String> {
        if self.definition.nodes_fixed && nodes != self.nodes() {
            return Some(format!("its cells have {} nodes, no more and no fewer", self.nodes()));
        }
        for (cell, CellType { name, title, .. }) in self.cells().iter().enumerate() {
            let last = nodes + self.inputs() - 1;
            if let Some((to, from)) = self.lists[cell].keys().find(|(to, _)| *to > last) {
                return Some(format!(
                    "edges.{name} names the edge {to}<-{from}, but with {nodes} nodes the last state is {last}"
                ));
            }
            let wiring = self.wiring(cell, nodes);
            for node in 0..nodes {
                let state = node + self.inputs();
                let entering = wiring.entering(node).count();
                if entering == 0 {
                    return Some(format!(
                        "no edge enters node {node} (state {state}) of the {title}; expected candidates for all \
                         edges, or a list for an edge such as {state}<-0"
                    ));
                }
                if self.notation() == Notation::Edges && entering < state {
                    return Some(format!(
                        "{entering} edges enter node {state}; expected {state} with the notation edges, which lists all"
                    ));
                }
                if let Keep::Strongest(kept) = self.keep()
                    && kept > entering
                {
                    return Some(format!(
                        "edges_kept is {kept}, but only {entering} enter node {node} (state {state}) of the \
                         {title}; expected at most {entering}, or \"all\""
                    ));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arc<Space>> {
        Space::from_toml(text, Path::new("own.toml"))
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn the_space_of_the_paper_has_eight_candidates_on_fourteen_edges() {
        let space = Space::darts();
        let wiring = space.wiring(0, 4);
        assert_eq!((wiring.edges.len(), wiring.len()), (14, 112));
        assert_eq!(space.wiring(1, 4), wiring);
        let last = &wiring.edges[13];
        assert_eq!((last.node, last.from, last.row.clone()), (3, 4, 104..112));
        assert_eq!(last.candidates[7].name, "dil_conv_5x5");
        assert_eq!(wiring.entering(1).map(|edge| edge.from).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn reduced_spaces_have_the_candidates_of_their_authors() {
        let lengths: Vec<_> = ["s1", "s2", "s3"]
            .map(|name| Space::named(name).unwrap())
            .iter()
            .map(|space| space.wirings(4).iter().map(Wiring::len).collect::<Vec<_>>())
            .collect();
        assert_eq!(lengths, [[28, 28], [28, 28], [42, 42]]);
        let s1 = Space::named("s1").unwrap();
        let names = |cell: usize, edge: usize| {
            s1.wiring(cell, 4).edges[edge]
                .candidates
                .iter()
                .map(|operation| operation.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(0, 10), ["max_pool_3x3", "skip_connect"]);
        assert_eq!(names(1, 6), ["max_pool_3x3", "sep_conv_3x3"]);
        assert_eq!(s1.candidates().len(), 6);
        let refused = s1.check_nodes(3).unwrap_err().to_string();
        assert!(
            refused.contains("s1: edges.normal names the edge 5<-0, but with 3 nodes the last state is 4")
        );
        assert!(s1.check_nodes(5).unwrap_err().to_string().contains("no edge enters node 4 (state 6)"));
    }

    #[test]
    fn cells_of_nas_bench_201_have_six_edges_of_five_operations() {
        let space = Space::nas_bench_201();
        let wiring = space.wiring(0, space.nodes());
        let edges = wiring.edges.iter().map(|edge| (edge.node + 1, edge.from)).collect::<Vec<_>>();
        assert_eq!(edges, architecture::EDGES);
        let names: Vec<_> = space.candidates().iter().map(|operation| operation.name).collect();
        assert_eq!((names, wiring.len()), (architecture::OPERATIONS.to_vec(), 30));
        assert_eq!(
            (space.concat(3), space.state_name(0), space.state_name(3)),
            (vec![3], "input".into(), "node 3".into())
        );
        assert!(space.check_nodes(4).unwrap_err().to_string().contains("its cells have 3 nodes"));
        assert_eq!([3, 15].map(|cells| space.cells_refusal(cells)), [None, None]);
        assert!(space.cells_refusal(8).unwrap().starts_with("a multiple of 3 from 3 to 99"));
    }

    #[test]
    fn cells_of_nas_bench_201_are_read_and_written_by_their_edges() {
        for seed in 0..50 {
            let genotype = sampled::draw(seed, &Space::nas_bench_201());
            let text = genotype.to_string();
            assert_eq!(text.parse::<architecture::Architecture>().unwrap().to_string(), text);
            assert_eq!(text.parse::<genotype::Genotype>().unwrap(), genotype);
            assert_eq!(genotype::Genotype::from_json(&genotype.to_json()).unwrap(), genotype);
            let own = read(&format!(
                "candidates = {:?}\ninputs = 1\noutput = \"last\"\nstack = \"plain\"\nedges_kept = \"all\"\n\
                 none_chosen = true\nnotation = \"edges\"\nfewest_cells = 1\nnodes = 3",
                architecture::OPERATIONS
            ));
            let own = own.unwrap();
            assert_eq!(genotype::Genotype::from_text(&text, &own).unwrap().space, own);
        }
        let refused = "|sep_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|".parse::<genotype::Genotype>();
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("takes sep_conv_3x3 from state 0, which is no candidate")
        );
        let refused = "{\"cell\":[[\"none\",0]],\"cell_concat\":[1]}";
        let refused = genotype::Genotype::from_json(refused).unwrap_err().to_string();
        assert!(refused.contains("unknown field `cell`"), "{refused}");
    }

    #[test]
    fn a_space_of_a_user_is_read_whole() {
        let space = read(
            "candidates = [\"skip_connect\", \"sep_conv_7x7\"]\nnodes = 2\nedges_kept = 1\nfewest_cells = 1\n\
             [edges.all]\n\"2<-0\" = [\"none\", \"max_pool_3x3\", \"sep_conv_3x3\"]\n\
             [edges.reduce]\n\"2<-0\" = [\"avg_pool_3x3\", \"max_pool_3x3\"]\n",
        )
        .unwrap();
        assert_eq!((space.name(), space.nodes(), space.fewest_cells()), ("own", 2, 1));
        assert_eq!(space.keep(), Keep::Strongest(1));
        assert_eq!(space.wirings(2).iter().map(Wiring::len).collect::<Vec<_>>(), [11, 10]);
        assert_eq!(space.wiring(1, 2).edges[0].candidates[0].name, "avg_pool_3x3");
        let listed =
            read("nodes = 1\nedges_kept = \"all\"\n[edges.all]\n\"2<-1\" = [\"none\", \"skip_connect\"]");
        assert_eq!(listed.unwrap().wiring(0, 1).edges.len(), 1);
    }

    #[test]
    fn each_refusal_names_file_and_key() {
        let two = "candidates = [\"skip_connect\", \"sep_conv_3x3\"]\n";
        let cases = [
            ("candidates = [\"skip_connect\", \"sep\"]", "own.toml: candidates: unknown operation \"sep\""),
            ("candidates = [\"skip_connect\"]", "own.toml: candidates: has 1 candidates"),
            ("candidates = [\"none\", \"none\"]", "own.toml: candidates: names none twice"),
            ("", "own.toml: candidates is missing"),
            (&format!("{two}node = 3"), "own.toml, line 2, key node: unknown field"),
            (&format!("{two}nodes = 0"), "nodes is 0; expected a whole number from 1 to 32"),
            (&format!("{two}edges_kept = 3"), "edges_kept is 3, but only 2 enter node 0"),
            (&format!("{two}edges_kept = 0"), "edges_kept is 0"),
            (&format!("{two}edges_kept = \"most\""), "edges_kept"),
            (&format!("{two}fewest_cells = 0"), "fewest_cells is 0"),
            (&format!("{two}inputs = 3"), "inputs is 3; expected 1 or 2"),
            (&format!("{two}stack = \"residual\""), "inputs is 2; expected 1 with the stack residual"),
            (
                &format!("{two}stack = \"plain\""),
                "output is concatenation; expected last with the stack plain",
            ),
            (
                &format!("{two}preprocessed = false"),
                "preprocessed is false; expected true with the stack thirds",
            ),
            (&format!("{two}notation = \"edges\""), "notation is edges; expected literal"),
            (&format!("{two}stack = \"tower\""), "line 2, key stack: unknown variant"),
            (&format!("{two}name = \"s3\""), "name is \"s3\", which is another space"),
            (&format!("{two}name = \"a b\""), "name is \"a b\""),
            (&format!("{two}[edges.wide]\n"), "unknown key edges.wide; expected edges.all, edges.normal or"),
            (
                &format!("{two}[edges.all]\n\"9<-0\" = [\"none\", \"skip_connect\"]"),
                "edges.normal names the edge 9<-0, but with 4 nodes the last state is 5",
            ),
            (
                &format!("{two}[edges.all]\n\"2<-3\" = [\"none\", \"skip_connect\"]"),
                "edges.all.\"2<-3\": expected an edge such as",
            ),
            (&format!("{two}[edges.all]\n\"2<-0\" = []"), "edges.all.\"2<-0\": has 0 candidates"),
            (
                "nodes = 2\n[edges.all]\n\"2<-0\" = [\"none\", \"skip_connect\"]\nedges_kept = 1",
                "own.toml, line 4",
            ),
            (
                "nodes = 2\nedges_kept = 1\n[edges.all]\n\"2<-0\" = [\"none\", \"skip_connect\"]",
                "no edge enters node 1 (state 3) of the normal cell",
            ),
        ];
        for (text, sentence) in cases {
            let refused = refusal(text);
            assert!(
                refused.starts_with("space: own.toml") && refused.contains(sentence),
                "{text}\n{refused}"
            );
        }
        assert!(refusal(&"#".repeat(definition::MAX_TEXT + 1)).contains("bytes long"));
    }
}
