//! The architecture parameters: for each edge of a cell, one number for each candidate operation.

use std::path::Path;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::pruning::prune;
use super::weighing::{Weighing, softmax};
use super::{CellType, Edge, MAX_NODES, Space, Wiring};
use crate::files::{read_bounded, write_whole};
use crate::tensor_file::{self, Format, Tensor};
use crate::{Error, Result};

/// The kind of file.
const FORMAT: Format =
    Format { key: "darts", version: 1, oldest: 1, what: "a safetensors file of alphas", described: "alphas" };
/// The largest file that can hold alphas, far above those of the largest cells.
const MAX_FILE: usize = 4 << 20;

/// The architecture parameters of every type of cell, shared by all cells of a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Alphas {
    /// The space that they are of.
    pub space: Arc<Space>,
    /// Nodes of a cell.
    pub nodes: usize,
    /// For each type of cell the rows of its edges, one after another, in the order of its [`Wiring`].
    pub tables: Vec<Vec<f64>>,
    /// For each type of cell a number for each edge, whose softmax over the edges of a node weighs these (Xu et al., PC-DARTS,
    /// ICLR 2020); empty where edges have no weights.
    pub betas: Vec<Vec<f64>>,
    /// What they weigh.
    pub weighing: Weighing,
    /// For each type of cell what was decided of its edges without the alphas; empty where nothing was.
    pub decided: Vec<Vec<Decision>>,
    /// The most skip connections of a cell that keeps the resolution, where a derivation bounds them.
    pub most_skips: Option<usize>,
}

/// What was decided of an edge of a supernet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing: the alphas decide.
    #[default]
    Open,
    /// It has the candidate at this place.
    Chosen(usize),
    /// It is no part of the cell.
    Dropped,
}

impl Decision {
    /// As a number of a checkpoint.
    pub fn to_number(self) -> f64 {
        match self {
            Decision::Open => 0.0,
            Decision::Chosen(place) => 1.0 + place as f64,
            Decision::Dropped => -1.0,
        }
    }

    /// Of such a number.
    pub fn from_number(number: f64) -> Self {
        match number {
            1.0.. => Decision::Chosen(number as usize - 1),
            -1.0 => Decision::Dropped,
            _ => Decision::Open,
        }
    }
}

/// What a file says of its alphas.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    epoch: usize,
    nodes: usize,
    #[serde(with = "super::stored")]
    space: Arc<Space>,
    #[serde(default, skip_serializing_if = "Weighing::is_softmax")]
    weighing: Weighing,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    decided: Vec<Vec<Decision>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    most_skips: Option<usize>,
    /// Whether there are betas.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    betas: bool,
}

impl Alphas {
    /// Alphas of which all are zero.
    pub fn zeros(space: Arc<Space>, nodes: usize) -> Self {
        let tables = space.wirings(nodes).iter().map(|wiring| vec![0.0; wiring.len()]).collect();
        let (weighing, betas, decided) = (Weighing::default(), Vec::new(), Vec::new());
        Alphas { space, nodes, tables, betas, weighing, decided, most_skips: None }
    }

    /// The weights of the edges of a type of cell, where they have some: shares of 1 among those of a node.
    pub fn edge_weights(&self, cell: usize) -> Option<Vec<f64>> {
        let (betas, wiring) = (self.betas.get(cell)?, self.wiring(cell));
        let of_node = |node| {
            let entering = betas.iter().zip(&wiring.edges).filter(move |(_, edge)| edge.node == node);
            softmax(entering.map(|(beta, _)| *beta))
        };
        Some((0..wiring.nodes).flat_map(of_node).collect())
    }

