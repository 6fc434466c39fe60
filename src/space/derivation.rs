//! From alphas to a genotype, as the official `Network.genotype()` does it.

use std::ops::Range;

use super::alphas::{Alphas, Decision};
use super::genotype::{CellGenotype, ChosenEdge, Genotype};
use super::pruning::GONE;
use super::{Edge, Keep, Operation, Space, restriction};

/// Derives the discrete architecture.
///
/// Each node keeps the edges that its space says: those whose best operation weighs most, the heavier one first and the
/// earlier input first among equals; or all, in their order. Each kept edge holds that operation, the first one among
/// equals, which is none only where the space says so. Where edges have weights, an operation weighs what its alpha does
/// times that (Xu et al., PC-DARTS, ICLR 2020, section 3.2). What was decided of an edge without the alphas stands. With a
/// bound on the skip connections, the rule is that of P-DARTS.
///
/// # Panics
/// If a table has not as many values as its [`Wiring`](super::Wiring).
pub fn derive(alphas: &Alphas) -> Genotype {
    let cells = alphas.tables.iter().enumerate();
    let cells = cells.map(|(cell, table)| derive_cell(alphas, cell, table)).collect();
    Genotype { space: alphas.space.clone(), cells }
}

fn derive_cell(alphas: &Alphas, cell: usize, table: &[f64]) -> CellGenotype {
    let wiring = alphas.wiring(cell);
    let edge_weights = alphas.edge_weights(cell).unwrap_or_else(|| vec![1.0; wiring.edges.len()]);
    let weights = |(edge, weight): (&Edge, &f64)| -> Vec<f64> {
        alphas.weighing.weights(&table[edge.row.clone()]).into_iter().map(|own| own * weight).collect()
    };
    let mut weights: Vec<_> = wiring.edges.iter().zip(&edge_weights).map(weights).collect();
    let (space, concat) = (&alphas.space, alphas.space.concat(alphas.nodes));
    if let Some(most) = alphas.most_skips {
        // A candidate that is gone is behind one that weighs nothing.
        for (weights, edge) in weights.iter_mut().zip(&wiring.edges) {
            let gone = weights.iter_mut().zip(&table[edge.row.clone()]).filter(|(_, alpha)| **alpha == GONE);
            gone.for_each(|(weight, _)| *weight = f64::NEG_INFINITY);
        }
        let most = (!alphas.space.cells()[cell].reduces).then_some(most);
        let nodes = restriction::nodes(space, &wiring, &mut weights, most);
        return CellGenotype { nodes, concat };
    }
    let nodes = (0..wiring.nodes).map(|node| {
        let of_node = wiring.edges.iter().enumerate().filter(|(_, edge)| edge.node == node);
        let mut ranked: Vec<(ChosenEdge, f64)> = of_node
            .filter_map(|(place, edge)| {
                let weights = &weights[place];
                let (operation, weight) = match alphas.decision(cell, place) {
                    Decision::Open => best_operation(space, edge, weights),
                    Decision::Chosen(candidate) => (edge.candidates[candidate], weights[candidate]),
                    Decision::Dropped => return None,
                };
                Some((ChosenEdge { operation, from: edge.from }, weight))
            })
            .collect();
        if let Keep::Strongest(kept) = alphas.space.keep() {
            // The sort is stable: among equal weights the earlier input stays first.
            ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            ranked.truncate(kept);
        }
        ranked.into_iter().map(|(edge, _)| edge).collect()
    });
    CellGenotype { nodes: nodes.collect(), concat }
}

