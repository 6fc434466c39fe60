//! From alphas to a genotype, as the official `Network.genotype()` does it.

pub use super::alphas::Alphas;
use super::alphas::CANDIDATES;
use super::genotype::{CellGenotype, EDGES_PER_NODE, Genotype, INPUTS, Operation};

/// The softmax of a row in f32; the maximum is subtracted so that nothing overflows.
pub fn softmax(row: &[f32]) -> Vec<f32> {
    let maximum = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = row.iter().map(|value| (value - maximum).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|value| value / sum).collect()
}

/// Derives the discrete architecture.
///
/// Each node keeps two edges: those whose best operation other than none weighs most, the heavier one
/// first and the earlier input first among equals. Each kept edge holds that operation, the first one
/// among equals. All nodes are concatenated.
///
/// # Panics
/// If a matrix has not [`Alphas::edges`] rows.
pub fn derive(alphas: &Alphas) -> Genotype {
    Genotype { normal: derive_cell(alphas, &alphas.normal), reduce: derive_cell(alphas, &alphas.reduce) }
}

fn derive_cell(alphas: &Alphas, rows: &[f32]) -> CellGenotype {
    let (rows, _) = rows.as_chunks::<CANDIDATES>();
    let mut edges = Vec::with_capacity(alphas.nodes * EDGES_PER_NODE);
    for node in 0..alphas.nodes {
        let best = rows[alphas.edges_into(node)].iter().map(|row| best_operation(row));
        let mut ranked: Vec<(usize, (Operation, f32))> = best.enumerate().collect();
        // The sort is stable: among equal weights the earlier input stays first.
        ranked.sort_by(|(_, (_, one)), (_, (_, other))| other.total_cmp(one));
        edges.extend(ranked.iter().take(EDGES_PER_NODE).map(|&(input, (operation, _))| (operation, input)));
    }
    CellGenotype { edges, concat: (INPUTS..INPUTS + alphas.nodes).collect() }
}

/// The heaviest operation other than none, the first one among equals, and its weight.
fn best_operation(row: &[f32]) -> (Operation, f32) {
    let mut best = (Operation::None, f32::NEG_INFINITY);
    for (operation, weight) in Operation::ALL.into_iter().zip(softmax(row)) {
        if operation != Operation::None && weight > best.1 {
            best = (operation, weight);
        }
    }
    best
}

/// How undecided a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entropy {
    /// The mean over the normal cell's rows of the entropy of their softmax, in nats.
    pub normal: f64,
    /// The same for the reduction cell.
    pub reduce: f64,
}

/// The mean entropy of the rows; ln 8 = 2.079 where all operations weigh the same, 0 where each edge
/// has decided.
pub fn mean_entropy(alphas: &Alphas) -> Entropy {
    Entropy { normal: mean_entropy_of(&alphas.normal), reduce: mean_entropy_of(&alphas.reduce) }
}

fn mean_entropy_of(rows: &[f32]) -> f64 {
    let (rows, _) = rows.as_chunks::<CANDIDATES>();
    let entropy = |row: &[f32; CANDIDATES]| -> f64 {
        softmax(row)
            .iter()
            .filter(|&&weight| weight > 0.0)
            .map(|&weight| -f64::from(weight) * f64::from(weight).ln())
            .sum()
    };
    rows.iter().map(entropy).sum::<f64>() / rows.len().max(1) as f64
}

/// How many edges hold skip_connect, the sign of a search that collapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipConnections {
    /// In the normal cell.
    pub normal: usize,
    /// In the reduction cell.
    pub reduce: usize,
}

/// Counts the edges that hold skip_connect.
pub fn skip_connections(genotype: &Genotype) -> SkipConnections {
    let count = |cell: &CellGenotype| {
        cell.edges.iter().filter(|(operation, _)| *operation == Operation::SkipConnect).count()
    };
    SkipConnections { normal: count(&genotype.normal), reduce: count(&genotype.reduce) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_runs_from_undecided_to_decided() {
        let zeros = Alphas { nodes: 1, normal: vec![0.0; 16], reduce: vec![0.0; 16] };
        assert!((mean_entropy(&zeros).normal - 8f64.ln()).abs() < 1e-6);
        let mut decided = zeros.clone();
        decided.reduce[4] = 200.0;
        decided.reduce[8] = 200.0;
        assert_eq!(mean_entropy(&decided).reduce, 0.0);
    }

    #[test]
    fn skip_connections_are_counted() {
        let mut alphas = Alphas { nodes: 1, normal: vec![0.0; 16], reduce: vec![0.0; 16] };
        alphas.normal[3] = 1.0;
        alphas.reduce[3] = 1.0;
        alphas.reduce[11] = 1.0;
        assert_eq!(skip_connections(&derive(&alphas)), SkipConnections { normal: 1, reduce: 2 });
    }

    #[test]
    fn infinities_and_nan_do_not_panic() {
        for value in [f32::NAN, f32::INFINITY, f32::MAX] {
            let alphas = Alphas { nodes: 2, normal: vec![value; 40], reduce: vec![value; 40] };
            assert_eq!(derive(&alphas).normal.edges.len(), 4);
        }
    }
}