    /// All alphas, and behind them all betas.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.tables.iter().chain(&self.betas).flatten().copied()
    }

    /// The same to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.tables.iter_mut().chain(&mut self.betas).flatten()
    }

    /// What was decided of an edge of a type of cell.
    pub fn decision(&self, cell: usize, edge: usize) -> Decision {
        self.decided.get(cell).map_or(Decision::Open, |edges| edges[edge])
    }

    /// The edges of a type of cell.
    pub fn wiring(&self, cell: usize) -> Wiring {
        self.space.wiring(cell, self.nodes)
    }

    /// Makes all but the best candidates of each edge weigh nothing.
    pub fn prune(&mut self, keep: usize) {
        for cell in 0..self.tables.len() {
            let (wiring, weighing) = (self.wiring(cell), self.weighing);
            wiring.rows().for_each(|row| prune(&mut self.tables[cell][row], weighing, keep));
        }
    }

    /// Number of alphas of all types of cells.
    pub fn len(&self) -> usize {
        self.tables.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a file with one tensor for each type of cell, `[edges][candidates]`, or `[alphas]` where edges have
    /// different numbers of candidates; where there are betas, another such as `normal.betas`, `[edges]`; and the epoch in its
    /// metadata.
    pub fn save(&self, path: &Path, epoch: usize) -> Result<()> {
        let Alphas { nodes, space, betas, weighing, decided, most_skips, .. } = self.clone();
        let betas = !betas.is_empty();
        let description = Description { epoch, nodes, space, weighing, decided, most_skips, betas };
        let tensor = |name: &str, shape, values: &[f64]| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Tensor::new(name, Dtype::F64, shape, bytes)
        };
        let cells = || self.space.cells().iter().enumerate();
        let alphas = cells().zip(&self.tables);
        let alphas =
            alphas.map(|((cell, kind), values)| tensor(kind.name, shape(&self.wiring(cell)), values));
        let betas = cells().zip(&self.betas);
        let betas = betas.map(|((_, kind), values)| tensor(&betas_name(kind), vec![values.len()], values));
        let tensors: Vec<Tensor> = alphas.chain(betas).collect();
        let file = FORMAT.to_bytes(&description, &tensors);
        write_whole(path, &file.map_err(|reason| Error::Format { path: path.into(), reason })?)
    }

    /// Reads such a file and returns the alphas and their epoch. Files of f32 without a checksum, which are of the
    /// paper's space, are read too.
    pub fn load(path: &Path) -> Result<(Alphas, usize)> {
        Self::from_bytes(&read_bounded(path, MAX_FILE)?)
            .map_err(|reason| Error::Format { path: path.into(), reason })
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<(Alphas, usize), String> {
        if let Some(epoch) = plain_epoch(bytes)? {
            return Ok((Self::from_plain(bytes)?, epoch));
        }
        let (file, Description { epoch, nodes, space, weighing, decided, most_skips, betas }) =
            FORMAT.read::<Description>(bytes)?;
        if !(1..=MAX_NODES).contains(&nodes) {
            return Err(format!("its cells have {nodes} nodes; expected 1 to {MAX_NODES}"));
        }
        space.check_nodes(nodes).map_err(|error| error.to_string())?;
        let wirings = space.wirings(nodes);
        check_decided(&space, &decided, &wirings)?;
        let tables = space.cells().iter().zip(&wirings).map(|(kind, wiring)| {
            let values = tensor_file::wide_values(&file, kind.name, &shape(wiring))?;
            finite(kind.name, wiring, values)
        });
        let tables = tables.collect::<std::result::Result<_, String>>()?;
        let cells = space.cells().iter().zip(&wirings).filter(|_| betas);
        let betas = cells.map(|(kind, wiring)| {
            let name = betas_name(kind);
            let values = tensor_file::wide_values(&file, &name, &[wiring.edges.len()])?;
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(values),
                Some(edge) => Err(format!("tensor {name} holds {} at edge {edge}", values[edge])),
            }
        });
        let betas = betas.collect::<std::result::Result<_, String>>()?;
        Ok((Alphas { space, nodes, tables, betas, weighing, decided, most_skips }, epoch))
    }

    /// The alphas of a file without a description: two matrices of f32 of eight columns.
    fn from_plain(bytes: &[u8]) -> std::result::Result<Alphas, String> {
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let space = Space::darts();
        let columns = space.wiring(0, 1).len() / space.wiring(0, 1).edges.len();
        let edges = space.cells().iter().map(|kind| match file.tensor(kind.name) {
            Err(_) => Err(format!("has no tensor {}", kind.name)),
            Ok(tensor) => match *tensor.shape() {
                [edges, found] if found == columns => Ok(edges),
                _ => Err(format!(
                    "tensor {} has the shape {:?}; expected [edges, {columns}]",
                    kind.name,
                    tensor.shape()
                )),
            },
        });
        let edges: Vec<usize> = edges.collect::<std::result::Result<_, String>>()?;
        let names: Vec<_> = space.cells().iter().map(|kind| kind.name).collect();
        if let Some(other) = (1..edges.len()).find(|&cell| edges[cell] != edges[0]) {
            return Err(format!(
                "tensor {} has {} edges, but tensor {} has {}",
                names[0], edges[0], names[other], edges[other]
            ));
        }
        let fits = |nodes: &usize| space.wiring(0, *nodes).edges.len() == edges[0];
        let nodes = (1..=MAX_NODES).find(fits).ok_or_else(|| {
            format!(
                "the tensors have {} rows; a cell of 1, 2, 3, 4... nodes has 2, 5, 9, 14... edges",
                edges[0]
            )
        })?;
        let tables = space.cells().iter().enumerate().map(|(cell, kind)| {
            let wiring = space.wiring(cell, nodes);
            let values = tensor_file::values(&file, kind.name, &shape(&wiring))?;
            finite(kind.name, &wiring, values.into_iter().map(f64::from).collect())
        });
        let tables = tables.collect::<std::result::Result<_, String>>()?;
        Ok(Alphas { tables, ..Alphas::zeros(space, nodes) })
    }
}

