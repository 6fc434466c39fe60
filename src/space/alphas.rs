//! The architecture parameters: for each edge of a cell, one number for each candidate operation.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::genotype::{MAX_NODES, Operation};
use crate::files::{read_bounded, write_whole};
use crate::{Error, Result};

/// Candidates on an edge, the length of a row.
pub const CANDIDATES: usize = Operation::ALL.len();

/// The largest file that can hold alphas: both matrices of the largest cell and a generous header.
const MAX_FILE: usize = 2 * edges_of(MAX_NODES) * CANDIDATES * 4 + 64 * 1024;

/// The architecture parameters of both cell types, shared by all cells of a type.
///
/// A cell of n nodes has rows for the 2 + 3 + ... + (n + 1) edges, node after node and, within a node,
/// in the order of the input states.
#[derive(Clone, Debug, PartialEq)]
pub struct Alphas {
    /// Nodes of a cell.
    pub nodes: usize,
    /// The rows of the normal cell, one after the other.
    pub normal: Vec<f32>,
    /// The rows of the reduction cell.
    pub reduce: Vec<f32>,
}

/// The number of edges of a cell: node i, counted from 0, has 2 + i.
pub const fn edges_of(nodes: usize) -> usize {
    nodes * (nodes + 3) / 2
}

/// The row of the edge from a state to a node, both counted from 0.
pub const fn edge(node: usize, state: usize) -> usize {
    edges_of(node) + state
}

impl Alphas {
    /// The number of edges of a cell, which is the number of rows.
    pub fn edges(&self) -> usize {
        edges_of(self.nodes)
    }

    /// The rows of the edges that enter a node, counted from 0.
    pub fn edges_into(&self, node: usize) -> std::ops::Range<usize> {
        edges_of(node)..edges_of(node + 1)
    }

    /// Writes one safetensors file with the tensors `normal` and `reduce` and the epoch in its metadata.
    pub fn save(&self, path: &Path, epoch: usize) -> Result<()> {
        let bytes =
            |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
        let (normal, reduce) = (bytes(&self.normal), bytes(&self.reduce));
        let shape = vec![self.edges(), CANDIDATES];
        let written = TensorView::new(Dtype::F32, shape.clone(), &normal).and_then(|normal| {
            let reduce = TensorView::new(Dtype::F32, shape, &reduce)?;
            let metadata = HashMap::from([("epoch".to_owned(), epoch.to_string())]);
            safetensors::serialize([("normal", normal), ("reduce", reduce)], Some(metadata))
        });
        let file = written.map_err(|error| Error::Format { path: path.into(), reason: error.to_string() })?;
        write_whole(path, &file)
    }

    /// Reads such a file and returns the alphas and their epoch.
    pub fn load(path: &Path) -> Result<(Alphas, usize)> {
        Self::from_bytes(&read_bounded(path, MAX_FILE)?)
            .map_err(|reason| Error::Format { path: path.into(), reason })
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<(Alphas, usize), String> {
        let unreadable = |error| format!("is not a safetensors file of alphas: {error}");
        let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let epoch = header.metadata().as_ref().and_then(|metadata| metadata.get("epoch"));
        let epoch = epoch.ok_or("its metadata has no epoch")?;
        let epoch =
            epoch.parse().map_err(|_| format!("its metadata has the epoch {epoch:?}, not a number"))?;
        let (edges, normal) = matrix(&file, "normal")?;
        let (reduce_edges, reduce) = matrix(&file, "reduce")?;
        if edges != reduce_edges {
            return Err(format!("tensor normal has {edges} edges, but tensor reduce has {reduce_edges}"));
        }
        let nodes = (1..=MAX_NODES).find(|&nodes| edges_of(nodes) == edges).ok_or_else(|| {
            format!("the tensors have {edges} rows; a cell of 1, 2, 3, 4... nodes has 2, 5, 9, 14... edges")
        })?;
        Ok((Alphas { nodes, normal, reduce }, epoch))
    }
}

/// One tensor of the file, checked: its number of rows and its values.
fn matrix(file: &SafeTensors, name: &str) -> std::result::Result<(usize, Vec<f32>), String> {
    let tensor = file.tensor(name).map_err(|_| format!("has no tensor {name}"))?;
    let &[edges, CANDIDATES] = tensor.shape() else {
        return Err(format!(
            "tensor {name} has the shape {:?}; expected [edges, {CANDIDATES}]",
            tensor.shape()
        ));
    };
    if tensor.dtype() != Dtype::F32 {
        return Err(format!("tensor {name} holds {:?}; expected F32", tensor.dtype()));
    }
    let (values, _) = tensor.data().as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(format!(
            "tensor {name} holds {} at row {}, column {}",
            values[index],
            index / CANDIDATES,
            index % CANDIDATES
        )),
        None => Ok((edges, values)),
    }
}

/// The initial alphas and their like, for tests in this crate.
#[cfg(test)]
pub(crate) fn ramp(nodes: usize) -> Alphas {
    let values = edges_of(nodes) * CANDIDATES;
    let normal: Vec<f32> = (0..values).map(|index| ((index * 37) % 101) as f32 / 50.0).collect();
    let reduce = normal.iter().rev().copied().collect();
    Alphas { nodes, normal, reduce }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("epoch-0007.safetensors");
        let alphas = ramp(4);
        assert_eq!(alphas.edges(), 14);
        assert_eq!(alphas.edges_into(1), 2..5);
        alphas.save(&path, 7).unwrap();
        assert_eq!(Alphas::load(&path).unwrap(), (alphas, 7));
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("alphas");
        let refusal = |alphas: &Alphas| {
            alphas.save(&path, 1).unwrap();
            Alphas::load(&path).unwrap_err().to_string()
        };
        let mut alphas = ramp(4);
        alphas.reduce[9] = f32::NAN;
        assert!(refusal(&alphas).ends_with("alphas: tensor reduce holds NaN at row 1, column 1"));
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 7, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let refusal = Alphas::load(&path).unwrap_err().to_string();
            assert!(refusal.contains("is not a safetensors file"), "{refusal}");
        }
    }
}