/// The heaviest operation that may be chosen, the first one among equals, and its weight.
fn best_operation(space: &Space, edge: &Edge, weights: &[f64]) -> (&'static Operation, f64) {
    let others = edge.candidates.iter().zip(weights).filter(|(operation, _)| space.may_choose(operation));
    let mut best: Option<(&'static Operation, f64)> = None;
    for (operation, &weight) in others {
        if best.is_none_or(|(_, heaviest)| weight > heaviest) {
            best = Some((operation, weight));
        }
    }
    best.expect("an edge has two candidates, of which one at most is none")
}

/// For each type of cell, the mean entropy in nats of the shares of its rows: the logarithm of the number of candidates
/// where all weigh the same, 0 where each edge is decided.
pub fn mean_entropies(alphas: &Alphas) -> Vec<f64> {
    (0..alphas.tables.len()).map(|cell| mean_entropy(alphas, cell)).collect()
}

fn mean_entropy(alphas: &Alphas, cell: usize) -> f64 {
    let (wiring, weighing, table) = (alphas.wiring(cell), alphas.weighing, &alphas.tables[cell]);
    let entropy = |row: &[f64]| -> f64 {
        weighing.shares(row).iter().filter(|&&share| share > 0.0).map(|&share| -share * share.ln()).sum()
    };
    let open = |(place, _): &(usize, Range<usize>)| alphas.decision(cell, *place) == Decision::Open;
    let rows = wiring.rows().enumerate().filter(open).map(|(_, row)| entropy(&table[row]));
    // A sum of nothing is -0.
    rows.fold(0.0, |sum, entropy| sum + entropy) / wiring.edges.len().max(1) as f64
}

/// For each type of cell, the mean entropy of rows whose candidates, as far as they are left, all weigh the same.
pub fn largest_entropies(alphas: &Alphas) -> Vec<f64> {
    let mut equal = Alphas { decided: Vec::new(), ..alphas.clone() };
    equal.tables.iter_mut().flatten().filter(|alpha| **alpha != GONE).for_each(|alpha| *alpha = 0.0);
    mean_entropies(&equal)
}

/// For each type of cell, the edges that hold the identity: the sign of a search that collapses.
pub fn skip_connections(genotype: &Genotype) -> Vec<usize> {
    genotype.cells.iter().map(|cell| cell.count(Operation::is_skip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::Space;

    fn zeros(nodes: usize) -> Alphas {
        Alphas::zeros(Space::darts(), nodes)
    }

    #[test]
    fn entropy_runs_from_undecided_to_decided() {
        let mut decided = zeros(1);
        assert!((mean_entropies(&decided)[0] - 8f64.ln()).abs() < 1e-6);
        decided.tables[1][4] = 200.0;
        decided.tables[1][8] = 200.0;
        assert!(mean_entropies(&decided)[1] < 1e-80);
        assert_eq!(largest_entropies(&decided), mean_entropies(&zeros(1)));
    }

    #[test]
    fn what_is_gone_counts_for_nothing() {
        let mut alphas = zeros(1);
        alphas.prune(2);
        // Of none and the identity, which are left here, the identity stays, although it is one too many.
        alphas.tables[0].copy_from_slice(&[[0.0, GONE, GONE, 1.0, GONE, GONE, GONE, GONE]; 2].concat());
        alphas.most_skips = Some(0);
        assert_eq!(skip_connections(&derive(&alphas))[0], 2);
        for entropy in largest_entropies(&alphas) {
            assert!((entropy - 2f64.ln()).abs() < 1e-12, "{entropy}");
        }
    }

    #[test]
    fn skip_connections_are_counted() {
        let mut alphas = zeros(1);
        alphas.tables[0][3] = 1.0;
        alphas.tables[1][3] = 1.0;
        alphas.tables[1][11] = 1.0;
        assert_eq!(skip_connections(&derive(&alphas)), [1, 2]);
    }

    #[test]
    fn infinities_and_nan_do_not_panic() {
        for value in [f64::NAN, f64::INFINITY, f64::MAX] {
            let mut alphas = zeros(2);
            alphas.tables.iter_mut().flatten().for_each(|alpha| *alpha = value);
            assert_eq!(derive(&alphas).cells[0].edges().count(), 4);
        }
    }

    #[test]
    fn a_space_says_how_many_edges_are_kept_and_between_what() {
        let text = "candidates = [\"none\", \"skip_connect\"]\nnodes = 3\nedges_kept = \"all\"\n\
                    [edges.all]\n\"2<-1\" = [\"max_pool_3x3\", \"none\", \"sep_conv_7x7\"]";
        let space = Space::from_toml(text, std::path::Path::new("own.toml")).unwrap();
        let mut alphas = Alphas::zeros(space.clone(), 3);
        alphas.tables[0][4] = 1.0;
        let genotype = derive(&alphas);
        assert_eq!(genotype.cells[0].nodes.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(genotype.cells[0].nodes[0][1].operation.name, "sep_conv_7x7");
        assert_eq!(genotype.cells[1].nodes[0][1].operation.name, "max_pool_3x3");
        assert_eq!(Genotype::from_json(&genotype.to_json()).unwrap(), genotype);
        assert_eq!(Genotype::from_literal(&genotype.to_string(), &space).unwrap(), genotype);
        assert_eq!(genotype.clone().into_space(&space).unwrap(), genotype);
        let refused = genotype.into_space(&Space::named("s3").unwrap()).unwrap_err().to_string();
        assert!(refused.contains("node 0 of the normal cell takes sep_conv_7x7 from state 1"), "{refused}");
    }
}