/// Refuses decisions that are not of these edges and their candidates.
fn check_decided(
    space: &Space,
    decided: &[Vec<Decision>],
    wirings: &[Wiring],
) -> std::result::Result<(), String> {
    if decided.is_empty() {
        return Ok(());
    }
    let fits = |(edges, wiring): (&Vec<Decision>, &Wiring)| {
        let has = |(decision, edge): (&Decision, &Edge)| match *decision {
            Decision::Chosen(place) => {
                place < edge.candidates.len() && space.may_choose(edge.candidates[place])
            }
            Decision::Open | Decision::Dropped => true,
        };
        edges.len() == wiring.edges.len() && edges.iter().zip(&wiring.edges).all(has)
    };
    let all = decided.len() == wirings.len() && decided.iter().zip(wirings).all(fits);
    if all { Ok(()) } else { Err("its decisions are not those of its edges and their candidates".to_owned()) }
}

/// The name of the tensor of a type of cell's betas.
fn betas_name(kind: &CellType) -> String {
    format!("{}.betas", kind.name)
}

/// The shape of the tensor of a type of cell.
fn shape(wiring: &Wiring) -> Vec<usize> {
    let columns = wiring.edges.first().map_or(0, |edge| edge.candidates.len());
    match wiring.edges.iter().all(|edge| edge.candidates.len() == columns) {
        true => vec![wiring.edges.len(), columns],
        false => vec![wiring.len()],
    }
}

fn unreadable(error: safetensors::SafeTensorError) -> String {
    format!("is not {}: {error}", FORMAT.what)
}

/// The epoch in the metadata of a file without a description; nothing, where there is a description.
fn plain_epoch(bytes: &[u8]) -> std::result::Result<Option<usize>, String> {
    let Ok((_, header)) = SafeTensors::read_metadata(bytes) else { return Ok(None) };
    let Some(metadata) = header.metadata() else { return Ok(None) };
    match metadata.get("epoch") {
        _ if metadata.contains_key(FORMAT.key) => Ok(None),
        None => Ok(None),
        Some(epoch) => {
            let epoch =
                epoch.parse().map_err(|_| format!("its metadata has the epoch {epoch:?}, not a number"));
            epoch.map(Some)
        }
    }
}

fn finite(name: &str, wiring: &Wiring, values: Vec<f64>) -> std::result::Result<Vec<f64>, String> {
    let Some(index) = values.iter().position(|value| !value.is_finite()) else { return Ok(values) };
    let row = wiring.edges.iter().position(|edge| edge.row.contains(&index)).unwrap_or_default();
    let column = index - wiring.edges[row].row.start;
    Err(format!("tensor {name} holds {} at row {row}, column {column}", values[index]))
}

/// Alphas that differ, for tests in this crate.
#[cfg(test)]
pub(crate) fn ramp(nodes: usize) -> Alphas {
    let mut alphas = Alphas::zeros(Space::darts(), nodes);
    let value = |index: usize| f64::from(((index * 37) % 101) as f32 / 50.0);
    alphas.tables[0].iter_mut().enumerate().for_each(|(index, alpha)| *alpha = value(index));
    alphas.tables[1] = alphas.tables[0].iter().rev().copied().collect();
    alphas
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn a_file_comes_back_with_its_space() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("epoch-0007.safetensors");
        let text = "candidates = [\"none\", \"skip_connect\"]\nnodes = 2\n[edges.reduce]\n\
                    \"3<-1\" = [\"sep_conv_3x3\", \"sep_conv_5x5\", \"sep_conv_7x7\"]";
        let mut own = Alphas::zeros(Space::from_toml(text, Path::new("own.toml")).unwrap(), 2);
        own.tables[1][3] = 0.1 + 0.2;
        let mut decided = Alphas { most_skips: Some(2), ..ramp(1) };
        decided.decided =
            vec![vec![Decision::Open, Decision::Chosen(7)], vec![Decision::Dropped, Decision::Open]];
        let weighed = Alphas { betas: vec![vec![0.1 + 0.2, -1.5], vec![0.0, 7.0]], ..ramp(1) };
        for alphas in [ramp(4), own, decided, weighed] {
            alphas.save(&path, 7).unwrap();
            assert_eq!(Alphas::load(&path).unwrap(), (alphas, 7));
        }
    }

    #[test]
    fn a_file_of_f32_without_a_checksum_is_read() {
        let alphas = ramp(4);
        let bytes = |cell: usize| -> Vec<u8> {
            alphas.tables[cell].iter().flat_map(|&alpha| (alpha as f32).to_le_bytes()).collect()
        };
        let (normal, reduce) = (bytes(0), bytes(1));
        let view = |bytes| TensorView::new(Dtype::F32, vec![14, 8], bytes).unwrap();
        let metadata = HashMap::from([("epoch".to_owned(), "7".to_owned())]);
        let file =
            safetensors::serialize([("normal", view(&normal)), ("reduce", view(&reduce))], Some(metadata));
        assert_eq!(Alphas::from_bytes(&file.unwrap()).unwrap(), (alphas, 7));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alphas");
        let refusal = || Alphas::load(&path).unwrap_err().to_string();
        let mut alphas = ramp(4);
        for wrong in [Decision::Chosen(8), Decision::Chosen(0)] {
            let decided = vec![vec![Decision::Open; 2], vec![wrong, Decision::Open]];
            Alphas { decided, ..ramp(1) }.save(&path, 1).unwrap();
            assert!(refusal().ends_with("its decisions are not those of its edges and their candidates"));
        }
        let betas = vec![vec![0.0; 2], vec![0.0, f64::INFINITY]];
        Alphas { betas, ..ramp(1) }.save(&path, 1).unwrap();
        assert!(refusal().ends_with("alphas: tensor reduce.betas holds inf at edge 1"), "{}", refusal());
        alphas.tables[1][9] = f64::NAN;
        alphas.save(&path, 1).unwrap();
        assert!(refusal().ends_with("alphas: tensor reduce holds NaN at row 1, column 1"));
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 7, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(refusal().contains("is not a safetensors file"), "{}", refusal());
        }
        let mut changed = bytes;
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert!(refusal().contains("is damaged: its checksum is"), "{}", refusal());
    }
}
